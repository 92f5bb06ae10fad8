"""Sweeps over the table of a finite decision process.

A model is flat arrays. State s owns the edges ``first[s]`` to ``first[s + 1]``; an edge leads to ``following`` and pays
``reward``; ``weight`` is what the value there counts: the discount, times the probability in a chance state, where
``reward`` holds the probability as well. One backup is

    (T V)(s) = max over edges of reward + weight V(following)      in a decision state,
               sum over edges of the same                         in a chance state.

For |weight| in place of weight and 1 in place of every reward the same sweep gives the life M, how many (discounted)
steps are still to come at most. For any V, and any M with slack c = min (M - T0 M) > 0, T0 being T without rewards and
with |weight|, the operator T contracts in the norm that M weighs, and

    |V(s) - V*(s)| <= M(s) max |T V - V| / c.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajopt.lowering.kernel import kernel


class Table(NamedTuple):
    """The arrays of the module docstring.

    Attributes
    ----------
    first
        (S + 1,) where each state's edges begin.
    chance
        (S,) whether nature moves.
    following, reward, weight
        (E,) of each edge.
    """

    first: NDArray[np.int64]
    chance: NDArray[np.bool_]
    following: NDArray[np.int64]
    reward: NDArray[np.float64]
    weight: NDArray[np.float64]


@kernel
def backup(table, values, state):
    """Return (T V)(s)."""
    first, last = table.first[state], table.first[state + 1]
    if table.chance[state]:
        total = 0.0
        for edge in range(first, last):
            total += table.reward[edge] + table.weight[edge] * values[table.following[edge]]
        return total
    best = -np.inf
    for edge in range(first, last):
        best = max(best, table.reward[edge] + table.weight[edge] * values[table.following[edge]])
    return best


@kernel
def sweep(table, values):
    """Back up every state once, in place and from the last to the first, which lie nearer to the start.

    Returns the largest change.
    """
    largest = 0.0
    for state in range(values.size - 1, -1, -1):
        value = backup(table, values, state)
        change = abs(value - values[state])
        largest = change if not change <= largest else largest  # NaN counts as the largest
        values[state] = value
    return largest


@kernel
def residual(table, values):
    """Return max |T V - V|."""
    largest = 0.0
    for state in range(values.size):
        change = abs(backup(table, values, state) - values[state])
        largest = change if not change <= largest else largest
    return largest


@kernel
def life_backup(table, life, state):
    """Return the largest |weight|-sum of the life that follows, without the step itself: (T0 M)(s)."""
    best, total = 0.0, 0.0
    for edge in range(table.first[state], table.first[state + 1]):
        part = abs(table.weight[edge]) * life[table.following[edge]]
        best = max(best, part)
        total += part
    return total if table.chance[state] else best


@kernel
def sweep_life(table, life):
    """Back up the life of every state once, in place; returns the slack min (M - T0 M), 1 where it has converged."""
    for state in range(life.size - 1, -1, -1):
        life[state] = 1.0 + life_backup(table, life, state)
    slack = np.inf
    for state in range(life.size):
        slack = min(slack, life[state] - life_backup(table, life, state))
    return slack


@kernel
def _rise(heap, place, priority, position):
    """Move an entry of the heap towards the top until its parent is no smaller."""
    state = heap[position]
    while position > 0:
        parent = (position - 1) // 2
        if priority[heap[parent]] >= priority[state]:
            break
        heap[position] = heap[parent]
        place[heap[position]] = position
        position = parent
    heap[position] = state
    place[state] = position


@kernel
def _sink(heap, place, priority, position):
    """Move an entry of the heap towards the bottom until its children are no larger."""
    state, size = heap[position], heap.size
    while 2 * position + 1 < size:
        child = 2 * position + 1
        if child + 1 < size and priority[heap[child + 1]] > priority[heap[child]]:
            child += 1
        if priority[heap[child]] <= priority[state]:
            break
        heap[position] = heap[child]
        place[heap[position]] = position
        position = child
    heap[position] = state
    place[state] = position


class Queue(NamedTuple):
    """All states, ordered by how far their values may be from their backups.

    Attributes
    ----------
    heap
        (S,) states, a binary heap with the most urgent on top.
    place
        (S,) where each state stands in the heap.
    priority
        (S,) bound of each state's residual.
    first, origin, weight
        (S + 1,), (E,), (E,) edges into each state: whence, and the absolute weight.
    """

    heap: NDArray[np.int64]
    place: NDArray[np.int64]
    priority: NDArray[np.float64]
    first: NDArray[np.int64]
    origin: NDArray[np.int64]
    weight: NDArray[np.float64]


@kernel
def fill(table, queue, values):
    """Make every state's priority its residual."""
    for state in range(values.size):
        queue.priority[state] = abs(backup(table, values, state) - values[state])
        queue.heap[state], queue.place[state] = state, state
    for position in range(values.size // 2 - 1, -1, -1):
        _sink(queue.heap, queue.place, queue.priority, position)


@kernel
def update_most_urgent(table, queue, values, limit, threshold):
    """Back up the most urgent state, up to ``limit`` times, until no priority is above ``threshold``.

    A changed value may move the residual of each predecessor by the change times the edge's weight. Added up this
    bounds the residual, so that at the end no residual is above ``threshold``. Returns the number of backups.
    """
    for count in range(limit):
        state = queue.heap[0]
        if queue.priority[state] <= threshold:
            return count
        value = backup(table, values, state)
        change = abs(value - values[state])
        values[state] = value
        queue.priority[state] = 0.0
        _sink(queue.heap, queue.place, queue.priority, 0)
        if change > 0.0:
            for edge in range(queue.first[state], queue.first[state + 1]):
                before = queue.origin[edge]
                queue.priority[before] += change * queue.weight[edge]
                _rise(queue.heap, queue.place, queue.priority, queue.place[before])
    return limit
