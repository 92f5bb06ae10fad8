"""Pictures of search trees show what the tree holds, from the root's point of view, whatever the process is called."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

import trajopt as to
from trajopt.solvers import MCTS
from trajopt.view.search_tree import most_visited, plot_tree, tree_page

VOID = {"meta", "br", "input", "path", "use", "rect", "circle"}


def sticks(name: str = "sticks", names: tuple[str, ...] | None = ("one", "two")) -> to.DecisionProcess:
    """Seven sticks, one or two a move, who takes the last wins."""

    def step(state, action):
        state[0] -= action + 1
        return state, 1.0 if state[0] == 0 else 0.0, 0.0 if state[0] == 0 else -1.0

    def legal(state):
        return np.array([state[0] >= 1, state[0] >= 2])

    return to.DecisionProcess(
        step, np.array([7]), 2, legal=legal, action_names=names, name=name, compiled=False,
        render=lambda state: "<" + "|" * int(state[0]),
    )  # fmt: skip


def coin() -> to.DecisionProcess:
    """A bet on a coin, by a chance state."""

    def step(state, action):
        if state[0] == 0:
            return np.array([1 + action]), 0.0, 1.0
        return state, 1.0 if action == state[0] - 1 else -1.0, 0.0

    def chance(state):
        return np.array([0.5, 0.5]) if state[0] > 0 else np.zeros(2)

    return to.DecisionProcess(step, np.array([0]), 2, chance=chance, outcomes=2, compiled=False)


class Checker(HTMLParser):
    """Every element that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("process", [sticks(), sticks(names=None), coin()], ids=["named", "numbered", "chance"])
def test_what_is_shown_is_what_the_tree_holds(process: to.DecisionProcess) -> None:
    """Shares of children add up to at most one, no node stands above its parent's visits, and nothing is lost."""
    tree = to.decide(process, MCTS(simulations=200, proven=False)).tree
    root = most_visited(tree, 10_000)
    shown = list(root.walk())
    assert sum(1 for branch in shown if branch.node >= 0) == tree.size
    for branch in shown:
        assert branch.hidden == 0
        assert sum(child.visits for child in branch.children) <= branch.visits
        assert all(child.place == (0.0, 0) for child in branch.children)
    small = most_visited(tree, 3)
    assert sum(1 for _ in small.walk()) == min(4, len(shown))
    # The best first: no node that is left out was visited more than one that is shown.
    least = min(branch.visits for branch in small.walk())
    rest = [child.visits for branch in small.walk() if branch.node >= 0 for child in tree.children(branch.node)]
    assert sorted(rest, reverse=True)[:3][-1] >= least


def test_values_are_those_of_the_player_who_is_to_move_in_the_root() -> None:
    """What the opponent holds for good is bad here: signs turn with each change of hands."""
    tree = to.decide(sticks(), MCTS(simulations=500)).tree
    root = most_visited(tree, 1_000)
    for child in root.children:
        record = next(one for one in tree.children() if one.node == child.node and one.visits == child.visits)
        assert child.value == record.value
        for grandchild, seen in zip(child.children, tree.children(child.node), strict=True):
            assert grandchild.value == -seen.value


@pytest.mark.parametrize("simulations", [0, 1, 300])
def test_pages_are_whole_whatever_is_in_them(simulations: int, tmp_path) -> None:
    """Also a tree of nothing but its root; names and positions cannot become elements."""
    process = sticks("<script>alert(1)</script>", ("<b>one", "&two"))
    tree = to.decide(process, MCTS(simulations=simulations)).tree
    text = tree_page(tree)
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert "<script>alert" not in text
    assert "<b>one" not in text
    assert "&lt;|||||||" in text
    assert tree.report(tmp_path / "tree.html").read_text() == text
    assert plot_tree(tree, 5).axes[0].get_title(loc="left").startswith("<script>")
