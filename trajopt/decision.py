"""What a planner hands back: the action to take, what it expects of it, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.status import Status

Array = NDArray[np.float64]

_SENTENCES = {
    Status.SOLVED: "The planner did all that it was asked to do.",
    Status.TIME_LIMIT: "The time limit came first; this is the best so far.",
    Status.STOPPED: "The callback stopped the planner; this is the best so far.",
    Status.INTERRUPTED: "The planner was interrupted; this is the best so far.",
    Status.NUMERICAL_FAILURE: "Whatever may be done leads to a number that is not finite.",
}


@dataclass(frozen=True, eq=False)
class Decision:
    """Answer of a planner for one state.

    Attributes
    ----------
    action
        What to do; -1 where there is nothing to choose, because nature moves.
    value
        Expected return of the state for the player to move; NaN if nothing is known.
    probabilities
        (actions,) how the planner would mix its actions: for tree search the distribution of visits, for Gumbel search
        the improved policy.
    visits
        (actions,) how often each action was tried.
    action_values
        (actions,) expected return of each action; NaN where it was never tried.
    principal_variation
        Best play for everybody from here: actions and, where nature moves, outcomes.
    proven
        "win", "loss" or "draw" where the outcome of best play is certain, "exact" where the value is, else None.
    simulations
        How many this decision cost.
    seconds
        How long it took.
    status
        SOLVED where the planner did what it was asked to do, else which limit came first.
    detail
        A sentence behind the status's own.
    tree
        What the planner found, for looking at it and for `decide(..., tree=...)`; None if it keeps nothing.
    planner
        The planner with its settings, as text.
    """

    action: int
    value: float
    probabilities: Array
    visits: NDArray[np.int64]
    action_values: Array
    principal_variation: tuple[int, ...] = ()
    proven: str | None = None
    simulations: int = 0
    seconds: float = 0.0
    status: Status = Status.SOLVED
    detail: str = ""
    tree: Any = field(default=None, repr=False)
    planner: str = ""

    @property
    def message(self) -> str:
        """What happened, in a sentence or two."""
        return f"{_SENTENCES.get(self.status, self.status.sentence)} {self.detail}".strip()
