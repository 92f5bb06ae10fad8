"""Connect four, and its kin on boards of other sizes: stones fall down their column, so many in a row win.

State: two bit boards, the stones of the player to move and those of the other. Bit ``column * (rows + 1) + row``, rows
counted from the bottom; the bit above each column stays empty, so that runs do not wrap into the next one. Adding the
lowest bit of a column to the board of all stones carries into its lowest empty field, which makes a move two
operations, and a run is found by shifting a board onto itself (Tromp; Pons, "Solving Connect 4", parts 6 and 4).

With ``score=True`` a win is worth what Pons's solver calls its score, one more for each stone that the winner still
has: (rows * columns + 1 - stones before the last) / 2, rounded down. Then the quickest win is the best.
"""

from __future__ import annotations

import numpy as np

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.problems.decision_reference import DecisionEntry, DecisionReference, KnownValue


def build(
    *, rows: int = 6, columns: int = 7, length: int = 4, score: bool = False, name: str = "connect-four"
) -> DecisionProcess:
    """Connect ``length`` on ``rows`` x ``columns`` from the empty board.

    Raises
    ------
    InvalidProblem
        When the board does not fit into 64 bits, or no run fits onto it.
    """
    if min(rows, columns) < 1 or columns * (rows + 1) > 64 or not 2 <= length <= max(rows, columns):
        raise InvalidProblem(
            f"a board of {rows} rows and {columns} columns with runs of {length} was given, but at most 64 bits for "
            "columns * (rows + 1), and runs between 2 and the longer side, were expected; choose a smaller board."
        )
    step, legal = _rules(rows, columns, length, score)

    def render(state) -> str:
        """Draw the stones of who began as X, of the other as O, and the columns' numbers."""
        mine, theirs = int(state[0]), int(state[1])
        first, second = (mine, theirs) if mine.bit_count() == theirs.bit_count() else (theirs, mine)
        lines = []
        for row in reversed(range(rows)):
            bits = [column * (rows + 1) + row for column in range(columns)]
            lines.append(" ".join("X" if first >> bit & 1 else "O" if second >> bit & 1 else "." for bit in bits))
        return "\n".join([*lines, " ".join(str(column + 1) for column in range(columns))])

    names = tuple(str(column + 1) for column in range(columns))
    most = (rows * columns + 3) // 2 - length if score else 1
    return DecisionProcess(
        step,
        np.zeros(2, np.uint64),
        columns,
        legal=legal,
        returns=(-float(most), float(most)),
        render=render,
        action_names=names,
        name=name,
    )


def _rules(rows: int, columns: int, length: int, score: bool):
    """Step and legal moves of one size of board; everything is unsigned, since mixed signs would become floats."""
    one, height = np.uint64(1), np.uint64(rows + 1)
    column_mask = np.uint64((1 << rows) - 1)
    full = np.uint64(sum(((1 << rows) - 1) << (column * (rows + 1)) for column in range(columns)))
    directions = (np.uint64(1), np.uint64(rows), np.uint64(rows + 1), np.uint64(rows + 2))
    fields = rows * columns

    def step(state, action):
        mine, theirs = state[0], state[1]
        base = np.uint64(action) * height
        taken = mine | theirs
        mine = mine | ((taken + (one << base)) & (column_mask << base))
        state[0], state[1] = theirs, mine
        for direction in directions:
            run, covered = mine, 1
            while 2 * covered <= length:
                run = run & (run >> (np.uint64(covered) * direction))
                covered = 2 * covered
            run = run & (run >> (np.uint64(length - covered) * direction))
            if run != np.uint64(0):
                if not score:
                    return state, 1.0, 0.0
                stones = 0
                while taken != np.uint64(0):
                    taken = taken & (taken - one)
                    stones += 1
                return state, float((fields + 1 - stones) // 2), 0.0
        return state, 0.0, 0.0 if mine | theirs == full else -1.0

    def legal(state, out):
        taken = state[0] | state[1]
        for column in range(columns):
            top = np.uint64(column) * height + np.uint64(rows - 1)
            out[column] = (taken >> top) & one == np.uint64(0)

    return step, legal


def score_bounds(rows: int = 6, columns: int = 7, length: int = 4):
    """Limits of the score of a position, a function state -> (lower, upper), for `AlphaBeta(bounds=...)`.

    Who wins has ``length`` stones, so that 2 length - 2 at least lie on the board before the last; the player to move
    cannot win before the next stone, the other not before the one after it.
    """
    fields = rows * columns

    def bounds(state):
        stones, taken = 0, state[0] | state[1]
        while taken != np.uint64(0):
            taken = taken & (taken - np.uint64(1))
            stones += 1
        mine = max(stones, 2 * length - 2)
        theirs = max(stones + 1, 2 * length - 2)
        return -float((fields + 1 - theirs) // 2), float((fields + 1 - mine) // 2)

    return bounds


ENTRIES = (
    DecisionEntry(
        "connect-four",
        build,
        DecisionReference(
            source="Allen 1988, Allis 1988 (solved: who begins wins); Pons, blog.gamesolver.org (scores)",
            values=(
                KnownValue(1.0, best=(3,)),
                KnownValue(1.0, moves=(3, 3, 4, 4)),
                KnownValue(-1.0, moves=(3, 3, 3, 3, 4, 4, 4, 4, 1, 1, 0)),
            ),
            note="with score=True 4455 has 18 and 44455554221 has -15, the empty board's columns -2 -1 0 1 0 -1 -2",
            tags=("two players",),
        ),
    ),
)
