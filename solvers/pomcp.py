"""POMCP: Monte Carlo tree search over histories of actions and observations, for states that are hidden.

A state is drawn from the belief, and from then on the simulation knows it; the tree does not: its nodes are histories
h, and in each of them the action

    a = argmax  Q(h, a) + c (largest - least return) sqrt(ln N(h) / N(h, a))

is taken, untried ones first. The first new history ends the walk; random play goes on from there, until the discounts
have become smaller than ``cutoff``. Drawing states from the belief makes Q converge to the values of the beliefs,
without ever computing one.

Averaged returns hold every exploring action below them: where a wrong one costs much, as in Tiger, they stay far too
low for millions of simulations. So a history hands on its best mean instead (``backup="max"``).

The belief is kept as particles (`trajopt.solvers.belief`): ``decision.tree`` is the belief that was decided in, and
``decision.tree.after(action, observation)`` the one for the next decision.

Reference: Silver and Veness, Monte-Carlo planning in large POMDPs, NIPS 2010. Here the belief after an observation is
drawn anew from the one before, to as many particles as before, instead of being taken from the tree and reinvigorated;
the constant c is relative to the range of returns; and the backup is a choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.decision import Decision
from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.monitor import Monitor
from trajopt.planner import Planner
from trajopt.solvers.belief import Belief, complain, rules_of, value_entry, walk_of, words_of
from trajopt.solvers.kernels import pomcp
from trajopt.solvers.kernels.pomcp import Tree
from trajopt.status import Status
from trajopt.validation import check, check_choice, check_positive, check_whole, is_number

_SIMULATIONS_A_CALL = 1000
"""Simulations between two looks at the clock: some milliseconds of compiled rules."""


@dataclass(frozen=True)
class POMCP(Planner):
    """Partially observable Monte Carlo planning; see the module for the method.

    Parameters
    ----------
    simulations
        For one decision.
    particles
        States that stand for a belief.
    exploration
        c, relative to the range of returns.
    depth
        Most decisions that a simulation looks ahead.
    cutoff
        Product of discounts below which the rest is left out.
    evaluate
        Function state -> value that a new history begins with, in place of random play; compiled like a rule. Where bad
        actions cost much, random play is far from what can be had, and takes very many simulations to forget.
    backup
        "max": the best mean of a history is what its predecessors learn; "mean": the returns themselves, as published.
    seed
        Of all random numbers: same seed, same decision.

    Raises
    ------
    InvalidProblem
        When a setting makes no sense.
    """

    simulations: int = 10_000
    particles: int = 1000
    exploration: float = 1.0
    depth: int = 100
    cutoff: float = 0.01
    evaluate: Callable[[NDArray], float] | None = None
    backup: str = "max"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("simulations", "particles", "depth"):
            check_whole(getattr(self, name), name, 1)
        check_whole(self.seed, "seed", 0)
        check_positive(self.cutoff, "cutoff")
        check_choice(self.backup, "backup", ("max", "mean"))
        valid = is_number(self.exploration) and self.exploration >= 0.0
        check(self.exploration, "exploration", "a number of zero or more", valid)
        check(self.evaluate, "evaluate", "a function of a state", self.evaluate is None or callable(self.evaluate))

    def plan(self, process: DecisionProcess, state: np.ndarray, *, tree: Any = None, monitor: Monitor) -> Decision:
        """See `trajopt.decide`; with ``tree``, a `Belief`, that is what is believed, and ``state`` does not count."""
        evaluate = None if self.evaluate is None else process.rules.entry(value_entry(process, self.evaluate))
        rules = rules_of(process, evaluate)
        if tree is None:
            tree = Belief.initial(process, state, self.particles, self.seed)
        elif not isinstance(tree, Belief) or tree.process is not process:
            raise InvalidProblem(
                f"tree={tree!r} was given, but a Belief of the same process was expected; pass "
                "decision.tree.after(action, observation)."
            )
        histories = _tree(self.simulations + 1, process.actions)
        walk = walk_of(process, self.depth, self.seed)
        particles = np.array([words_of(particle) for particle in tree.particles])
        done = 0

        def advance(count: int) -> tuple[Status | None, list[dict[str, float]]]:
            nonlocal done
            wanted = min(count * _SIMULATIONS_A_CALL, self.simulations - done)
            greedy = self.backup == "max"
            code = pomcp.search(rules, histories, walk, particles, self.exploration, self.cutoff, greedy, wanted)
            complain(process, walk, code)
            done += wanted
            numbers = [{"cost": -_best(histories)[1]}] * count
            return Status.SOLVED if done == self.simulations else None, numbers

        status = monitor.run_batches(advance, self.simulations)
        return _decision(histories, tree, status, done)


def _tree(nodes: int, actions: int) -> Tree:
    count = np.ones(1, np.int64)
    child, sibling = np.full((nodes, actions), -1), np.full(nodes, -1)
    extremes = np.array([np.inf, -np.inf])
    return Tree(
        count, np.zeros((nodes, actions), np.int64), np.zeros((nodes, actions)), child, sibling,
        np.zeros(nodes, np.int64), extremes,
    )  # fmt: skip


def _best(histories: Tree) -> tuple[int, float]:
    """The action of the largest mean at the root, and its mean."""
    values = np.where(histories.visits[0] > 0, histories.values[0], -np.inf)
    return int(np.argmax(values)), float(values.max())


def _decision(histories: Tree, belief: Belief, status: Status, simulations: int) -> Decision:
    visits = histories.visits[0].copy()
    action, value = _best(histories)
    return Decision(
        action, value, visits / visits.sum(), visits, np.where(visits > 0, histories.values[0], np.nan), (action,),
        simulations=simulations, status=status, tree=belief,
    )  # fmt: skip
