"""Solvers made of solvers: one after another, and one from many starts.

`Chain` hands the answer of each stage to the next as its guess: a global search finds the valley, a local method its
bottom. A stage without success does not end the chain, since the next one may repair its answer; a limit of time, an
interruption or the callback does.

`MultiStart` runs a solver from its guess and from random neighbours of it (`trajopt.solvers.perturbation`), and keeps
the cheapest success. Neither the number of starts nor that of threads changes what a start does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from threading import Event
from typing import Any, final

import numpy as np

from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.guess import make_guess
from trajopt.monitor import Iteration, Monitor
from trajopt.problem import Feature, Problem
from trajopt.registry import load_solver
from trajopt.solver import Claim, Outcome, Solver
from trajopt.solvers.perturbation import perturb
from trajopt.status import Status
from trajopt.threads import read_threads, run_in_order
from trajopt.trajectory import Trajectory
from trajopt.validation import check_positive, check_whole

_FEASIBLE = 1e-6
"""Violations below it do not tell answers apart: it is what solvers allow by default."""


@final
@dataclass(frozen=True, init=False)
class Chain(Solver):
    """Several solvers, each starting from the answer of the one before.

    The last stage decides what kinds of problems the chain is for; a problem that an earlier one cannot treat is
    refused before anything runs, and the message names the stage. Time limit, callback and history are those of the
    whole chain; every stage keeps its own limit on iterations.

    If the last stage succeeds, its outcome is returned; else the best of all stages by success, violation and cost, in
    this order, with the status of whatever cut the chain short. ``solution.message`` tells what each stage did.

    Parameters
    ----------
    *solvers
        Solvers, or names of solvers for their defaults: ``Chain(MPPI(), "ilqr", Collocation())``.

    Raises
    ------
    InvalidProblem
        When there is none, or something is no solver.
    UnknownName
        When nobody registered a name.
    """

    solvers: tuple[Solver, ...]

    def __init__(self, *solvers: Solver | str) -> None:
        if not solvers:
            raise InvalidProblem(
                "Chain() was given no solver, but at least one was expected; write Chain('mppi', 'ilqr')."
            )
        object.__setattr__(self, "solvers", tuple(_read_solver("Chain", solver) for solver in solvers))

    @property
    def handles(self) -> frozenset[Feature]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the last stage handles."""
        return self.solvers[-1].handles

    @property
    def claims(self) -> frozenset[Claim]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the last stage says of where it ends; how it gets there is another matter after the stages before it."""
        return self.solvers[-1].claims & {Claim.STATIONARY, Claim.MINIMA}

    def missing(self, features: frozenset[Feature]) -> frozenset[Feature]:
        """What the last stage does not handle."""
        return self.solvers[-1].missing(features)

    def __str__(self) -> str:
        """The stages with those of their settings that are not the defaults."""
        return f"Chain({', '.join(map(str, self.solvers))})"

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Run the stages in order.

        Raises
        ------
        UnsupportedProblem
            When a stage does not handle the problem; before the first one starts.
        """
        _refuse(self, problem)
        done: list[_Answer] = []
        stop = None
        for solver in self.solvers:
            answer, stop = _run_stage(solver, problem, guess, monitor)
            if answer is not None:
                done.append(answer)
                guess = answer.as_guess(problem, guess)
            if stop is not None:
                break
        if not done:
            raise KeyboardInterrupt  # before there was anything to return
        return _conclude(self.solvers, done, stop)


@final
@dataclass(frozen=True)
class MultiStart(Solver):
    """One solver from several guesses: the given one, and random neighbours of it.

    The answer is the best of all starts by success, violation and cost, in this order. One record of the history stands
    for one start and holds cost and violation of the best so far.

    Parameters
    ----------
    solver
        A solver, or the name of one for its defaults.
    starts
        How many, the unchanged guess among them.
    seed
        Whole number of at least zero.
    spread
        Size of the perturbations, see `trajopt.solvers.perturbation`; 0.5 leaves the bounds two standard deviations
        away from the middle.
    threads
        Starts at a time; None for as many as there are processors. The result does not depend on it.

    Raises
    ------
    InvalidProblem
        When a setting cannot mean anything.
    UnknownName
        When nobody registered the name.
    """

    solver: Solver | str
    starts: int = 8
    seed: int = 0
    spread: float = 0.5
    threads: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "solver", _read_solver("MultiStart", self.solver))
        check_whole(self.starts, "starts", 1)
        check_whole(self.seed, "seed", 0)
        check_positive(self.spread, "spread")
        read_threads(self.threads, self.starts)

    def __str__(self) -> str:
        """The solver, and those settings that are not the defaults."""
        changed = [
            f"{setting.name}={getattr(self, setting.name)!r}"
            for setting in fields(self)
            if setting.name != "solver" and getattr(self, setting.name) != setting.default
        ]
        return f"MultiStart({', '.join([str(self.inner), *changed])})"

    @property
    def inner(self) -> Solver:
        """The solver that runs from each start."""
        assert isinstance(self.solver, Solver)  # a name was resolved when this was made
        return self.solver

    @property
    def handles(self) -> frozenset[Feature]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the solver handles."""
        return self.inner.handles

    @property
    def claims(self) -> frozenset[Claim]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the solver says of where it ends; other starts may end elsewhere."""
        return self.inner.claims & {Claim.STATIONARY, Claim.MINIMA}

    def missing(self, features: frozenset[Feature]) -> frozenset[Feature]:
        """What the solver does not handle."""
        return self.inner.missing(features)

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Run all starts."""
        _refuse(self, problem)
        return _Starts(self, problem, guess, monitor).run()


@dataclass(frozen=True, eq=False)
class _Answer:
    """What a stage or a start ended with, and its violation as its solver measures it."""

    outcome: Outcome
    violation: float

    def rank(self) -> tuple[bool, bool, float, float]:
        """Smaller is better; a number that is not finite never wins."""
        cost, violation = self.outcome.cost, self.violation
        sound = math.isfinite(cost) and math.isfinite(violation)
        if not sound:
            return True, True, math.inf, math.inf
        return False, not self.outcome.status.success, max(violation, _FEASIBLE), cost

    def as_guess(self, problem: Problem, otherwise: Trajectory) -> Trajectory:
        """Its trajectory as a guess, unless something in there is not finite."""
        found = self.outcome.trajectory
        sound = all(np.isfinite(part).all() for part in (found.t, found.x, found.u))
        return make_guess(problem, found) if sound else otherwise

    def __str__(self) -> str:
        return f"{self.outcome.status}, cost {self.outcome.cost:.6g}"


def _run_inner(
    solver: Solver, problem: Problem, guess: Trajectory, seconds: float, callback: Callable[[Iteration], object]
) -> _Answer | None:
    """Run one solver under a monitor of its own; None when it was interrupted before it had anything."""
    monitor = Monitor(seconds, callback)
    try:
        outcome = solver.run(problem, guess, monitor)
    except KeyboardInterrupt:
        return None
    return _Answer(outcome, monitor.history[-1].violation if monitor.history else math.inf)


def _run_stage(
    solver: Solver, problem: Problem, guess: Trajectory, monitor: Monitor
) -> tuple[_Answer | None, Status | None]:
    """Run a stage of a chain; also returns why the chain must end with it, or None."""
    stops: list[Status] = []

    def forward(record: Iteration) -> bool:
        stop = monitor.observe(record.cost, record.violation, record.stationarity, record.step)
        # A number that is not finite ends the stage, by its own monitor, but not the chain.
        if stop is not None and stop is not Status.NUMERICAL_FAILURE:
            stops.append(stop)
        return bool(stops)

    answer = _run_inner(solver, problem, guess, monitor.seconds_left, forward)
    if answer is None or answer.outcome.status is Status.INTERRUPTED:
        return answer, Status.INTERRUPTED
    if not stops and monitor.seconds_left <= 0.0:
        stops.append(Status.TIME_LIMIT)
    return answer, stops[0] if stops else None


def _conclude(solvers: Sequence[Solver], done: Sequence[_Answer], stop: Status | None) -> Outcome:
    """The outcome of a chain: that of its last stage, else the best one."""
    complete = len(done) == len(solvers) and done[-1].outcome.status.success
    chosen = (done[-1] if complete else min(done, key=_Answer.rank)).outcome
    story = [f"{type(solver).__name__}: {answer}" for solver, answer in zip(solvers, done, strict=False)]
    story += [f"{type(solver).__name__}: not started" for solver in solvers[len(done) :]]
    status = chosen.status if complete or stop is None else stop
    iterations = sum(answer.outcome.iterations for answer in done)
    return replace(chosen, status=status, iterations=iterations, detail=f"{'; '.join(story)}. {chosen.detail}".strip())


class _Starts:
    """One run of a `MultiStart`."""

    def __init__(self, solver: MultiStart, problem: Problem, guess: Trajectory, monitor: Monitor) -> None:
        self.solver, self.problem, self.guess, self.monitor = solver, problem, guess, monitor
        self.stop = Event()
        self.stopped_by_callback = False
        self.best: _Answer | None = None

    def run(self) -> Outcome:
        solver = self.solver
        threads = read_threads(solver.threads, solver.starts)
        answers = run_in_order(self._solve_from, solver.starts, threads, self.stop, self._compare)
        done = {start: answer for start, answer in enumerate(answers) if answer is not None}
        if self.best is None:
            raise KeyboardInterrupt  # before there was anything to return
        outcome, status = self.best.outcome, self.best.outcome.status
        if self.stop.is_set():
            status = Status.STOPPED if self.stopped_by_callback else Status.INTERRUPTED
        elif not status.success and self.monitor.seconds_left <= 0.0:
            status = Status.TIME_LIMIT
        successes = sum(answer.outcome.status.success for answer in done.values())
        which = next(start for start, answer in done.items() if answer is self.best)
        detail = (
            f"{successes} of {solver.starts} starts succeeded, the best is number {which}. {outcome.detail}".strip()
        )
        iterations = sum(answer.outcome.iterations for answer in done.values())
        return replace(outcome, status=status, iterations=iterations, detail=detail)

    def _solve_from(self, start: int) -> _Answer | None:
        """One start; None when the end has come before it."""
        if self.stop.is_set() or (start > 0 and self.monitor.seconds_left <= 0.0):
            return None
        guess = (
            perturb(self.problem, self.guess, self.solver.spread, (self.solver.seed, start)) if start else self.guess
        )
        answer = _run_inner(
            self.solver.inner, self.problem, guess, self.monitor.seconds_left, lambda _: self.stop.is_set()
        )
        if answer is None or answer.outcome.status is Status.INTERRUPTED:
            self.stop.set()
        return answer

    def _compare(self, answer: _Answer | None) -> None:
        """Keep the better one; of equals the first."""
        if answer is None:
            return
        if self.best is None or answer.rank() < self.best.rank():
            self.best = answer
        if math.isfinite(self.best.outcome.cost):  # else there is nothing to show yet
            stop = self.monitor.observe(self.best.outcome.cost, self.best.violation)
            if stop is Status.STOPPED and not self.stop.is_set():
                self.stopped_by_callback = True
                self.stop.set()


def _read_solver(where: str, solver: Any) -> Solver:
    """The solver itself, or the one of that name."""
    if isinstance(solver, str):
        return load_solver(solver)
    if not isinstance(solver, Solver):
        raise InvalidProblem(
            f"{where} was given {solver!r}, but solvers or their names were expected; write ILQR() or 'ilqr'."
        )
    return solver


def _refuse(solver: Solver, problem: Problem) -> None:
    """Raise when the solver, or one that it is made of, does not handle the problem; name that one."""
    if isinstance(solver, Chain):
        for stage in solver.solvers:
            _refuse(stage, problem)
    elif isinstance(solver, MultiStart):
        _refuse(solver.inner, problem)
    missing = solver.missing(problem.features)
    if missing:
        raise UnsupportedProblem(
            f"a stage, {solver}, was given a problem with {', '.join(sorted(missing))}, which it does not handle; "
            "leave it out, or put another solver in its place."
        )
