"""The SimpleGridWorld of POMDPModels.jl: find the good cells of a grid, with moves that slip.

State: (x, y, intended direction), each from 1; the direction is 0 while the player decides, and the chance state in
between remembers it. A move goes where it is meant with probability ``precision``, else in one of the other
directions; moves beyond the border stay. A cell with a reward pays it when it is left, and that ends the walk.
"""

from __future__ import annotations

import numpy as np

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.problems.decision_reference import DecisionEntry, DecisionReference, KnownValue

DIRECTIONS = ("up", "down", "left", "right")
REWARDS = ((4, 3, -10.0), (4, 6, -5.0), (9, 3, 10.0), (8, 8, 3.0))
"""(x, y, reward)."""


def build(*, size: int = 10, precision: float = 0.7, discount: float = 0.95, start: tuple[int, int] = (1, 1)):
    """Walk on ``size`` x ``size`` cells from ``start``.

    Raises
    ------
    InvalidProblem
        When the start lies outside, or precision or discount are not between 0 and 1.
    """
    if not (min(start) >= 1 and max(start) <= size and 0.0 <= precision <= 1.0 and 0.0 <= discount <= 1.0):
        raise InvalidProblem(
            f"size={size}, start={start}, precision={precision}, discount={discount} was given, but a start on the "
            "grid and numbers from 0 to 1 were expected; correct them."
        )
    slip = (1.0 - precision) / 3.0

    def step(state, action):
        if state[2] == 0:
            state[2] = action + 1
            for x, y, reward in REWARDS:
                if state[0] == x and state[1] == y:
                    return state, reward, 0.0
            return state, 0.0, discount
        state[2] = 0
        if action == 0:
            state[1] = min(state[1] + 1, size)
        elif action == 1:
            state[1] = max(state[1] - 1, 1)
        elif action == 2:
            state[0] = max(state[0] - 1, 1)
        else:
            state[0] = min(state[0] + 1, size)
        return state, 0.0, 1.0

    def chance(state, out):
        for direction in range(4):
            if state[2] == 0:
                out[direction] = 0.0
            else:
                out[direction] = precision if state[2] == direction + 1 else slip

    def render(state) -> str:
        marks = {(x, y): f"{reward:+4.0f}" for x, y, reward in REWARDS}
        here = (int(state[0]), int(state[1]))
        rows = []
        for y in reversed(range(1, size + 1)):
            cells = [(x, y) for x in range(1, size + 1)]
            rows.append("".join("   @" if cell == here else marks.get(cell, "   .") for cell in cells))
        return "\n".join(rows)

    return DecisionProcess(
        step,
        np.array([*start, 0], np.int64),
        4,
        chance=chance,
        outcomes=4,
        render=render,
        action_names=DIRECTIONS,
        name="grid-world",
    )


ENTRIES = (
    DecisionEntry(
        "grid-world",
        build,
        DecisionReference(
            source="POMDPModels.jl SimpleGridWorld; MCTS.jl test/value_test.jl",
            values=(
                KnownValue(4.105355, error=5e-7, state=(1, 1, 0)),
                KnownValue(6.098735, error=5e-7, state=(5, 1, 0)),
                KnownValue(8.285194, error=5e-7, state=(9, 1, 0)),
                KnownValue(8.174133, error=5e-7, state=(9, 5, 0)),
                KnownValue(5.618106, error=5e-7, state=(5, 5, 0)),
                KnownValue(10.0, state=(9, 3, 0)),
            ),
            note="several actions nearly tie: compare values, not actions",
            tags=("one player", "chance"),
        ),
    ),
)
