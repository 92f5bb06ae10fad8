"""A search under way: trees of one or many roots, grown in threads, evaluated within or from outside."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.lowering.call import NUMBERS
from trajopt.lowering.rules import Entry
from trajopt.model_process import probabilities_of
from trajopt.solvers.kernels.tree_memory import SIMULATIONS, Forest
from trajopt.solvers.kernels.tree_search import list_actions, receive, receive_steps, search, traverse
from trajopt.solvers.kernels.tree_settings import DONE, EVALUATE, FAULTY, FULL, Desk, Paths, Rules, Settings
from trajopt.solvers.search.forest import grown, lacks_room, states_of, words_of
from trajopt.solvers.search.model import EmbeddedProcess

_LONGEST_PATH = 64
"""Entries of a path beyond twice the depth limit, for chance that moves several times in turn."""


class TreeSearch:
    """Trees of one search, and everything that their kernels need.

    Parameters
    ----------
    process
        The rules.
    settings
        What kernels are told.
    forest
        The trees.
    leaf
        Entry that evaluates leaves; None: they are evaluated from outside.
    threads
        At most so many trees grow at a time.
    most_bytes
        Limit of the trees' memory.
    """

    def __init__(
        self,
        process: DecisionProcess | EmbeddedProcess,
        settings: Settings,
        forest: Forest,
        leaf: Entry | None,
        threads: int,
        most_bytes: float,
    ) -> None:
        rules = process.rules
        self.process, self.settings, self.forest = process, settings, forest
        self._entries = [rules.advance_entry, rules.weigh_entry, *([leaf] if leaf else [])]
        self.rules = Rules(rules.advance_entry.address, rules.weigh_entry.address, leaf.address if leaf else 0)
        self._most_bytes = most_bytes
        trees, words = forest.nodes.shape[0], forest.states.shape[2]
        self._threads = min(threads, trees)
        self._pool = ThreadPoolExecutor(self._threads)  # its threads start with the first call, and end with it
        self._bounds = np.linspace(0, trees, self._threads + 1).astype(int)
        self.desks = [
            Desk(
                np.zeros(NUMBERS),
                np.zeros(rules.width),
                np.zeros(process.actions, np.bool_),
                np.zeros(rules.width),
                np.zeros((1, words), np.uint64),
            )
            for _ in range(self._threads)
        ]
        slots, length = trees * settings.slots, 2 * settings.max_depth + _LONGEST_PATH
        length = min(length, 2 * forest.nodes.shape[1] + _LONGEST_PATH) if slots > 1 else length
        self.paths = Paths(
            np.zeros((slots, length), np.int32),
            np.zeros((slots, length), np.int32),
            np.zeros((slots, 3), np.int64),
            np.zeros(slots),
        )
        self._leaves = np.zeros((slots, words), np.uint64)

    def close(self) -> None:
        """End the threads; the trees stay."""
        self._pool.shutdown()

    @property
    def frozen(self) -> bool:
        """Whether the memory is full, so that no tree grows any more."""
        return self.settings.frozen != 0

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to find out about any root."""
        roots = self.forest.nodes[:, 0]
        return bool((roots["exact"] | roots["dead"]).all())

    @property
    def simulations(self) -> int:
        """How many every tree has done, those apart that are settled: one that found no room is behind the others."""
        done, roots = self.forest.counters[:, SIMULATIONS], self.forest.nodes[:, 0]
        growing = ~(roots["exact"] | roots["dead"])
        return int(done[growing].min() if growing.any() else done.max())

    def run(self, limit: int) -> None:
        """Simulate until every tree has done ``limit`` or is settled."""

        def part(k: int) -> int:
            first, last = self._bounds[k], self._bounds[k + 1]
            return search(self.forest, self.rules, self.settings, self.desks[k], self.paths, first, last, limit)

        while self._each(part) == FULL:
            self._grow()

    def run_outside(self, limit: int, evaluate: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]) -> None:
        """One simulation in every slot of every tree that has not done ``limit``, with one call of ``evaluate``."""
        self._walk_down(limit, lambda waiting: self._hand_over(waiting, evaluate))

    def _walk_down(self, limit: int, answer: Callable[[np.ndarray], None]) -> None:
        """Walk in every slot, and have those that wait for an evaluation answered."""
        while not self.frozen and lacks_room(self.forest, self.settings):
            self._grow()

        def down(k: int) -> int:
            first, last = self._bounds[k], self._bounds[k + 1]
            return traverse(
                self.forest, self.rules, self.settings, self.desks[k], self.paths, first, last, limit, self._leaves
            )

        full = self._each(down) == FULL
        waiting = self.paths.ends[:, 0] == EVALUATE
        if waiting.any():
            answer(waiting)
        if full:
            self._grow()

    def _hand_over(self, waiting: np.ndarray, evaluate: Callable[..., Any]) -> None:
        states = states_of(self._leaves[waiting], self.process.shape, self.process.dtype)
        found, preferred = evaluate(states)
        values = np.zeros(len(waiting))
        values[waiting] = found
        priors = np.zeros((len(waiting), self.process.actions))
        if preferred is not None:
            priors[waiting] = preferred

        def up(k: int) -> int:
            first, last = self._bounds[k], self._bounds[k + 1]
            return receive(
                self.forest, self.rules, self.settings, self.desks[k], self.paths, first, last, values, priors
            )

        self._each(up)

    def run_model(self, limit: int) -> None:
        """As `run_outside`, with one call of the model, which takes the steps as well."""
        assert isinstance(self.process, EmbeddedProcess)
        self._walk_down(limit, self._imagine)

    def _imagine(self, waiting: np.ndarray) -> None:
        """Let the model take the steps that walks are waiting for, and value where they lead."""
        process, forest = self.process, self.forest
        chosen = np.zeros(len(waiting), np.int64)
        list_actions(forest, self.settings, self.paths, 0, len(forest.nodes), chosen)
        values, priors = np.zeros(len(waiting)), np.zeros((len(waiting), process.actions))
        rewards, discounts = np.zeros(len(waiting)), np.ones(len(waiting))
        roots = chosen < 0
        if roots[waiting].all():  # they were asked for already
            values[:], priors[:] = process.roots.values, probabilities_of(process.roots.logits)
        else:
            before = states_of(self._leaves[waiting], process.shape, process.dtype)
            steps, priors[waiting] = process.step(before, chosen[waiting])
            rewards[waiting], discounts[waiting] = steps.rewards, steps.discounts
            values[waiting], self._leaves[waiting] = steps.after.values, words_of(steps.after.embeddings)

        def enter(k: int) -> int:
            first, last = self._bounds[k], self._bounds[k + 1]
            arguments = (self.forest, self.rules, self.settings, self.desks[k], self.paths, first, last)
            worst = receive_steps(*arguments, self._leaves, rewards, discounts)
            return max(worst, receive(*arguments, values, priors))

        self._each(enter)

    def _each(self, part: Callable[[int], int]) -> int:
        """The worst of what ``part`` returns for each thread's trees."""
        worst = part(0) if self._threads == 1 else max(self._pool.map(part, range(self._threads)))
        if worst == FAULTY:
            self.raise_fault()
        return worst

    def _grow(self) -> None:
        """More room for all trees, or none ever again."""
        larger = grown(self.forest, self.settings, self._most_bytes)
        if larger is None:
            self.settings = self.settings._replace(frozen=1)
        else:
            self.forest = larger

    def raise_fault(self) -> None:
        """Say which rule raised, and what: called again from Python, it raises again."""
        for entry in self._entries:
            if entry.fault:
                error = entry.fault[0]
                raise (
                    error
                    if isinstance(error, InvalidProblem | KeyboardInterrupt)
                    else InvalidProblem(
                        f"a rule of {self.process.label} raised {type(error).__name__}: {error}; correct it."
                    )
                ) from error
        raise InvalidProblem(
            f"a rule of {self.process.label} raised during the search: an index out of bounds, an array of another "
            "shape, or probabilities that do not add up to 1; try it with compiled=False, which tells the place."
        )


assert DONE < FULL < FAULTY  # the worst is the largest
