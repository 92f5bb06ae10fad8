"""How things are timed: competitors take turns, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One line of the table of targets; times are in seconds unless ``unit`` says otherwise.

    Attributes
    ----------
    what
        What was measured.
    anchor, target
        The published figure, and what this library is to reach, as text.
    ours
        Measured here; None where it could not be.
    others
        Measured here, by name of the software.
    unit
        "s", or what a plain number counts.
    note
        What the reader must know in order not to misread the numbers.
    """

    what: str
    anchor: str
    target: str
    ours: float | None
    others: Mapping[str, float] = field(default_factory=dict)
    unit: str = "s"
    note: str = ""


def take_turns(calls: Mapping[str, Callable[[], object]], rounds: int, repeat: int = 1) -> dict[str, float]:
    """Median seconds of each call, over ``rounds`` rounds in which each runs ``repeat`` times.

    The first round is not counted: it loads code and touches memory.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(repeat):
                call()
            if turn:
                seconds[name].append((time.perf_counter() - start) / repeat)
    return {name: statistics.median(values) for name, values in seconds.items()}


def duration(seconds: float | None) -> str:
    """Three digits with a fitting unit."""
    if seconds is None:
        return "-"
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= 0.9995 * size:  # what would be rounded to 1000 of the next unit
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
