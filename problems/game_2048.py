"""2048: slide the tiles of a 4 x 4 board; equal ones merge, and after every move a new tile appears somewhere.

State: for each field, row by row, the exponent of its tile, 0 where it is empty: 1 is a tile 2, 11 is 2048. A merge
pays the number on the merged tile. The new tile is drawn: any empty field alike, a 2 with probability 0.9, else a 4.
The game ends when no move changes the board.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.problems.decision_reference import DecisionEntry, DecisionReference

SIDE = 4
ACTIONS = ("up", "down", "left", "right")
FOURS = 0.1
"""Probability of a 4; else the new tile is a 2."""


@register_jitable
def _field(action, line, place):
    """Field of a line, ``place`` counted from the border to which the action slides."""
    if action == 0:
        return place * SIDE + line
    if action == 1:
        return (SIDE - 1 - place) * SIDE + line
    if action == 2:
        return line * SIDE + place
    return line * SIDE + SIDE - 1 - place


@register_jitable
def _slides(board, action):
    """Whether a move changes the board: a tile behind a gap, or two equal neighbours."""
    for line in range(SIDE):
        for place in range(SIDE - 1):
            ahead, behind = board[_field(action, line, place)], board[_field(action, line, place + 1)]
            if behind > 0 and ahead in (0, behind):
                return True
    return False


@register_jitable
def _slide(board, action):
    """Slide all lines, each tile merging at most once; return the sum of the merged tiles."""
    gained = 0.0
    for line in range(SIDE):
        target, merged = 0, True
        for place in range(SIDE):
            tile = board[_field(action, line, place)]
            if tile == 0:
                continue
            board[_field(action, line, place)] = 0
            if not merged and board[_field(action, line, target - 1)] == tile:
                board[_field(action, line, target - 1)] = tile + 1
                gained += float(1 << (tile + 1))
                merged = True
            else:
                board[_field(action, line, target)] = tile
                target += 1
                merged = False
    return gained


@register_jitable
def _add_tile(board, uniform):
    """Put a new tile on an empty field: the number picks the field, and what is left of it the tile."""
    empty = 0
    for field in range(SIDE * SIDE):
        empty += board[field] == 0
    chosen = min(int(uniform * empty), empty - 1)
    rest = uniform * empty - chosen
    for field in range(SIDE * SIDE):
        if board[field] == 0:
            if chosen == 0:
                board[field] = 2 if rest < FOURS else 1
                return
            chosen -= 1


def step(state, action, uniform):
    """Slide, then let a tile appear."""
    gained = _slide(state, action)
    _add_tile(state, uniform)
    for direction in range(4):
        if _slides(state, direction):
            return state, gained, 1.0
    return state, gained, 0.0


def legal(state, out):
    """Allow the moves that change the board."""
    for action in range(4):
        out[action] = _slides(state, action)


def render(state) -> str:
    """Draw the board."""
    tiles = ["." if exponent == 0 else str(1 << int(exponent)) for exponent in state]
    return "\n".join("".join(f"{tile:>7}" for tile in tiles[row : row + SIDE]) for row in range(0, SIDE**2, SIDE))


def build(*, seed: int = 0) -> DecisionProcess:
    """2048 from two tiles that ``seed`` places.

    Raises
    ------
    InvalidProblem
        When the seed is not a whole number of zero or more.
    """
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise InvalidProblem(f"seed={seed!r} was given, but a whole number of zero or more was expected; correct it.")
    board = np.zeros(SIDE * SIDE, np.int64)
    for uniform in np.random.default_rng(seed).random(2):
        _add_tile(board, uniform)
    return DecisionProcess(step, board, 4, legal=legal, render=render, action_names=ACTIONS, name="game-2048")


ENTRIES = (
    DecisionEntry(
        "game-2048",
        build,
        DecisionReference(
            source="Cirulli 2014, github.com/gabrielecirulli/2048",
            note="no value is known; a random player ends near 1,000 points",
            tags=("one player", "sampled"),
        ),
    ),
)
