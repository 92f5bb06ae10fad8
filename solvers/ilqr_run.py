"""One solve by iLQR or DDP: the augmented Lagrangian around the inner iterations, and Newton's method at its end."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from trajopt.monitor import Monitor
from trajopt.problem import Problem
from trajopt.solver import Outcome
from trajopt.solvers.kernels import ddp, newton, shooting
from trajopt.status import Status
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.held_steps import HeldSteps
from trajopt.transcription.integrators import INTEGRATORS
from trajopt.transcription.stages import Stages, compile_stages

if TYPE_CHECKING:
    from trajopt.solvers.ilqr import DifferentialDynamicProgramming

ROUNDING = 100.0 * float(np.finfo(float).eps)
"""Of a step, relative to the states: smaller gaps are those of a trajectory that another program rolled out."""

PATIENCE = 10
"""Iterations of next to no gain after which an inner problem counts as ended."""

FIRST_TOLERANCE = 1e-2
"""Of the first inner problems, whose multipliers are guesses anyway; ALTRO's problems set theirs between 1e-3 and 1e-1
of the cost."""

PROGRESS = 0.25
"""Part of the last error above which the penalty grows, or below which Newton's method is tried once more."""

STIFFENING = 1e4
"""Penalty of a Newton step over that of the augmented Lagrangian: each step closes the rows to 1e-4 of what an update
of the multipliers leaves, and 1e4 roundings are still far below the tolerances."""


class Run:
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
        self.current, self.candidate = (shooting.make_rollout(n, nx, nu, nc, ne) for _ in range(2))
        self.penalty = shooting.make_penalty(n, nc, ne)
        self.expansion = shooting.Expansion(
            np.zeros((n, nx, nz)), np.zeros((n, nz)), np.zeros((n, nz, nz)), np.zeros(nx), np.zeros((nx, nx))
        )
        self.gains = ddp.Gains(np.zeros((n, nu)), np.zeros((n, nu, nx)), np.zeros((n + 1, nx)))
        self.rows = shooting.make_constraint_work(nx, nu, nc, ne)
        self.work = ddp.make_work(nx, nu)
        self.state = ddp.make_state(nx, nu)
        self.constrained = nc * n + ne > 0
        # The first inner problems are solved loosely: their multipliers are guesses anyway (inexact method).
        refines = self.constrained or (solver.newton and not solver.second_order)
        self.inner_tolerance = max(solver.tolerance, FIRST_TOLERANCE) if refines else solver.tolerance
        self.target = shooting.make_penalty(n, nc, ne)
        self.kept = shooting.make_rollout(n, nx, nu, nc, ne)
        self.kept_multipliers = shooting.make_penalty(n, nc, ne)
        self.refining, self.failed_error = False, math.inf
        self.previous_error = math.inf
        self.little_gains = 0
        self.expanded = False
        self.detail = ""

    def solve(self, monitor: Monitor) -> Outcome:
        """Value the guess, then iterate."""
        if not self.start():
            self.detail = "Neither the guess's states nor the rollout of its controls is finite; give another guess."
            return self._outcome(Status.NUMERICAL_FAILURE, 0)
        stop = monitor.observe(self.state.cost[0], self._violation())
        status = stop if stop is not None else monitor.run(self.step, self.solver.iterations)
        return self._outcome(status, len(monitor.history) - 1)

    def start(self) -> bool:
        """Value the guess as it is, with gaps, or the rollout of its controls where it is not finite or has none."""
        self._adopt_multipliers()
        np.clip(self.guess.held(), self.data.lower, self.data.upper, out=self.current.u)
        self.current.x[:] = self.guess.x
        self.current.x[0] = self.problem.initial_values
        merit = self._value_guess()
        total, largest = shooting.gap_size(self.current)
        if not math.isfinite(merit) or 0.0 < largest <= ROUNDING * (1.0 + np.abs(self.current.x).max()):
            self.current.gap[:] = total = 0.0
            shooting.simulate(
                self.functions, self.data, self.current, self.gains.k, self.gains.K, 0.0, self.candidate, self.penalty,
                self.rows,
            )  # fmt: skip
            ddp.copy_rollout(self.candidate, self.current)
            if not math.isfinite(self._value_guess()):
                self.state.cost[0] = math.nan
                return False
        weight = self._first_penalty()
        shooting.set_penalty(self.penalty, weight, weight)
        self._revalue()
        self.state.gap[0] = total
        return True

    def _adopt_multipliers(self) -> None:
        """Take those of a guess that has them: those that this method found for a neighbouring problem."""
        given = self.guess.multipliers
        if all(np.shape(given.get(name)) == getattr(self.penalty, name).shape for name in ("path", "end")):
            self.penalty.path[:], self.penalty.end[:] = given["path"], given["end"]

    def _value_guess(self) -> float:
        """Cost, gaps and constraint values of the current states and controls; returns the merit."""
        cost, merit = shooting.evaluate(self.functions, self.data, self.current, self.penalty, self.rows)
        self.state.cost[0] = cost
        return merit

    def _violation(self) -> float:
        """Largest violation of a constraint, or gap of the dynamics."""
        violation, _ = shooting.measure_all(self.data, self.current, self.penalty)
        return violation if self.state.gap[0] == 0.0 else max(violation, shooting.gap_size(self.current)[1])

    def _first_penalty(self) -> float:
        """What balances cost and violation of the guess (Birgin, Martinez 2014, section 12.4), unless it was given."""
        if self.solver.initial_penalty is not None:
            return self.solver.initial_penalty
        return shooting.balanced_penalty(self.data, self.current, self.state.cost[0])

    def step(self) -> tuple[Status | None, dict[str, float]]:
        """One inner iteration, and an update of the multipliers when the inner problem is solved."""
        if self.refining:
            finished = self._refine()
            if finished is not None:
                return finished
        before, gap = self.state.merit[0], self.state.gap[0]
        verdict = ddp.iterate(
            self.functions, self.data, self.current, self.candidate, self.penalty, self.expansion, self.gains,
            self.rows, self.work, self.state, self.solver.tolerance, self.inner_tolerance, self.solver.shortest_step,
            self.solver.second_order, self.expanded,
        )  # fmt: skip
        self.expanded = verdict == ddp.REJECTED
        gain = before - self.state.merit[0] + self.state.gap_weight[0] * (gap - self.state.gap[0])
        status = None
        if verdict == ddp.NOT_FINITE:
            status = Status.NUMERICAL_FAILURE
            self.detail = "A derivative along the trajectory is NaN or infinite."
        elif verdict in (ddp.CONVERGED, ddp.ENDING, ddp.STALLED) or self._creeps(gain):
            status = self._inner_problem_ended(verdict in (ddp.CONVERGED, ddp.ENDING), verdict == ddp.CONVERGED)
        return status, self._numbers()

    def _numbers(self) -> dict[str, float]:
        """What the monitor records."""
        return {
            "cost": self.state.cost[0],
            "violation": self._violation(),
            "stationarity": self.state.decrement[0],
            "step": self.state.length[0],
        }

    def _creeps(self, gain: float) -> bool:
        """Whether ten iterations in a row gained less than the tolerance asks of one."""
        little = gain <= 0.1 * self.inner_tolerance * ddp.magnitude(self.state)
        self.little_gains = self.little_gains + 1 if little else 0
        return self.little_gains >= PATIENCE

    def _inner_problem_ended(self, converged: bool, exact: bool) -> Status | None:
        """Judge the constraints; go on with new multipliers unless they hold or cannot."""
        self.little_gains = 0
        if self.state.gap[0] > 0.0:
            return None if self._close_gaps() else Status.STALLED
        if not self.constrained:
            return self._free_problem_ended(converged, exact)
        _, error = shooting.measure_all(self.data, self.current, self.penalty)
        if error <= self.solver.constraint_tolerance and (exact or not converged):
            return Status.SOLVED if converged else Status.STALLED
        shooting.update_multipliers(self.data, self.current, self.penalty)
        if error > max(PROGRESS * self.previous_error, self.solver.constraint_tolerance):
            weight = self.solver.penalty_growth * self.penalty.weight[0]
            shooting.set_penalty(self.penalty, weight, weight)
            if self.penalty.weight[0] > self.solver.largest_penalty * max(1.0, abs(self.state.cost[0])):
                return self._worst_row_stays(converged)
        self.previous_error = error
        # Solving the inner problem much closer than the constraints' share of the merit, r e^2, buys nothing yet.
        share = 0.01 * self.penalty.weight[0] * error**2 / ddp.magnitude(self.state)
        self.inner_tolerance = max(self.solver.tolerance, min(self.inner_tolerance, share))
        self.state.regularisation[0] = self.state.change[0] = 0.0
        self._revalue()
        self._start_refining()
        return None

    def _close_gaps(self) -> bool:
        """Take a full step whatever it costs, because none improves the merit; False where its rollout diverges."""
        cost, merit = shooting.simulate(
            self.functions, self.data, self.current, self.gains.k, self.gains.K, 1.0, self.candidate, self.penalty,
            self.rows,
        )  # fmt: skip
        if not math.isfinite(merit):
            self.detail = "The dynamics are still broken; a guess whose states obey them better may help."
            return False
        ddp.copy_rollout(self.candidate, self.current)
        self.state.cost[0], self.state.merit[0] = cost, merit
        self.state.gap[0] = self.state.regularisation[0] = self.state.change[0] = 0.0
        return True

    def _free_problem_ended(self, converged: bool, exact: bool) -> Status | None:
        """As `_inner_problem_ended`, where there are no constraints."""
        if exact:
            return Status.SOLVED
        if self.solver.second_order or self.inner_tolerance <= self.solver.tolerance:
            return None if converged else Status.STALLED
        self._start_refining()
        return None

    def _start_refining(self) -> None:
        """Go on by Newton's method, from here and with these multipliers."""
        _, error = shooting.measure_all(self.data, self.current, self.penalty)
        if not self.solver.newton or error > PROGRESS * self.failed_error:
            return
        self.failed_error = error
        ddp.copy_rollout(self.current, self.kept)
        self.kept_multipliers.path[:], self.kept_multipliers.end[:] = self.penalty.path, self.penalty.end
        self.kept_cost = self.state.cost[0]
        judge = self.penalty.weight[0]
        largest = self.solver.largest_penalty * max(1.0, abs(self.state.cost[0]))
        shooting.set_penalty(self.penalty, min(STIFFENING * judge, largest), judge)
        self.state.regularisation[0] = self.state.change[0] = self.state.row_weight[0] = 0.0
        self.refining, self.little_gains = True, 0

    def _refine(self) -> tuple[Status | None, dict[str, float]] | None:
        """One Newton step, or None where there is none: then the inner problem goes on where it was left."""
        verdict = newton.iterate(
            self.exact_functions,
            self.data,
            self.current,
            self.candidate,
            self.penalty,
            self.target,
            self.expansion,
            self.gains,
            self.rows,
            self.work,
            self.state,
            self.solver.tolerance,
            self.solver.constraint_tolerance,
        )
        if verdict == ddp.CONVERGED:
            return Status.SOLVED, self._numbers()
        if verdict == ddp.ACCEPTED and not self._creeps(self.state.gain[0]):
            return None, self._numbers()
        self._restore()
        return None

    def _restore(self) -> None:
        """Go back to where Newton's method began."""
        self.refining = self.expanded = False
        ddp.copy_rollout(self.kept, self.current)
        self.penalty.path[:], self.penalty.end[:] = self.kept_multipliers.path, self.kept_multipliers.end
        self.state.cost[0] = self.kept_cost
        shooting.set_penalty(self.penalty, self.penalty.judge[0], self.penalty.judge[0])
        self.state.regularisation[0] = self.state.change[0] = 0.0
        self._revalue()
        if not self.constrained:
            self.inner_tolerance = max(self.solver.tolerance, 0.1 * self.inner_tolerance)

    @functools.cached_property
    def exact_functions(self) -> shooting.Functions:
        """The stages with their whole curvature; compiled when they are first needed."""
        stages = compile_stages(self.problem, self.solver.integrator, second_order=True)
        return shooting.Functions(*(stages.code.address(name) for name in shooting.Functions._fields))

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
        if not self.refining:  # Newton's method moves them itself
            shooting.update_multipliers(self.data, self.current, self.penalty)
        multipliers = {"costates": self.gains.costate, "path": self.penalty.path, "end": self.penalty.end}
        return Outcome(
            status, trajectory, float(self.state.cost[0]), iterations, self.gains.K, self.detail, multipliers,
            HeldSteps(INTEGRATORS[self.solver.integrator]),
        )  # fmt: skip
