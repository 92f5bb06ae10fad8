"""The linear-quadratic regulator over a finite horizon.

Minimise sum_k L_k(x_k, u_k) + phi(x_N) subject to x_{k+1} = F_k(x_k, u_k), where dynamics are affine and costs
quadratic in state and control, both in any way of time: cross terms, affine terms and moving targets included. For
continuous time F_k and L_k are a Runge-Kutta step of the dynamics and of the cost under a held control; of a linear
system that step is linear again, so that the discrete problem is solved exactly.

The value function V_k(x_k + dx) = V_k(x_k) + y_k'dx + 1/2 dx'P_k dx obeys the Riccati recursion backwards in time

    q = g + F'(y + P c),    Q = H + F'PF,    k = -Q_uu^-1 q_u,    K = -Q_uu^-1 Q_ux,
    y <- q_x + K'q_u,       P <- Q_xx + Q_xu K

about a reference with gaps c, first the origin; then u = u_k + k + K dx is rolled out. A second sweep about that
trajectory confirms it: its Newton decrement, sum of -q_u'k, is zero up to rounding, which it also refines away. Solved
means that the decrement is below ``tolerance`` (1 + |cost|). Free entries of the initial state minimise V_0.

Where Q_uu has a negative eigenvalue, or a zero one along which q_u or Q_ux slopes, the cost is unbounded below. Where
nothing depends on a combination of controls, its smallest value is taken.

Reference: Anderson, Moore, Optimal Control: Linear Quadratic Methods, 1990, chapter 2; Bertsekas, Dynamic Programming
and Optimal Control I, section 4.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import UnsupportedProblem
from trajopt.linear_quadratic import nonlinear_parts
from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import Claim, Outcome, Solver
from trajopt.solvers.kernels import ddp, lqr, shooting
from trajopt.status import Status
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.held_steps import HeldSteps
from trajopt.transcription.integrators import INTEGRATORS
from trajopt.transcription.stages import compile_stages
from trajopt.validation import check_choice, check_positive

Array = NDArray[np.float64]

_SWEEPS = 5
"""One solves and one confirms; more can only refine what rounding spoiled."""


@final
@dataclass(frozen=True)
class LQR(Solver):
    """The exact solution of a linear-quadratic problem, with feedback gains, costates and value function.

    ``solution.feedback`` holds K_k, ``solution.multipliers`` holds ``costates`` y_k: (N+1, nx), ``value_hessians`` P_k:
    (N+1, nx, nx) and ``values`` V_k(x_k): (N+1,), the cost from each knot on.

    Parameters
    ----------
    integrator
        "rk4", "rk3", "midpoint" or "euler": how continuous dynamics and cost advance over a step.
    tolerance
        Newton decrement at which the cost counts as minimal, relative to 1 + |cost|; as for `ILQR`.

    Raises
    ------
    InvalidProblem
        When a setting cannot mean anything.
    """

    integrator: str = "rk4"
    tolerance: float = 1e-8

    handles: ClassVar[frozenset[Feature]] = frozenset(
        {Feature.CONTINUOUS_TIME, Feature.DISCRETE_TIME, Feature.FREE_INITIAL_STATE}
    )
    claims: ClassVar[frozenset[Claim]] = frozenset({Claim.STATIONARY, Claim.MINIMA, Claim.ONE_STEP, Claim.SCALE})

    def __post_init__(self) -> None:
        check_choice(self.integrator, "integrator", INTEGRATORS)
        check_positive(self.tolerance, "tolerance")

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Solve; the guess matters only as what is returned when there is no solution.

        Raises
        ------
        UnsupportedProblem
            When a function is not linear or quadratic.
        """
        parts = nonlinear_parts(problem)
        if parts:
            raise UnsupportedProblem(
                f"LQR was given a problem in which {' and '.join(parts)}, but linear dynamics and quadratic costs were "
                "expected; use ILQR()."
            )
        return _Run(self, problem, guess).solve(monitor)


class _Run:
    """Arrays and progress of one solve."""

    def __init__(self, solver: LQR, problem: Problem, guess: Trajectory) -> None:
        self.solver, self.problem = solver, problem
        n, nx, nu = problem.horizon.steps, problem.nx, problem.nu
        nz = nx + nu
        stages = compile_stages(problem, solver.integrator, second_order=False)
        self.functions = shooting.Functions(*(stages.code.address(name) for name in shooting.Functions._fields))
        self.data = shooting.make_data(problem, stages, guess.t)
        self.reference, self.candidate = (shooting.make_rollout(n, nx, nu, 0, 0) for _ in range(2))
        free = np.isnan(problem.initial_values)
        self.free_states = np.flatnonzero(free)
        self.reference.x[0] = np.where(free, guess.x[0], problem.initial_values)
        self.expansion = shooting.Expansion(
            np.zeros((n, nx, nz)), np.zeros((n, nz)), np.zeros((n, nz, nz)), np.zeros(nx), np.zeros((nx, nx))
        )
        self.costs = np.zeros(n)
        self.gains = ddp.Gains(np.zeros((n, nu)), np.zeros((n, nu, nx)), np.zeros((n + 1, nx)))
        self.values = lqr.Values(np.zeros((n + 1, nx, nx)), np.zeros(1))
        self.work, self.scale = ddp.make_work(nx, nu), np.ones(nu)
        # No constraints: empty rows for the kernels that iLQR shares.
        self.penalty = shooting.make_penalty(n, 0, 0)
        self.rows = shooting.make_constraint_work(nx, nu, 0, 0)
        self.answer, self.cost = guess, math.nan
        self.sweeps = 0
        self.detail = ""

    def solve(self, monitor: Monitor) -> Outcome:
        """Value the guess, then sweep about the origin, then about the answer."""
        self.reference.u[:] = self.answer.held()
        stop = monitor.observe(self.cost) if self._roll_out() else None  # a guess without a cost stops nobody
        if stop is not None:
            return Outcome(stop, self.answer, self.cost, 0)
        self.reference.u[:] = 0.0
        status = monitor.run(self.step, _SWEEPS)
        if status is Status.ITERATION_LIMIT:
            status = Status.STALLED
            self.detail = f"Rounding keeps the Newton decrement at {self.values.decrement[0]:.3g}; scale the problem."
        if self.sweeps == 0:
            return Outcome(status, self.answer, self.cost, 0, detail=self.detail)
        lqr.measure_gaps(self.functions, self.data, self.reference, self.costs)
        to_go = self.cost - np.concatenate([[0.0], np.cumsum(self.costs)])
        multipliers = {"costates": self.gains.costate, "value_hessians": self.values.V, "values": to_go}
        transcription = HeldSteps(INTEGRATORS[self.solver.integrator])
        return Outcome(
            status, self.answer, self.cost, self.sweeps, self.gains.K, self.detail, multipliers, transcription
        )

    def _roll_out(self) -> bool:
        """Simulate the reference under the gains and make that the answer; False when its cost is not finite."""
        cost, _ = shooting.simulate(
            self.functions, self.data, self.reference, self.gains.k, self.gains.K, 1.0, self.candidate, self.penalty,
            self.rows,
        )  # fmt: skip
        if not math.isfinite(cost):
            return False
        self.cost = cost
        self.answer = replace(
            self.answer,
            x=self.candidate.x.copy(),
            u=self.candidate.u.copy(),
            u_mid=None,
            interpolation=Interpolation.HOLD,
        )
        return True

    def step(self) -> tuple[Status | None, dict[str, float]]:
        """Sweep about the reference, and roll out what it gives."""
        status = self._sweep_and_roll_out()
        decrement = self.values.decrement[0]
        # The first reference does not obey the dynamics: its decrement says nothing.
        if status is None and self.sweeps > 1 and abs(decrement) <= self.solver.tolerance * (1.0 + abs(self.cost)):
            status = Status.SOLVED
        stationarity = abs(decrement) if self.sweeps > 1 else math.nan
        return status, {"cost": self.cost, "stationarity": stationarity, "step": 1.0}

    def _sweep_and_roll_out(self) -> Status | None:
        ddp.expand_all(
            self.functions, self.data, self.reference, self.penalty, self.expansion, self.gains, self.rows, False
        )
        lqr.measure_gaps(self.functions, self.data, self.reference, self.costs)
        if not all(np.isfinite(part).all() for part in (*self.expansion, self.reference.gap, self.costs)):
            self.detail = "A derivative of the dynamics or the cost is not finite at some time."
            return Status.NUMERICAL_FAILURE
        if not (self._sweep() and self._choose_initial_state()):
            return Status.DIVERGED
        if not self._roll_out():
            self.detail = "The cost of the answer overflows; scale the problem."
            return Status.NUMERICAL_FAILURE
        self.reference, self.candidate = self.candidate, self.reference
        self.candidate.x[0] = self.reference.x[0]
        self.sweeps += 1
        return None

    def _sweep(self) -> bool:
        """Gains and values of every stage; False when the cost is unbounded below."""
        lqr.start_sweep(self.expansion, self.gains, self.values, self.work)
        stage = self.problem.horizon.steps - 1
        while True:
            stage = lqr.sweep(
                stage, self.data, self.reference, self.expansion, self.scale, self.gains, self.values, self.work
            )
            if stage < 0:
                return True
            if not self._settle_singular(stage):
                return False
            lqr.finish_stage(stage, self.gains, self.values, self.work)
            stage -= 1
            if stage < 0:
                return True

    def _settle_singular(self, stage: int) -> bool:
        """Gains of a stage whose Q_uu is not positive definite; False when the cost is unbounded below."""
        nx, work = self.problem.nx, self.work
        H, F = self.expansion.H[stage], self.expansion.F[stage]
        slopes = np.column_stack([work.q[nx:], work.Q[nx:, :nx]])
        pulled = np.abs(F[:, nx:]).T
        terms = np.column_stack(
            [
                np.abs(self.expansion.g[stage, nx:]) + pulled @ np.abs(work.v),
                np.abs(H[nx:, :nx]) + pulled @ np.abs(work.V) @ np.abs(F[:, :nx]),
            ]
        )
        own = np.diag(H)[nx:]
        size = np.abs(own) + np.abs(np.diag(work.Quu) - own)
        law, downhill = _minimise(work.Quu, slopes, size, terms)
        if law is None:
            time = self.data.times[stage, 0]
            name = self.problem.dynamics.controls[int(np.argmax(np.abs(downhill)))]
            self.detail = f"At t = {time:.6g} the cost falls without limit along the control {name!r}; give it a cost."
            return False
        self.gains.k[stage], self.gains.K[stage] = law[:, 0], law[:, 1:]
        self.detail = "Nothing depends on some combination of controls; its smallest value was taken."
        return True

    def _choose_initial_state(self) -> bool:
        """Move the free entries of the initial state to the minimum of V_0; False when there is none."""
        free = self.free_states
        if free.size == 0:
            return True
        P, slope = self.values.V[0][np.ix_(free, free)], self.gains.costate[0, free]
        size = np.abs(np.diag(P))
        move, downhill = _minimise(P, slope[:, None], size, np.full((free.size, 1), np.abs(slope).max()))
        if move is None:
            name = self.problem.dynamics.states[free[int(np.argmax(np.abs(downhill)))]]
            self.detail = f"The cost falls without limit along the initial {name!r}; fix it, or give it a cost."
            return False
        self.values.decrement[0] -= slope @ move[:, 0]
        # Where a roll-out starts, it starts on its reference: the first control takes the move in.
        self.gains.k[0] += self.gains.K[0][:, free] @ move[:, 0]
        self.reference.x[0, free] += move[:, 0]
        return True


def _minimise(Q: Array, slopes: Array, size: Array, terms: Array) -> tuple[Array | None, Array]:
    """The smallest minimiser d of d'b + 1/2 d'Qd for every column b of ``slopes``, or a direction of endless descent.

    Parameters
    ----------
    Q
        (m, m) symmetric.
    slopes
        (m, n).
    size
        (m,) magnitude of the terms that were summed to the diagonal of Q: below their rounding it counts as zero.
    terms
        (m, n) the same for ``slopes``.
    """
    scale = 1.0 / np.sqrt(np.where(size > 0.0, size, 1.0))
    curvature, directions = np.linalg.eigh(scale[:, None] * Q * scale)
    rounding = lqr.ROUNDING * len(Q) ** 2
    if curvature[0] < -rounding:
        return None, scale * directions[:, 0]
    flat = curvature <= rounding
    pushed = directions.T @ (scale[:, None] * slopes)
    summed = np.abs(directions).T @ (scale[:, None] * terms)
    # What is left of a sum after half of its digits have cancelled is taken for rounding of the stages behind.
    downhill = flat & (np.abs(pushed) > np.sqrt(np.finfo(float).eps) * summed).any(axis=1)
    if downhill.any():
        return None, scale * directions[:, int(np.argmax(downhill))]
    inverse = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, curvature))
    return -scale[:, None] * (directions @ (inverse[:, None] * pushed)), np.zeros(len(Q))
