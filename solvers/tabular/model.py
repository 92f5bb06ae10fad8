"""A finite decision process as a table: every state that can be reached, and its edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.lowering.call import NUMBERS
from trajopt.monitor import Monitor
from trajopt.solvers.kernels import exploration
from trajopt.solvers.kernels.exploration import AT, CURRENT, EDGES, STATES, Found
from trajopt.solvers.kernels.tabular import Queue, Table

_FIRST_STATES = 1024
"""Room for states to begin with; it doubles."""

_STATES_A_CALL = 10_000
"""States between two looks at the clock: some milliseconds of compiled rules."""


@dataclass(frozen=True, eq=False)
class FiniteModel:
    """The reachable part of a process.

    Attributes
    ----------
    states
        (S, ...) the states; the first is where the search began.
    table
        Edges, values of which kernels back up; the edges of a state follow the order of its actions.
    action
        (E,) the action or outcome of each edge.
    found
        The states as words, by which they are found again.
    """

    states: NDArray
    table: Table
    action: NDArray[np.int64]
    found: Found

    def __len__(self) -> int:
        return len(self.states)

    def row(self, state: NDArray) -> int:
        """Row of a state, -1 where it is none of them."""
        _write(self.found, len(self.found.states) - 1, state)
        return int(self.found.slots[exploration.find(self.found, len(self.found.states) - 1)])

    def edges(self, row: int) -> slice:
        """Edges of one state."""
        return slice(int(self.table.first[row]), int(self.table.first[row + 1]))

    def action_values(self, values: NDArray[np.float64], row: int) -> NDArray[np.float64]:
        """What each edge of a state is worth."""
        edges = self.edges(row)
        return self.table.reward[edges] + self.table.weight[edges] * values[self.table.following[edges]]

    def queue(self) -> Queue:
        """Room for an order of all states, with the edges into each."""
        order = np.argsort(self.table.following, kind="stable")
        first = np.searchsorted(self.table.following[order], np.arange(len(self) + 1))
        owners = np.repeat(np.arange(len(self)), np.diff(self.table.first))
        states = np.arange(len(self))
        return Queue(states, states.copy(), np.zeros(len(self)), first, owners[order], np.abs(self.table.weight[order]))


def explore(process: DecisionProcess, state: NDArray, limit: int, monitor: Monitor) -> FiniteModel | None:
    """Find all states that can be reached, breadth first; None when the time is over before.

    Parameters
    ----------
    process
        With explicit chance and nothing hidden.
    state
        Where to begin.
    limit
        Most states.
    monitor
        Knows the time limit.

    Raises
    ------
    UnsupportedProblem
        When steps are random, states are hidden, or there are more than ``limit``.
    InvalidProblem
        When a state has no legal action, or a rule misbehaves.
    """
    check_explicit(process)
    advance, weigh = process.rules.advance_entry, process.rules.weigh_entry
    found = _room(state, process, _FIRST_STATES)
    _write(found, 0, state)
    found.counts[STATES] = 1
    exploration.refill(found)
    desk = np.zeros(NUMBERS), np.zeros(process.rules.width), np.zeros(process.actions, np.bool_)
    while True:
        code = exploration.explore(advance.address, weigh.address, found, *desk, process.outcomes, _STATES_A_CALL)
        if found.counts[STATES] > limit:
            raise UnsupportedProblem(
                f"{process.label} has more than {limit} states, which is the limit of the table; raise max_states, or "
                "use a planner that searches from the state, such as MCTS."
            )
        if code == exploration.DONE:
            return _model(found, state)
        if code == exploration.FULL:
            found = _grow(found, state, process)
        elif code != exploration.PAUSED:
            _complain(process, found, state, code)
        if monitor.seconds_left <= 0.0:
            return None


def check_explicit(process: DecisionProcess) -> None:
    """Refuse what a table, or an exact expectation, cannot hold.

    Raises
    ------
    UnsupportedProblem
        When the state is hidden or steps are drawn.
    """
    if process.observe is not None:
        raise UnsupportedProblem(
            f"{process.label} hides its state, but values of states need to see it; use POMCP, or "
            "dataclasses.replace(process, observe=None, observations=0) for the value with the state in sight."
        )
    if process.random_step:
        raise UnsupportedProblem(
            f"{process.label} draws its steps, but exact values need the probabilities of all outcomes; give chance=, "
            "or use a planner that samples, such as MCTS."
        )


def _room(state: NDArray, process: DecisionProcess, capacity: int) -> Found:
    """Room for so many states, and for edges enough that a state always fits."""
    words, most = (state.nbytes + 7) // 8, max(process.actions, process.outcomes)
    capacity = max(capacity, 2 * most)
    states, edges = np.zeros((capacity + 1, max(words, 1))), 2 * capacity + most
    slots = np.full(1 << (2 * capacity).bit_length(), -1)
    return Found(
        states, states.view(np.uint64), slots, np.zeros(capacity + 1, np.int64), np.zeros(capacity, bool),
        np.zeros(edges, np.int64), np.zeros(edges, np.int64), np.zeros(edges), np.zeros(edges), np.zeros(4, np.int64),
    )  # fmt: skip


def _grow(old: Found, state: NDArray, process: DecisionProcess) -> Found:
    """Double the room and move everything over."""
    new = _room(state, process, 2 * (len(old.states) - 1))
    edges = max(new.following.size, 2 * old.following.size)
    new = new._replace(**{name: np.resize(getattr(new, name), edges) for name in _EDGES})
    for name in ("states", "first", "chance", *_EDGES):
        source = getattr(old, name)
        getattr(new, name)[: len(source)] = source
    new.counts[:] = old.counts
    exploration.refill(new)
    return new


_EDGES = ("following", "action", "reward", "weight")


def _write(found: Found, row: int, state: NDArray) -> None:
    found.states[row] = 0.0
    found.states[row].view(np.uint8)[: state.nbytes] = np.frombuffer(state.tobytes(), np.uint8)


def _read(found: Found, rows: slice, state: NDArray) -> NDArray:
    """Rows of words as states like ``state``."""
    words = np.ascontiguousarray(found.states[rows])
    raw = np.ascontiguousarray(words.view(np.uint8)[:, : state.nbytes])
    return raw.view(state.dtype).reshape(len(words), *state.shape)


def _model(found: Found, state: NDArray) -> FiniteModel:
    states, edges = int(found.counts[STATES]), int(found.counts[EDGES])
    table = Table(
        found.first[: states + 1], found.chance[:states], *(getattr(found, name)[:edges] for name in
        ("following", "reward", "weight"))
    )  # fmt: skip
    return FiniteModel(_read(found, slice(states), state), table, found.action[:edges], found)


def _complain(process: DecisionProcess, found: Found, like: NDArray, code: int) -> None:
    """Raise what the rules have to say for themselves when Python calls them."""
    current = int(found.counts[CURRENT])
    state = _read(found, slice(current, current + 1), like)[0]
    if code == exploration.NO_ACTION:
        raise InvalidProblem(
            f"state {state.tolist()} of {process.label} has no legal action, but one was expected in every state that "
            "does not end; let the step that leads there return a discount of 0."
        )
    process.outcome_probabilities(state)
    process.legal_actions(state)
    process.apply(state, int(found.counts[AT]))
    raise InvalidProblem(f"a rule of {process.label} failed in state {state.tolist()}; correct it.")
