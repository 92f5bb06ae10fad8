"""Finite decision processes and games as dense tables, and trees of any size whose numbers are hashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from trajopt.testing.oracles.decision import FiniteProcess
from trajopt.testing.strategies.numbers import QUARTERS

Array = NDArray[np.float64]

_BYTES = 3 * 3 + 4 + 1 + 1
"""Jump, reward and discount of three actions, four quarters of probability, the mask, and whether nature moves."""

_WORD = (1 << 64) - 1


def decision_processes(*, chance: bool | None = None, players: int | None = None) -> st.SearchStrategy[FiniteProcess]:
    """Processes of up to six states and three actions that end: a step leads to a later state, or nowhere.

    Masks leave at least one action legal; rewards and probabilities are quarter steps; turns change irregularly, since
    each edge has a discount of its own among 0 (the end), 1 and 1/2 (the same player goes on), and -1 (the other one).

    Parameters
    ----------
    chance
        Whether nature may move; None: drawn.
    players
        1: nobody hands over; 2: some edges do; None: drawn.
    """
    kinds = st.tuples(
        st.integers(1, 3),
        st.booleans() if chance is None else st.just(chance),
        st.booleans() if players is None else st.just(players == 2),
    )
    states = st.lists(st.binary(min_size=_BYTES, max_size=_BYTES), min_size=1, max_size=6)
    return st.builds(_tables, kinds, states)


def _tables(kind: tuple[int, bool, bool], states: list[bytes]) -> FiniteProcess:
    """One state of each string of bytes, with enough of them for three actions: fewer leave the others as they are."""
    actions, chance, two = kind
    drawn = np.array([np.frombuffer(state, np.uint8) for state in states]).astype(np.int64)
    jumps, rewards, ends, quarters = (drawn[:, 3 * k : 3 * k + width] for k, width in enumerate((actions,) * 3 + (4,)))
    here = np.arange(len(states))[:, None]
    following = np.minimum(here + 1 + jumps % 4, len(states) - 1)
    discounts = np.array([0.0, 1.0, 0.5, -1.0])[ends % (4 if two else 3)]
    legal = (1 + drawn[:, [13]] % (2**actions - 1)) >> np.arange(actions) & 1 == 1
    nature = (drawn[:, 14] % 4 == 1) & chance
    counts = np.array([np.bincount(row % actions, minlength=actions) for row in quarters])
    return FiniteProcess(
        following,
        QUARTERS[rewards % len(QUARTERS)],
        np.where(following > here, discounts, 0.0),  # the last state's steps all end
        legal | nature[:, None],
        np.where(nature[:, None], counts / 4.0, 0.0),
    )


@final
@dataclass(frozen=True)
class SyntheticTree:
    """A tree of ``branching`` actions and ``depth`` steps, whose rewards are hashes of the path: none is stored.

    A state is the array (steps so far, number of the node among those of its depth).

    Parameters
    ----------
    seed, branching, depth
        Of the tree.
    players
        1, or 2 who take turns.

    References
    ----------
    Rewards are the highest eight bits of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), over 256: exact in binary.
    """

    seed: int
    branching: int
    depth: int
    players: int = 1

    @property
    def actions(self) -> int:
        """The branching."""
        return self.branching

    @property
    def initial_state(self) -> NDArray[np.int64]:
        """The root."""
        return np.zeros(2, np.int64)

    def apply(self, state: Any, action: int) -> tuple[NDArray[np.int64], float, float]:
        """Next state, reward in [0, 1) and discount."""
        steps, node = int(state[0]) + 1, int(state[1]) * self.branching + action
        going = 0.0 if steps == self.depth else (1.0 if self.players == 1 else -1.0)
        return np.array([steps, node]), _hash(self.seed, steps, node) / 256.0, going

    def legal_actions(self, state: Any) -> NDArray[np.bool_]:
        """All of them."""
        return np.ones(self.branching, np.bool_)

    def outcome_probabilities(self, state: Any) -> Array:
        """Nature never moves."""
        return np.zeros(0)


def _hash(*numbers: int) -> int:
    """Eight bits."""
    z = 0
    for number in numbers:
        z = (z + number + 0x9E3779B97F4A7C15) & _WORD
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _WORD
        z ^= z >> 31
    return z >> 56


def synthetic_trees(*, branching: int = 4, depth: int = 5) -> st.SearchStrategy[SyntheticTree]:
    """Trees up to a branching and a depth, from a seed, for one or two players."""
    return st.builds(
        SyntheticTree, st.integers(0, 2**16), st.integers(1, branching), st.integers(1, depth), st.sampled_from([1, 2])
    )
