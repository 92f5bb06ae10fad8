"""The memory of a search in Python's hands: made, grown within a limit, and planted with roots."""

from __future__ import annotations

import math

import numpy as np

from trajopt.solvers.kernels.tree_memory import (
    CANDIDATE,
    CANDIDATES,
    COUNTERS,
    EDGE,
    EDGES,
    LARGEST,
    NODE,
    NODES,
    Forest,
)
from trajopt.solvers.kernels.tree_random import mix
from trajopt.solvers.kernels.tree_reuse import enter_all
from trajopt.solvers.kernels.tree_search import plant
from trajopt.solvers.kernels.tree_settings import Settings


def words_of(states: np.ndarray) -> np.ndarray:
    """(B, words) raw memory of states (B, ...), filled up with zeros to whole words of 64 bits."""
    raw = np.ascontiguousarray(states).reshape(len(states), -1).view(np.uint8)
    words = np.zeros((len(states), -(-raw.shape[1] // 8)), np.uint64)
    words.view(np.uint8)[:, : raw.shape[1]] = raw
    return words


def states_of(words: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """States (B, *shape) of raw memory (B, words), as a copy."""
    size = dtype.itemsize * math.prod(shape)
    raw = np.ascontiguousarray(words).view(np.uint8)[:, :size]
    return np.ascontiguousarray(raw).view(dtype).reshape(len(words), *shape)


def _empty(trees: int, nodes: int, edges: int, candidates: int, words: int, table: int) -> Forest:
    return Forest(
        nodes=np.empty((trees, nodes), NODE),
        edges=np.empty((trees, edges), EDGE),
        scores=np.empty((trees, edges, 2)),
        states=np.empty((trees, nodes, words), np.uint64),
        candidates=np.empty((trees, candidates), CANDIDATE),
        table=np.zeros((trees, table), np.int32),
        counters=np.zeros((trees, COUNTERS), np.int64),
        streams=np.zeros((trees, 2), np.uint64),
        limits=np.tile([math.inf, -math.inf], (trees, 1)),
        samples=np.zeros((trees, 0, 2)),
    )


def _table_size(nodes: int, wanted: bool) -> int:
    """At most half full."""
    return 1 << (2 * nodes - 1).bit_length() if wanted else 0


def make_forest(
    roots: np.ndarray, seeds: np.ndarray, nodes: int, *, candidates: int = 0, table: bool, evaluated: bool
) -> Forest:
    """Trees that are nothing but their roots.

    Parameters
    ----------
    roots
        (B, words) raw states.
    seeds
        (B,) of numpy.uint64.
    nodes
        Room for so many nodes in each tree.
    candidates
        Room for so many candidates.
    table
        Whether nodes are found again by their state.
    evaluated
        Whether a root needs no evaluation of its own.
    """
    forest = _empty(len(roots), nodes, _EDGES * nodes, candidates, roots.shape[1], _table_size(nodes, table))
    for t, seed in enumerate(seeds):
        forest.streams[t, 0] = mix(np.uint64(seed))
    plant(forest, roots, evaluated)
    return forest


_TREE = 8 * (COUNTERS + 4)
"""Bytes of a tree itself."""

_EDGES = 4
"""Room for so many edges for each node at first: blocks that have moved leave some behind."""


def first_room(trees: int, words: int, most_bytes: float) -> int:
    """How many nodes, with their edges and an entry of the table, each tree has room for within a limit of memory."""
    node = NODE.itemsize + 8 * words + 16 + _EDGES * (EDGE.itemsize + 16)
    return int(max(most_bytes / trees - _TREE, 0.0) / node)


def resize(forest: Forest, nodes: int, edges: int, candidates: int) -> Forest:
    """The same trees with other room, no less than they use."""
    trees, words = forest.nodes.shape[0], forest.states.shape[2]
    table = _table_size(nodes, forest.table.shape[1] > 0)
    larger = _empty(trees, nodes, edges, candidates, words, table)
    used = forest.counters[:, [NODES, EDGES, CANDIDATES]].max(axis=0)
    for name, count in (("nodes", used[0]), ("states", used[0]), ("edges", used[1]), ("scores", used[1]),
                        ("candidates", used[2])):  # fmt: skip
        getattr(larger, name)[:, :count] = getattr(forest, name)[:, :count]
    for name in ("counters", "streams", "limits"):
        getattr(larger, name)[:] = getattr(forest, name)
    larger = larger._replace(samples=forest.samples)
    if table:
        enter_all(larger)
    return larger


def _room_and_need(forest: Forest, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Nodes, edges and candidates that a tree has room for, and that one may need for a simulation in each slot."""
    counters = forest.counters
    room = np.array([forest.nodes.shape[1], forest.edges.shape[1], forest.candidates.shape[1]])
    needed = counters[:, [NODES, EDGES, CANDIDATES]].max(axis=0)
    edges = 2 * counters[:, LARGEST].max() + settings.new_nodes
    needed += [settings.slots * settings.new_nodes, settings.slots * edges, settings.new_candidates]
    return room, needed


def lacks_room(forest: Forest, settings: Settings) -> bool:
    """Whether some tree may have no room for another simulation in each of its slots."""
    room, needed = _room_and_need(forest, settings)
    return bool((needed > room).any())


def grown(forest: Forest, settings: Settings, most_bytes: float) -> Forest | None:
    """The same trees with room for another simulation, twice what they had, or None where that is not allowed."""
    room, needed = _room_and_need(forest, settings)
    wanted = np.where(needed > room, np.maximum(2 * room, needed), room)
    if (wanted == room).all():
        wanted = 2 * room  # a simulation needed more than it usually does
    each = np.array([NODE.itemsize + 8 * forest.states.shape[2] + 16, EDGE.itemsize + 16, CANDIDATE.itemsize])
    if forest.nodes.shape[0] * (float(wanted @ each) + _TREE) > most_bytes:
        return None
    return resize(forest, *(int(size) for size in wanted))
