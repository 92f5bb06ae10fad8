"""``solve``: one call for every problem and every solver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trajopt.errors import InvalidProblem, SolveFailed
from trajopt.guess import make_guess
from trajopt.monitor import Iteration, Monitor
from trajopt.problem import Problem
from trajopt.registry import find_solver
from trajopt.solution import Solution
from trajopt.solver import Outcome, Solver
from trajopt.status import Status
from trajopt.validation import check_positive


def solve(
    problem: Problem,
    solver: str | Solver = "auto",
    *,
    guess: Any = None,
    parameters: Mapping[str, Any] | None = None,
    max_time: float | None = None,
    callback: Callable[[Iteration], object] | None = None,
    progress: bool = False,
    raise_on_failure: bool = False,
) -> Solution:
    """Solve an optimal-control problem.

    Parameters
    ----------
    problem
        What to solve.
    solver
        A solver such as ``ILQR(tolerance=1e-8)``, the name of one, or "auto" for the preferred one that handles it.
    guess
        A `Solution` of any solver, arrays ``(t, x, u)``, or None for the problem's own guess or a straight line.
    parameters
        New values of parameters for this solve; nothing is compiled again.
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
    Solution
        Whatever happened: look at ``solution.success`` and ``solution.certified``.

    Raises
    ------
    InvalidProblem, UnsupportedProblem, UnknownName
        When what was given makes no sense, or the solver does not handle it; before the first iteration.
    SolveFailed
        With ``raise_on_failure=True``.
    """
    if not isinstance(problem, Problem):
        raise InvalidProblem(
            f"solve got a {type(problem).__name__}, but a Problem was expected; make one with trajopt.Problem(...)."
        )
    if max_time is not None:
        check_positive(max_time, "max_time")
    if callback is not None and not callable(callback):
        raise InvalidProblem(f"callback={callback!r} was given, but a function of an Iteration was expected; pass one.")
    problem = problem.at(parameters=parameters)
    chosen = find_solver(solver, problem)
    start = make_guess(problem, guess)
    if not progress:
        return _finish(problem, chosen, *_run(problem, chosen, start, Monitor(max_time, callback)), raise_on_failure)
    from trajopt.view.progress import Progress  # noqa: PLC0415 - the display loads only when asked for

    with Progress(problem, chosen) as display:
        monitor = Monitor(max_time, callback, display.show)
        outcome = _run(problem, chosen, start, monitor)
    return _finish(problem, chosen, *outcome, raise_on_failure)


def _run(problem: Problem, solver: Solver, start: Any, monitor: Monitor) -> tuple[Outcome, Monitor]:
    try:
        return solver.run(problem, start, monitor), monitor
    except KeyboardInterrupt:
        # The solver had nothing better yet: it was still preparing.
        return Outcome(Status.INTERRUPTED, start, float("nan"), 0), monitor


def _finish(problem: Problem, solver: Solver, outcome: Outcome, monitor: Monitor, raise_on_failure: bool) -> Solution:
    solution = Solution(
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
    )
    if raise_on_failure and not solution.success:
        raise SolveFailed(f"{solver} ended with status {solution.status}: {solution.message}", solution)
    return solution
