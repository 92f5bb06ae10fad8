"""When phases start: what follows from the ends of those before, and what is left to choose.

A phase that a link joins to an earlier one starts when that one ends. Where all times are numbers, the start is a
number too, and there is nothing to solve for; else it is an unknown, and a row of the program ties it to the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from trajopt.errors import InvalidProblem
from trajopt.horizon import Free, Horizon
from trajopt.problem import Problem

ROUNDING = 1e-9
"""Relative difference of times that are the same number computed in two ways."""


def follow(
    phases: Sequence[Problem], before: Mapping[int, Sequence[int]]
) -> tuple[list[Problem], list[tuple[int, int]]]:
    """Set the starts of phases.

    Parameters
    ----------
    phases
        In their order.
    before
        For each phase the earlier ones at whose end it starts.

    Returns
    -------
    phases
        With starts that are numbers or `Free`.
    ties
        Pairs of phases whose end and start a row must tie together.

    Raises
    ------
    InvalidProblem
        When a start is a number that contradicts an end.
    """
    found: list[Problem] = []
    ties: list[tuple[int, int]] = []
    for number, phase in enumerate(phases):
        horizon = phase.horizon
        for earlier in before.get(number, ()):
            given = horizon.start if horizon is phase.horizon else None
            horizon = _start_after(phase, horizon, found[earlier], given)
            if isinstance(horizon.start, Free) or _span(found[earlier].horizon) is None:
                ties.append((earlier, number))
        found.append(phase if horizon is phase.horizon else replace(phase, horizon=horizon))
    return found, ties


def _start_after(phase: Problem, horizon: Horizon, earlier: Problem, given: float | Free | None) -> Horizon:
    """Return the horizon of a phase that starts when an earlier one ends."""
    end, start = _span(earlier.horizon), horizon.start
    low, high = _reach(earlier.horizon)
    guess = earlier.horizon.start_guess + earlier.horizon.duration_guess
    if not isinstance(start, Free) and given == 0.0:  # zero is the default: it follows
        return replace(horizon, start=Free(-np.inf, np.inf, guess=guess) if end is None else end)
    first, last = (float(start.lower), float(start.upper)) if isinstance(start, Free) else (start, start)  # type: ignore[arg-type]
    slack = ROUNDING * max(1.0, abs(first), abs(guess))
    if first > high + slack or last < low - slack:
        raise InvalidProblem(
            f"phase {phase.name!r} starts {_between(first, last)}, but phase {earlier.name!r}, which it follows, ends "
            f"{_between(low, high)}; leave the start out, or correct it."
        )
    if isinstance(start, Free) and end is not None:
        return replace(horizon, start=end)
    if isinstance(start, Free) and start.guess is None:
        return replace(horizon, start=Free(first, last, guess=float(np.clip(guess, first, last))))
    return horizon


def _span(horizon: Horizon) -> float | None:
    """The end, if it is a number."""
    if isinstance(horizon.start, Free) or isinstance(horizon.duration, Free):
        return None
    return float(horizon.start) + float(horizon.duration or 0.0)


def _reach(horizon: Horizon) -> tuple[float, float]:
    """The earliest and the latest end."""
    ends = [
        (float(value.lower), float(value.upper)) if isinstance(value, Free) else (float(value or 0.0),) * 2  # type: ignore[arg-type]
        for value in (horizon.start, horizon.duration)
    ]
    return ends[0][0] + ends[1][0], ends[0][1] + ends[1][1]


def _between(low: float, high: float) -> str:
    return f"at t={low:g}" if low == high else f"between t={low:g} and t={high:g}"
