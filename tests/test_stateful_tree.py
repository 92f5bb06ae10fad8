"""A long life of search trees, drawn by Hypothesis: searched, moved on, searched again, left and returned to.

What was found is never lost and never changed: a tree that somebody holds stays as it is while others grow from it, its
visits are those of the searches that made it, and what is refused leaves no trace.
"""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import trajopt as to
from trajopt import problems
from trajopt.solvers import MCTS
from trajopt.solvers.search.tree import SearchTree

PROCESSES = {name: problems.load(name) for name in ("tic-tac-toe", "nim", "piglet", "connect-three")}
SETTINGS = {
    "tic-tac-toe": {"proven": False},
    "nim": {"proven": True},
    "piglet": {"proven": False},
    "connect-three": {"selection": "puct", "proven": False},
}


def bits(tree: SearchTree) -> str:
    """Everything that is kept of the used part of a tree."""
    forest = tree.forest
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in forest)).hexdigest()


class Trees(RuleBasedStateMachine):
    """One tree at a time is carried along a match; all that were held before are watched."""

    @initialize(name=st.sampled_from(sorted(PROCESSES)))
    def begin(self, name: str) -> None:
        self.process, self.options = PROCESSES[name], SETTINGS[name]
        self.tree: SearchTree | None = None
        self.state = np.array(self.process.initial_state)
        self.over = False
        self.held: list[tuple[SearchTree, str]] = []

    def hold(self, tree: SearchTree) -> None:
        self.tree = tree
        self.held = [*self.held, (tree, bits(tree))][-4:]

    @precondition(lambda self: not self.over)
    @rule(simulations=st.integers(0, 60), seed=st.integers(0, 3))
    def search(self, simulations: int, seed: int) -> None:
        """Visits add up: what was known, and what is new unless everything is certain."""
        known = 0 if self.tree is None else self.tree.visits
        planner = MCTS(simulations=simulations, seed=seed, **self.options)
        decision = to.decide(self.process, planner, state=self.state, tree=self.tree)
        nature = bool(self.process.outcome_probabilities(self.state).any())
        legal = self.process.legal_actions(self.state)
        assert decision.action == -1 if nature else legal[decision.action]
        assert decision.tree.visits == known + decision.simulations
        assert decision.simulations <= simulations
        if not self.options.get("proven"):
            assert decision.simulations == simulations
        assert abs(decision.value) <= 1.0 or np.isnan(decision.value)
        assert not decision.visits[~legal].any()
        self.hold(decision.tree)

    @precondition(lambda self: not self.over)
    @rule(choice=st.integers(0, 100))
    def move_on(self, choice: int) -> None:
        """Somebody moves, or nature; the subtree keeps its visits."""
        probabilities = self.process.outcome_probabilities(self.state)
        options = np.flatnonzero(probabilities if probabilities.any() else self.process.legal_actions(self.state))
        action = int(options[choice % len(options)])
        following, _, discount = self.process.apply(self.state, action)
        if discount == 0.0:
            self.over = True
            return
        if self.tree is not None:
            known = {child.action: child for child in self.tree.children()}
            tree = self.tree.after(action)
            assert np.array_equal(tree.state, following)
            if action in known and known[action].node >= 0:
                assert tree.visits == int(tree.node()["visits"]) <= max(known[action].visits, 1)
            self.hold(tree)
        self.state = following

    @precondition(lambda self: not self.over and self.tree is not None)
    @rule(action=st.sampled_from([-1, 10_000, 1.5, "a", None]))
    def move_on_by_nonsense(self, action: object) -> None:
        """A sentence, and nothing has happened."""
        try:
            self.tree.after(action)  # type: ignore[union-attr, arg-type]
        except to.InvalidProblem:
            return
        raise AssertionError("an action that is none was taken")

    @precondition(lambda self: not self.over and self.tree is not None)
    @rule()
    def search_elsewhere(self) -> None:
        """Another position of the same process, from nothing, leaves this tree alone."""
        to.decide(self.process, MCTS(simulations=10, **self.options))

    @rule()
    def start_anew(self) -> None:
        """A new match; the old trees are still held."""
        self.tree, self.state, self.over = None, np.array(self.process.initial_state), False

    @invariant()
    def what_is_held_does_not_change(self) -> None:
        for tree, expected in getattr(self, "held", []):
            assert bits(tree) == expected

    @invariant()
    def visits_flow(self) -> None:
        """The visits of a node are those of its edges, and at most one more, which made it."""
        tree = getattr(self, "tree", None)
        if tree is None:
            return
        waiting = [tree.root]
        while waiting:
            node = waiting.pop()
            edges = tree.edges(node)
            assert 0 <= int(tree.node(node)["visits"]) - int(edges["visits"].sum()) <= 1
            waiting += [int(child) for child in edges["child"] if child >= 0]


Trees.TestCase.settings = settings(max_examples=120, stateful_step_count=25, deadline=None, derandomize=True)
TestTrees = Trees.TestCase
