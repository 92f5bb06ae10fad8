"""The rules of Gumbel search on single nodes: numbers that can be checked by hand, and what the theory promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_cases import gumbel_settings, halving, one_node, softmax

from trajopt.solvers.kernels import tree_gumbel
from trajopt.solvers.kernels.tree_settings import NEW, NOTHING

EXACT = {"rtol": 1e-6, "atol": 1e-6}
"""Priors are kept in single precision: 2^-24 of a number of size one, summed over a few."""


def sequence(actions, simulations):
    """Considered visits of every simulation."""
    return [tree_gumbel.considered_visits(actions, simulations, index) for index in range(simulations)]


@pytest.mark.parametrize(
    ("actions", "simulations", "expected"),
    [
        (8, 24, [0] * 8 + [1] * 4 + [2] * 4 + [3, 3, 4, 4, 5, 5, 6, 6]),
        (8, 47, [0] * 8 + [1] * 4 + [2] * 4 + [3] * 4 + [k for k in range(4, 17) for _ in (0, 1)] + [17]),
        (8, 2, [0, 0]),
        (8, 13, [0] * 8 + [1] * 4 + [2]),
        (7, 24, [0] * 7 + [1] * 3 + [2] * 3 + [3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8]),
        (0, 16, list(range(16))),
        (1, 16, list(range(16))),
    ],
)
def test_considered_visits_of_mctx(actions, simulations, expected):
    """Sequential halving considers the visits that mctx's own tests list."""
    assert sequence(actions, simulations) == expected


@settings(max_examples=100, deadline=None)
@given(actions=st.integers(0, 70), simulations=st.integers(0, 300))
def test_considered_visits_by_counting(actions, simulations):
    """The closed form is the table that counting every visit gives."""
    assert sequence(actions, simulations) == halving(actions, simulations)


def test_mixed_value_by_hand():
    """The mixed value weighs visited children by the prior; without visits it is the evaluator's value."""
    prior, q = softmax(np.array([-1.0, 2.0])), 10.0 / 54.0 * np.array([3.0, -1.0])
    completion = tree_gumbel.complete(one_node(prior, [4, 4], q, -0.8), gumbel_settings(), 0)
    np.testing.assert_allclose(completion.mixed, (-0.8 + 8.0 * prior @ q) / 9.0, **EXACT)
    assert tree_gumbel.complete(one_node(prior, [], [], -0.8), gumbel_settings(), 0).mixed == -0.8


def test_mixed_value_of_children_that_the_prior_excludes():
    """Visited children whose prior has underflowed weigh the same, and nothing divides by zero."""
    tree = one_node([0.0, 0.0, 1.0], [1, 1], [2.0, 4.0], 1.0)
    np.testing.assert_allclose(tree_gumbel.complete(tree, gumbel_settings(), 0).mixed, (1.0 + 2.0 * 3.0) / 3.0, **EXACT)


def test_completed_values_by_hand():
    """Range and scale of the values of mctx's bandit with 17 simulations over two legal actions."""
    tree = one_node(softmax(np.array([-1.0, 2.0])), [9, 8], [3.0, -1.0], -5.0)
    completion = tree_gumbel.complete(tree, gumbel_settings(value_scale=0.05, visit_offset=60.0), 0)
    assert (completion.low, completion.high, completion.visits) == (-1.0, 3.0, 17.0)
    np.testing.assert_allclose(completion.scale * 4.0, (60.0 + 9.0) * 0.05, **EXACT)


def test_untried_children_widen_the_range():
    """What was not tried has the mixed value, also where the range of values is taken; what was, keeps its own."""
    tree = one_node([0.3, 0.2, 0.5], [2], [4.0], 1.0)
    completion = tree_gumbel.complete(tree, gumbel_settings(rescale=0), 0)
    assert (completion.mixed, completion.low, completion.high) == (3.0, 3.0, 4.0)
    np.testing.assert_allclose([completion.scale, completion.rest], [5.2, 0.7], **EXACT)


def choice(prior, visits, q, raw, **given):
    """Action that a node inside the tree is left by."""
    tree = one_node(prior, visits, q, raw)
    edge = tree_gumbel.select_inside(tree, gumbel_settings(**given), 0)
    return int(tree.candidates[len(visits)]["action"]) if edge == NEW else int(tree.edges[edge]["action"])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_choice_inside_by_the_formula(data):
    """A node chooses the argmax of pi' - n / (1 + N) over all actions, though it keeps only those that were tried."""
    size = data.draw(st.integers(1, 7))
    tried = data.draw(st.integers(0, size))
    numbers = st.floats(-3.0, 3.0)
    prior = np.sort(softmax(np.array(data.draw(st.lists(numbers, min_size=size, max_size=size)))))[::-1]
    q = np.array(data.draw(st.lists(numbers, min_size=tried, max_size=tried)))
    visits = np.array(data.draw(st.lists(st.integers(1, 9), min_size=tried, max_size=tried)), int)
    raw, rescale = data.draw(numbers), data.draw(st.booleans())
    mixed = raw
    if tried:
        mixed = (raw + visits.sum() * (prior[:tried] @ q) / prior[:tried].sum()) / (1.0 + visits.sum())
    completed = np.append(q, np.full(size - tried, mixed))
    if rescale:
        completed = (completed - completed.min()) / max(np.ptp(completed), 1e-8)
    counts = np.append(visits, np.zeros(size - tried))
    policy = softmax(np.log(prior) + (50.0 + counts.max()) * 0.1 * completed)
    score = policy - counts / (1.0 + counts.sum())
    chosen = choice(prior, visits, q, raw, rescale=int(rescale))
    # Priors are in single precision, and values a little apart may be brought to the ends of [0, 1].
    assert score[chosen] >= score.max() - 1e-5


def test_nothing_that_is_not_finite_is_chosen():
    """A dead child is never selected, inside or at the root; where all are dead nothing is."""
    tree = one_node([0.9, 0.1], [1, 1], [5.0, -5.0], 0.0)
    tree.edges[0]["dead"] = True
    assert tree_gumbel.select_inside(tree, gumbel_settings(), 0) == 1
    assert tree_gumbel.select_at_root(tree, gumbel_settings(planned=8)) == 1
    tree.edges[1]["dead"] = True
    assert tree_gumbel.select_inside(tree, gumbel_settings(), 0) == NOTHING
    assert tree_gumbel.select_at_root(tree, gumbel_settings(planned=8)) == NOTHING


def test_a_considered_child_is_visited_however_unlikely():
    """An action whose prior has underflowed is visited when it alone has the visits that are considered."""
    tree = one_node([1.0, 0.0], [1], [5.0], 0.0)
    assert tree_gumbel.select_at_root(tree, gumbel_settings(planned=8)) == NEW


def test_visits_of_an_earlier_search_do_not_count():
    """Sequential halving goes by the visits of this search alone, whatever the tree knows already."""
    tree = one_node([0.5, 0.5], [7, 3], [0.0, 1.0], 0.0)
    tree.sample[:, tree_gumbel.BEFORE] = [7, 3]
    assert tree_gumbel.select_at_root(tree, gumbel_settings(planned=8)) == 1
    tree.edges[1]["visits"] += 1
    assert tree_gumbel.select_at_root(tree, gumbel_settings(planned=8)) == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-6, 6), min_size=2, max_size=12))
def test_visit_frequencies_approach_the_policy(logits):
    """Where all values are equal pi' is the prior, and the counts stay within the number of actions of N p."""
    prior = np.sort(softmax(np.array(logits)))[::-1]
    tree, policy = one_node(prior, np.zeros(len(prior), int), np.zeros(len(prior)), 0.0), gumbel_settings()
    visits = tree.edges["visits"]
    for simulation in range(1, 300):
        visits[tree_gumbel.select_inside(tree, policy, 0)] += 1
        assert np.all(visits <= simulation * prior + 1.0 + 1e-3)  # 1e-3: priors are summed in single precision
        assert np.all(visits >= simulation * prior - len(logits))
