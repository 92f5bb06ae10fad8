"""Checks: properties with a name, a family, and what a solver must say of itself to be subject to them.

The registry is open: a function with the decorator `check` anywhere is one more check of every solver that it concerns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from numpy.typing import ArrayLike

from trajopt.errors import CheckFailed, InvalidProblem, MissingExtra
from trajopt.problem import Feature
from trajopt.solver import Claim
from trajopt.testing.tolerances import Rule, Tolerance

if TYPE_CHECKING:
    from trajopt.testing.subject import Subject


class Family(StrEnum):
    """What kind of property it is."""

    CERTIFICATES = "certificates"
    ORACLES = "oracles"
    METAMORPHIC = "metamorphic"
    ROBUSTNESS = "robustness"
    KERNELS = "kernels and models"
    STOCHASTIC = "stochastic"
    PROBLEM = "problem"
    DYNAMICS = "dynamics"
    DECISION_PROCESS = "decision process"


SOLVERS: Final = "solvers"
"""The suite of `check_solver`; the others are named after their family."""

MODULES: Final = tuple(family.name.lower() for family in Family)
"""Of `trajopt.testing.checks`, one for each family, in the order in which checks run."""


class NotApplicable(Exception):
    """A check that has nothing to say about a solver; the text says why."""


@final
@dataclass(frozen=True, eq=False)
class Check:
    """One property.

    Attributes
    ----------
    name
        What results and expected failures call it.
    family
        `Family`, or the word of somebody else's.
    rule
        Where its tolerance comes from.
    function
        Takes a `Subject`, and with ``each`` one problem after another; raises `CheckFailed`.
    features
        What a solver must handle to be subject to it.
    claims
        What a solver must claim to be subject to it.
    settings
        Names of settings that a solver must have to be subject to it.
    each
        Whether it is a property of every single answer, and so runs on each problem.
    thorough
        Whether it is left to the thorough profile.
    suite
        What kind of thing it checks: `SOLVERS`, or what `check_problem` and its like look at.
    """

    name: str
    family: str
    rule: Rule
    function: Callable[..., None]
    features: frozenset[Feature]
    claims: frozenset[Claim]
    settings: frozenset[str]
    each: bool
    thorough: bool
    suite: str

    @cached_property
    def meaning(self) -> str:
        """What holds if the check passes: the first paragraph of its docstring in one line."""
        return " ".join((self.function.__doc__ or "").strip().split("\n\n")[0].split())

    def concerns(self, subject: Subject) -> bool:
        """Whether the solver says of itself what subjects it to this check."""
        solver = subject.solver
        return (
            not solver.missing(self.features)
            and self.claims <= solver.claims
            and self.settings <= subject.settings.keys()
            and (subject.thorough or not self.thorough)
        )

    def run(self, subject: Subject) -> None:
        """Check the solver.

        Raises
        ------
        CheckFailed
            When the property does not hold; on every problem on which it does not.
        NotApplicable
            When there was nothing to look at.
        """
        if not self.each:
            self._call(subject)
            return
        failures, reasons, passed = [], [], 0
        problems = subject.problems(self.features)
        for problem in problems:
            try:
                self._call(subject, problem)
                passed += 1
            except NotApplicable as reason:
                reasons.append(str(reason))
            except CheckFailed as failure:
                failures.append(f"{problem.name}: {failure}")
        if failures:
            raise CheckFailed(f"on {len(failures)} of {len(failures) + passed} problems: {'; '.join(failures)}")
        if not passed:
            raise NotApplicable(reasons[0] if reasons else "no problem of the suite is one that it handles")

    def _call(self, *arguments: Any) -> None:
        try:
            self.function(*arguments)
        except (CheckFailed, MissingExtra, NotApplicable):
            raise
        except Exception as error:
            raise CheckFailed(f"{type(error).__name__} was raised: {error}") from error


_CHECKS: dict[str, Check] = {}


def check(
    family: str,
    rule: Rule,
    *,
    features: Iterable[Feature] = (),
    claims: Iterable[Claim] = (),
    settings: Iterable[str] = (),
    each: bool = False,
    thorough: bool = False,
    suite: str = SOLVERS,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a check, under its own name; its docstring is what reports print. See `Check`."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        name = function.__name__
        known = _CHECKS.get(name)
        if known is not None and known.function.__module__ != function.__module__:
            raise InvalidProblem(
                f"the check {name!r} was registered by {function.__module__}, but {known.function.__module__} has one "
                "of that name; rename it."
            )
        if not function.__doc__:
            raise InvalidProblem(f"the check {name!r} has no docstring, but a sentence of what it means was expected.")
        _CHECKS[name] = Check(
            name, family, rule, function, frozenset(features), frozenset(claims), frozenset(settings), each, thorough,
            suite,
        )  # fmt: skip
        return function

    return register


def all_checks(suite: str = SOLVERS) -> tuple[Check, ...]:
    """Every registered check of solvers, or of another kind of thing, ours by families first."""
    for module in MODULES:
        import_module(f"trajopt.testing.checks.{module}")
    order = {family.value: place for place, family in enumerate(Family)}
    found = [entry for entry in _CHECKS.values() if entry.suite == suite]
    return tuple(sorted(found, key=lambda entry: order.get(entry.family, len(order))))


def require(condition: object, sentence: str) -> None:
    """Fail with a sentence of what is wrong, unless the condition holds."""
    if not condition:
        raise CheckFailed(sentence)


def close(actual: ArrayLike, expected: ArrayLike, tolerance: Tolerance, what: str) -> None:
    """Fail where two arrays differ by more than a tolerance; the message shows the worst place."""
    actual, expected = np.asarray(actual, float), np.asarray(expected, float)
    require(actual.shape == expected.shape, f"{what} has shape {actual.shape} instead of {expected.shape}")
    if not actual.size:
        return
    with np.errstate(invalid="ignore"):
        excess = np.where(actual == expected, -np.inf, np.abs(actual - expected) - tolerance.amount)
    excess = np.where(np.isnan(excess), np.inf, excess)
    worst = np.unravel_index(int(np.argmax(excess)), excess.shape)
    if excess[worst] > 0.0:
        place = f" at {tuple(map(int, worst))}" if worst else ""
        raise CheckFailed(
            f"{what}{place} is {actual[worst]:.10g}, but {expected[worst]:.10g} was expected, within {tolerance}"
        )


def at_most(actual: float, limit: float, tolerance: Tolerance, what: str) -> None:
    """Fail where a number exceeds a limit by more than a tolerance; NaN exceeds everything."""
    if not actual <= limit + float(np.max(tolerance.amount)):
        raise CheckFailed(f"{what} is {actual:.10g}, but at most {limit:.10g} was expected, within {tolerance}")
