"""Nim: take stones from one of several heaps; who takes the last one wins (or loses, in the misere form).

State: the sizes of the heaps. Action ``heap * most + number - 1`` takes ``number`` stones from ``heap``. Bouton's
theorem: in normal play the player to move loses exactly where the heaps, each modulo ``most + 1``, cancel under
exclusive or.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.problems.decision_reference import DecisionEntry, DecisionReference, KnownValue


def build(
    *, heaps: Sequence[int] = (3, 4, 5), most: int | None = None, misere: bool = False, name: str = "nim"
) -> DecisionProcess:
    """Nim on ``heaps``, from which at most ``most`` stones are taken at once (None: any number).

    Raises
    ------
    InvalidProblem
        When no stone can be taken.
    """
    if min(heaps, default=0) < 0 or max(heaps, default=0) < 1 or (most is not None and most < 1):
        raise InvalidProblem(
            f"heaps {tuple(heaps)} with at most {most} stones a move were given, but sizes of zero or more, one of "
            "them positive, and at least one stone a move were expected; correct them."
        )
    count, limit, last = len(heaps), max(heaps) if most is None else most, -1.0 if misere else 1.0

    def step(state, action):
        state[action // limit] -= action % limit + 1
        for heap in range(count):
            if state[heap] > 0:
                return state, 0.0, -1.0
        return state, last, 0.0

    def legal(state, out):
        for heap in range(count):
            for number in range(limit):
                out[heap * limit + number] = number < state[heap]

    def render(state) -> str:
        return "\n".join(f"{heap + 1}: {'|' * int(stones)} ({int(stones)})" for heap, stones in enumerate(state))

    names = tuple(f"{number + 1} from {heap + 1}" for heap in range(count) for number in range(limit))
    start = np.array(heaps, np.int64)
    return DecisionProcess(
        step, start, count * limit, legal=legal, returns=(-1.0, 1.0), render=render, action_names=names, name=name
    )


def build_fifteen(*, stones: int = 15, most: int = 3) -> DecisionProcess:
    """One heap, of which one to ``most`` stones are taken."""
    return build(heaps=(stones,), most=most, name="nim-fifteen")


_BOUTON = "Bouton, Annals of Mathematics 3, 1901"

ENTRIES = (
    DecisionEntry(
        "nim",
        build,
        DecisionReference(
            source=_BOUTON,
            values=(
                KnownValue(1.0, best=(1,)),  # 2 from the first heap leave 1, 4, 5, which cancel
                KnownValue(-1.0, state=(1, 4, 5)),
                KnownValue(-1.0, state=(1, 2, 3)),
                KnownValue(1.0, state=(0, 0, 5), best=(14,)),
            ),
            tags=("two players",),
        ),
    ),
    DecisionEntry(
        "nim-fifteen",
        build_fifteen,
        DecisionReference(
            source=_BOUTON,
            values=(KnownValue(1.0, best=(2,)), KnownValue(-1.0, state=(12,)), KnownValue(1.0, state=(1,), best=(0,))),
            note="multiples of four are lost",
            tags=("two players",),
        ),
    ),
)
