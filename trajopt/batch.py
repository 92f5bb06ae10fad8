"""``solve_batch``: many instances of one problem, in threads or on joblib's backends.

The instances share the traced functions and whatever was compiled from them; only numbers differ. Each is solved by
`trajopt.solve` itself, so its solution is the one that it would have alone, to the last bit, whatever the number of
threads and the order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from threading import Event
from typing import Any, Literal, final

import numpy as np

from trajopt.errors import InvalidProblem, MissingExtra, TrajoptError, UnsupportedProblem
from trajopt.guess import make_guess
from trajopt.monitor import Iteration
from trajopt.problem import Feature, Problem
from trajopt.registry import find_solver
from trajopt.solution import Solution
from trajopt.solve import solve
from trajopt.solver import Solver
from trajopt.status import Status
from trajopt.threads import read_threads, run_in_order
from trajopt.trajectory import Trajectory


def solve_batch(
    problem: Problem,
    solver: str | Solver = "auto",
    *,
    initial_states: Any = None,
    parameters: Mapping[str, Any] | None = None,
    guesses: Sequence[Any] | None = None,
    threads: int | None = None,
    max_time: float | None = None,
    backend: Literal["threads", "joblib"] = "threads",
    progress: bool = False,
) -> list[Solution]:
    """Solve many instances of one problem.

    What is left out is the same for all instances; give at least one of the three.

    Parameters
    ----------
    problem
        What all have in common.
    solver
        As for `solve`.
    initial_states
        (n, nx) numbers, None where free: one row for each instance.
    parameters
        By name n values, one for each instance: ``{"mass": np.linspace(1.0, 2.0, n)}``.
    guesses
        List of n guesses as for `solve`, None for the default one.
    threads
        Instances at a time; None for as many as there are processors, or workers of the joblib backend.
    max_time
        Seconds for the whole batch; instances that have not ended by then have status TIME_LIMIT.
    backend
        "threads" of this process: the kernels of iLQR, DDP, LQR and MPPI release the interpreter lock. "joblib" sends
        instances to other processes: loky's by default, or those of the backend chosen with ``joblib.parallel_config``,
        for example a Dask cluster. Functions travel by value; each process traces the problem once.
    progress
        Show how many are done on standard error.

    Returns
    -------
    list of Solution
        One for each instance, in order. A solve without success is one of them, as its status says. After Ctrl-C those
        that had not ended have status INTERRUPTED, with the best so far or the guess.

    Raises
    ------
    InvalidProblem, UnsupportedProblem, UnknownName
        When what was given makes no sense for some instance, which the message names.
    MissingExtra
        When joblib is asked for and not installed.
    """
    if not isinstance(problem, Problem):
        raise InvalidProblem(
            f"solve_batch got a {type(problem).__name__}, but a Problem was expected; make one with Problem(...)."
        )
    if max_time is not None and not max_time > 0.0:
        raise InvalidProblem(
            f"max_time={max_time} was given, but a positive number of seconds was expected; correct it."
        )
    if backend not in ("threads", "joblib"):
        raise InvalidProblem(f"backend={backend!r} was given, but 'threads' or 'joblib' was expected; pick one.")
    read_threads(threads, 1)
    instances = _make_instances(problem, solver, initial_states, parameters, guesses)
    deadline = None if max_time is None else time.time() + max_time
    with _Display(len(instances)) if progress else nullcontext() as display:
        if backend == "threads":
            return _solve_in_threads(instances, threads, deadline, display)
        return _solve_with_joblib(problem, instances, threads, deadline, display)


@dataclass(frozen=True, eq=False)
class _Instance:
    """One problem of the batch, ready to be solved."""

    problem: Problem
    solver: Solver
    guess: Trajectory

    def solve(self, deadline: float | None, stop: Event | None = None) -> Solution:
        """As `trajopt.solve` would, but for the clock of the batch and its end."""
        left = None if deadline is None else deadline - time.time()
        if left is not None and left <= 0.0:
            return self.unsolved(Status.TIME_LIMIT)

        def ended(_: Iteration) -> bool:
            return stop is not None and stop.is_set()

        try:
            solution = solve(self.problem, self.solver, guess=self.guess, max_time=left, callback=ended)
        except (InvalidProblem, UnsupportedProblem):
            raise  # misuse, which no other instance makes better
        except TrajoptError as error:
            return self.unsolved(Status.NUMERICAL_FAILURE, str(error))
        if solution.status is Status.STOPPED:
            return replace(solution, status=Status.INTERRUPTED)
        return solution

    def unsolved(self, status: Status, detail: str = "The solve was not started.") -> Solution:
        """The guess in place of a solution."""
        return Solution(self.problem, str(self.solver), status, self.guess, float("nan"), 0, detail=detail)


def _make_instances(
    problem: Problem, solver: str | Solver, initial_states: Any, parameters: Any, guesses: Any
) -> list[_Instance]:
    """Read everything before anything is solved, so that a mistake in the last instance costs nothing."""
    columns: dict[str, Any] = {}
    if initial_states is not None:
        columns["initial_states"] = _sequence("initial_states", initial_states)
    if parameters is not None and not isinstance(parameters, Mapping):
        raise InvalidProblem(
            f"parameters of type {type(parameters).__name__} was given, but a dictionary with a list of values for "
            "each name was expected; write {'mass': [1.0, 2.0]}."
        )
    named = dict(parameters or {})
    columns |= {f"parameters[{name!r}]": _sequence(f"parameters[{name!r}]", named[name]) for name in named}
    if guesses is not None:
        columns["guesses"] = _sequence("guesses", guesses)
    if not columns:
        raise InvalidProblem(
            "solve_batch was given no initial_states, parameters or guesses, but at least one of them was expected, "
            "with a value for each instance; for a single instance call solve."
        )
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        given = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidProblem(
            f"{given}, but one value for each instance was expected in all of them; make them equally long."
        )
    solvers: dict[frozenset[Feature], Solver] = {}
    instances = []
    for index in range(next(iter(lengths.values()))):
        values = {name: columns[f"parameters[{name!r}]"][index] for name in named}
        state = None if initial_states is None else columns["initial_states"][index]
        guess = None if guesses is None else columns["guesses"][index]
        try:
            variant = problem.at(parameters=values or None, initial_state=state)
            if variant.features not in solvers:
                solvers[variant.features] = find_solver(solver, variant)
            instances.append(_Instance(variant, solvers[variant.features], make_guess(variant, guess)))
        except (InvalidProblem, UnsupportedProblem) as error:
            raise type(error)(f"instance {index}: {error}") from error
    return instances


def _sequence(name: str, values: Any) -> Any:
    """``values`` as something with a length, one entry for each instance."""
    single = isinstance(values, str | Mapping | Trajectory | Solution) or not hasattr(values, "__getitem__")
    if single or np.ndim(values if isinstance(values, np.ndarray | np.generic) else [0]) == 0:
        raise InvalidProblem(
            f"{name}={values!r} was given, but one entry for each instance was expected; write a list."
        )
    return values


def _solve_in_threads(
    instances: Sequence[_Instance], threads: int | None, deadline: float | None, display: _Display | None
) -> list[Solution]:
    stop = Event()

    def call(index: int) -> Solution:
        if stop.is_set():
            return instances[index].unsolved(Status.INTERRUPTED)
        solution = instances[index].solve(deadline, stop)
        if solution.status is Status.INTERRUPTED:
            stop.set()
        return solution

    after = None if display is None else display.count
    return run_in_order(call, len(instances), read_threads(threads, max(1, len(instances))), stop, after)


def _solve_with_joblib(
    problem: Problem,
    instances: Sequence[_Instance],
    threads: int | None,
    deadline: float | None,
    display: _Display | None,
) -> list[Solution]:
    """Send numbers to joblib's workers, and collect solutions until all are there or Ctrl-C comes."""
    try:
        import cloudpickle  # noqa: F401, PLC0415 - an extra
        import joblib  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra(
            f"backend='joblib' was asked for, but {error.name} is not installed; write pip install "
            "'trajopt[distributed]'."
        ) from error
    recipe = _pack(problem)
    tasks = (
        joblib.delayed(_solve_elsewhere)(
            recipe, each.problem.parameters, each.problem.initial_state, each.solver, each.guess, deadline
        )
        for each in instances
    )
    solutions: list[Solution] = []
    try:
        backend: Any = joblib.parallel.get_active_backend()[0]
        # Ray's backend hands over everything at the end; the others one solution after the other.
        kind = "generator" if backend.supports_return_generator else "list"
        workers = joblib.Parallel(n_jobs=-1 if threads is None else threads, return_as=kind)
        answers: Iterator[Any] = iter(workers(tasks))
        for instance, found in zip(instances, answers, strict=True):
            solutions.append(replace(found, problem=instance.problem))
            if display is not None:
                display.count(found)
    except KeyboardInterrupt:
        pass
    except TrajoptError:
        raise
    except Exception as error:  # whatever the backend of the user's choice raises when it loses a worker
        raise TrajoptError(
            f"the workers of joblib's backend failed ({type(error).__name__}: {error}), but {len(instances)} solutions "
            "were expected; solve fewer at a time, or use backend='threads'."
        ) from error
    return solutions + [each.unsolved(Status.INTERRUPTED) for each in instances[len(solutions) :]]


def _pack(problem: Problem) -> bytes:
    """What another process needs to make the problem anew: expressions and machine code cannot travel, functions can.

    A guess may be a solution with a problem of its own; its trajectory is enough.
    """
    import cloudpickle  # noqa: PLC0415 - an extra; pickles lambdas and local functions by value

    parts = {part.name: getattr(problem, part.name) for part in fields(problem)}
    if problem.guess is not None:
        parts["guess"] = make_guess(problem, None)
    try:
        return cloudpickle.dumps(parts)
    except Exception as error:  # pickling calls methods of whatever the functions refer to
        raise InvalidProblem(
            f"the functions of the problem refer to something that cannot be sent to another process ({error}), but "
            "the joblib backend must send them; let them refer to numbers, arrays and functions only, or use "
            "backend='threads'."
        ) from error


@lru_cache(maxsize=4)
def _unpack(recipe: bytes) -> Problem:
    """The problem, once for each process and batch."""
    import cloudpickle  # noqa: PLC0415 - an extra

    return Problem(**cloudpickle.loads(recipe))  # bytes that the caller's own process sent, never a file


def _solve_elsewhere(
    recipe: bytes, parameters: Any, initial_state: Any, solver: Solver, guess: Trajectory, deadline: float | None
) -> Solution:
    """Solve one instance in a worker; the solution returns without its problem."""
    variant = _unpack(recipe).at(parameters=parameters or None, initial_state=initial_state)
    return replace(_Instance(variant, solver, guess).solve(deadline), problem=None)


@final
class _Display:
    """A bar on standard error; silent where nobody watches."""

    def __init__(self, total: int) -> None:
        from rich.console import Console  # noqa: PLC0415 - the display loads only when asked for
        from rich.progress import Progress  # noqa: PLC0415

        console = Console(stderr=True)
        self._progress = Progress(console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task("solving", total=total)

    def count(self, solution: Solution) -> None:
        """One more is done."""
        self._progress.update(self._task, advance=1, refresh=True)

    def __enter__(self) -> _Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
