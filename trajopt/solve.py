"""``solve``: one call for every problem and every solver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, overload

from trajopt.errors import InvalidProblem, SolveFailed
from trajopt.guess import make_guess
from trajopt.monitor import Iteration, Monitor
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.multi_phase_solution import MultiPhaseSolution
from trajopt.phase_guesses import make_guesses
from trajopt.problem import Problem
from trajopt.registry import find_solver
from trajopt.solution import Solution
from trajopt.solver import Memory, MultiPhaseOutcome, MultiPhaseSolver, Outcome, Solver
from trajopt.status import Status
from trajopt.validation import check, check_positive


@overload
def solve(
    problem: Problem,
    solver: str | Solver = "auto",
    *,
    guess: Any = None,
    parameters: Mapping[str, Any] | None = None,
    memory: Memory | None = None,
    max_time: float | None = None,
    callback: Callable[[Iteration], object] | None = None,
    progress: bool = False,
    raise_on_failure: bool = False,
) -> Solution: ...


@overload
def solve(
    problem: MultiPhaseProblem,
    solver: str | Solver = "auto",
    *,
    guess: Any = None,
    parameters: Mapping[str, Any] | None = None,
    max_time: float | None = None,
    callback: Callable[[Iteration], object] | None = None,
    progress: bool = False,
    raise_on_failure: bool = False,
) -> MultiPhaseSolution: ...


def solve(
    problem: Problem | MultiPhaseProblem,
    solver: str | Solver = "auto",
    *,
    guess: Any = None,
    parameters: Mapping[str, Any] | None = None,
    memory: Memory | None = None,
    max_time: float | None = None,
    callback: Callable[[Iteration], object] | None = None,
    progress: bool = False,
    raise_on_failure: bool = False,
) -> Solution | MultiPhaseSolution:
    """Solve an optimal-control problem.

    Parameters
    ----------
    problem
        What to solve: a `Problem`, or a `MultiPhaseProblem`.
    solver
        A solver such as ``ILQR(tolerance=1e-8)``, the name of one, or "auto" for the preferred one that handles it.
    guess
        A `Solution` of any solver, arrays ``(t, x, u)``, or None for the problem's own guess or a straight line. For
        several phases a `MultiPhaseSolution`, a list of such guesses, or a dictionary of them by names of phases.
    parameters
        New values of parameters for this solve; nothing is compiled again.
    memory
        ``solution.memory`` of an earlier solve by this solver, moved with its ``shift`` as far as the horizon moved: a
        sampling solver then goes on from its proposal, elites and multipliers. Solvers without memory need none.
    max_time
        Seconds after which the best so far is returned with status TIME_LIMIT.
    callback
        Called with each `Iteration`; if it returns True, the solve stops with status STOPPED.
    progress
        Show the iterations live on standard error.
    raise_on_failure
        Raise `SolveFailed`, which carries the solution, instead of returning a solution without success.

    Returns
    -------
    Solution or MultiPhaseSolution
        Whatever happened: look at ``solution.success`` and ``solution.certified``.

    Raises
    ------
    InvalidProblem, UnsupportedProblem, UnknownName
        When what was given makes no sense, or the solver does not handle it; before the first iteration.
    SolveFailed
        With ``raise_on_failure=True``.
    """
    if not isinstance(problem, Problem | MultiPhaseProblem):
        raise InvalidProblem(
            f"solve got a {type(problem).__name__}, but a Problem was expected; make one with trajopt.Problem(...)."
        )
    if max_time is not None:
        check_positive(max_time, "max_time")
    if callback is not None and not callable(callback):
        raise InvalidProblem(f"callback={callback!r} was given, but a function of an Iteration was expected; pass one.")
    known = memory is None or (isinstance(memory, Memory) and isinstance(problem, Problem))
    check(memory, "memory", "the memory of a solution of one phase, or None", known)
    problem = problem.at(parameters=parameters)
    chosen = find_solver(solver, problem)
    start = make_guess(problem, guess) if isinstance(problem, Problem) else make_guesses(problem, guess)
    if not progress:
        monitor = Monitor(max_time, callback)
        solution = _finish(problem, chosen, _run(problem, chosen, start, monitor, memory), monitor)
    else:
        from trajopt.view.progress import Progress  # noqa: PLC0415 - the display loads only when asked for

        with Progress(problem, chosen) as display:
            monitor = Monitor(max_time, callback, display.show)
            outcome = _run(problem, chosen, start, monitor, memory)
        solution = _finish(problem, chosen, outcome, monitor)
    if raise_on_failure and not solution.success:
        raise SolveFailed(f"{chosen} ended with status {solution.status}: {solution.message}", solution)
    return solution


def _run(
    problem: Problem | MultiPhaseProblem, solver: Solver, start: Any, monitor: Monitor, memory: Memory | None
) -> Outcome | MultiPhaseOutcome:
    parts = [start] if isinstance(problem, Problem) else start
    try:
        if isinstance(problem, Problem):
            return solver.resume(problem, start, monitor, memory)
        assert isinstance(solver, MultiPhaseSolver)  # which find_solver sees to
        return solver.run_phases(problem, start, monitor)
    except KeyboardInterrupt:
        # The solver had nothing better yet: it was still preparing.
        nothing = [Outcome(Status.INTERRUPTED, part, float("nan"), 0) for part in parts]
        return nothing[0] if isinstance(problem, Problem) else MultiPhaseOutcome(tuple(nothing))


def _finish(
    problem: Problem | MultiPhaseProblem, solver: Solver, outcome: Outcome | MultiPhaseOutcome, monitor: Monitor
) -> Solution | MultiPhaseSolution:
    if isinstance(outcome, Outcome):
        assert isinstance(problem, Problem)
        return _solution(problem, solver, outcome, monitor)
    assert isinstance(problem, MultiPhaseProblem)
    phases = tuple(_solution(p, solver, o, monitor) for p, o in zip(problem.joined, outcome.phases, strict=True))
    first = phases[0]
    return MultiPhaseSolution(
        problem=problem,
        solver=first.solver,
        status=first.status,
        names=problem.names,
        # A phase alone is another problem: its own transcription would give the derivatives of that one.
        phases=tuple(replace(phase, history=(), transcription=None) for phase in phases),
        cost=float(sum(phase.cost for phase in phases)),
        iterations=first.iterations,
        history=first.history,
        seconds=first.seconds,
        multipliers=problem.model.by_name(outcome.links) if outcome.links.size else {},
        detail=first.detail,
    )


def _solution(problem: Problem, solver: Solver, outcome: Outcome, monitor: Monitor) -> Solution:
    return Solution(
        problem=problem,
        solver=str(solver),
        status=outcome.status,
        trajectory=outcome.trajectory,
        cost=outcome.cost,
        iterations=outcome.iterations,
        history=tuple(monitor.history),
        seconds=monitor.seconds,
        feedback=outcome.feedback,
        multipliers=dict(outcome.multipliers),
        detail=outcome.detail,
        transcription=outcome.transcription,
        memory=outcome.memory,
    )
