"""Pig: roll a die as often as you dare; a one loses what the turn has gathered, holding keeps it.

Two players race to ``goal`` points. State: (points of the player to move, points of the other, turn total, 1 while the
die is rolling). Rolling and holding are the actions; the roll itself is a chance state in which the same player stays
to move, so turns are irregular: a search that changes sides at every ply goes wrong. A roll that reaches the goal wins
at once, since nothing is gained by waiting, and only a turn that has gathered something can be held.

Values are those of the player to move, 2 P - 1 with the probability P of winning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.problems.decision_reference import DecisionEntry, DecisionReference, KnownValue

ROLL, HOLD = 0, 1


def build(*, goal: int = 100, points: Sequence[int] = (0, 2, 3, 4, 5, 6), name: str = "pig") -> DecisionProcess:
    """Race to ``goal`` with a die whose faces give ``points``; 0 loses the turn.

    Raises
    ------
    InvalidProblem
        When the goal is not positive, or no face gives points.
    """
    if goal < 1 or min(points, default=0) < 0 or max(points, default=0) < 1:
        raise InvalidProblem(
            f"a goal of {goal} and faces of {tuple(points)} points were given, but a positive goal and faces of zero "
            "or more points, one of them positive, were expected; correct them."
        )
    faces, gains = len(points), tuple(points)

    def step(state, action):
        own, other, turn = state[0], state[1], state[2]
        if state[3] == 0 and action == ROLL:
            state[3] = 1
            return state, 0.0, 1.0
        if state[3] == 0:
            state[0], state[1], state[2] = other, own + turn, 0
            return state, 0.0, -1.0
        state[3] = 0
        gain = gains[action]
        if gain == 0:
            state[0], state[1], state[2] = other, own, 0
            return state, 0.0, -1.0
        state[2] = turn + gain
        if own + turn + gain >= goal:
            return state, 1.0, 0.0
        return state, 0.0, 1.0

    def legal(state, out):
        out[ROLL] = True
        out[HOLD] = state[2] > 0

    def chance(state, out):
        for face in range(faces):
            out[face] = state[3] / faces

    def render(state) -> str:
        own, other, turn, rolling = (int(entry) for entry in state)
        return f"to move: {own} points, other: {other} points, this turn: {turn}{', rolling' if rolling else ''}"

    return DecisionProcess(
        step,
        np.zeros(4, np.int64),
        2,
        legal=legal,
        chance=chance,
        outcomes=faces,
        returns=(-1.0, 1.0),
        render=render,
        action_names=("roll", "hold"),
        name=name,
    )


ENTRIES = (
    DecisionEntry(
        "pig",
        build,
        DecisionReference(
            source="Neller and Presser, The UMAP Journal 25(1), 2004",
            values=(KnownValue(2 * 0.5306 - 1, error=1e-4),),
            note="who begins wins with probability 0.5306 under best play",
            tags=("two players", "irregular turns", "chance"),
        ),
    ),
)
