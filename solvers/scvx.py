"""Successive convexification: convex subproblems with virtual terms inside a trust region.

The problem is discretised as in multiple shooting, v = (x_k, u_k, free times and parameters), and divided:

    minimise c(v)  subject to  r(v) = 0 or <= 0 (dynamics, whatever is not convex),  cones and linear rows,  bounds.

About a point v the cost is replaced by c + g'd + d'[H]d/2, with [H] the convex part of the Lagrangian's Hessian (the
cost's own, where that is a convex quadratic and all rows are linear or cones), and r by r + J d.
Cones, linear rows and convex quadratic costs stay as they are (`trajopt.solvers.convex_parts` finds them in the traced
functions). Every row gets a virtual term at the price lambda, so that the subproblem can always be solved:

    minimise over d:  L(d) = c + g'd + d'[H]d/2 + lambda |virtual terms|_1    subject to bounds and |d_i| <= radius,

the trust region for those variables alone that enter something approximate. So a linear-quadratic or conic problem is
solved in one step. With J(v) = c(v) + lambda |violation|_1, the step is judged by

    rho = (J(v) - J(v + d)) / (J(v) - L(d)):  rho < rho0 reject; rho < rho1 shrink by alpha; rho >= rho2 grow by beta.

lambda grows where the virtual terms do not vanish, unless they cannot: a subproblem without cost then shows that no
step reduces the violation to first order, and the problem is infeasible nearby.

Solved means: the violation is within ``constraint_tolerance``, and L promises no more than ``tolerance`` (relative) of
improvement within a trust region of one scaled unit. A smaller one says it too, since L is convex:
(J - L at radius 1) <= (J - L at radius r) / r for r <= 1.

References: Mao, Szmuk, Xu, Acikmese, Successive convexification: a superlinearly convergent algorithm for non-convex
optimal control problems, arXiv:1804.06539, 2018; Malyuta et al., Convex optimization for trajectory generation, IEEE
Control Systems Magazine 42(5), 2022, whose constants are used. Differs from them: the choice of the trusted variables,
the curvature, second-order corrections, and a lambda that adapts, with a proof of infeasibility at its end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import TRACED, Claim, Outcome, Solver
from trajopt.solvers.convex_model import PenaltyModel, Value, row_name
from trajopt.solvers.convex_subproblem import Expansion, Step
from trajopt.status import Status
from trajopt.trajectory import Trajectory
from trajopt.transcription.collocation import DirectProgram, compile_problem, pose
from trajopt.transcription.collocation_reading import read_trajectory
from trajopt.transcription.held_steps import HeldSteps
from trajopt.transcription.integrators import INTEGRATORS
from trajopt.transcription.multipliers import read_multipliers
from trajopt.validation import check, check_choice, check_positive, check_whole, is_number

Array = NDArray[np.float64]

_LARGEST_PENALTY = 1e8
"""Beyond it the cost keeps less than half of its digits beside the virtual terms."""

_IRREDUCIBLE = 1e-3
"""Share of the violation that the linearised rows could take away: less is none, to first order."""

_LEAST_SHARE = 0.25
"""Of the curvature. Cart-pole's swing-up takes 135 iterations with the whole, 70 with this, and stalls below 0.1."""

_DIVERGED = 1e10
"""Scaled variables beyond it leave no digit of the rows, as IPOPT's diverging_iterates_tol is set here too."""

_WITHIN = 0.99
"""Of the radius: a step that stays within it is the model's minimum, whatever the radius. An interior-point method ends
a little inside of active limits."""

_SMALLEST_RADIUS = 1e-9
"""Below Clarabel's own tolerance a trust region does not show in its answer."""


@final
@dataclass(frozen=True)
class SCvx(Solver):
    """Successive convexification with exact second-order cones, by cvxpy and Clarabel.

    Parameters
    ----------
    integrator
        "rk4", "rk3", "midpoint" or "euler": how continuous dynamics and costs advance.
    substeps
        Steps of it in each interval of the horizon; more for stiff dynamics.
    tolerance
        Improvement that the convex model may still promise, relative to 1 + |cost|, within one scaled unit.
    constraint_tolerance
        Violation allowed of a row, relative to max(1, its limit); a hundred times what Clarabel leaves.
    iterations
        At most; each solves one or two subproblems.
    penalty
        First price lambda of a unit of virtual control, in multiples of the cost's largest slope along the guess. It is
        then lowered to a few times the largest multiplier, and raised where the virtual terms do not vanish.
    radius
        First radius of the trust region, in scaled variables; the paper's.
    thresholds
        (rho0, rho1, rho2) of the ratio test; the paper's.
    shrink, grow
        alpha and beta: factors of the radius; the paper's.

    Raises
    ------
    InvalidProblem
        When a setting cannot mean anything.
    MissingExtra
        When it runs without cvxpy or Clarabel.
    """

    integrator: str = "rk4"
    substeps: int = 1
    tolerance: float = 1e-8
    constraint_tolerance: float = 1e-6
    iterations: int = 300
    penalty: float = 1e3
    radius: float = 1.0
    thresholds: tuple[float, float, float] = (0.0, 0.1, 0.7)
    shrink: float = 2.0
    grow: float = 2.0

    handles: ClassVar[frozenset[Feature]] = TRACED
    claims: ClassVar[frozenset[Claim]] = frozenset({Claim.STATIONARY, Claim.ONE_STEP})

    def __post_init__(self) -> None:
        check_choice(self.integrator, "integrator", INTEGRATORS)
        for name in ("tolerance", "constraint_tolerance", "penalty", "radius"):
            check_positive(getattr(self, name), name)
        for name in ("substeps", "iterations"):
            check_whole(getattr(self, name), name, 1)
        for name in ("shrink", "grow"):
            factor = getattr(self, name)
            check(factor, name, "a factor above 1", is_number(factor) and factor > 1.0, "the paper has 2")
        ordered = _are_thresholds(self.thresholds)
        check(self.thresholds, "thresholds", "0 <= rho0 < rho1 < rho2 < 1", ordered, "the paper has (0, 0.1, 0.7)")

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Solve from ``guess``; see `Solver.run`."""
        structure = compile_problem(problem, HeldSteps(INTEGRATORS[self.integrator], self.substeps))
        return _Run(self, structure, problem, guess, monitor).solve()


def _are_thresholds(values: Any) -> bool:
    if not isinstance(values, Sequence) or len(values) != 3 or not all(map(is_number, values)):
        return False
    return 0.0 <= values[0] < values[1] < values[2] < 1.0


class _Run:
    """The point and the progress of one solve."""

    def __init__(
        self, solver: SCvx, structure: DirectProgram, problem: Problem, guess: Trajectory, monitor: Monitor
    ) -> None:
        self.solver, self.structure, self.problem, self.guess, self.monitor = solver, structure, problem, guess, monitor
        self.instance = pose(structure, problem, guess, scaled=True)
        self.penalty_model = PenaltyModel(structure, self.instance)
        self.radius, self.penalty, self.may_lower = solver.radius, solver.penalty, True
        self.lowered, self.share = False, 1.0
        self.last: Step | None = None
        self.promise, self.detail, self.cost_weight = math.nan, "", 1.0

    def solve(self) -> Outcome:
        """Value the guess, then iterate."""
        model = self.penalty_model
        v = model.within(self.instance.scaling.apply(self.instance.guess))
        self.here = model.value(v)
        found = model.expand(v, np.zeros(len(self.here.rows)), self.share)
        if found is None:
            self.detail = "The problem's functions or their derivatives are not finite along the guess; give another."
            return Outcome(Status.NUMERICAL_FAILURE, self.guess, math.nan, 0, detail=self.detail)
        self.at = found
        self.cost_weight = 1.0 / max(1.0, float(np.abs(found.gradient).max(initial=0.0)))
        status = self.monitor.observe(**self._numbers()) or self.monitor.run(self.step, int(self.solver.iterations))
        return self._outcome(status)

    def _numbers(self) -> dict[str, float]:
        return {
            "cost": self.here.cost,
            "violation": self._worst()[0],
            "stationarity": self.promise,
            "step": self.radius,
        }

    def _worst(self) -> tuple[float, int]:
        return self.penalty_model.worst(self.here.rows)

    def _feasible(self) -> bool:
        return self._worst()[0] <= self.solver.constraint_tolerance

    def _merit(self, value: Value) -> float:
        return self.cost_weight * value.cost + self.penalty * value.violation

    def step(self) -> tuple[Status | None, dict[str, float]]:
        """One iteration: solve the subproblem, judge its step, and adapt trust region and penalty."""
        return self._advance(), self._numbers()

    def _advance(self) -> Status | None:
        found = self._solve(self.at, self.cost_weight, self.penalty)
        if isinstance(found, str):
            return self._without_step(found)
        step, there = found, self.penalty_model.value(self.at.v + found.d)
        model = self.penalty_model.model(self.at, step.d)
        predicted = self._merit(self.here) - self._merit(model)
        ratio = self._ratio(there, predicted)
        if ratio < self.solver.thresholds[2] and there.finite:
            step, there, ratio = self._correct(step, there, ratio, predicted)
        if self._lower_penalty(model):
            return None
        tried, reached = self.radius, float(np.abs(step.d[self.penalty_model.parts.trusted]).max(initial=0.0))
        self._measure(model, predicted, reached)
        self._adapt_curvature(ratio)
        self._adapt_radius(ratio, reached)
        moved = ratio >= self.solver.thresholds[0] and self._move(step, there)
        return self._verdict(predicted, tried, moved)

    def _solve(self, at: Expansion, cost_weight: float, penalty: float) -> Step | str:
        """The subproblem's step, within bounds to the last bit."""
        subproblem = self.penalty_model.subproblem
        found = subproblem.solve(at, self.radius, cost_weight, penalty, self.monitor.seconds_left)
        if isinstance(found, str):
            return found
        return replace(found, d=self.penalty_model.within(at.v + found.d) - at.v)

    def _ratio(self, there: Value, predicted: float) -> float:
        """rho; a step to where something is not finite, or that promises nothing, is never taken."""
        if not there.finite or predicted <= 0.0:
            return -math.inf
        return (self._merit(self.here) - self._merit(there)) / predicted

    def _correct(self, step: Step, there: Value, ratio: float, predicted: float) -> tuple[Step, Value, float]:
        """Second-order correction: solve again with the rows as they turned out, and keep the better step.

        Without it, an exact penalty refuses good steps along curved constraints (the Maratos effect).
        """
        jacobian = self.penalty_model.subproblem.jacobian.matrix(self.at.jacobian)
        bent = replace(self.at, rows=there.rows - jacobian @ step.d)
        found = self._solve(bent, self.cost_weight, self.penalty)
        if isinstance(found, str):
            return step, there, ratio
        corrected = self.penalty_model.value(self.at.v + found.d)
        other = self._ratio(corrected, predicted)
        return (found, corrected, other) if other > ratio else (step, there, ratio)

    def _measure(self, model: Value, predicted: float, reached: float) -> None:
        """What the model promises within one scaled unit, relative to 1 + |cost|: of cost, once the rows hold."""
        width = min(1.0, self.radius) if reached > _WITHIN * self.radius else 1.0
        gain = abs(self.here.cost - model.cost) if self._feasible() else predicted / self.cost_weight
        gain = max(gain, -predicted / self.cost_weight)  # an answer worse than no step is wrong by at least so much
        self.promise = gain / width / (1.0 + abs(self.here.cost))

    def _lower_penalty(self, model: Value) -> bool:
        """Lower the penalty while the virtual terms vanish; once they come back, undo it for good and return True.

        An exact penalty exceeds the multipliers, and far too large a one makes short steps along curved constraints.
        The multipliers themselves do not tell where they are not unique: they are as large as the penalty lets them be.
        """
        vanished = model.violation <= self.solver.constraint_tolerance
        if not self.may_lower or (vanished and self.penalty < 1.0 / _LARGEST_PENALTY):
            return False
        self.penalty *= 0.1 if vanished else 10.0 if self.lowered else 1.0
        undone, self.lowered = self.lowered and not vanished, self.lowered or vanished
        self.may_lower = not undone
        return undone

    def _adapt_curvature(self, ratio: float) -> None:
        """The convex part of a Hessian exceeds the whole of it; rho tells by how much along the step.

        At a minimum of g'd + d'Hd/2 the model promises d'Hd/2, and with H* in place of H comes d'Hd - d'H*d/2, so that
        2 - rho = d'H*d / d'Hd. Steps lengthen accordingly, as in Barzilai and Borwein's gradient method.
        """
        if math.isfinite(ratio):
            self.share = min(1.0, max(_LEAST_SHARE, self.share * (2.0 - ratio)))

    def _adapt_radius(self, ratio: float, reached: float) -> None:
        """rho1 and rho2; a radius that the step did not reach need not grow, and shrinks from where the step ended."""
        if ratio < self.solver.thresholds[1]:
            self.radius = min(self.radius, reached) / self.solver.shrink
        elif ratio >= self.solver.thresholds[2] and reached > self.radius / self.solver.grow:
            self.radius *= self.solver.grow

    def _move(self, step: Step, there: Value) -> bool:
        """Go to where the step leads, unless derivatives fail there; lower a penalty that is far too large."""
        v, multipliers = self.penalty_model.within(self.at.v + step.d), step.linear / self.cost_weight
        found = self.penalty_model.expand(v, multipliers, self.share)
        if found is None:
            self.radius = min(self.radius, 1.0) / self.solver.shrink
            return False
        arrives = not self._feasible()
        self.at, self.here, self.last = found, there, step
        if arrives and self._feasible():
            self.may_lower, self.lowered = True, False  # multipliers far from feasible points were others
        return True

    def _verdict(self, predicted: float, tried: float, moved: bool) -> Status | None:
        """Whether to stop here."""
        if np.abs(self.at.v).max(initial=0.0) > _DIVERGED:
            return Status.DIVERGED
        stuck = not moved and self.radius < _SMALLEST_RADIUS
        if self._feasible():
            if self.promise <= self.solver.tolerance:
                return Status.SOLVED
            return Status.STALLED if stuck else None
        little = predicted <= self.solver.tolerance * self.penalty * self.here.violation * min(1.0, tried)
        return self._unreached() if stuck or little or self.promise <= self.solver.tolerance else None

    def _unreached(self) -> Status | None:
        """The penalty is stationary, and rows are violated: raise the price, unless no price would help."""
        self.radius = max(self.radius, _SMALLEST_RADIUS**0.5)
        found = self._solve(self.at, 0.0, 1.0)
        if isinstance(found, str):
            return self._without_step(found)
        left = self.penalty_model.model(self.at, found.d).violation
        reduction = (self.here.violation - left) / min(1.0, self.radius)
        if reduction > _IRREDUCIBLE * self.here.violation and self.penalty < _LARGEST_PENALTY:
            self.penalty, self.may_lower = 10.0 * self.penalty, False
            return None
        size, row = self._worst()
        name = row_name(self.structure, self.problem, row)
        self.detail = f"The virtual terms do not vanish: {name} stays violated by {size:.3g}."
        return Status.INFEASIBLE if reduction <= _IRREDUCIBLE * self.here.violation else Status.STALLED

    def _without_step(self, word: str) -> Status | None:
        """Clarabel has no answer: raise the penalty if the model is unbounded, else look nearer."""
        self.detail = f"Clarabel: {word}."
        if "DualInfeasible" in word:
            self.penalty, self.may_lower = 10.0 * self.penalty, False
            return Status.DIVERGED if self.penalty > _LARGEST_PENALTY else None
        self.radius /= 10.0
        hopeless = self.radius < _SMALLEST_RADIUS or not self.penalty_model.parts.trusted.any()
        return Status.NUMERICAL_FAILURE if hopeless else None

    def _outcome(self, status: Status) -> Outcome:
        scaling, iterations = self.instance.scaling, len(self.monitor.history) - 1
        trajectory = read_trajectory(self.structure, self.problem, self.instance, scaling.invert(self.at.v))
        multipliers = {}
        if self.last is not None:
            rows, bounds = self.last.rows / self.cost_weight, self.last.bounds / self.cost_weight
            _, *elements = self.structure.program.gradients(self.at.v, self.instance.parameters, rows)
            multipliers = read_multipliers(
                self.structure,
                self.problem.initial_values,
                trajectory,
                scaling.invert_row_multipliers(rows),
                scaling.invert_variable_multipliers(bounds),
                [element.full() for element in elements],
            )
        detail = "" if status is Status.SOLVED else self.detail
        return Outcome(status, trajectory, self.here.cost, iterations, detail=detail, multipliers=multipliers)
