"""RockSample: a rover samples good rocks, tells them from bad ones by a sensor that is blind from afar, and leaves.

State: (x, y, rocks that are good as bits, rocks whose kind is still to be drawn). Before the first decision nature
draws one rock after the other, good or bad alike. Moves are of one cell; beyond the right border the rover leaves for
10. A good rock under the rover pays 10 when sampled and is bad from then on; a bad one costs 10. Sensing rock i tells
whether it is good, rightly with probability (1 + 2^(-d / range)) / 2 at the distance d. Only what the sensor says is
seen of the rocks: observation 2 is good, 1 bad, 0 nothing. The place of the rover is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.problems.decision_reference import DecisionEntry, DecisionReference

NORTH, SOUTH, WEST, EAST, SAMPLE, SENSE = range(6)
"""Actions; SENSE + i senses rock i."""

ROCKS_7_8 = ((2, 0), (0, 1), (3, 1), (6, 3), (2, 4), (3, 4), (5, 5), (1, 6))
"""The layout of the planners POMCP and DESPOT, on 7 x 7 cells."""


def build(
    *, size: int = 7, rocks: Sequence[tuple[int, int]] = ROCKS_7_8, start: tuple[int, int] = (0, 3),
    sensor_range: float = 20.0, discount: float = 0.95,
) -> DecisionProcess:  # fmt: skip
    """Rover on ``size`` x ``size`` cells with rocks at (x, y).

    Raises
    ------
    InvalidProblem
        When a rock or the start lies outside, two rocks share a cell, or range or discount make no sense.
    """
    inside = all(0 <= entry < size for place in (*rocks, start) for entry in place)
    if not inside or not rocks or len(set(rocks)) < len(rocks) or sensor_range <= 0.0 or not 0.0 <= discount <= 1.0:
        raise InvalidProblem(
            f"size={size}, rocks={tuple(rocks)}, start={start}, sensor_range={sensor_range}, discount={discount} was "
            "given, but places on the grid, each rock on a cell of its own, a positive range and a discount from 0 to "
            "1 were expected; correct them."
        )
    count, xs, ys = len(rocks), tuple(int(x) for x, _ in rocks), tuple(int(y) for _, y in rocks)

    def step(state, action):
        if state[3] > 0:
            state[3] -= 1
            state[2] = state[2] * 2 + action
            return state, 0.0, 1.0
        if action == EAST and state[0] == size - 1:
            state[0] = size
            return state, 10.0, 0.0
        if action == NORTH:
            state[1] += 1
        elif action == SOUTH:
            state[1] -= 1
        elif action == WEST:
            state[0] -= 1
        elif action == EAST:
            state[0] += 1
        elif action == SAMPLE:
            for rock in range(count):
                if state[0] == xs[rock] and state[1] == ys[rock]:
                    good = (state[2] >> rock) & 1
                    state[2] -= good << rock
                    return state, 10.0 if good == 1 else -10.0, discount
        return state, 0.0, discount

    def legal(state, out):
        out[NORTH] = state[1] < size - 1
        out[SOUTH] = state[1] > 0
        out[WEST] = state[0] > 0
        out[EAST] = True
        out[SAMPLE] = False
        for rock in range(count):
            if state[0] == xs[rock] and state[1] == ys[rock]:
                out[SAMPLE] = True
            out[SENSE + rock] = True

    def chance(state, out):
        for kind in range(2):
            out[kind] = 0.5 if state[3] > 0 else 0.0

    def observe(state, action, uniform):
        if action < SENSE:
            return 0
        rock = action - SENSE
        distance = ((state[0] - xs[rock]) ** 2.0 + (state[1] - ys[rock]) ** 2.0) ** 0.5
        right = uniform < 0.5 * (1.0 + 2.0 ** (-distance / sensor_range))
        good = (state[2] >> rock) & 1
        return 1 + good if right else 2 - good

    def render(state) -> str:
        marks = {place: "+" if int(state[2]) >> rock & 1 else "-" for rock, place in enumerate(rocks)}
        marks[int(state[0]), int(state[1])] = "@"
        rows = [[marks.get((x, y), ".") for x in range(size)] for y in reversed(range(size))]
        return "\n".join(" ".join(row) for row in rows)

    return DecisionProcess(
        step,
        np.array([*start, 0, count], np.int64),
        5 + count,
        legal=legal,
        chance=chance,
        outcomes=2,
        observe=observe,
        observations=3,
        render=render,
        action_names=("north", "south", "west", "east", "sample", *(f"sense {rock + 1}" for rock in range(count))),
        name="rock-sample",
    )


ENTRIES = (
    DecisionEntry(
        "rock-sample",
        build,
        DecisionReference(
            source="Smith and Simmons, UAI 2004; the layout of POMCP (Silver and Veness, 2010)",
            note="RockSample(7, 8): SARSOP reaches 21.47, POMCP 20.71, DESPOT 20.93, by their authors",
            tags=("one player", "chance", "hidden"),
        ),
    ),
)
