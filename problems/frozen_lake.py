"""Frozen lake: cross the ice to the goal without falling through a hole, where steps slip sideways.

State: (field, intended direction); the direction is 0 while the player decides. On slippery ice a step goes left of,
along or right of where it is meant, each with probability 1/3. Reaching the goal pays 1; goal and holes end the walk.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.problems.decision_reference import DecisionEntry, DecisionReference, KnownValue

SMALL = ("SFFF", "FHFH", "FFFH", "HFFG")
LARGE = ("SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF", "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG")


def build(
    *, drawing: Sequence[str] = SMALL, slippery: bool = True, discount: float = 0.99, name: str = "frozen-lake"
) -> DecisionProcess:
    """Cross a lake drawn with S for the start, F for ice, H for holes and G for the goal.

    Raises
    ------
    InvalidProblem
        When the drawing's rows differ in length or it has other characters or not one start.
    """
    text = "".join(drawing)
    if len({len(row) for row in drawing}) != 1 or text.count("S") != 1 or set(text) - set("SFHG"):
        raise InvalidProblem(
            f"the lake {tuple(drawing)} was given, but rows of one length made of F, H, G and one S were expected; "
            "correct the drawing."
        )
    rows, columns = len(drawing), len(drawing[0])
    rewards = tuple(float(character == "G") for character in text)
    ends = tuple(character in "GH" for character in text)
    along = 1.0 / 3.0 if slippery else 1.0
    aside = 1.0 / 3.0 if slippery else 0.0

    def step(state, action):
        if state[1] == 0:
            state[1] = action + 1
            return state, 0.0, 1.0
        row, column = state[0] // columns, state[0] % columns
        if action == 0:
            column = max(column - 1, 0)
        elif action == 1:
            row = min(row + 1, rows - 1)
        elif action == 2:
            column = min(column + 1, columns - 1)
        else:
            row = max(row - 1, 0)
        field = row * columns + column
        state[0], state[1] = field, 0
        return state, rewards[field], 0.0 if ends[field] else discount

    def chance(state, out):
        for direction in range(4):
            turned = (
                direction + 1 - state[1]
            ) % 4  # Gymnasium's directions go round, so neighbours are at right angles
            out[direction] = 0.0 if turned == 2 or state[1] == 0 else along if turned == 0 else aside

    def render(state) -> str:
        lines = [list(row) for row in drawing]
        lines[int(state[0]) // columns][int(state[0]) % columns] = "@"
        return "\n".join(" ".join(line) for line in lines)

    return DecisionProcess(
        step,
        np.array([text.index("S"), 0], np.int64),
        4,
        chance=chance,
        outcomes=4,
        render=render,
        action_names=("left", "down", "right", "up"),
        name=name,
    )


def build_large(*, slippery: bool = True, discount: float = 0.99) -> DecisionProcess:
    """Cross the lake of 8 x 8 fields."""
    return build(drawing=LARGE, slippery=slippery, discount=discount, name="frozen-lake-large")


ENTRIES = (
    DecisionEntry(
        "frozen-lake",
        build,
        DecisionReference(
            source="Gymnasium FrozenLake-v1; value by policy iteration, as a linear programme has it",
            values=(KnownValue(0.5420259320, error=5e-11),),
            note="without slipping the shortest way has 6 steps; undiscounted, 14 of 17 walks reach the goal",
            tags=("one player", "chance"),
        ),
    ),
    DecisionEntry(
        "frozen-lake-large",
        build_large,
        DecisionReference(
            source="Gymnasium FrozenLake8x8-v1",
            note="without slipping the shortest way has 14 steps",
            tags=("one player", "chance"),
        ),
    ),
)
