"""The D-chain of Coquelin and Munos: a trap in which upper confidence bounds spend doubly exponential time.

State: the depth d, from 0. Stopping at depth d pays (D - 1 - d) / D and ends; going on pays nothing until the end of
the chain, where it pays 1. The best is to go on always, but each stop looks better than the next one.
"""

from __future__ import annotations

import numpy as np

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.problems.decision_reference import DecisionEntry, DecisionReference, KnownValue

STOP, CONTINUE = 0, 1


def build(*, depth: int = 10) -> DecisionProcess:
    """Chain of ``depth`` decisions.

    Raises
    ------
    InvalidProblem
        When there is no decision.
    """
    if depth < 1:
        raise InvalidProblem(f"a chain of depth {depth} was given, but one decision or more was expected; correct it.")

    def step(state, action):
        if action == STOP:
            return state, (depth - 1.0 - state[0]) / depth, 0.0
        state[0] += 1
        if state[0] == depth:
            return state, 1.0, 0.0
        return state, 0.0, 1.0

    def render(state) -> str:
        place = int(state[0])
        return "-" * place + "@" + "-" * (depth - place)

    return DecisionProcess(
        step, np.zeros(1, np.int64), 2, render=render, action_names=("stop", "continue"), name="d-chain"
    )


ENTRIES = (
    DecisionEntry(
        "d-chain",
        build,
        DecisionReference(
            source="Coquelin and Munos, Bandit algorithms for tree search, UAI 2007",
            values=(KnownValue(1.0, best=(CONTINUE,)), KnownValue(1.0, state=(9,), best=(CONTINUE,))),
            note="UCT needs of the order of exp(exp(D)) simulations; a maximum backup does not",
            tags=("one player", "trap"),
        ),
    ),
)
