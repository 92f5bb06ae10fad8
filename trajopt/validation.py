"""Checks of settings, with one sentence for what was given, what was expected and what to do."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np

from trajopt.errors import InvalidProblem


def is_number(value: Any) -> bool:
    """Whether it is a finite number: comparisons of anything else would raise, or mean nothing."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any, least: int) -> bool:
    """Whether it is an integer of at least ``least``: things are counted with it."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= least


def check(value: Any, what: str, expected: str, valid: bool, advice: str = "correct it") -> None:
    """Refuse a value in one sentence, unless it is ``valid``."""
    if not valid:
        raise InvalidProblem(f"{what}={value!r} was given, but {expected} was expected; {advice}.")


def check_positive(value: Any, what: str) -> None:
    """Refuse what is no positive finite number."""
    check(value, what, "a positive number", is_number(value) and value > 0)


def check_whole(value: Any, what: str, least: int) -> None:
    """Refuse what is no whole number of at least ``least``."""
    check(value, what, f"a whole number of at least {least}", is_whole(value, least))


def check_choice(value: Any, what: str, choices: Iterable[str]) -> None:
    """Refuse what is none of the names."""
    good = isinstance(value, str) and value in choices
    check(value, what, f"one of {', '.join(choices)}", good, "pick one")
