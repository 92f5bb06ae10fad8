"""What ``trajopt check`` is pointed at."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from trajopt.errors import InvalidProblem, MissingExtra, UnknownName
from trajopt.problem import Problem
from trajopt.registry import load_solver, solver_names
from trajopt.solver import Solver
from trajopt.target import configure, execute_file
from trajopt.testing.problem_suite import check_decision_process, check_problem
from trajopt.testing.results import CheckResult
from trajopt.testing.suite import check_solver


def find_subjects(text: str | None, settings: Mapping[str, Any], *, every: bool) -> list[Any]:
    """What the command line names: one subject, or with ``every`` all registered solvers whose packages are here.

    Raises
    ------
    TrajoptError
        When there is no such thing, or it is none that can be checked.
    """
    if every != (text is None):
        raise InvalidProblem(
            f"{f'--all beside {text}' if every else 'nothing to check'} was given, but either one subject or --all was "
            "expected; write `trajopt check ilqr`, or `trajopt check --all`."
        )
    if every:
        return [solver for name in solver_names() if (solver := _installed(name)) is not None]
    assert text is not None
    subject = _find(text) if ":" in text else load_solver(text)
    if isinstance(subject, type) and issubclass(subject, Solver):
        subject = subject()
    if isinstance(subject, Solver):
        return [configure(subject, dict(settings))]
    if settings:
        raise InvalidProblem(f"--set was given for {text}, but settings belong to solvers alone; leave it out.")
    if not isinstance(subject, Problem) and type(subject).__name__ != "DecisionProcess":
        raise InvalidProblem(
            f"{text} is a {type(subject).__name__}, but a solver, its class, a Problem or a DecisionProcess was "
            "expected; name one of them."
        )
    return [subject]


def check_subject(subject: Any, profile: Any) -> list[CheckResult]:
    """Run the suite for that kind of thing."""
    if isinstance(subject, Solver):
        return check_solver(subject, profile=profile)
    if isinstance(subject, Problem):
        return check_problem(subject, profile=profile)
    return check_decision_process(subject)


def _installed(name: str) -> Solver | None:
    try:
        return load_solver(name)
    except (MissingExtra, ImportError):
        return None  # a solver of an extra that is not here cannot be checked


def _find(text: str) -> Any:
    """The object that ``module:name`` or ``file.py:name`` names; either is executed: it is the user's own."""
    place, _, name = text.rpartition(":")
    if place.endswith(".py"):
        path = Path(place)
        if not path.is_file():
            raise InvalidProblem(f"{place} was given, but there is no such file; correct the path.")
        module = execute_file(path)
    else:
        sys.path.insert(0, str(Path.cwd()))  # as for `python -m`: packages beside the user are found
        try:
            module = import_module(place)
        except ImportError as error:
            raise InvalidProblem(f"{place} was given, but such a module was expected ({error}); correct it.") from error
        finally:
            sys.path.remove(str(Path.cwd()))
    if not hasattr(module, name):
        raise UnknownName(f"{text} was given, but {place} defines no {name!r}; correct the name.")
    return getattr(module, name)
