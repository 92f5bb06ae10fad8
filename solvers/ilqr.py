"""Iterative LQR and differential dynamic programming.

Minimise sum_k L_k(x_k, u_k) + phi(x_N) subject to x_{k+1} = F_k(x_k, u_k), controls in a box, and lower <= c <= upper
on states and controls. F_k and L_k are a Runge-Kutta step of the dynamics and of the cost under a held control.

Each iteration expands the stages to second order around the current trajectory, sweeps backwards through the Riccati
recursion for the gains

    du = k + K dx,     k = argmin of q_u'd + 1/2 d'Q_uu d in the box,     K = -Q_uu^-1 Q_ux on the free entries,

and rolls the dynamics out under u + s k + K dx for s = 1, 1/2, ... until the merit falls (Armijo). ILQR leaves the
curvature of dynamics and constraints out of Q (Gauss-Newton), DDP keeps it. Q_uu is regularised while it is not
positive definite or no step helps.

Control bounds are met exactly, by the box in k and by clipping in the rollout; all other constraints by an augmented
Lagrangian around that loop: when the inner problem is solved to its current accuracy, multipliers become l = r s
(`trajopt.solvers.kernels.shooting`), and the penalty r grows where infeasibility and complementarity error did not
fall to a quarter.

Solved means: a full Newton step would change the cost by less than ``tolerance`` |cost| (the Newton decrement),
and no constraint is violated, nor complementarity missed, by more than ``constraint_tolerance``.

References: Li, Todorov 2004; Tassa, Erez, Todorov 2012; Tassa, Mansard, Todorov 2014; Howell, Jackson, Manchester,
ALTRO, 2019; Birgin, Martinez 2014. Differs from ALTRO: no projected Newton polish, and bounds on controls are not
penalised.
"""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem
from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import SIMULATION, Outcome, Solver
from trajopt.solvers.kernels import ddp, shooting
from trajopt.status import Status
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.held_steps import HeldSteps
from trajopt.transcription.integrators import INTEGRATORS
from trajopt.transcription.stages import Stages, compile_stages
from trajopt.validation import check_positive

Array = NDArray[np.float64]

_PATIENCE = 10
"""Iterations of next to no gain after which an inner problem counts as ended."""


@dataclass(frozen=True)
class DifferentialDynamicProgramming(Solver, ABC):
    """Settings that `ILQR` and `DDP` share.

    Parameters
    ----------
    integrator
        "rk4", "rk3", "midpoint" or "euler": how continuous dynamics and cost advance over a step.
    tolerance
        Newton decrement at which the cost counts as minimal, relative to |cost|. 1e-8 lies between the digits that
        users print and the rounding of a rollout.
    constraint_tolerance
        Violation allowed, in the constraints' own units; ALTRO's default.
    iterations
        Limit on inner iterations in all.
    initial_penalty
        First penalty r; None takes the value that balances cost and violation of the first rollout (Birgin, Martinez
        2014, section 12.4).
    penalty_growth
        Factor by which r grows; ALTRO's default.
    largest_penalty
        Relative to max(1, |cost|). Beyond it rounding spoils the Riccati sweep, and the constraints count as
        infeasible.
    shortest_step
        Where the line search gives up; the paper searches ten halvings.
    """

    integrator: str = "rk4"
    tolerance: float = 1e-8
    constraint_tolerance: float = 1e-6
    iterations: int = 500
    initial_penalty: float | None = None
    penalty_growth: float = 10.0
    largest_penalty: float = 1e8
    shortest_step: float = 2.0**-10

    handles: ClassVar[frozenset[Feature]] = SIMULATION
    second_order: ClassVar[bool]

    def __post_init__(self) -> None:
        if not isinstance(self.integrator, str) or self.integrator not in INTEGRATORS:
            raise InvalidProblem(
                f"integrator={self.integrator!r} was given, but one of {', '.join(INTEGRATORS)} was expected; pick one."
            )
        for name in ("tolerance", "constraint_tolerance", "largest_penalty", "shortest_step"):
            check_positive(getattr(self, name), name)
        check_positive(self.iterations, "iterations", whole=True)
        if self.initial_penalty is not None:
            check_positive(self.initial_penalty, "initial_penalty")
        check_positive(self.penalty_growth, "penalty_growth")
        if not self.penalty_growth > 1.0:
            raise InvalidProblem(
                f"penalty_growth={self.penalty_growth} was given, but more than 1 was expected; the default is 10."
            )

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Solve from the controls of ``guess``; its states do not matter."""
        stages = compile_stages(problem, self.integrator, second_order=self.second_order)
        return _Run(self, problem, stages, guess).solve(monitor)


@final
@dataclass(frozen=True)
class ILQR(DifferentialDynamicProgramming):
    """Iterative LQR: Gauss-Newton steps, control bounds by projection, other constraints by augmented Lagrangian."""

    __doc__ = f"{__doc__}\n{DifferentialDynamicProgramming.__doc__}"
    second_order: ClassVar[bool] = False
    preference: ClassVar[int] = 5


@final
@dataclass(frozen=True)
class DDP(DifferentialDynamicProgramming):
    """Differential dynamic programming: as `ILQR`, with the curvature of dynamics and constraints (second order)."""

    __doc__ = f"{__doc__}\n{DifferentialDynamicProgramming.__doc__}"
    second_order: ClassVar[bool] = True


class _Run:
    """Arrays and progress of one solve."""

    def __init__(
        self, solver: DifferentialDynamicProgramming, problem: Problem, stages: Stages, guess: Trajectory
    ) -> None:
        self.solver, self.problem, self.guess = solver, problem, guess
        n, nx, nu = problem.horizon.steps, problem.nx, problem.nu
        nc, ne, nz = len(stages.path_names), len(stages.end_names), nx + nu
        self.functions = shooting.Functions(*(stages.code.address(name) for name in shooting.Functions._fields))
        self.stages = stages
        self.data = shooting.make_data(problem, stages, guess.t)
        shapes = [(n + 1, nx), (n, nu), (n, nc), (ne,)]
        self.current, self.candidate = (shooting.Rollout(*(np.zeros(shape) for shape in shapes)) for _ in range(2))
        self.current.x[0] = self.candidate.x[0] = problem.initial_values
        self.penalty = shooting.Penalty(np.zeros((n, nc)), np.zeros(ne), np.ones(1))
        self.expansion = shooting.Expansion(
            np.zeros((n, nx, nz)), np.zeros((n, nz)), np.zeros((n, nz, nz)), np.zeros(nx), np.zeros((nx, nx))
        )
        self.gains = ddp.Gains(np.zeros((n, nu)), np.zeros((n, nu, nx)), np.zeros((n + 1, nx)))
        self.rows = shooting.ConstraintWork(
            np.zeros((nc, nz)), np.zeros((ne, nx)), np.zeros(nc), np.zeros(ne), np.zeros((nz, nz)), np.zeros(1)
        )
        self.work = ddp.make_work(nx, nu)
        self.state = ddp.State(*(np.zeros(nu) if name == "scale" else np.zeros(1) for name in ddp.State._fields))
        self.constrained = nc * n + ne > 0
        # The first inner problems are solved loosely: their multipliers are guesses anyway (inexact method).
        self.inner_tolerance = max(solver.tolerance, 1e-3) if self.constrained else solver.tolerance
        self.previous_error = math.inf
        self.little_gains = 0
        self.expanded = False
        self.detail = ""

    def solve(self, monitor: Monitor) -> Outcome:
        """Roll the guess out, then iterate."""
        np.clip(self.guess.held(), self.data.lower, self.data.upper, out=self.candidate.u)
        if not self._roll_out_guess():
            self.detail = "The rollout of the guess is not finite; give a guess whose controls keep the state bounded."
            return self._outcome(Status.NUMERICAL_FAILURE, 0)
        stop = monitor.observe(self.state.cost[0], shooting.measure_all(self.data, self.current, self.penalty)[0])
        status = stop if stop is not None else monitor.run(self.step, self.solver.iterations)
        return self._outcome(status, len(monitor.history) - 1)

    def _roll_out_guess(self) -> bool:
        """Simulate the guess's controls, then choose the first penalty and value the rollout with it."""
        for _ in range(2):  # the second pass has the penalty in its merit
            cost, merit = shooting.simulate(
                self.functions, self.data, self.candidate, self.gains.k, self.gains.K, 0.0, self.current, self.penalty,
                self.rows,
            )  # fmt: skip
            if not math.isfinite(merit):
                self.state.cost[0] = math.nan
                return False
            self.state.cost[0], self.state.merit[0] = cost, merit
            self.penalty.weight[0] = self._first_penalty()
        return True

    def _first_penalty(self) -> float:
        if self.solver.initial_penalty is not None:
            return self.solver.initial_penalty
        squares = sum(
            float(np.sum(np.maximum(0.0, np.maximum(lower - values, values - upper)) ** 2))
            for values, lower, upper in (
                (self.current.path, self.data.path_lower, self.data.path_upper),
                (self.current.end, self.data.end_lower, self.data.end_upper),
            )
        )
        size = max(1.0, abs(self.state.cost[0]))
        return min(max(2.0 * size / max(1.0, 0.5 * squares), 1e-6 * size), 10.0 * size)

    def step(self) -> tuple[Status | None, dict[str, float]]:
        """One inner iteration, and an update of the multipliers when the inner problem is solved."""
        before = self.state.merit[0]
        verdict = ddp.iterate(
            self.functions, self.data, self.current, self.candidate, self.penalty, self.expansion, self.gains,
            self.rows, self.work, self.state, self.inner_tolerance, self.solver.shortest_step,
            self.solver.second_order, self.expanded,
        )  # fmt: skip
        self.expanded = verdict == ddp.REJECTED
        status = None
        if verdict == ddp.NOT_FINITE:
            status = Status.NUMERICAL_FAILURE
            self.detail = "A derivative along the trajectory is NaN or infinite."
        elif verdict in (ddp.CONVERGED, ddp.STALLED) or self._creeps(before):
            status = self._inner_problem_ended(verdict == ddp.CONVERGED)
        violation, _ = shooting.measure_all(self.data, self.current, self.penalty)
        numbers = {
            "cost": self.state.cost[0],
            "violation": violation,
            "stationarity": self.state.decrement[0],
            "step": self.state.length[0],
        }
        return status, numbers

    def _creeps(self, before: float) -> bool:
        """Whether ten iterations in a row together gained less than the tolerance asks of one."""
        gain = before - self.state.merit[0]
        little = gain <= 0.1 * self.inner_tolerance * ddp.magnitude(self.state)
        self.little_gains = self.little_gains + 1 if little else 0
        return self.little_gains >= _PATIENCE

    def _inner_problem_ended(self, converged: bool) -> Status | None:
        """Judge the constraints; go on with new multipliers unless they hold or cannot."""
        self.little_gains = 0
        if not self.constrained:
            return Status.SOLVED if converged else Status.STALLED
        _, error = shooting.measure_all(self.data, self.current, self.penalty)
        tight = self.inner_tolerance <= self.solver.tolerance
        if error <= self.solver.constraint_tolerance and (tight or not converged):
            return Status.SOLVED if converged else Status.STALLED
        shooting.update_multipliers(self.data, self.current, self.penalty)
        if error > max(0.25 * self.previous_error, self.solver.constraint_tolerance):
            self.penalty.weight[0] *= self.solver.penalty_growth
            if self.penalty.weight[0] > self.solver.largest_penalty * max(1.0, abs(self.state.cost[0])):
                return self._worst_row_stays(converged)
        self.previous_error = error
        # Solving the inner problem much closer than the constraints' share of the merit, r e^2, buys nothing yet.
        share = 0.01 * self.penalty.weight[0] * error**2 / ddp.magnitude(self.state)
        self.inner_tolerance = max(self.solver.tolerance, min(self.inner_tolerance, share))
        self.state.regularisation[0] = self.state.change[0] = 0.0
        self._revalue()
        return None

    def _worst_row_stays(self, converged: bool) -> Status:
        """The end when no penalty helps: infeasible if the rows' own minimum was found, else stalled on the way."""
        excess = [
            np.maximum(lower - values, values - upper)
            for values, lower, upper in (
                (self.current.path.max(axis=0, initial=-np.inf), self.data.path_lower, self.data.path_upper),
                (self.current.path.min(axis=0, initial=np.inf), self.data.path_lower, self.data.path_upper),
                (self.current.end, self.data.end_lower, self.data.end_upper),
            )
        ]
        names = (*self.stages.path_names, *self.stages.path_names, *self.stages.end_names)
        worst = int(np.argmax(np.concatenate(excess)))
        self.detail = f"The constraint {names[worst]!r} stays violated by {np.concatenate(excess)[worst]:.3g}."
        return Status.INFEASIBLE if converged else Status.STALLED

    def _revalue(self) -> None:
        """The merit of the current trajectory under the new multipliers and penalty."""
        data, penalty = self.data, self.penalty
        merit = self.state.cost[0] + shooting.penalty_of(
            self.current.end, penalty.end, penalty.weight[0], data.end_lower, data.end_upper
        )
        for values, multipliers in zip(self.current.path, penalty.path, strict=True):
            merit += shooting.penalty_of(values, multipliers, penalty.weight[0], data.path_lower, data.path_upper)
        self.state.merit[0] = merit

    def _outcome(self, status: Status, iterations: int) -> Outcome:
        trajectory = replace(
            self.guess, x=self.current.x.copy(), u=self.current.u.copy(), u_mid=None, interpolation=Interpolation.HOLD
        )
        shooting.update_multipliers(self.data, self.current, self.penalty)
        multipliers = {"costates": self.gains.costate, "path": self.penalty.path, "end": self.penalty.end}
        return Outcome(
            status, trajectory, float(self.state.cost[0]), iterations, self.gains.K, self.detail, multipliers,
            HeldSteps(INTEGRATORS[self.solver.integrator]),
        )  # fmt: skip
