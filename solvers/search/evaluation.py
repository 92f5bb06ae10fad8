"""What a new leaf is worth: random rollouts or a rule of the user's, both compiled with the rules into one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.lowering.call import STREAM, STREAM_LOW, VALUE
from trajopt.lowering.rules import Entry
from trajopt.signature import count_arguments
from trajopt.solvers.kernels.tree_random import below, next_word, unit
from trajopt.validation import check, check_whole

_LONGEST = 1_000_000
"""Steps of a rollout without a limit: what takes longer does not end."""


@dataclass(frozen=True)
class Rollouts:
    """Mean return of random play: every legal action, and every outcome as its probability says.

    Attributes
    ----------
    count
        Rollouts from each new leaf.
    depth
        Steps after which a rollout is cut off, and what would follow counts as 0; None: when the process ends.
    """

    count: int = 1
    depth: int | None = None

    has_priors = False

    def __post_init__(self) -> None:
        check_whole(self.count, "count", 1)
        if self.depth is not None:
            check_whole(self.depth, "depth", 1)

    def entry(self, process: DecisionProcess) -> Entry:
        """Address for the search's kernels."""
        return process.rules.entry_of(self, lambda: _rollout_entry(process, self.count, self.depth or _LONGEST))


@dataclass(frozen=True)
class LeafRule:
    """A rule of the user's that values a state, compiled like the rules of the process.

    Attributes
    ----------
    rule
        Function (state) -> value, as the player to move sees it, or (state, priors) -> value, which fills (actions,)
        priors.
    """

    rule: Callable[..., Any]

    def __post_init__(self) -> None:
        good = callable(self.rule) and count_arguments(self.rule) in (1, 2)
        check(self.rule, "rule", "a function of (state) or (state, priors)", good)

    @cached_property
    def has_priors(self) -> bool:
        """Whether the rule fills priors."""
        return count_arguments(self.rule) == 2

    def entry(self, process: DecisionProcess) -> Entry:
        """Address for the search's kernels."""
        return process.rules.entry_of(self, lambda: self._leaf_entry(process))

    def _leaf_entry(self, process: DecisionProcess) -> Callable[..., None]:
        """Entry that calls the rule."""
        rule, actions = process.rules.finish(getattr(self.rule, "py_func", self.rule)), process.actions
        if self.has_priors:

            def leaf_entry(state, numbers, weights, mask):
                weights[:] = 0.0
                numbers[VALUE] = rule(state, weights[:actions])

        else:

            def leaf_entry(state, numbers, weights, mask):
                numbers[VALUE] = rule(state)

        return leaf_entry


def _rollout_entry(process: DecisionProcess, count: int, depth: int) -> Callable[..., None]:
    """Entry that plays ``count`` rollouts; a state without legal action makes the value NaN."""
    play = process.rules.finish(_make_play(process, depth))

    if count == 1:

        def rollout_entry(state, numbers, weights, mask):
            key = (np.uint64(numbers[STREAM]) << np.uint64(32)) | np.uint64(numbers[STREAM_LOW])
            numbers[VALUE] = play(state, weights, mask, key)

    else:

        def rollout_entry(state, numbers, weights, mask):
            key = (np.uint64(numbers[STREAM]) << np.uint64(32)) | np.uint64(numbers[STREAM_LOW])
            total = 0.0
            for k in range(count):
                total += play(state.copy(), weights, mask, next_word(np.uint64(key), np.uint64(k)))
            numbers[VALUE] = total / count

    return rollout_entry


def _make_play(process: DecisionProcess, depth: int) -> Callable[..., float]:
    """Function (state, weights, mask, key) -> return of one random game, which overwrites the state."""
    rules = process.rules
    advance, allow, spread = rules.advance, rules.allow, rules.spread
    actions, outcomes, random_step = process.actions, process.outcomes, process.random_step

    def play(state, weights, mask, key):
        value, weight = 0.0, 1.0
        draws = 1
        for _ in range(depth):
            word = next_word(np.uint64(key), np.uint64(draws))
            draws += 1
            chosen = -1
            if outcomes > 0 and spread(state, weights[:outcomes]):
                remaining = unit(np.uint64(word))
                for outcome in range(outcomes):
                    if weights[outcome] > 0.0 and remaining >= 0.0:
                        chosen = outcome
                        remaining -= weights[outcome]
            else:
                allow(state, mask)
                total = 0
                for action in range(actions):
                    total += 1 if mask[action] else 0
                if total == 0:
                    return np.nan
                left = below(np.uint64(word), total)
                for action in range(actions):
                    if mask[action]:
                        if left == 0:
                            chosen = action
                            break
                        left -= 1
            uniform = 0.0
            if random_step:
                uniform = unit(np.uint64(next_word(np.uint64(key), np.uint64(draws))))
                draws += 1
            reward, discount = advance(state, chosen, uniform)
            value += weight * reward
            weight *= discount
            if weight == 0.0:
                break
        return value

    return play


def read_evaluation(evaluation: Any) -> Any:
    """The evaluation itself, or a function of a batch of states.

    Raises
    ------
    InvalidProblem
        When it is neither.
    """
    if isinstance(evaluation, Rollouts | LeafRule) or callable(evaluation):
        return evaluation
    raise InvalidProblem(
        f"evaluation={evaluation!r} was given, but Rollouts(...), LeafRule(...) or a function of states that returns "
        "(values, priors) was expected; pass one."
    )
