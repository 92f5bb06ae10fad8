"""``check_solver`` and ``parametrize_with_checks``: the suite, run at once or as tests of pytest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trajopt.errors import CheckFailed, InvalidProblem, MissingExtra
from trajopt.problem import Problem
from trajopt.registry import load_solver
from trajopt.solver import Solver
from trajopt.testing.registry import Check, NotApplicable, all_checks
from trajopt.testing.results import CheckResult, Verdict
from trajopt.testing.subject import Profile, Subject


def check_solver(
    solver: str | Solver,
    problems: Iterable[Problem] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    profile: Profile = "fast",
    progress: Callable[[CheckResult], object] | None = None,
) -> list[CheckResult]:
    """Run every check that a solver is subject to, by what it handles, what it claims, and which settings it has.

    Parameters
    ----------
    solver
        A solver, or the name of one for its defaults.
    problems
        Problems for the checks of every single answer, in place of the suite's own.
    expected_failures
        By names of checks, the reason why each is known to fail. One that passes nevertheless, or has nothing to look
        at, is an unexpected pass, and counts as wrong.
    profile
        "fast": seconds. "thorough": more draws, both kinds of time, and the slow checks.
    progress
        Called with each result.

    Returns
    -------
    list of CheckResult
        Whatever happened: nothing is raised for a check that fails. ``all(result.passed for result in results)`` is the
        verdict, `trajopt.testing.summary` makes a table.

    Raises
    ------
    InvalidProblem
        When an argument cannot mean anything.
    """
    subject = make_subject(solver, problems, profile)
    checks = [entry for entry in all_checks() if entry.concerns(subject)]
    expected = read_expected(expected_failures, str(subject.solver))
    idle = expected.keys() - {entry.name for entry in checks}
    if idle:
        raise InvalidProblem(
            f"{', '.join(sorted(idle))} was given in expected_failures, but names of checks that {subject.solver} is "
            f"subject to were expected ({', '.join(entry.name for entry in checks)}); correct or remove it."
        )
    results = []
    for entry in checks:
        results.append(run_check(entry, subject, expected.get(entry.name)))
        if progress is not None:
            progress(results[-1])
    return results


def make_subject(solver: str | Solver, problems: Iterable[Problem] | None, profile: str) -> Subject:
    """Read the arguments that all suites of solvers share."""
    if profile not in ("fast", "thorough"):
        raise InvalidProblem(f"profile={profile!r} was given, but 'fast' or 'thorough' was expected; pick one.")
    found = load_solver(solver) if isinstance(solver, str) else solver
    if not isinstance(found, Solver):
        raise InvalidProblem(
            f"check_solver got {found!r}, but a solver or the name of one was expected; give an instance of a subclass "
            "of trajopt.solver.Solver."
        )
    kept = None if problems is None else tuple(problems)
    for problem in kept or ():
        if not isinstance(problem, Problem):
            raise InvalidProblem(f"problems contains {problem!r}, but trajopt.Problem was expected; correct the list.")
    return Subject(found, kept, profile)  # type: ignore[arg-type]


def read_expected(expected: Mapping[str, str] | None, whose: str) -> dict[str, str]:
    """Names and reasons, each with a reason."""
    for name, reason in (expected or {}).items():
        if not isinstance(reason, str) or not reason.strip():
            raise InvalidProblem(
                f"expected_failures of {whose} names {name!r} with the reason {reason!r}, but a sentence was expected; "
                "say why it fails."
            )
    return dict(expected or {})


def run_check(entry: Check, subject: Any, reason: str | None) -> CheckResult:
    """Run one check of any suite, and say what came of it."""
    begin, message = time.perf_counter(), ""
    try:
        entry.run(subject)
        verdict = Verdict.PASSED
    except NotApplicable as why:
        verdict, message = Verdict.NOT_APPLICABLE, str(why)
    except CheckFailed as failure:
        verdict, message = Verdict.FAILED, str(failure)
    except MissingExtra as missing:
        verdict, message = Verdict.NOT_APPLICABLE, str(missing)
    if reason is not None:
        failed = verdict is Verdict.FAILED
        message = f"{reason} ({message})" if failed else f"it was expected to fail: {reason}"
        verdict = Verdict.EXPECTED_FAILURE if failed else Verdict.UNEXPECTED_PASS
    seconds = time.perf_counter() - begin
    return CheckResult(entry.name, entry.family, str(subject), verdict, message, entry.meaning, entry.rule, seconds)


def parametrize_with_checks(
    solvers: Sequence[Solver | str],
    *,
    expected_failures: Callable[[Solver], Mapping[str, str]] | None = None,
    problems: Iterable[Problem] | None = None,
    profile: Profile = "fast",
) -> Any:
    """Decorate a test of pytest, which is given ``check`` and calls it, once for each check of each solver.

    Parameters
    ----------
    solvers
        Solvers, or names of some for their defaults.
    expected_failures
        Function of a solver that gives names of checks and reasons, as in `check_solver`; each becomes a strict xfail.
    problems, profile
        As in `check_solver`.

    Raises
    ------
    MissingExtra
        When pytest is not installed.

    Examples
    --------
    >>> @parametrize_with_checks([MySolver()])  # doctest: +SKIP
    ... def test_conformance(check):
    ...     check()
    """
    try:
        import pytest  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingExtra(
            "parametrize_with_checks was called without pytest, but it makes tests of pytest; install pytest, or "
            "call check_solver."
        ) from error
    parameters = []
    kept = None if problems is None else tuple(problems)
    for solver in solvers:
        subject = make_subject(solver, kept, profile)
        given = {} if expected_failures is None else expected_failures(subject.solver)
        expected = read_expected(given, str(subject.solver))
        checks = [entry for entry in all_checks() if entry.concerns(subject)]
        idle = expected.keys() - {entry.name for entry in checks}
        if idle:
            raise InvalidProblem(
                f"expected_failures gives {', '.join(sorted(idle))} for {subject.solver}, but names of checks that it "
                "is subject to were expected; correct or remove it."
            )
        for entry in checks:
            reason = expected.get(entry.name)
            marks = [] if reason is None else [pytest.mark.xfail(reason=reason, strict=True, raises=CheckFailed)]
            call = _Bound(entry, subject)
            parameters.append(pytest.param(call, id=f"{entry.name}[{subject.solver}]", marks=marks))
    return pytest.mark.parametrize("check", parameters)


class _Bound:
    """A check with its subject, which a test of pytest calls."""

    def __init__(self, entry: Check, subject: Subject) -> None:
        self._entry, self._subject = entry, subject

    def __call__(self) -> None:
        import pytest  # noqa: PLC0415 - optional

        try:
            self._entry.run(self._subject)
        except (NotApplicable, MissingExtra) as why:
            pytest.skip(str(why))

    def __repr__(self) -> str:
        return f"{self._entry.name}[{self._subject}]"
