"""A search tree to look at, and to go on from when somebody has moved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.solvers.kernels.tree_memory import CANDIDATES, EDGES, NODES, SAMPLED, Forest
from trajopt.solvers.kernels.tree_reuse import transplant
from trajopt.solvers.search.forest import make_forest, resize, states_of, words_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("decision", "chance", "sampled")
"""What moves in a node: a player; nature by given probabilities; nature within a random step."""


@dataclass(frozen=True)
class Child:
    """An edge of a node, as it was tried.

    Attributes
    ----------
    action
        Action, or outcome where nature moves.
    node
        Where it leads; -1 where the process ends.
    visits
        How often it was followed.
    value
        Mean (or backed-up) return, as the player to move in the parent sees it.
    prior
        Prior or probability.
    reward, discount
        Of the step.
    exact
        Whether the value is certain.
    """

    action: int
    node: int
    visits: int
    value: float
    prior: float
    reward: float
    discount: float
    exact: bool


class SearchTree:
    """One tree of a search, as seen from one of its nodes.

    Parameters
    ----------
    process
        The rules.
    forest
        Memory of the trees of a search, which nobody changes any more.
    number
        Which of the trees.
    root
        The node that counts as root.
    priors
        (actions,) of the root without noise, if they are known.
    """

    def __init__(
        self,
        process: DecisionProcess,
        forest: Forest,
        number: int = 0,
        root: int = 0,
        priors: NDArray[np.float64] | None = None,
    ) -> None:
        self.process, self.forest, self.number, self.root, self.priors = process, forest, number, root, priors

    def __repr__(self) -> str:
        return f"SearchTree({self.process.label}, {self.size} nodes, {self.visits} visits of the root)"

    @property
    def size(self) -> int:
        """Nodes in memory, also those that do not lie below the root."""
        return int(self.forest.counters[self.number, NODES])

    @property
    def visits(self) -> int:
        """Visits of the root."""
        return int(self.forest.nodes[self.number, self.root]["visits"])

    @property
    def state(self) -> np.ndarray:
        """State of the root."""
        return self.state_of(self.root)

    def state_of(self, node: int) -> np.ndarray:
        """State of a node; where a random step is awaited, the state before it."""
        words = self.forest.states[self.number, node][None]
        return states_of(words, self.process.shape, self.process.dtype)[0]

    def node(self, number: int | None = None) -> np.void:
        """The record of a node, by default of the root; see `trajopt.solvers.kernels.tree_memory.NODE`."""
        return self.forest.nodes[self.number, self.root if number is None else number]

    def kind(self, number: int | None = None) -> str:
        """One of `KINDS`."""
        return KINDS[int(self.node(number)["kind"])]

    def edges(self, number: int | None = None) -> np.ndarray:
        """Records of the edges of a node, in the order in which they were made; see `tree_memory.EDGE`."""
        node = self.node(number)
        return self.forest.edges[self.number, node["first"] : node["first"] + node["made"]]

    def candidates(self, number: int | None = None) -> np.ndarray:
        """Records of all actions or outcomes of a node and their priors; none where priors are equal."""
        node = self.node(number)
        start = max(int(node["ranked"]), 0)
        return self.forest.candidates[self.number, start : start + (int(node["total"]) if node["ranked"] >= 0 else 0)]

    def children(self, number: int | None = None) -> list[Child]:
        """The edges of a node, by default of the root, most visited first."""
        edges = self.edges(number)
        order = np.argsort(-edges["visits"], kind="stable")
        return [
            Child(
                int(e["action"]), int(e["child"]), int(e["visits"]), float(e["value"]), float(e["prior"]),
                float(e["reward"]), float(e["discount"]), bool(e["exact"]),
            )
            for e in edges[order]
        ]  # fmt: skip

    def plot(self, nodes: int = 40) -> Figure:
        """The most visited nodes as a graph; see `trajopt.view.search_tree.plot_tree`."""
        from trajopt.view.search_tree import plot_tree  # noqa: PLC0415 - matplotlib loads only when asked for

        return plot_tree(self, nodes)

    def report(self, path: str | Path, nodes: int = 300) -> Path:
        """Write one self-contained HTML file with the graph and the tree, branch by branch; returns its path."""
        from trajopt.view.search_tree import write_tree  # noqa: PLC0415 - matplotlib loads only when asked for

        return write_tree(self, path, nodes)

    def after(self, action: int, state: ArrayLike | None = None) -> SearchTree:
        """The tree as seen after an action, or after an outcome where nature moves; what was never tried starts empty.

        Parameters
        ----------
        action
            What was done, or what nature did.
        state
            What it led to, for processes with a random step and for no others.

        Raises
        ------
        InvalidProblem
            When the action is illegal, the process has ended with it, or the state is missing.
        """
        following = self._following(action, state)
        edges = self.edges()
        found = edges[edges["action"] == action]
        child = int(found[0]["child"]) if len(found) else -1
        if child >= 0 and self.node(child)["kind"] == SAMPLED:
            child = self._outcome(child, following)
        if child < 0:
            return self._begin(following)
        return SearchTree(self.process, self.forest, self.number, child)

    def _following(self, action: int, state: ArrayLike | None) -> np.ndarray:
        """State after a legal action from which the process goes on."""
        process = self.process
        probabilities = process.outcome_probabilities(self.state)
        possible = probabilities > 0.0 if probabilities.any() else process.legal_actions(self.state)
        known = isinstance(action, int | np.integer) and not isinstance(action, bool)
        if not known or not 0 <= action < len(possible) or not possible[action]:
            raise InvalidProblem(
                f"the action {action!r} was given, but it is illegal in the root of the tree, where "
                f"{np.flatnonzero(possible).tolist()} are possible; pass what has happened."
            )
        if process.random_step != (state is not None):
            raise InvalidProblem(
                f"after({action}, state={state!r}) was called, but "
                + ("a random step needs the state that it led to" if process.random_step else "steps are certain")
                + f": {'pass' if process.random_step else 'leave out'} state."
            )
        if state is not None:
            return process.check_state(state)
        following, _, discount = process.apply(self.state, int(action))
        if discount == 0.0:
            raise InvalidProblem(
                f"the action {action} was given, but {process.label} ends with it; there is nothing left to decide."
            )
        return following

    def _outcome(self, node: int, state: np.ndarray) -> int:
        """Where a random step led to, if it did while the tree was grown."""
        for edge in self.edges(node):
            if edge["child"] >= 0 and np.array_equal(self.state_of(int(edge["child"])), state, equal_nan=True):
                return int(edge["child"])
        return -1

    def _begin(self, state: np.ndarray) -> SearchTree:
        seed = self.forest.streams[self.number, 0] ^ self.forest.streams[self.number, 1]
        return SearchTree(self.process, planted(words_of(state[None]), np.array([seed]), table=self._has_table))

    @property
    def _has_table(self) -> bool:
        return self.forest.table.shape[1] > 0

    def transplanted(self, *, table: bool) -> Forest:
        """A forest of this one tree, without what does not lie below its root."""
        counters = self.forest.counters[self.number]
        fresh = planted(np.zeros((1, self.forest.states.shape[2]), np.uint64), np.zeros(1, np.uint64), table=False)
        fresh.counters[:] = 0
        fresh = resize(fresh, *(max(int(counters[k]), 2) for k in (NODES, EDGES)), int(counters[CANDIDATES]))
        size = self.forest.nodes.shape[1]
        numbers, origins = np.full(size, -1, np.int32), np.zeros(size, np.int32)
        transplant(self.forest, self.number, self.root, fresh, 0, numbers, origins)
        fresh.streams[0] = self.forest.streams[self.number]
        fresh.limits[0] = self.forest.limits[self.number]
        return fresh if not table else resize_with_table(fresh)


def planted(roots: NDArray[np.uint64], seeds: NDArray[np.uint64], *, table: bool, nodes: int = 2) -> Forest:
    """Trees of nothing but roots (B, words)."""
    return make_forest(roots, seeds, nodes, table=table, evaluated=False)


def resize_with_table(forest: Forest) -> Forest:
    """The same trees, whose nodes are found by their states from now on."""
    placeholder = forest._replace(table=np.zeros((forest.nodes.shape[0], 1), np.int32))
    return resize(placeholder, forest.nodes.shape[1], forest.edges.shape[1], forest.candidates.shape[1])
