"""What came of a check, and tables of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import final


class Verdict(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"
    EXPECTED_FAILURE = "expected failure"
    UNEXPECTED_PASS = "unexpected pass"


@final
@dataclass(frozen=True)
class CheckResult:
    """One check of one subject.

    Attributes
    ----------
    name
        Of the check.
    family
        Of the check.
    subject
        What was checked, as text.
    verdict
        `Verdict`.
    message
        What is wrong, why it does not apply, or the reason why the failure is expected; empty where it passed.
    meaning
        What holds if the check passes.
    rule
        Where its tolerance comes from.
    seconds
        Wall time.
    """

    name: str
    family: str
    subject: str
    verdict: Verdict
    message: str
    meaning: str
    rule: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong: a failure is, and so is a pass where a failure was expected."""
        return self.verdict not in (Verdict.FAILED, Verdict.UNEXPECTED_PASS)

    def __str__(self) -> str:
        return f"{self.name}[{self.subject}]: {self.verdict}{f': {self.message}' if self.message else ''}"


def summary(results: Sequence[CheckResult]) -> str:
    """A table of all results, and one line of how many ended in which way."""
    from rich.console import Console  # noqa: PLC0415 - loads only when printed

    from trajopt.view.checks import checks_table  # noqa: PLC0415

    text = io.StringIO()
    console = Console(file=text, width=120, color_system=None)
    console.print(checks_table(results))
    console.print(tally(results))
    return text.getvalue().rstrip()


def tally(results: Sequence[CheckResult]) -> str:
    """How many ended in which way: "41 passed, 2 failed"."""
    counts = [(verdict, sum(result.verdict is verdict for result in results)) for verdict in Verdict]
    return ", ".join(f"{count} {verdict}" for verdict, count in counts if count) or "no check ran"
