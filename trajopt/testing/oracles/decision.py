"""Decision processes and games solved without any cleverness: backward induction, exhaustive search, plain UCT.

The value of doing a in s is q(s, a) = reward + discount v(next state) as the player sees it who is to move; a discount
of 0 ends, -1 hands over to the opponent. v is the largest q over legal actions, or where nature moves the expectation.

References: Bellman 1957; Kocsis, Szepesvari, Bandit based Monte-Carlo Planning, ECML 2006 (UCT).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, final

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem

Array = NDArray[np.float64]


class Rules(Protocol):
    """What the oracles ask of a process; `FiniteProcess` and trajopt's decision processes answer."""

    @property
    def actions(self) -> int:
        """How many actions there are."""
        ...

    def apply(self, state: Any, action: int) -> tuple[Any, float, float]:
        """Next state, reward and discount."""
        ...

    def legal_actions(self, state: Any) -> NDArray[np.bool_]:
        """(actions,) which are legal."""
        ...

    def outcome_probabilities(self, state: Any) -> Array:
        """(outcomes,) where nature moves; all zeros, or none, where a player does."""
        ...


@final
@dataclass(frozen=True, eq=False)
class FiniteProcess:
    """A process as dense tables over S states and A actions; where nature moves, the columns are outcomes.

    Attributes
    ----------
    following
        (S, A) next state.
    rewards, discounts
        (S, A).
    legal
        (S, A) of bool; all where nature moves.
    chance
        (S, A) probabilities, all zero where a player moves.
    """

    following: NDArray[np.int64]
    rewards: Array
    discounts: Array
    legal: NDArray[np.bool_]
    chance: Array

    @property
    def actions(self) -> int:
        """A."""
        return self.rewards.shape[1]

    @property
    def initial_state(self) -> NDArray[np.int64]:
        """The first state, as an array of one number."""
        return np.zeros(1, np.int64)

    def apply(self, state: Any, action: int) -> tuple[Any, float, float]:
        """Next state, reward and discount."""
        s = int(state[0])
        edge = s, action
        return self.following[edge].reshape(1), float(self.rewards[edge]), float(self.discounts[edge])

    def legal_actions(self, state: Any) -> NDArray[np.bool_]:
        """(A,) which are legal."""
        return self.legal[int(state[0])]

    def outcome_probabilities(self, state: Any) -> Array:
        """(A,) probabilities; all zeros where a player moves."""
        return self.chance[int(state[0])]


def action_values(process: FiniteProcess, values: Array) -> Array:
    """q (S, A) of values (S,): -inf where an action is not legal."""
    q = process.rewards + process.discounts * values[process.following]
    return np.where(process.legal, q, -np.inf)


def _state_values(process: FiniteProcess, q: Array) -> Array:
    nature = process.chance.any(axis=1)
    return np.where(nature, (process.chance * np.where(process.legal, q, 0.0)).sum(axis=1), q.max(axis=1))


def backward_induction(process: FiniteProcess) -> Array:
    """Values (S,) of a process that cannot return to a state, from the last state to the first.

    Raises
    ------
    InvalidProblem
        When an edge that goes on leads to its own state or an earlier one.
    """
    goes_on = process.discounts != 0.0
    if (process.following <= np.arange(len(goes_on))[:, None])[goes_on].any():
        raise InvalidProblem(
            "a process with an edge back to an earlier state was given, but states were expected to be numbered in the "
            "order in which they are met; use iterate_values."
        )
    values = np.zeros(len(goes_on))
    for s in reversed(range(len(values))):
        values[s] = _state_values(process, action_values(process, values))[s]
    return values


def iterate_values(process: FiniteProcess, sweeps: int) -> Array:
    """Values (S,) after so many sweeps from zero: exact where every path ends within as many steps."""
    values = np.zeros(len(process.rewards))
    for _ in range(sweeps):
        values = _state_values(process, action_values(process, values))
    return values


def exhaustive_value(process: Rules, state: Any, depth: int = 64) -> float:
    """Value of a state by trying everything: maximum, minimum and expectation are all in the discounts and chances.

    Parameters
    ----------
    process
        The rules, without random steps.
    state
        Where to begin.
    depth
        Beyond as many steps the value counts as zero.
    """
    probabilities = process.outcome_probabilities(state)
    if depth == 0:
        return 0.0
    if np.any(probabilities):
        return math.fsum(
            p * _edge_value(process, state, outcome, depth) for outcome, p in enumerate(probabilities) if p > 0.0
        )
    return max(_edge_value(process, state, int(a), depth) for a in np.flatnonzero(process.legal_actions(state)))


def exhaustive_actions(process: Rules, state: Any, depth: int = 64) -> Array:
    """The same of every action (actions,); -inf where it is not legal."""
    legal = process.legal_actions(state)
    return np.array(
        [_edge_value(process, state, a, depth) if legal[a] else -np.inf for a in range(process.actions)], float
    )


def _edge_value(process: Rules, state: Any, action: int, depth: int) -> float:
    following, reward, discount = process.apply(state, action)
    return reward + (discount * exhaustive_value(process, following, depth - 1) if discount != 0.0 else 0.0)


class TreeAnswer(NamedTuple):
    """What a search says of its root: ``visits`` and mean ``values`` (actions,), as its player sees them."""

    visits: NDArray[np.int64]
    values: Array

    @property
    def action(self) -> int:
        """The most visited."""
        return int(self.visits.argmax())


@dataclass(eq=False)
class _Node:
    """Statistics of the edges of one state that has been met."""

    visits: NDArray[np.int64]
    totals: Array
    children: dict[int, _Node] = field(default_factory=dict)


def uct(
    process: Rules, state: Any, simulations: int, *, exploration: float = math.sqrt(2.0), seed: int = 0
) -> TreeAnswer:
    """UCT with random rollouts, one recursion a simulation, written for reading.

    Each simulation walks down by the largest mean + exploration sqrt(ln N / n), actions without visits first, in a
    random order; adds one node; plays on at random until a discount of 0; and adds up the rewards on the way back.
    """
    rng = np.random.default_rng(seed)
    root = _Node(np.zeros(process.actions, np.int64), np.zeros(process.actions))
    for _ in range(simulations):
        _simulate(process, state, root, exploration, rng)
    with np.errstate(invalid="ignore"):
        return TreeAnswer(root.visits, root.totals / root.visits)


def _simulate(process: Rules, state: Any, node: _Node | None, exploration: float, rng: np.random.Generator) -> float:
    """Return of one simulation from a state; below the tree, where there is no node, actions are random."""
    probabilities = process.outcome_probabilities(state)
    nature = bool(np.any(probabilities))
    if nature:
        action = int(rng.choice(len(probabilities), p=probabilities))
    else:
        legal = rng.permutation(np.flatnonzero(process.legal_actions(state)))
        action = int(legal[0]) if node is None else _select(node, legal, exploration)
    following, reward, discount = process.apply(state, action)
    if discount == 0.0:
        value = reward
    else:
        child = None if node is None else node.children.get(action)
        value = reward + discount * _simulate(process, following, child, exploration, rng)
    if node is not None:
        size = len(node.visits)
        if discount != 0.0:
            node.children.setdefault(action, _Node(np.zeros(size, np.int64), np.zeros(size)))
        if not nature:
            node.visits[action] += 1
            node.totals[action] += value
    return value


def _select(node: _Node, legal: NDArray[np.int64], exploration: float) -> int:
    visits = node.visits[legal]
    if (visits == 0).any():
        return int(legal[visits == 0][0])
    scores = node.totals[legal] / visits + exploration * np.sqrt(math.log(node.visits.sum()) / visits)
    return int(legal[scores.argmax()])
