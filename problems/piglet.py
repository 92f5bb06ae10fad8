"""Piglet: the game of `pig` with a coin; heads gives a point, tails loses the turn."""

from __future__ import annotations

from trajopt.decision_process import DecisionProcess
from trajopt.problems import pig
from trajopt.problems.decision_reference import DecisionEntry, DecisionReference, KnownValue


def build(*, goal: int = 3) -> DecisionProcess:
    """Race to ``goal`` with a coin."""
    return pig.build(goal=goal, points=(0, 1), name="piglet")


PROBABILITIES = {
    2: {
        (0, 0, 0): 4 / 7, (0, 0, 1): 5 / 7, (0, 1, 0): 2 / 5, (0, 1, 1): 3 / 5, (1, 0, 0): 4 / 5, (1, 1, 0): 2 / 3,
    },
    3: {
        (0, 0, 0): 6 / 11, (0, 0, 1): 7 / 11, (0, 0, 2): 7 / 9, (1, 0, 0): 8 / 11, (1, 1, 0): 4 / 7, (2, 0, 0): 8 / 9,
        (2, 2, 0): 2 / 3, (0, 2, 0): 2 / 9, (1, 2, 0): 2 / 5,
    },
}  # fmt: skip
"""By goal and (own points, other's points, turn total): the probability that the player to move wins."""

ENTRIES = (
    DecisionEntry(
        "piglet",
        build,
        DecisionReference(
            source="Neller and Presser, The UMAP Journal 25(1), 2004; the optimality equations solved in fractions",
            values=tuple(KnownValue(2 * p - 1, state=(*state, 0)) for state, p in PROBABILITIES[3].items()),
            note="a search that changes sides at every ply fails here",
            tags=("two players", "irregular turns", "chance"),
        ),
    ),
)
