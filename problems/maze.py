"""Sutton's mazes: the shortest way to the goal, where each step costs nothing but the discount.

State: (row, column), from 0 at the top left. Moves into walls or over the border stay. Reaching the goal pays 1 and
ends; so a way of n steps is worth discount^(n - 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.problems.decision_reference import DecisionEntry, DecisionReference, KnownValue

DYNA = (
    ".......#G",
    "..#....#.",
    "S.#....#.",
    "..#......",
    ".....#...",
    ".........",
)
"""Figure 8.2 of the book."""

BLOCKING = (
    "........G",
    ".........",
    ".........",
    "########.",
    ".........",
    "...S.....",
)
"""Figure 8.4: the way is open on the right; later it is closed there and opened on the left."""

WALL = 3
"""The row of the wall of the blocking maze."""


def build(*, drawing: Sequence[str] = DYNA, discount: float = 0.95, name: str = "maze-dyna") -> DecisionProcess:
    """Walk through a maze drawn with # for walls, S for the start and G for the goal.

    Raises
    ------
    InvalidProblem
        When the drawing's rows differ in length, or it lacks its one start or goal.
    """
    text = "".join(drawing)
    if (
        len({len(row) for row in drawing}) != 1
        or text.count("S") != 1
        or text.count("G") != 1
        or set(text) - set(".#SG")
    ):
        raise InvalidProblem(
            f"the maze {tuple(drawing)} was given, but rows of one length made of '.', '#', one 'S' and one 'G' were "
            "expected; correct the drawing."
        )
    rows, columns = len(drawing), len(drawing[0])
    walls = tuple(character == "#" for character in text)
    start, goal = text.index("S"), text.index("G")

    def step(state, action):
        row, column = state[0], state[1]
        if action == 0:
            row -= 1
        elif action == 1:
            row += 1
        elif action == 2:
            column -= 1
        else:
            column += 1
        if 0 <= row < rows and 0 <= column < columns and not walls[row * columns + column]:
            state[0], state[1] = row, column
        if state[0] * columns + state[1] == goal:
            return state, 1.0, 0.0
        return state, 0.0, discount

    def render(state) -> str:
        lines = [list(row) for row in drawing]
        lines[int(state[0])][int(state[1])] = "@"
        return "\n".join(" ".join(line) for line in lines)

    return DecisionProcess(
        step,
        np.array(divmod(start, columns), np.int64),
        4,
        render=render,
        action_names=("up", "down", "left", "right"),
        name=name,
    )


def build_blocking(*, after: bool = False, discount: float = 0.95) -> DecisionProcess:
    """Walk through the maze before or ``after`` the way on the right is closed and one on the left opened."""
    drawing = [row[::-1] if after and number == WALL else row for number, row in enumerate(BLOCKING)]
    return build(drawing=drawing, discount=discount, name="maze-blocking")


_SOURCE = "Sutton and Barto, Reinforcement Learning, 2nd edition, 2018, "

ENTRIES = (
    DecisionEntry(
        "maze-dyna",
        build,
        DecisionReference(
            source=_SOURCE + "example 8.1",
            values=(KnownValue(0.95**13),),
            note="the shortest way has 14 steps",
            tags=("one player",),
        ),
    ),
    DecisionEntry(
        "maze-blocking",
        build_blocking,
        DecisionReference(
            source=_SOURCE + "example 8.2",
            values=(KnownValue(0.95**9),),
            note="the shortest way has 10 steps, and 16 after the change",
            tags=("one player",),
        ),
    ),
)
