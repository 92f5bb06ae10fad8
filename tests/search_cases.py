"""A slow search of plain NumPy, as mctx describes it: the oracle of the compiled one, one simulation at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trajopt.solvers.kernels import tree_memory
from trajopt.solvers.kernels.tree_memory import Tree
from trajopt.solvers.kernels.tree_settings import BY_SIBLINGS, GUMBEL, MEAN, Settings

RECORDED = Path(__file__).parent / "data"


@dataclass
class Node:
    """A node in the order of expansion; ``q`` of the children is reward + discount x value."""

    logits: np.ndarray
    raw_value: float
    embedding: Any
    value: float = 0.0
    visits: int = 1
    children: dict[int, int] = field(default_factory=dict)
    reward: dict[int, float] = field(default_factory=dict)
    discount: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.value = self.raw_value
        self.counts = np.zeros(len(self.logits), int)


Selection = Callable[["ReferenceSearch", Node, int], int]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits."""
    weights = np.exp(logits - np.max(logits))
    return weights / weights.sum()


class ReferenceSearch:
    """Search over ``root`` = (logits, value, embedding) and ``step(embedding, action)`` = (logits, value, embedding,
    reward, discount)."""

    def __init__(self, root: tuple[Any, ...], step: Callable[..., Any], select: Selection, simulations: int) -> None:
        self.nodes = [Node(*root)]
        self.simulations = simulations
        for _ in range(simulations):
            path, node, depth = [], 0, 0
            while True:
                action = select(self, self.nodes[node], depth)
                path.append((node, action))
                if action not in self.nodes[node].children:
                    break
                node, depth = self.nodes[node].children[action], depth + 1
            self._expand(step, *path[-1])
            self._back_up(path)

    def _expand(self, step: Callable[..., Any], parent: int, action: int) -> None:
        above = self.nodes[parent]
        *node, above.reward[action], above.discount[action] = step(above.embedding, action)
        above.children[action] = len(self.nodes)
        self.nodes.append(Node(*node))

    def _back_up(self, path: list[tuple[int, int]]) -> None:
        value = self.nodes[-1].raw_value
        for index, action in reversed(path):
            node = self.nodes[index]
            value = node.reward[action] + node.discount[action] * value
            node.value = (node.value * node.visits + value) / (node.visits + 1)
            node.visits += 1
            node.counts[action] += 1

    def values(self, node: Node) -> np.ndarray:
        """q of the children, NaN without visits."""
        q = np.full(len(node.logits), np.nan)
        for action, child in node.children.items():
            q[action] = node.reward[action] + node.discount[action] * self.nodes[child].value
        return q


def by_puct(search: ReferenceSearch, node: Node, depth: int, *, init: float = 1.25, base: float = 19652.0) -> int:
    """MuZero's rule with values normalised by parent and siblings."""
    q, seen = search.values(node), node.counts > 0
    known = np.append(q[seen], node.value)
    score = np.where(seen, (q - known.min()) / max(np.ptp(known), 1e-8), 0.0)
    weight = init + np.log((node.visits + base + 1.0) / base)
    return int(np.argmax(score + np.sqrt(node.visits) * weight * softmax(node.logits) / (node.counts + 1.0)))


def completed(search: ReferenceSearch, node: Node, *, scale: float, offset: float, rescale: bool) -> np.ndarray:
    """sigma(q), completed by the mixed value."""
    prior, seen, q = softmax(node.logits), node.counts > 0, search.values(node)
    total, value = node.counts.sum(), node.raw_value
    if total:
        value = (value + total * (prior[seen] @ q[seen]) / prior[seen].sum()) / (1.0 + total)
    q = np.where(seen, q, value)
    if rescale:
        legal = q[node.logits > -np.inf]
        q = (q - legal.min()) / max(np.ptp(legal), 1e-8)
    return (offset + node.counts.max()) * scale * q


@dataclass(frozen=True)
class ByGumbel:
    """Sequential halving at the root, the deterministic rule inside."""

    gumbel: np.ndarray
    considered: int = 16
    scale: float = 0.1
    offset: float = 50.0
    rescale: bool = True

    def __call__(self, search: ReferenceSearch, node: Node, depth: int) -> int:
        sigma = completed(search, node, scale=self.scale, offset=self.offset, rescale=self.rescale)
        if depth > 0:
            policy = softmax(node.logits + sigma)
            return int(np.argmax(policy - node.counts / (1.0 + node.counts.sum())))
        table = halving(min(self.considered, int(np.sum(node.logits > -np.inf))), search.simulations)
        return self.best(node, sigma, table[node.counts.sum()])

    def best(self, node: Node, sigma: np.ndarray, visits: int) -> int:
        """The best of those with that many visits."""
        score = np.maximum(self.gumbel + node.logits - node.logits.max() + sigma, -1e9)
        return int(np.argmax(np.where((node.counts == visits) & (node.logits > -np.inf), score, -np.inf)))

    def answer(self, search: ReferenceSearch) -> tuple[int, np.ndarray]:
        """The action, and the improved policy."""
        root = search.nodes[0]
        sigma = completed(search, root, scale=self.scale, offset=self.offset, rescale=self.rescale)
        return self.best(root, sigma, root.counts.max()), softmax(root.logits + sigma)


def halving(actions: int, simulations: int) -> list[int]:
    """Considered visits of sequential halving, by counting every visit of every action."""
    if actions <= 1:
        return list(range(simulations))
    phases, visits, found, remaining = int(np.ceil(np.log2(actions))), [0] * actions, [], actions
    while len(found) < simulations:
        for _ in range(max(1, simulations // (phases * remaining))):
            found += visits[:remaining]
            visits[:remaining] = [count + 1 for count in visits[:remaining]]
        remaining = max(2, remaining // 2)
    return found[:simulations]


@dataclass(frozen=True)
class Recording:
    """A search recorded by mctx: the model of every node, and what the search made of it.

    Embeddings are indices of nodes; where the recorded search never went, the model has no answer.
    """

    settings: dict[str, Any]
    discount: float
    parent: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    raw_value: np.ndarray
    visits: np.ndarray
    value: np.ndarray
    prior: np.ndarray

    @classmethod
    def read(cls, name: str) -> Recording:
        """One of the files in tests/data."""
        content = json.loads((RECORDED / f"{name}.json").read_text())
        columns = {key: np.array(value) for key, value in content.items() if isinstance(value, list)}
        return cls(content["settings"], content["discount"], **columns)

    @property
    def simulations(self) -> int:
        """How many were made."""
        return len(self.parent) - 1

    def child(self, node: int, action: int) -> int:
        """The node behind an edge."""
        (found,) = np.flatnonzero((self.parent == node) & (self.action == action))
        return int(found)


def gumbel_settings(**changed: Any) -> Settings:
    """Settings of a Gumbel search, mctx's but for what is given."""
    plain = {"exploration": 1.25, "base": 19652.0, "normalisation": BY_SIBLINGS, "first_play": np.nan, "backup": MEAN}
    plain |= {"selection": GUMBEL, "proven": 0, "high": np.inf, "chance": 0, "random_step": 0}
    plain |= {"action_factor": np.inf, "action_exponent": 0.5, "outcome_factor": np.inf, "outcome_exponent": 0.5}
    plain |= {"priors": 1, "max_depth": 1000, "slots": 1, "virtual_loss": 1.0, "frozen": 0}
    plain |= {"new_nodes": 1, "new_candidates": 0}
    plain |= {"considered": 16, "planned": 50, "value_scale": 0.1, "visit_offset": 50.0, "rescale": 1}
    return Settings(**(plain | changed))


def one_node(prior: Any, visits: Any, q: Any, raw: float) -> Tree:
    """A tree of a root that has tried the first of its actions, so often and with those values; no Gumbel variates."""
    size, tried = len(prior), len(visits)
    nodes, edges = np.zeros(1, tree_memory.NODE), np.zeros(size, tree_memory.EDGE)
    candidates = np.zeros(size, tree_memory.CANDIDATE)
    nodes[0] = (
        raw,
        raw,
        1 + np.sum(visits),
        0,
        0,
        tried,
        size,
        size,
        0,
        -1,
        -1,
        tree_memory.DECISION,
        True,
        False,
        False,
    )
    edges["prior"], edges["action"] = prior, np.arange(size)
    edges["visits"][:tried], edges["value"][:tried] = visits, q
    candidates["prior"], candidates["action"] = prior, np.arange(size)
    empty = np.zeros(0, np.int32)
    counters, stream = np.zeros(tree_memory.COUNTERS, np.int64), np.zeros(2, np.uint64)
    states, limits = np.zeros((1, 1), np.uint64), np.array([np.inf, -np.inf])
    scores, sample = np.zeros((size, 2)), np.zeros((size, 2))
    return Tree(nodes, edges, scores, states, candidates, empty, counters, stream, limits, sample)
