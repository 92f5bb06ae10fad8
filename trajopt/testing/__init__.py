"""The conformance suite: properties that every solver, problem, dynamics model and decision process must have.

`check_solver` runs the checks that a solver's own declarations subject it to; `parametrize_with_checks` makes tests of
pytest of them. Neither pytest nor Hypothesis is needed to import this package, and the checks that draw with Hypothesis
are left out, with a sentence, where it is not installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trajopt.testing.problem_suite import Symmetry, check_decision_process, check_dynamics, check_problem
    from trajopt.testing.registry import Check, NotApplicable, all_checks, at_most, check, close, require
    from trajopt.testing.regression import Change, compare, record
    from trajopt.testing.results import CheckResult, Verdict, summary
    from trajopt.testing.subject import Subject
    from trajopt.testing.suite import check_solver, parametrize_with_checks

_HOME = {
    "Change": "regression",
    "Check": "registry",
    "CheckResult": "results",
    "NotApplicable": "registry",
    "Subject": "subject",
    "Symmetry": "problem_suite",
    "Verdict": "results",
    "all_checks": "registry",
    "at_most": "registry",
    "check": "registry",
    "check_decision_process": "problem_suite",
    "check_dynamics": "problem_suite",
    "check_problem": "problem_suite",
    "check_solver": "suite",
    "close": "registry",
    "compare": "regression",
    "parametrize_with_checks": "suite",
    "record": "regression",
    "require": "registry",
    "summary": "results",
}

__all__ = [
    "Change",
    "Check",
    "CheckResult",
    "NotApplicable",
    "Subject",
    "Symmetry",
    "Verdict",
    "all_checks",
    "at_most",
    "check",
    "check_decision_process",
    "check_dynamics",
    "check_problem",
    "check_solver",
    "close",
    "compare",
    "parametrize_with_checks",
    "record",
    "require",
    "summary",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'trajopt.testing' has no name {name!r}; it has {', '.join(__all__)}.")
    return getattr(import_module(f"trajopt.testing.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
