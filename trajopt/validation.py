"""Checks of plain numbers, with one sentence for what was given, what was expected and what to do."""

from __future__ import annotations

import math
import numbers
from typing import Any

from trajopt.errors import InvalidProblem


def check_positive(value: Any, what: str, *, whole: bool = False) -> None:
    """Refuse what is no positive finite number, or with ``whole`` no positive whole number."""
    kind = numbers.Integral if whole else numbers.Real
    good = isinstance(value, kind) and not isinstance(value, bool) and 0.0 < float(value) < math.inf
    if not good:
        expected = "whole number" if whole else "number"
        raise InvalidProblem(f"{what}={value!r} was given, but a positive {expected} was expected; correct it.")
