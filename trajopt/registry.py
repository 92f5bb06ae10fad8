"""Finds solvers by name through the ``trajopt.solvers`` entry points, ours and everybody's."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points

from trajopt.errors import InvalidProblem, MissingExtra, UnknownName, UnsupportedProblem
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.problem import Problem
from trajopt.solver import MultiPhaseSolver, Solver

GROUP = "trajopt.solvers"

SEVERAL_PHASES = "several phases"
"""What messages call that which only a `MultiPhaseSolver` handles."""


def solver_names() -> list[str]:
    """Names that ``solve(problem, name)`` understands."""
    return sorted(set(entry_points(group=GROUP).names))


def lacks(solver: Solver, problem: Problem | MultiPhaseProblem) -> list[str]:
    """What a problem has and a solver does not handle, sorted."""
    missing = [str(feature) for feature in solver.missing(problem.features)]
    joins = isinstance(problem, Problem) or isinstance(solver, MultiPhaseSolver)
    return sorted(missing if joins else [*missing, SEVERAL_PHASES])


def find_solver(solver: str | Solver, problem: Problem | MultiPhaseProblem) -> Solver:
    """The solver itself, the one of that name with its defaults, or for "auto" the preferred one for the problem.

    Raises
    ------
    UnknownName
        When nobody registered the name.
    UnsupportedProblem
        When the solver does not handle the problem, or for "auto" none does.
    """
    if isinstance(solver, Solver):
        found = solver
    elif isinstance(solver, type) and issubclass(solver, Solver):
        raise InvalidProblem(
            f"the class {solver.__name__} was given as solver, but an instance was expected; write {solver.__name__}()."
        )
    elif not isinstance(solver, str):
        raise InvalidProblem(
            f"solver={solver!r} was given, but a solver or a name was expected; known names: "
            f"{', '.join(solver_names())}."
        )
    elif solver == "auto":
        return _preferred(problem)
    else:
        found = load_solver(solver)
    missing = lacks(found, problem)
    if missing:
        able = [name for name, other in _all().items() if not lacks(other, problem)]
        raise UnsupportedProblem(
            f"{type(found).__name__} was given a problem with {', '.join(missing)}, which it does not handle; "
            f"use {' or '.join(able) if able else 'another formulation: no registered solver handles it'}."
        )
    return found


def load_solver(name: str) -> Solver:
    """The solver registered under ``name``, with its defaults."""
    for entry in entry_points(group=GROUP, name=name):
        return _load(entry)
    near = difflib.get_close_matches(name, solver_names(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known names: {', '.join(solver_names())}."
    raise UnknownName(f"solver {name!r} was given, but nobody registered that name; {hint}")


def _load(entry: EntryPoint) -> Solver:
    found = entry.load()()
    if not isinstance(found, Solver):
        raise InvalidProblem(f"the entry point {entry.value!r} is registered as a solver, but gives {found!r}.")
    return found


def _all() -> dict[str, Solver]:
    """Every registered solver whose packages are installed."""
    solvers = {}
    for entry in entry_points(group=GROUP):
        try:
            solvers[entry.name] = _load(entry)
        except (MissingExtra, ImportError):
            continue  # a solver of an extra that is not here is no candidate
    return dict(sorted(solvers.items()))


def _preferred(problem: Problem | MultiPhaseProblem) -> Solver:
    able = [solver for solver in _all().values() if not lacks(solver, problem)]
    if not able:
        raise UnsupportedProblem(
            f"the problem has {', '.join(sorted(problem.features))}, but no registered solver handles all of that; "
            "reformulate one of them."
        )
    return max(able, key=lambda solver: solver.rank(problem.features))
