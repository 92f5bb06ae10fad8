"""Small decision processes whose answers are known, for the tests of tree search."""

from __future__ import annotations

import numpy as np

import trajopt as to

LINES = np.array([0o007, 0o070, 0o700, 0o111, 0o222, 0o444, 0o421, 0o124])


def tic_tac_toe(**options) -> to.DecisionProcess:
    """State: fields of the player to move and of the other, as bits."""

    def step(state, action):
        mine, theirs = state[0] | (1 << action), state[1]
        state[0], state[1] = theirs, mine
        for line in LINES:
            if mine & line == line:
                return state, 1.0, 0.0
        return state, 0.0, 0.0 if mine | theirs == 0o777 else -1.0

    def legal(state, out):
        for field in range(9):
            out[field] = ((state[0] | state[1]) >> field) & 1 == 0

    options = {"returns": (-1.0, 1.0), "name": "tic-tac-toe"} | options
    return to.DecisionProcess(step, np.zeros(2, np.int64), 9, legal=legal, **options)


def after(process: to.DecisionProcess, *actions: int) -> np.ndarray:
    """State after actions from the beginning."""
    state = np.asarray(process.initial_state)
    for action in actions:
        state, _, _ = process.apply(state, action)
    return state


def piglet(goal: int, *, sampled: bool = False) -> to.DecisionProcess:
    """Flip a coin for points, or hold; state: points of both, points of the turn, whether the coin is in the air.

    Holding hands over, flipping heads does not: turns are irregular.
    """

    def settle(state, heads):
        state[3] = 0
        if heads:
            state[2] += 1
            return state, 0.0, 1.0
        state[0], state[1], state[2] = state[1], state[0], 0
        return state, 0.0, -1.0

    def hold(state):
        points = state[0] + state[2]
        state[0], state[1], state[2] = state[1], points, 0
        return state, 0.0, -1.0

    import numba  # noqa: PLC0415 - the rules call each other

    settle, hold = numba.njit(settle), numba.njit(hold)

    def step(state, action):
        if state[3] == 1:
            return settle(state, action == 1)
        if action == 0:
            state[3] = 1
            return state, 0.0, 1.0
        if state[0] + state[2] >= goal:
            return state, 1.0, 0.0
        return hold(state)

    def random_step(state, action, uniform):
        if action == 0:
            return settle(state, uniform < 0.5)
        if state[0] + state[2] >= goal:
            return state, 1.0, 0.0
        return hold(state)

    def chance(state, out):
        out[:] = 0.5 * state[3]

    start = np.zeros(4, np.int64)
    if sampled:
        return to.DecisionProcess(random_step, start, 2, returns=(-1.0, 1.0), name="sampled piglet")
    return to.DecisionProcess(step, start, 2, chance=chance, outcomes=2, returns=(-1.0, 1.0), name="piglet")


def bandit(rewards, **options) -> to.DecisionProcess:
    """One decision, whose reward is a number of the action."""
    rewards = np.asarray(rewards, np.float64)

    def step(state, action):
        return state, rewards[action], 0.0

    return to.DecisionProcess(step, np.zeros(1), len(rewards), **options)


def chain(depth: int) -> to.DecisionProcess:
    """Coquelin and Munos's chain: action 0 stops with (D - d) / D, action 1 goes on, to 1 at the end."""

    def step(state, action):
        if action == 0:
            return state, (depth - state[0] - 1) / depth, 0.0
        state[0] += 1
        if state[0] == depth:
            return state, 1.0, 0.0
        return state, 0.0, 1.0

    return to.DecisionProcess(step, np.zeros(1, np.int64), 2, name="chain")


def hashed(state: int) -> float:
    """Number in [0, 1) that belongs to a node of a synthetic tree."""
    word = (state * 0x45D9F3B + 0x9E3779B9) & 0xFFFFFFFF
    word = ((word ^ (word >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    return (word ^ (word >> 16)) / 2.0**32


def synthetic(
    actions: int, depth: int, *, factor: float = 1.0, offset: float = 0.0, order=None, **options
) -> to.DecisionProcess:
    """Tree whose edges pay ``factor`` times a hashed reward plus ``offset``; ``order`` renames the actions."""
    names = np.arange(actions) if order is None else np.asarray(order)

    import numba  # noqa: PLC0415 - the rules call it

    draw = numba.njit(hashed)

    def step(state, action):
        state[0] += 1
        state[1] = state[1] * actions + names[action] + 1
        return state, factor * draw(state[1]) / depth + offset, 0.0 if state[0] == depth else 1.0

    return to.DecisionProcess(step, np.zeros(2, np.int64), actions, name="synthetic tree", **options)


def synthetic_value(actions: int, depth: int, level: int = 0, place: int = 0) -> float:
    """Best return from a node of `synthetic`."""
    if level == depth:
        return 0.0
    places = [place * actions + k + 1 for k in range(actions)]
    return max(hashed(p) / depth + synthetic_value(actions, depth, level + 1, p) for p in places)
