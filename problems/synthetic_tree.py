"""Random trees with known values: every edge pays a number that is drawn by its place in the tree.

State: (level, place), the place numbering the nodes of a level. Each edge pays U(0, 1) / depth, a hash of the seed, the
level and the place, so that a tree of any size needs no memory and every run sees the same one. With ``players=2`` the
levels belong to two players in turn, and what one is paid the other loses. ``noise`` adds to the last edge a random
number of that standard deviation, drawn evenly; then steps are sampled.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.problems.decision_reference import DecisionEntry, DecisionReference, KnownValue

_LOW = 0xFFFFFFFF


@register_jitable
def _mix(number):
    """Hash 32 bits (Mueller's mixer); the products stay below 2^63, so that nothing overflows anywhere."""
    for _ in range(2):
        number = ((number ^ (number >> 16)) * 0x45D9F3B) & _LOW
    return number ^ (number >> 16)


@register_jitable
def edge_value(seed, level, place):
    """Number in [0, 1) of the edge into node ``place`` of ``level``."""
    trunk = _mix((seed + 0x9E3779B9) & _LOW)  # the golden ratio's bits: zero would stay zero
    return _mix((_mix((trunk + level) & _LOW) + place) & _LOW) / 2.0**32


def build(
    *, branching: int = 8, depth: int = 3, players: int = 1, noise: float = 0.0, seed: int = 0
) -> DecisionProcess:
    """Tree of ``branching`` actions at each of ``depth`` levels.

    Raises
    ------
    InvalidProblem
        When the tree is empty, has more than 2^31 leaves, or players, noise or seed make no sense.
    """
    if min(branching, depth) < 1 or branching**depth > 2**31 or players not in (1, 2) or noise < 0.0 or seed < 0:
        raise InvalidProblem(
            f"branching={branching}, depth={depth}, players={players}, noise={noise}, seed={seed} was given, but one "
            "or two players, at most 2^31 leaves, and numbers that are not negative were expected; correct them."
        )
    onward = 1.0 if players == 1 else -1.0
    spread = noise * 12.0**0.5  # the standard deviation of U(0, 1) is 1 / sqrt(12)

    def move(state, action):
        state[0] += 1
        state[1] = state[1] * branching + action
        reward = edge_value(seed, state[0], state[1]) / depth
        return state, reward, 0.0 if state[0] == depth else onward

    def noisy(state, action, uniform):
        state[0] += 1
        state[1] = state[1] * branching + action
        reward = edge_value(seed, state[0], state[1]) / depth
        if state[0] == depth:
            return state, reward + spread * (uniform - 0.5), 0.0
        return state, reward, onward

    def render(state) -> str:
        return f"level {int(state[0])} of {depth}, node {int(state[1])}"

    return DecisionProcess(
        noisy if noise > 0.0 else move, np.zeros(2, np.int64), branching, render=render, name="synthetic-tree"
    )


def values(*, branching: int = 8, depth: int = 3, players: int = 1, seed: int = 0) -> list[np.ndarray]:
    """Value of every node, a list by level of arrays by place, worked from the leaves upwards."""
    sign = 1.0 if players == 1 else -1.0
    found = [np.zeros(branching**depth)]
    for level in range(depth, 0, -1):
        edges = np.array([edge_value(seed, level, place) for place in range(branching**level)]) / depth
        below = found[0] * (sign if level < depth else 0.0)
        found.insert(0, (edges + below).reshape(-1, branching).max(axis=1))
    return found


ENTRIES = (
    DecisionEntry(
        "synthetic-tree",
        build,
        DecisionReference(
            source="after Xiao et al., NeurIPS 2019; the function values of the file gives those of all nodes",
            values=(KnownValue(0.8680663533353558, best=(6,)),),
            tags=("one player",),
        ),
    ),
)
