"""What a command line names: a problem of the library or of a file of the user's, and settings of it and its solver."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem, TrajoptError, UnknownName, UnsupportedProblem
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.problem import Problem
from trajopt.registry import find_solver, load_solver
from trajopt.solver import Solver

if TYPE_CHECKING:
    from trajopt.problems.reference import Reference


@dataclass(frozen=True, eq=False)
class Target:
    """What to solve and with what.

    Attributes
    ----------
    problem
        With the settings of the command line.
    solver
        With the settings of the command line.
    reference
        What is known about the problem; None for a user's own.
    """

    problem: Problem | MultiPhaseProblem
    solver: Solver
    reference: Reference | None


def read_setting(text: str) -> tuple[str, Any]:
    """A pair from ``key=value``; the value is a Python literal, a number such as ``inf``, or else text."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip().isidentifier():
        raise InvalidProblem(f"--set {text} was given, but key=value was expected; write --set tolerance=1e-8.")
    for read in (ast.literal_eval, float):
        try:
            return key.strip(), read(value.strip())
        except (ValueError, SyntaxError):
            continue
    return key.strip(), value.strip()


def find_target(
    text: str, solver: str = "auto", *, steps: int | None = None, settings: Mapping[str, Any] | None = None
) -> Target:
    """Find problem and solver, and give each setting to the one that has it.

    Parameters
    ----------
    text
        A name of the library, or ``file.py:variable``.
    solver
        A registered name or "auto".
    steps
        Number of intervals instead of the problem's own.
    settings
        By name: parameters of the problem first, then settings of the solver, then constants of the library's problem.

    Raises
    ------
    TrajoptError
        When a file, variable, name or setting does not exist or does not fit.
    """
    settings = dict(settings or {})
    if steps is not None and steps < 1:
        raise InvalidProblem(f"--steps {steps} was given, but a positive whole number was expected; correct it.")
    own = ".py" in text
    problem, reference = (_read_file(text, steps), None) if own else _read_library(text, steps, {})
    parameters = {key: settings.pop(key) for key in list(settings) if key in problem.layout.shapes}
    chosen = find_solver(solver, problem) if solver == "auto" else load_solver(solver)
    fields = [entry.name for entry in dataclasses.fields(chosen)] if dataclasses.is_dataclass(chosen) else []
    chosen = configure(chosen, {key: settings.pop(key) for key in list(settings) if key in fields})
    if settings and own:
        raise UnknownName(
            f"the setting {next(iter(settings))!r} was given, but a parameter of the problem "
            f"({', '.join(problem.layout.shapes) or 'it has none'}) or a setting of the solver "
            f"({', '.join(fields)}) was expected; correct its name."
        )
    if settings:
        try:
            problem, reference = _read_library(text, steps, settings)
        except InvalidProblem as error:
            raise InvalidProblem(f"{error} Settings of the solver are {', '.join(fields)}.") from error
    moved = bool(settings or parameters) or (steps is not None and not _continuous(problem))
    if reference is not None and moved:
        # The published number belongs to the published constants.
        reference = dataclasses.replace(reference, optimum=None, digits=0, solution=None)
    problem = problem.at(parameters=parameters or None)
    return Target(problem, find_solver(chosen, problem), reference)


def _continuous(problem: Problem | MultiPhaseProblem) -> bool:
    """Whether the number of steps is a matter of accuracy and not of the problem."""
    return isinstance(problem, MultiPhaseProblem) or problem.dynamics.continuous


def configure(solver: Solver, settings: dict[str, Any]) -> Solver:
    """The solver with those settings; an InvalidProblem where it refuses them."""
    if not settings:
        return solver
    try:
        return dataclasses.replace(solver, **settings)  # type: ignore[type-var]
    except TrajoptError:
        raise
    except (TypeError, ValueError) as error:
        shown = ", ".join(f"{key}={value!r}" for key, value in settings.items())
        raise InvalidProblem(
            f"{shown} was given to {type(solver).__name__}, but values that it accepts were expected ({error})."
        ) from error


def _read_library(name: str, steps: int | None, constants: Mapping[str, Any]) -> tuple[Problem, Reference]:
    from trajopt import problems  # noqa: PLC0415 - the core does not know the library; its command line does

    sizes = {} if steps is None else {"steps": steps}
    try:
        problem = problems.load(name, **sizes, **constants)
        if isinstance(problem, DecisionProcess):
            raise UnsupportedProblem(
                f"{name} is a decision problem, but solvers of optimal-control problems were asked for; decide it with "
                "trajopt.decide and one of its planners."
            )
        return problem, problems.reference(name)
    except (TypeError, ValueError) as error:
        if isinstance(error, TrajoptError):
            raise
        shown = ", ".join(f"{key}={value!r}" for key, value in constants.items())
        raise InvalidProblem(f"{name} was given {shown}, but other values were expected ({error}).") from error


def _read_file(text: str, steps: int | None) -> Problem | MultiPhaseProblem:
    """The problem in a variable of a Python file, which is executed: it is the user's own, named by the user."""
    file, _, variable = text.rpartition(":")
    if not file.endswith(".py") or not variable.isidentifier():
        raise InvalidProblem(f"{text} was given, but a file and a variable were expected; write my_problem.py:problem.")
    path = Path(file)
    if not path.is_file():
        raise InvalidProblem(f"{file} was given, but there is no such file; correct the path.")
    module = execute_file(path)
    if variable not in vars(module):
        known = [name for name, value in vars(module).items() if isinstance(value, Problem | MultiPhaseProblem)]
        raise UnknownName(
            f"the variable {variable!r} of {file} was asked for, but the file defines no such variable; "
            f"{'it has the problems ' + ', '.join(known) if known else 'it defines no Problem at all'}."
        )
    problem = vars(module)[variable]
    if not isinstance(problem, Problem | MultiPhaseProblem):
        raise InvalidProblem(
            f"{text} is a {type(problem).__name__}, but a Problem was expected; name the variable that holds it."
        )
    if steps is not None:
        if isinstance(problem, MultiPhaseProblem):
            raise InvalidProblem(
                f"--steps {steps} was given for {text}, which has several phases, but each of them has steps of its "
                "own; change them in the file."
            )
        problem = dataclasses.replace(problem, horizon=dataclasses.replace(problem.horizon, steps=steps))
    return problem


def execute_file(path: Path) -> Any:
    """The module of a Python file of the user's, with what it raises as one sentence with its line."""
    spec = importlib.util.spec_from_file_location("trajopt_user_problem", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and type hints of the file look themselves up here
    sys.path.insert(0, str(path.resolve().parent))  # as for a script: the file may import its neighbours
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
        line = lines[-1] if lines else getattr(error, "lineno", None)
        where = f"{path}, line {line}" if line else f"{path}"
        what = str(error) if isinstance(error, TrajoptError) else f"the file raised {type(error).__name__}: {error}"
        raise InvalidProblem(f"{where}: {what}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module
