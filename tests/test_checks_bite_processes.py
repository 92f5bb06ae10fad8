"""Checks of decision processes must be able to fail: one rule wrong each, and the check that catches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trajopt.testing import check_decision_process

DecisionProcess = pytest.importorskip("trajopt.decision_process").DecisionProcess


def walk(state, action):
    """Left or right on a line of seven places, one at the right end."""
    state[0] += 2 * action - 1
    return state, 1.0 * (state[0] >= 3), 0.9 * (abs(state[0]) < 3)


def process(step: Callable[..., Any] = walk, **options: Any):
    return DecisionProcess(step, np.zeros(1, np.int64), 2, name="walk", compiled=False, **options)


def failed(found) -> set[str]:
    return {result.name for result in check_decision_process(found) if not result.passed}


def test_a_sound_process_passes():
    """Compiled and in Python."""
    assert not failed(process())
    assert not failed(replace(process(), compiled=True))


def test_a_rule_that_remembers_is_caught():
    """Rewards that grow with every call."""
    calls = iter(range(10**6))
    assert "rules_are_deterministic" in failed(process(lambda s, a: (*walk(s, a)[:1], float(next(calls)), 0.0)))


def test_a_discount_that_grows_is_caught():
    """A discount above one, of which values would diverge."""
    assert failed(process(lambda s, a: (*walk(s, a)[:2], 1.5 * (abs(s[0]) < 3)))) == {
        "discounts_lie_between_minus_one_and_one"
    }


def test_a_dead_end_is_caught():
    """A state without a legal action that no discount ended."""
    assert failed(process(legal=lambda s: np.array([s[0] < 2, s[0] < 2]))) == {"something_is_always_legal"}


def test_probabilities_that_do_not_sum_to_one_are_caught():
    """Nature moves with three quarters of certainty."""
    found = DecisionProcess(
        walk, np.zeros(1, np.int64), 2, chance=lambda s: np.array([0.5, 0.25 + 0.25 * (s[0] == 0)]), outcomes=2,
        name="chance", compiled=False,
    )  # fmt: skip
    assert "probabilities_sum_to_one" in failed(found)
