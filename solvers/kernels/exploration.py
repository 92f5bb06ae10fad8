"""Finding all states that a decision process can reach, breadth first, by its entries (`trajopt.lowering.rules`).

States are raw memory, rows of 64-bit words, and are found again by a hash table with linear probing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajopt.lowering.call import ACTION, DISCOUNT, NATURE, REWARD, call_entry
from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.tree_random import GOLDEN, mix

DONE, FULL, FAULT, NO_ACTION, NOT_FINITE, PAUSED = range(6)
"""How an exploration may come back; after FULL and PAUSED it goes on where it was."""

STATES, EDGES, CURRENT, AT = range(4)
"""Places of `Found.counts`: states and edges found, the state whose edges are sought, and an action for messages."""


class Found(NamedTuple):
    """What has been found so far, with room for more.

    Attributes
    ----------
    states
        (capacity + 1, words) the states; the last row is room to work in.
    bits
        The same memory as unsigned integers, for hashing and comparing.
    slots
        Hash table of rows of states, -1 where empty; at least twice as many as states.
    first, chance
        As in `trajopt.solvers.kernels.tabular.Table`.
    following, action, reward, weight
        Of each edge.
    counts
        (4,) see `STATES`.
    """

    states: NDArray[np.float64]
    bits: NDArray[np.uint64]
    slots: NDArray[np.int64]
    first: NDArray[np.int64]
    chance: NDArray[np.bool_]
    following: NDArray[np.int64]
    action: NDArray[np.int64]
    reward: NDArray[np.float64]
    weight: NDArray[np.float64]
    counts: NDArray[np.int64]


@kernel
def hash_words(bits, row):
    """Hash of one row of words."""
    code = GOLDEN
    for k in range(bits.shape[1]):
        code = mix(code ^ bits[row, k])
    return code


@kernel
def find(found, row):
    """Slot of the state in a row of ``found``: its own, or the empty one where it belongs."""
    bits, slots = found.bits, found.slots
    mask = np.uint64(slots.size - 1)
    slot = hash_words(bits, row) & mask
    while slots[slot] >= 0:
        same = True
        for k in range(bits.shape[1]):
            if bits[slots[slot], k] != bits[row, k]:
                same = False
                break
        if same:
            break
        slot = (slot + np.uint64(1)) & mask
    return slot


@kernel
def refill(found):
    """Enter all states into an empty hash table."""
    for row in range(found.counts[STATES]):
        found.slots[find(found, row)] = row


@kernel
def _copy(states, source, target):
    for k in range(states.shape[1]):
        states[target, k] = states[source, k]


@kernel
def explore(advance, weigh, found, numbers, weights, mask, outcomes, limit):  # noqa: PLR0911 - each is another end
    """Find the edges of up to ``limit`` states more; returns one of `DONE` and the others."""
    states, counts = found.states, found.counts
    words, actions = states.shape[1], mask.size
    scratch = states.shape[0] - 1
    for _ in range(limit):
        current = counts[CURRENT]
        if current == counts[STATES]:
            return DONE
        most = max(actions, outcomes)
        if counts[STATES] + most > scratch or counts[EDGES] + most > found.following.size:
            return FULL
        _copy(states, current, scratch)
        if call_entry(weigh, states, scratch * words, numbers, weights, mask) != 0:
            return FAULT
        nature = numbers[NATURE] != 0.0
        found.chance[current] = nature
        edges = counts[EDGES]
        for action in range(outcomes if nature else actions):
            if weights[action] == 0.0:
                continue
            probability = weights[action]
            _copy(states, current, scratch)
            numbers[ACTION] = action
            counts[AT] = action
            if call_entry(advance, states, scratch * words, numbers, weights, mask) != 0:
                return FAULT
            reward, discount = numbers[REWARD], numbers[DISCOUNT]
            if not np.isfinite(reward + discount):
                return NOT_FINITE
            number = 0
            if discount != 0.0:
                slot = find(found, scratch)
                number = found.slots[slot]
                if number < 0:
                    number = counts[STATES]
                    _copy(states, scratch, number)
                    found.slots[slot] = number
                    counts[STATES] += 1
            found.following[edges], found.action[edges] = number, action
            found.reward[edges], found.weight[edges] = probability * reward, probability * discount
            edges += 1
        if edges == counts[EDGES]:
            return NO_ACTION
        counts[EDGES] = edges
        counts[CURRENT] += 1
        found.first[counts[CURRENT]] = edges
    return PAUSED
