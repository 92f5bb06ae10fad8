"""Memory of search trees: flat arrays of nodes and edges, which grow with what is made.

A node owns a block of edges, one for each action (or outcome) that was tried, in the order in which they were tried.
The block starts small and moves to one of twice the size when it is full; old blocks are kept in lists by size and used
again. So memory grows with the nodes made and not with nodes times actions. What selection reads of an edge stands
apart from the rest, in ``scores``: while the tree is walked that is nearly all that leaves main memory.

Actions that were not tried yet need no memory where they have equal priors. Otherwise they stand in the node's block of
``candidates``, in which place i belongs to the i-th edge, and the best of those not tried comes next.

Trees of one search lie side by side, with the tree as first index. A state is kept as raw 64-bit words.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.tree_random import mix

DECISION, CHANCE, SAMPLED = 0, 1, 2
"""Kinds of nodes: a player moves; nature moves with probabilities; an action awaits its random step."""

NODE = np.dtype(
    [
        ("value", np.float64),  # mean of the returns from here, or the backed-up maximum
        ("raw", np.float64),  # what the evaluation said
        ("visits", np.int32),
        ("pending", np.int32),  # simulations that went through and are not backed up yet
        ("first", np.int32),  # block of edges, and how many of it are in use and there
        ("made", np.int32),
        ("room", np.int32),
        ("total", np.int32),  # actions or outcomes that there are; -1: nobody asked yet
        ("ranked", np.int32),  # block of candidates; -1: priors are equal
        ("parent", np.int32),  # who made it; -1 for the root
        ("action", np.int32),  # the action that a sampled node awaits the result of
        ("kind", np.int8),
        ("evaluated", np.bool_),
        ("exact", np.bool_),  # the value is certain
        ("dead", np.bool_),  # nothing finite lies below
    ],
    align=True,
)

EDGE = np.dtype(
    [
        ("value", np.float64),  # mean of reward + discount * return of the child
        ("reward", np.float64),
        ("discount", np.float64),
        ("prior", np.float32),
        ("action", np.int32),
        ("child", np.int32),  # -1: the process ends here
        ("visits", np.int32),
        ("pending", np.int32),
        ("drawn", np.int32),  # how often a random step came out like this
        ("exact", np.bool_),
        ("dead", np.bool_),
    ],
    align=True,
)

CANDIDATE = np.dtype([("prior", np.float32), ("action", np.int32)], align=True)

SHOWN, BONUS = 0, 1
"""What selection reads of an edge: score = shown + scale * bonus."""

NODES, EDGES, CANDIDATES, SIMULATIONS, FAILURES, PRIOR_FAULTS, LARGEST, FREE = range(8)
"""Counters of a tree: used nodes, edges and candidates; simulations; those that met a number that is not finite; priors
that had to be replaced; size of the largest block; from FREE on heads of lists of free blocks, by size."""

COUNTERS = FREE + 32
"""Sizes of blocks are powers of two below 2^31."""


class Forest(NamedTuple):
    """Trees of one search; B trees with room for N nodes, E edges and C candidates each.

    ``nodes`` (B, N), ``edges`` (B, E), ``scores`` (B, E, 2), ``states`` (B, N, words), ``candidates`` (B, C), ``table``
    (B, T) nodes by hash, T = 0 without transpositions and else a power of two above N; ``counters`` (B, COUNTERS),
    ``streams`` (B, 2) key and counter of random numbers, ``limits`` (B, 2) least and largest value of an edge so far,
    ``samples`` (B, A, 2) what `tree_gumbel` knows of the root's actions, A = 0 for other rules.
    """

    nodes: NDArray
    edges: NDArray
    scores: NDArray[np.float64]
    states: NDArray[np.uint64]
    candidates: NDArray
    table: NDArray[np.int32]
    counters: NDArray[np.int64]
    streams: NDArray[np.uint64]
    limits: NDArray[np.float64]
    samples: NDArray[np.float64]


class Tree(NamedTuple):
    """One tree of a `Forest`; the same without the first index."""

    nodes: NDArray
    edges: NDArray
    scores: NDArray[np.float64]
    states: NDArray[np.uint64]
    candidates: NDArray
    table: NDArray[np.int32]
    counters: NDArray[np.int64]
    stream: NDArray[np.uint64]
    limits: NDArray[np.float64]
    sample: NDArray[np.float64]


@kernel(forceinline=True)
def tree_of(forest, t):
    """Tree number ``t``."""
    return Tree(
        forest.nodes[t],
        forest.edges[t],
        forest.scores[t],
        forest.states[t],
        forest.candidates[t],
        forest.table[t],
        forest.counters[t],
        forest.streams[t],
        forest.limits[t],
        forest.samples[t],
    )


@kernel(forceinline=True)
def add_node(tree, kind, parent):
    """Number of a new node, whose state the caller fills in; -1 when there is no room."""
    index = tree.counters[NODES]
    if index >= tree.nodes.shape[0]:
        return -1
    tree.counters[NODES] = index + 1
    node = tree.nodes[index]
    node.value = 0.0
    node.raw = 0.0
    node.visits = 0
    node.pending = 0
    node.first = -1
    node.made = 0
    node.room = 0
    node.total = -1
    node.ranked = -1
    node.parent = parent
    node.action = -1
    node.kind = kind
    node.evaluated = False
    node.exact = False
    node.dead = False
    return index


@kernel(forceinline=True)
def _size_class(room):
    """Exponent of a power of two."""
    exponent = 0
    while (1 << exponent) < room:
        exponent += 1
    return exponent


@kernel(forceinline=True)
def _take_block(tree, exponent):
    """First edge of a block of 2^exponent; -1 when there is no room."""
    first = tree.counters[FREE + exponent] - 1
    if first >= 0:
        tree.counters[FREE + exponent] = tree.edges[first].child  # the next one of the list, counted from 1
        return first
    first = tree.counters[EDGES]
    if first + (1 << exponent) > tree.edges.shape[0]:
        return -1
    tree.counters[EDGES] = first + (1 << exponent)
    return first


@kernel(forceinline=True)
def add_edge(tree, index, action, prior):
    """Number of a new edge of node ``index``, without child and never visited; -1 when there is no room."""
    node = tree.nodes[index]
    if node.made == node.room:
        exponent = _size_class(2 * node.room) if node.room > 0 else 0
        first = _take_block(tree, exponent)
        if first < 0:
            return -1
        for k in range(node.made):
            tree.edges[first + k] = tree.edges[node.first + k]
            tree.scores[first + k, SHOWN] = tree.scores[node.first + k, SHOWN]
            tree.scores[first + k, BONUS] = tree.scores[node.first + k, BONUS]
        if node.room > 0:
            old = exponent - 1
            tree.edges[node.first].child = tree.counters[FREE + old]
            tree.counters[FREE + old] = node.first + 1
        node.first = first
        node.room = 1 << exponent
        tree.counters[LARGEST] = max(tree.counters[LARGEST], node.room)
    number = node.first + node.made
    node.made += 1
    edge = tree.edges[number]
    edge.value = 0.0
    edge.reward = 0.0
    edge.discount = 1.0
    edge.prior = prior
    edge.action = action
    edge.child = -1
    edge.visits = 0
    edge.pending = 0
    edge.drawn = 1
    edge.exact = False
    edge.dead = False
    return number


@kernel(forceinline=True)
def copy_state(states, source, target):
    """Copy one row onto another."""
    for k in range(states.shape[1]):
        states[target, k] = states[source, k]


@kernel(forceinline=True)
def same_state(states, first, second):
    """Whether two rows have the same bits."""
    different = 0
    for k in range(states.shape[1]):
        different += states[first, k] != states[second, k]
    return different == 0


@kernel(forceinline=True)
def find_or_enter(tree, index):
    """A node whose state has the bits of node ``index``, which is entered into the table where there is none."""
    word = np.uint64(0)
    for k in range(tree.states.shape[1]):
        word = mix(word ^ tree.states[index, k]) + np.uint64(k + 1)
    mask = tree.table.shape[0] - 1
    place = np.int64(word & np.uint64(mask))
    while tree.table[place] > 0:
        found = tree.table[place] - 1
        if same_state(tree.states, found, index):
            return found
        place = (place + 1) & mask
    tree.table[place] = index + 1
    return index
