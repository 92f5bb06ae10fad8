"""What the rules of a decision process must be, on states that random play reaches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np

from trajopt.testing.registry import Family, NotApplicable, at_most, check, close, require
from trajopt.testing.tolerances import EXACT, Rule, rounding

SUITE = "decision process"
_LONGEST = 200
"""Steps of one random play, at most."""


@final
@dataclass(frozen=True, eq=False)
class ProcessSubject:
    """A decision process on trial; see `trajopt.testing.check_decision_process`."""

    process: Any
    count: int

    def __str__(self) -> str:
        return self.process.name or "decision process"

    @cached_property
    def states(self) -> list[np.ndarray]:
        """Distinct states that random legal play from the start reaches, in order."""
        process, found = self.process, {}
        generator = np.random.default_rng(0)
        for _ in range(self.count):
            state = np.array(process.initial_state)
            for _ in range(_LONGEST):
                found.setdefault(state.tobytes(), state)
                choices = self.choices(state)
                if len(found) >= self.count or not len(choices):
                    break
                action = int(generator.choice(choices))
                state, _, discount = process.apply(state, action, self.uniform(generator))
                if discount == 0.0:
                    break
            if len(found) >= self.count:
                break
        return list(found.values())

    def choices(self, state: np.ndarray) -> np.ndarray:
        """What may happen in a state: outcomes that are possible where nature moves, else legal actions."""
        probabilities = self.process.outcome_probabilities(state)
        if np.size(probabilities) and np.any(probabilities):
            return np.flatnonzero(probabilities)
        return np.flatnonzero(self.process.legal_actions(state))

    def uniform(self, generator: np.random.Generator) -> float | None:
        """A random number for a step that takes one."""
        return float(generator.random()) if self.process.random_step else None

    def moves(self) -> Iterator[tuple[np.ndarray, int, float | None]]:
        """Every possible move of every state."""
        generator = np.random.default_rng(1)
        for state in self.states:
            for action in self.choices(state):
                yield state, int(action), self.uniform(generator)


@check(Family.DECISION_PROCESS, Rule.EXACT, suite=SUITE)
def rules_are_deterministic(subject: ProcessSubject) -> None:
    """The same state, action and random number give the same next state, reward and discount, bit by bit."""
    for state, action, uniform in subject.moves():
        once, again = (subject.process.apply(state, action, uniform) for _ in range(2))
        same = np.array_equal(once[0], again[0], equal_nan=True) and once[1:] == again[1:]
        require(same, f"action {action} in {state.tolist()} led to {once} and then to {again}")


@check(Family.DECISION_PROCESS, Rule.EXACT, suite=SUITE)
def states_are_private_copies(subject: ProcessSubject) -> None:
    """Rules may write in the state that they are given; the caller's stays as it was, and so does an earlier result."""
    process = subject.process
    for state, action, uniform in subject.moves():
        before = state.copy()
        first = process.apply(state, action, uniform)[0]
        kept = first.copy()
        process.legal_actions(state)
        process.outcome_probabilities(state)
        process.apply(state, action, uniform)
        require(np.array_equal(state, before, equal_nan=True), f"action {action} wrote in the state {before.tolist()}")
        require(np.array_equal(first, kept, equal_nan=True), "a later step wrote in an earlier result")


@check(Family.DECISION_PROCESS, Rule.EXACT, suite=SUITE)
def states_keep_shape_and_type(subject: ProcessSubject) -> None:
    """Every next state has the shape and type of the initial one, and no number that is not finite."""
    start = np.asarray(subject.process.initial_state)
    for state, action, uniform in subject.moves():
        following = subject.process.apply(state, action, uniform)[0]
        kind = (following.shape, following.dtype)
        require(kind == (start.shape, start.dtype), f"action {action} led to shape {kind[0]} and type {kind[1]}")
        if following.dtype.kind == "f":
            require(np.isfinite(following).all(), f"action {action} in {state.tolist()} led to {following.tolist()}")


@check(Family.DECISION_PROCESS, Rule.EXACT, suite=SUITE)
def discounts_lie_between_minus_one_and_one(subject: ProcessSubject) -> None:
    """Rewards are finite, and discounts lie in [-1, 1]: 0 ends, -1 hands over to the opponent."""
    for state, action, uniform in subject.moves():
        _, reward, discount = subject.process.apply(state, action, uniform)
        require(np.isfinite(reward), f"action {action} in {state.tolist()} is worth {reward}")
        at_most(abs(discount), 1.0, EXACT, f"the magnitude of the discount of action {action} in {state.tolist()}")


@check(Family.DECISION_PROCESS, Rule.EXACT, suite=SUITE)
def something_is_always_legal(subject: ProcessSubject) -> None:
    """Every state that play reaches has a legal action, or nature moves: nothing but a discount of zero ends."""
    for state in subject.states:
        legal = subject.process.legal_actions(state)
        require(legal.shape == (subject.process.actions,), f"legal returned shape {legal.shape}")
        require(legal.dtype == np.bool_, f"legal returned type {legal.dtype}")
        require(len(subject.choices(state)), f"nothing is legal in {state.tolist()}, which play reaches")


@check(Family.DECISION_PROCESS, Rule.ROUNDING, suite=SUITE)
def probabilities_sum_to_one(subject: ProcessSubject) -> None:
    """Where nature moves, probabilities are not negative and add up to one; elsewhere all are zero."""
    if subject.process.chance is None:
        raise NotApplicable("nature never moves")
    moved = 0
    for state in subject.states:
        probabilities = np.asarray(subject.process.outcome_probabilities(state), float)
        require(np.shape(probabilities) == (subject.process.outcomes,), f"chance returned {np.shape(probabilities)}")
        if not probabilities.any():
            continue
        moved += 1
        require((probabilities >= 0.0).all(), f"chance returned {probabilities.tolist()} in {state.tolist()}")
        close(probabilities.sum(), 1.0, rounding(4.0 * len(probabilities)), f"the sum in {state.tolist()}")
    require(moved, "no state was met in which nature moves")


@check(Family.DECISION_PROCESS, Rule.ROUNDING, suite=SUITE)
def compiled_rules_are_the_python_ones(subject: ProcessSubject) -> None:
    """Compiled by Numba the rules return what they return in Python: states by bit, rewards to rounding."""
    process = subject.process
    if not process.compiled:
        raise NotApplicable("its rules are not compiled")
    pure = replace(process, compiled=False)
    for state in subject.states:
        require(np.array_equal(process.legal_actions(state), pure.legal_actions(state)), f"legal in {state.tolist()}")
        ours, theirs = (one.outcome_probabilities(state) for one in (process, pure))
        close(ours, theirs, rounding(16.0), f"a probability in {state.tolist()}")
    for state, action, uniform in subject.moves():
        (ours, *numbers), (theirs, *others) = (one.apply(state, action, uniform) for one in (process, pure))
        size = 1.0 + float(np.abs(np.asarray(theirs, float)).max(initial=0.0))
        allowed = EXACT if ours.dtype.kind in "biu" else rounding(1000.0, size)
        close(ours.astype(float), theirs.astype(float), allowed, f"the state after action {action} in {state.tolist()}")
        close(numbers, others, rounding(1000.0, 1.0 + np.abs(others).max()), "a compiled reward or discount")


@check(Family.DECISION_PROCESS, Rule.EXACT, suite=SUITE)
def observations_are_in_range(subject: ProcessSubject) -> None:
    """What is observed is a whole number of at least zero and less than the number of observations."""
    process = subject.process
    if process.observe is None:
        raise NotApplicable("everything is observed")
    generator = np.random.default_rng(2)
    for state, action, _ in subject.moves():
        seen = process.rules.call("observe", state.copy(), action, float(generator.random()))
        require(seen == int(seen) and 0 <= seen < process.observations, f"{seen} was observed in {state.tolist()}")
