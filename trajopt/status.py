"""How a solve ended. The value is the short name, the sentence is for the user."""

from __future__ import annotations

from enum import Enum


class Status(Enum):
    """Outcome of a solve; ``success`` holds for SOLVED alone."""

    SOLVED = ("solved", "The solver met its tolerances.")
    ITERATION_LIMIT = ("iteration limit", "The iteration limit came before the tolerances were met.")
    TIME_LIMIT = ("time limit", "The time limit came before the tolerances were met.")
    INTERRUPTED = ("interrupted", "The solve was interrupted; this is the best so far.")
    STOPPED = ("stopped", "The callback stopped the solve; this is the best so far.")
    STALLED = ("stalled", "No step improves the trajectory any more, but the tolerances are not met.")
    INFEASIBLE = (
        "infeasible",
        "No nearby trajectory satisfies the constraints; the violation cannot be reduced locally.",
    )
    DIVERGED = ("diverged", "The cost or the iterates grow without limit; the problem may be unbounded.")
    NUMERICAL_FAILURE = (
        "numerical failure",
        "A function returned NaN or infinity where the solver could not avoid it.",
    )

    def __init__(self, label: str, sentence: str) -> None:
        self.label = label
        self.sentence = sentence

    @property
    def success(self) -> bool:
        """Whether the solver's stated tolerances were met."""
        return self is Status.SOLVED

    def __str__(self) -> str:
        return self.label

    @classmethod
    def from_label(cls, label: str) -> Status:
        """The status of that short name."""
        return next(status for status in cls if status.label == label)
