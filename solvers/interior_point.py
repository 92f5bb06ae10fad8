"""A primal-dual interior-point method with a Riccati recursion: the flagship for constrained problems.

Minimise sum_k L_k(x_k, u_k) + phi(x_N) subject to x_{k+1} = F_k(x_k, u_k), lower <= c <= upper, and bounds, with states
and controls as variables (multiple shooting, so that the guess's states count and gaps close along the way). F_k and
L_k are a Runge-Kutta step of dynamics and cost under a held control. Inequalities get slacks, bounds of variables and
slacks a logarithmic barrier mu, and Newton's method with exact second derivatives is applied to the optimality
conditions for mu -> 0:

    grad f + F'l + C'y - zl + zu = 0,   c = s,   x_{k+1} = F_k,   zl (v - lower) = mu,   zu (upper - v) = mu.

The Newton system is condensed to stages and solved by a Riccati recursion, linear in N
(`trajopt.solvers.kernels.interior_riccati`). Equality rows enter it with a small dual regularisation, which iterative
refinement takes back: rank-deficient and duplicated rows need no special care. Where Q_uu is not positive definite, the
Hessian is regularised until it is (inertia correction). Steps pass a filter on (infeasibility, barrier cost), with
second-order corrections; where none passes, feasibility restoration minimises the residuals themselves.

Free times, free parameters, boundary and integral constraints become states first
(`trajopt.transcription.augmentation`); free entries of the initial state are variables as they are.

Solved means: IPOPT's scaled optimality error E_0 is at most ``tolerance``, and no row or gap is violated by more than
``constraint_tolerance``, relative to max(1, its size).

References: Waechter, Biegler, Mathematical Programming 106, 2006, whose constants are used; Vanroye et al., FATROP,
2023; Domahidi et al., CDC 2012. Differs from the first: linear algebra, no second, looser, tolerance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import TRACED, Claim, Outcome, Solver
from trajopt.solvers.kernels import interior_curvature as curvature
from trajopt.solvers.kernels import interior_iterate, interior_loop, interior_restoration, interior_start
from trajopt.solvers.kernels.interior_instance import Instance, soften
from trajopt.solvers.kernels.interior_multipliers import read_multipliers, write_multipliers
from trajopt.solvers.kernels.interior_pose import pose
from trajopt.status import Status
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.augmentation import Augmentation, augment
from trajopt.transcription.held_steps import HeldSteps
from trajopt.transcription.integrators import INTEGRATORS
from trajopt.transcription.stages import Stages, compile_stages
from trajopt.validation import check_choice, check_positive, check_whole

Array = NDArray[np.float64]

_ENDINGS = {
    interior_iterate.NOT_FINITE: Status.NUMERICAL_FAILURE,
    interior_iterate.UNREGULAR: Status.NUMERICAL_FAILURE,
    interior_iterate.DIVERGED: Status.DIVERGED,
    interior_iterate.TINY: Status.STALLED,
}

_FRUITLESS = frozenset({Status.STALLED, Status.INFEASIBLE, Status.NUMERICAL_FAILURE, Status.ITERATION_LIMIT})
"""Endings after which a stationary point from before is the better answer."""

_NO_MINIMUM = "Directions of negative curvature are left: the point is stationary, but may be a saddle or a maximum."

_STATIONARY = 1e-6
"""Scaled error of the restoration problem at which its residuals count as least: rounding of its large cost, which is
the price of 1000 times all residuals, keeps it from smaller ones; IPOPT's acceptable_tol."""


@final
@dataclass(frozen=True)
class InteriorPoint(Solver):
    """Primal-dual interior-point method on the stages of the problem, exact in second order.

    Parameters
    ----------
    integrator
        "rk4", "rk3", "midpoint" or "euler": how continuous dynamics and cost advance over a step.
    tolerance
        Scaled optimality error E_0 at which the problem counts as solved; IPOPT's default.
    constraint_tolerance
        Violation allowed, relative to max(1, size). Limits are relaxed by at most half of it (relatively 1e-8, as
        in IPOPT), so that problems whose constraints leave no interior can be solved.
    iterations
        Limit on iterations; IPOPT's default.
    initial_barrier
        First mu; IPOPT's default.
    """

    integrator: str = "rk4"
    tolerance: float = 1e-8
    constraint_tolerance: float = 1e-8
    iterations: int = 3000
    initial_barrier: float = 0.1

    handles: ClassVar[frozenset[Feature]] = TRACED
    claims: ClassVar[frozenset[Claim]] = frozenset({Claim.STATIONARY, Claim.MINIMA, Claim.ONE_STEP, Claim.WARM_START})
    preference: ClassVar[int] = 10

    def __post_init__(self) -> None:
        check_choice(self.integrator, "integrator", INTEGRATORS)
        for name in ("tolerance", "constraint_tolerance", "initial_barrier"):
            check_positive(getattr(self, name), name)
        check_whole(self.iterations, "iterations", 1)

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Solve from ``guess``: its states, controls, times and parameters."""
        augmentation = augment(problem)
        stages = compile_stages(augmentation.problem, self.integrator, second_order=True)
        return _Run(self, augmentation, stages, guess).solve(monitor)


class _Run:
    """Arrays and progress of one solve."""

    def __init__(self, solver: InteriorPoint, augmentation: Augmentation, stages: Stages, guess: Trajectory) -> None:
        self.solver, self.augmentation, self.stages = solver, augmentation, stages
        self.guess = augmentation.extend(guess)
        self.instance, self.outline = pose(augmentation, stages, self.guess)
        self.warm = write_multipliers(self.instance, augmentation, guess.multipliers)
        self.soft: Instance | None = None
        self.stationary: list[NDArray] | None = None
        self.restoring = False
        self.detail = ""

    def solve(self, monitor: Monitor) -> Outcome:
        """Value the guess, then iterate."""
        now, solver = self.instance, self.solver
        if not interior_start.start(
            now.data, now.point, now.expansion, now.system, now.factor, now.step, now.work, now.progress,
            self.outline.limits, self.outline.settled, 0.5 * solver.constraint_tolerance, solver.initial_barrier,
            solver.tolerance / 10.0, self.warm,
        ):  # fmt: skip
            self.detail = "The problem's functions or their derivatives are not finite along the guess; give another."
            return self._outcome(Status.NUMERICAL_FAILURE, 0)
        stop = monitor.observe(**self._numbers())
        if stop is None and self._solved():
            stop = self._converged()
        status = stop if stop is not None else monitor.run_batches(self.advance, solver.iterations)
        if status in _FRUITLESS and self.stationary is not None:
            status = self._return_to_stationary()
        return self._outcome(status, len(monitor.history) - 1)

    def _converged(self) -> Status | None:
        """A stationary point was found; unless it is a minimum, disturb it once and go on."""
        now = self.instance
        if curvature.is_minimum(now.data, now.point, now.expansion, now.system, now.factor, now.work, now.progress):
            return Status.SOLVED
        if self.stationary is not None:
            self.detail = _NO_MINIMUM
            return Status.SOLVED
        self.stationary = [values.copy() for values in (*now.point, *now.expansion, now.progress)]
        if curvature.disturb(now.data, now.point, now.expansion, now.system, now.work, now.progress):
            return None
        return self._return_to_stationary()

    def _return_to_stationary(self) -> Status:
        """Nothing better was found: answer with the stationary point, and say what it is."""
        assert self.stationary is not None
        now = self.instance
        for values, found in zip((*now.point, *now.expansion, now.progress), self.stationary, strict=True):
            values[:] = found
        self.detail = _NO_MINIMUM
        return Status.SOLVED

    def _solved(self) -> bool:
        progress = self.instance.progress[0]
        return bool(
            progress["error"] <= self.solver.tolerance and progress["violation"] <= self.solver.constraint_tolerance
        )

    def _numbers(self) -> dict[str, float]:
        progress = self.instance.progress[0]
        return {
            "cost": progress["cost"] / self.instance.data.cost_scale[0],
            "violation": progress["violation"],
            "stationarity": progress["error"],
            "step": progress["step"],
        }

    def advance(self, count: int) -> tuple[Status | None, list[dict[str, float]]]:
        """Up to ``count`` iterations of the search, or one of restoration."""
        if self.restoring:
            status = self._restore()
            return status, [self._numbers()]
        verdict, log = self._iterate(self.instance, self.solver.constraint_tolerance, count)
        log[:, 0] /= self.instance.data.cost_scale[0]
        names = ("cost", "violation", "stationarity", "step")
        numbers = [dict(zip(names, row, strict=True)) for row in log.tolist()]
        if verdict == interior_iterate.STUCK:
            status = self._begin_restoration()
        elif verdict == interior_iterate.CONVERGED:
            status = self._converged()
        else:
            status = _ENDINGS.get(verdict)
        return status, numbers

    def _iterate(self, now: Instance, row_tolerance: float, count: int) -> tuple[int, Array]:
        """Up to ``count`` iterations; returns the verdict and the log of those that there were."""
        log = np.empty((count, 4))
        verdict, done = interior_loop.advance(
            now.data, now.point, now.expansion, now.system, now.factor, now.step, now.correction, now.saved, now.watch,
            now.work, now.progress, self.solver.tolerance, row_tolerance, log,
        )  # fmt: skip
        return verdict, log[:done]

    def _begin_restoration(self) -> Status | None:
        """Turn to the soft problem; where next to nothing is violated it could not help."""
        now = self.instance
        if now.progress[0]["primal_error"] <= self.solver.tolerance:
            self.detail = "The line search found no acceptable step although the constraints hold."
            return Status.STALLED
        if self.soft is None:
            self.soft = soften(now)
        soft = self.soft
        interior_restoration.begin(now.data, now.point, now.progress, soft.data, soft.point, soft.progress)
        if not interior_restoration.start_soft(
            soft.data, soft.point, soft.expansion, soft.system, soft.work, soft.progress
        ):
            return Status.NUMERICAL_FAILURE
        self.restoring = True
        return None

    def _restore(self) -> Status | None:
        """One iteration of restoration."""
        now, soft = self.instance, self.soft
        assert soft is not None
        verdict, _ = self._iterate(soft, math.inf, 1)  # its rows are soft: only stationarity counts
        if verdict == interior_iterate.NOT_FINITE:
            return Status.NUMERICAL_FAILURE
        if interior_restoration.may_return(now.data, soft.point, now.work, now.progress):
            self.restoring = False
            finite = interior_restoration.leave(
                now.data, now.point, soft.point, now.expansion, now.system, now.factor, now.step, now.work, now.progress
            )
            return None if finite else Status.NUMERICAL_FAILURE
        if verdict == interior_iterate.CONTINUE:
            return None
        return self._restoration_ended()

    def _restoration_ended(self) -> Status:
        """Restoration stopped without a way back: infeasible, if residuals that are left are stationary."""
        now, soft = self.instance, self.soft
        assert soft is not None
        size = interior_restoration.adopt(now.data, now.point, soft.point, now.work, now.progress)
        if size > self.solver.constraint_tolerance:
            name = now.row_name(interior_restoration.worst_residual(now.data, now.point)[0])
            self.detail = f"The constraint {name} stays violated by {size:.3g}."
            if soft.progress[0]["error"] <= _STATIONARY:
                return Status.INFEASIBLE
        return Status.STALLED

    def _outcome(self, status: Status, iterations: int) -> Outcome:
        now, data = self.instance, self.instance.data
        x, u = now.trajectory()
        lower, upper = self.augmentation.problem.control_bounds
        trajectory = replace(self.guess, x=x, u=np.clip(u, lower, upper), u_mid=None, interpolation=Interpolation.HOLD)
        return Outcome(
            status,
            self.augmentation.restore(trajectory),
            float(now.progress[0]["cost"] / data.cost_scale[0]),
            iterations,
            now.factor.K[:, :, : self.augmentation.original.nx].copy(),
            self.detail,
            read_multipliers(now, self.augmentation),
            HeldSteps(INTEGRATORS[self.solver.integrator]),
        )
