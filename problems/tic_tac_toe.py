"""Tic-tac-toe: three in a row on a board of 3 x 3.

State: two sets of fields as bits of an integer, those of the player to move and those of the other. Field ``i`` is row
``i // 3`` from the top and column ``i % 3`` from the left. The player who completes a row, column or diagonal wins 1.
"""

from __future__ import annotations

import numpy as np

from trajopt.decision_process import DecisionProcess
from trajopt.problems.decision_reference import DecisionEntry, DecisionReference, KnownValue

LINES = (0o007, 0o070, 0o700, 0o111, 0o222, 0o444, 0o421, 0o124)
"""Rows, columns and diagonals as sets of fields."""

FULL = 0o777
"""All nine fields."""


def step(state, action):
    """Mark a field and hand over to the opponent."""
    mine, theirs = state[0] | (1 << action), state[1]
    state[0], state[1] = theirs, mine
    for line in LINES:
        if mine & line == line:
            return state, 1.0, 0.0
    return state, 0.0, 0.0 if mine | theirs == FULL else -1.0


def legal(state, out):
    """Allow the empty fields."""
    taken = state[0] | state[1]
    for field in range(9):
        out[field] = (taken >> field) & 1 == 0


def render(state) -> str:
    """Draw crosses (who began), noughts and dots, with the names of rows and columns."""
    mine, theirs = int(state[0]), int(state[1])
    crosses, noughts = (mine, theirs) if mine.bit_count() == theirs.bit_count() else (theirs, mine)
    marks = ["X" if crosses >> i & 1 else "O" if noughts >> i & 1 else "." for i in range(9)]
    rows = (" ".join([name, *marks[3 * row : 3 * row + 3]]) for row, name in enumerate("abc"))
    return "\n".join([*rows, "  1 2 3"])


def build() -> DecisionProcess:
    """Tic-tac-toe from the empty board."""
    return DecisionProcess(
        step,
        np.zeros(2, np.int64),
        9,
        legal=legal,
        returns=(-1.0, 1.0),
        render=render,
        action_names=tuple(f"{row}{column}" for row in "abc" for column in "123"),
        name="tic-tac-toe",
    )


ENTRIES = (
    DecisionEntry(
        "tic-tac-toe",
        build,
        DecisionReference(
            source="enumeration: 255,168 games, 5,478 positions; solved positions of OpenSpiel's mcts_test.py",
            values=(
                KnownValue(0.0),
                KnownValue(0.0, moves=(4, 0, 8), best=(2, 6)),
                KnownValue(-1.0, moves=(4, 0, 8, 1, 2)),
                KnownValue(1.0, moves=(1, 8)),
                KnownValue(1.0, moves=(0, 1)),
            ),
            note="131,184 games are won by who begins, 77,904 by the other, 46,080 are drawn",
            tags=("two players",),
        ),
    ),
)
