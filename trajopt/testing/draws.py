"""Hypothesis inside a check: the same draws every time in the fast profile, many in the thorough one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trajopt.errors import MissingExtra

if TYPE_CHECKING:
    from trajopt.testing.subject import Subject

FEW, MANY = 6, 100
"""Draws of a fast and of a thorough run: a fast one must not take longer than the solver's own tests."""


def for_all(subject: Subject, strategy: Callable[[], Any], body: Callable[[Any], None]) -> None:
    """Call ``body`` with values that the strategy draws.

    Parameters
    ----------
    subject
        Its profile says how many.
    strategy
        Function that makes the strategy: importing `trajopt.testing.strategies` needs Hypothesis.
    body
        Fails with `CheckFailed`.

    Raises
    ------
    MissingExtra
        When Hypothesis is not installed.
    """
    try:
        from hypothesis import HealthCheck, Phase, given, settings  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingExtra(
            "this check draws problems, but Hypothesis is not installed; install trajopt[testing]."
        ) from error

    # Shrinking solves again and again: a fast run names the example as it was drawn.
    phases = [Phase.generate, Phase.shrink] if subject.thorough else [Phase.generate]
    run = settings(
        max_examples=MANY if subject.thorough else FEW, deadline=None, derandomize=True, database=None, phases=phases,
        suppress_health_check=tuple(HealthCheck),  # type: ignore[arg-type]
    )  # fmt: skip

    @run
    @given(strategy())
    def every(case: Any) -> None:
        body(case)

    every()
