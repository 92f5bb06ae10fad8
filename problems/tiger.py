"""Tiger: two doors, behind one a tiger and behind the other a reward; listening tells which, not quite reliably.

State: 0 or 1, the door that hides the tiger, or 2 while nature places it anew, before the first decision and after
each door that is opened. Listening costs 1 and is right with probability ``accuracy``; the wrong door costs 100, the
right one pays 10. The state is hidden: all that is seen is the side of the last noise.
"""

from __future__ import annotations

import numpy as np

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.problems.decision_reference import DecisionEntry, DecisionReference, KnownValue

LISTEN, OPEN_LEFT, OPEN_RIGHT = 0, 1, 2
UNPLACED = 2


def build(*, accuracy: float = 0.85, discount: float = 0.95) -> DecisionProcess:
    """Tiger from a fresh placement.

    Raises
    ------
    InvalidProblem
        When accuracy or discount are not between 0 and 1.
    """
    if not (0.0 <= accuracy <= 1.0 and 0.0 <= discount <= 1.0):
        raise InvalidProblem(
            f"accuracy={accuracy}, discount={discount} was given, but numbers from 0 to 1 were expected; correct them."
        )

    def step(state, action):
        if state[0] == UNPLACED:
            state[0] = action
            return state, 0.0, 1.0
        if action == LISTEN:
            return state, -1.0, discount
        reward = -100.0 if action - OPEN_LEFT == state[0] else 10.0
        state[0] = UNPLACED
        return state, reward, discount

    def chance(state, out):
        for door in range(2):
            out[door] = 0.5 if state[0] == UNPLACED else 0.0

    def observe(state, action, uniform):
        right = uniform < (accuracy if action == LISTEN else 0.5)
        return state[0] if right else 1 - state[0]

    def render(state) -> str:
        return ("tiger left", "tiger right", "tiger not placed")[int(state[0])]

    return DecisionProcess(
        step,
        np.array([UNPLACED], np.int64),
        3,
        chance=chance,
        outcomes=2,
        observe=observe,
        observations=2,
        render=render,
        action_names=("listen", "open left", "open right"),
        name="tiger",
    )


ENTRIES = (
    DecisionEntry(
        "tiger",
        build,
        DecisionReference(
            source="Kaelbling, Littman, Cassandra, Artificial Intelligence 101, 1998; value iteration over beliefs",
            values=(KnownValue(19.371368, error=5e-7, best=(LISTEN,)),),
            note="1.933439 with a discount of 0.75; the value is that of the belief 1/2, not of a known state",
            tags=("one player", "chance", "hidden"),
        ),
    ),
)
