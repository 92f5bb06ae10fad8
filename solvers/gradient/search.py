"""One solve over continuous controls: several descents in one batch, each with multipliers of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trajopt.monitor import Monitor
from trajopt.problem import Problem
from trajopt.solver import Outcome
from trajopt.solvers.gradient.descent import Adam, Descent, LimitedMemory, Newton
from trajopt.solvers.gradient.objective import Objective, Plan, make_objective
from trajopt.solvers.kernels import shooting
from trajopt.solvers.perturbation import perturb
from trajopt.status import Status
from trajopt.trajectory import Interpolation, Trajectory

if TYPE_CHECKING:
    from trajopt.solvers.gradient_shooting import GradientShooting

Array = NDArray[np.float64]

LARGEST_PENALTY = 1e8
"""Relative to max(1, |cost|), as in iLQR: beyond it rounding of the violation's square hides the cost."""

_LOOSEST = 0.1
"""Gap at which the first multipliers are updated; each round asks for a tenth of it, down to the tolerance."""


@dataclass
class Track:
    """A descent with its multipliers.

    Attributes
    ----------
    descent, penalty
        What moves, and under which merit.
    accuracy
        Gap at which the multipliers are updated.
    error
        Infeasibility and complementarity error at their last update.
    status
        How it ended; None while it goes on.
    """

    descent: Descent
    penalty: shooting.Penalty
    accuracy: float
    error: float = math.inf
    status: Status | None = None


class Search:
    """Tracks and progress of one solve."""

    def __init__(self, solver: GradientShooting, problem: Problem, guess: Trajectory) -> None:
        self.solver, self.problem, self.guess = solver, problem, guess
        newton = solver.method == "newton"
        self.objective = make_objective(solver, problem, guess, second_order=newton)
        others = (
            perturb(problem, guess, solver.spread, (solver.seed, start)) for start in range(1, solver.starts or 1)
        )
        self.starts = np.array([problem.admissible(plan.held()) for plan in (guess, *others)])
        self.constrained = any(self.objective.rows)
        self.tracks: list[Track] = []
        self.best: Plan
        self.detail = ""

    def solve(self, monitor: Monitor) -> Outcome:
        """Value the starts, then descend from those that are finite."""
        self._begin()
        if not self.tracks:
            self.detail = "No start has a finite rollout and gradient; give another guess, or more starts."
            return Outcome(Status.NUMERICAL_FAILURE, self.guess, math.nan, 0, detail=self.detail)
        status = monitor.observe(**self._numbers()) or monitor.run(self.step, self.solver.iterations)
        if self._leader().status is Status.SOLVED:  # whatever limit the others ran into
            status = Status.SOLVED
        return finish(status, self.guess, self._answer(), len(monitor.history) - 1, self.detail)

    def _begin(self) -> None:
        penalties = [first_penalty(self.solver, self.objective, controls) for controls in self.starts]
        plans, gradients = self.objective.gradients(self.starts, penalties)
        for plan, gradient, penalty in zip(plans, gradients, penalties, strict=True):
            if math.isfinite(plan.merit) and np.isfinite(gradient).all():
                track = Track(self._make_descent(penalty), penalty, _LOOSEST if self.constrained else 0.0)
                track.accuracy = max(track.accuracy, self.solver.tolerance)
                track.descent.start(plan, gradient)
                self.tracks.append(track)
        lost = len(self.starts) - len(self.tracks)
        if lost:
            self.detail = f"{lost} of {len(self.starts)} starts were not finite; they were left out."
        if self.tracks:
            self.best = min((track.descent.plan for track in self.tracks), key=self._rank)
            for track in self.tracks:
                self._settle(track)

    def _make_descent(self, penalty: shooting.Penalty) -> Descent:
        solver, bounds = self.solver, self.problem.control_bounds
        half, size = 0.5 * (bounds[1] - bounds[0]), np.abs(self.starts[0]).max(axis=0)
        width = np.where(np.isfinite(half) & (half > 0.0), half, np.maximum(1.0, size))
        if solver.method == "lbfgs":
            return LimitedMemory(bounds, width)
        if solver.method == "newton":
            return Newton(bounds, width, lambda plan: self.objective.hessian(plan, penalty))
        shrink = solver.shrink if solver.schedule == "plateau" else 1.0
        return Adam(bounds, width, solver.rate, shrink=shrink, patience=solver.patience)

    def step(self) -> tuple[Status | None, dict[str, float]]:
        """One evaluation for each descent that goes on."""
        active = [track for track in self.tracks if track.status is None]
        if not active:
            return self._leader().status, self._numbers()
        trials = np.array([track.descent.ask() for track in active])
        plans, gradients = self.objective.gradients(trials, [track.penalty for track in active])
        for track, plan, gradient in zip(active, plans, gradients, strict=True):
            track.descent.tell(plan, gradient)
            if np.isfinite(gradient).all():
                self.best = min(self.best, plan, key=self._rank)
            self._settle(track)
        ended = all(track.status is not None for track in self.tracks)
        return (self._leader().status if ended else None), self._numbers()

    def _settle(self, track: Track) -> None:
        """Judge a descent that rests: it has ended, or goes on under new multipliers."""
        solver, descent = self.solver, track.descent
        done = descent.gap <= track.accuracy or descent.stalled
        if not (done or descent.rests):
            return
        rollout = descent.plan.rollout
        _, error = shooting.measure_all(self.objective.data, rollout, track.penalty)
        if error <= solver.constraint_tolerance:
            if descent.gap <= solver.tolerance:
                track.status = Status.SOLVED
                return
            if descent.stalled:
                track.status = Status.STALLED
                return
        elif not done:
            # Where steps only got smaller, the violation says nothing of the penalty yet.
            shooting.update_multipliers(self.objective.data, rollout, track.penalty)
        elif not update_multipliers(solver, self.objective, descent.plan, track.penalty, error, track.error):
            track.status = Status.STALLED if descent.stalled else Status.INFEASIBLE
            return
        if error > solver.constraint_tolerance:
            track.error = error if done else track.error
            (plan,), gradients = self.objective.gradients(descent.controls[None], [track.penalty])
            descent.start(plan, gradients[0])
        if done:
            track.accuracy = max(0.1 * track.accuracy, solver.tolerance)

    def _rank(self, plan: Plan) -> tuple[float, float]:
        return max(plan.violation, self.solver.constraint_tolerance), plan.cost

    def _leader(self) -> Track:
        """The track with the best plan; one that is solved before others that are not better."""
        return min(self.tracks, key=lambda track: (*self._rank(track.descent.plan), track.status is not Status.SOLVED))

    def _answer(self) -> Plan:
        """The plan that is solved, or the best that was met: under multipliers that move, a later one may be worse."""
        leader = self._leader()
        return leader.descent.plan if leader.status is Status.SOLVED else self.best

    def _numbers(self) -> dict[str, float]:
        answer, leader = self._answer(), self._leader()
        return {"cost": answer.cost, "violation": answer.violation, "stationarity": leader.descent.gap}


def first_penalty(solver: GradientShooting, objective: Objective, controls: Array) -> shooting.Penalty:
    """Zero multipliers, with the penalty that was given or balances the terms of a plan's merit."""
    penalty = objective.make_penalty(solver.initial_penalty or 1.0)
    if solver.initial_penalty is None and any(objective.rows):
        plan = objective.values(controls[None], [penalty])[0]
        if math.isfinite(plan.merit):
            weight = shooting.balanced_penalty(objective.data, plan.rollout, plan.cost)
            shooting.set_penalty(penalty, weight, weight)
    return penalty


def update_multipliers(
    solver: GradientShooting, objective: Objective, plan: Plan, penalty: shooting.Penalty, error: float, previous: float
) -> bool:
    """New multipliers at a plan, and a larger penalty where the error has not fallen to a quarter; False: too large."""
    shooting.update_multipliers(objective.data, plan.rollout, penalty)
    if error > 0.25 * previous:
        weight = float(penalty.weight[0]) * solver.penalty_growth
        shooting.set_penalty(penalty, weight, weight)
    return float(penalty.weight[0]) <= LARGEST_PENALTY * max(1.0, abs(plan.cost))


def finish(status: Status, guess: Trajectory, plan: Plan, iterations: int, detail: str) -> Outcome:
    """The outcome of a plan."""
    held = Interpolation.HOLD
    trajectory = replace(guess, x=plan.rollout.x, u=plan.rollout.u, u_mid=None, interpolation=held)
    return Outcome(status, trajectory, plan.cost, iterations, detail=detail)
