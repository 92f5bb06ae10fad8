"""Decision processes that are drawn, and their oracles, each against the others and against linear programming."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import trajopt as to
from trajopt.testing import oracles, strategies


def few(examples: int):
    return settings(max_examples=examples, deadline=None, derandomize=True, phases=[Phase.generate], database=None)


@few(100)
@given(strategies.decision_processes())
def test_drawn_processes_are_well_formed_and_end(process):
    """Something is legal everywhere, probabilities add up to one or are absent, and states only ever go forward."""
    assert process.legal.any(axis=1).all()
    assert np.isin(process.chance.sum(axis=1), [0.0, 1.0]).all()
    goes_on = process.discounts != 0.0
    assert (process.following > np.arange(len(goes_on))[:, None])[goes_on].all()


@few(60)
@given(strategies.decision_processes())
def test_three_oracles_agree(process):
    """Backward induction, sweeps and exhaustive search give one value: exactly, for all numbers are dyadic."""
    values = oracles.backward_induction(process)
    np.testing.assert_array_equal(oracles.iterate_values(process, len(values)), values)
    assert oracles.exhaustive_value(process, process.initial_state) == values[0]
    if not process.chance[0].any():
        q = oracles.exhaustive_actions(process, process.initial_state)
        np.testing.assert_array_equal(q, oracles.action_values(process, values)[0])


@few(40)
@given(strategies.decision_processes(players=1))
def test_values_of_one_player_by_linear_programming(process):
    """The least v with v >= q for every action, and equal to the expectation where nature moves."""
    count = len(process.rewards)
    above, limits, equal, sums = [], [], [], []
    for s in range(count):
        rows = np.zeros((process.actions, count))
        for a in range(process.actions):
            rows[a, process.following[s, a]] += process.discounts[s, a]
            rows[a, s] -= 1.0
        if process.chance[s].any():
            equal.append(process.chance[s] @ rows)
            sums.append(-process.chance[s] @ process.rewards[s])
        else:
            above += list(rows[process.legal[s]])
            limits += list(-process.rewards[s, process.legal[s]])
    given_rows = {"A_ub": above or None, "b_ub": limits or None, "A_eq": equal or None, "b_eq": sums or None}
    found = linprog(np.ones(count), bounds=(None, None), **given_rows)
    np.testing.assert_allclose(found.x, oracles.backward_induction(process), atol=1e-9)


@few(25)
@given(strategies.decision_processes(chance=False), st.integers(0, 99))
def test_uct_counts_and_finds_the_best_action(process, seed):
    """One visit a simulation, none of an illegal action, and the value of the most visited one is nearly the best."""
    answer = oracles.uct(process, process.initial_state, 400, seed=seed)
    assert answer.visits.sum() == 400
    assert not answer.visits[~process.legal[0]].any()
    q = oracles.exhaustive_actions(process, process.initial_state)
    # Rewards span two and at most six add up, so that 400 visits leave means an error of a few tenths at most.
    assert q[answer.action] >= q.max() - 0.75


@few(30)
@given(strategies.synthetic_trees(branching=3, depth=4))
def test_synthetic_trees_are_functions_of_their_seed(tree):
    """Two equal trees give equal rewards; the value of one player is the best sum over all paths."""
    again = strategies.SyntheticTree(tree.seed, tree.branching, tree.depth, tree.players)
    assert tree.apply(tree.initial_state, 0)[1] == again.apply(again.initial_state, 0)[1]
    sums, signs = {(0, 0): 0.0}, 1.0
    for depth in range(tree.depth):
        below = {}
        for (_, node), total in sums.items():
            for action in range(tree.branching):
                following, reward, _ = tree.apply(np.array([depth, node]), action)
                below[tuple(following.tolist())] = total + signs * reward
        sums, signs = below, signs * (1.0 if tree.players == 1 else -1.0)
    assert len(sums) == tree.branching**tree.depth
    value = oracles.exhaustive_value(tree, tree.initial_state)
    if tree.players == 1:
        assert value == max(sums.values())
    else:
        assert min(sums.values()) <= value <= max(sums.values())


def test_processes_shrink_to_what_can_be_read():
    """Two states and one step that counts, for a process in which somebody hands over."""
    process = find(strategies.decision_processes(), lambda process: (process.discounts == -1.0).any())
    assert len(process.discounts) == 2
    assert np.count_nonzero(process.discounts) == 1
    assert not process.rewards.any()


def test_a_process_that_returns_is_refused():
    """By backward induction, which would need to know the value before it is computed."""
    tables = np.zeros((1, 1))
    process = oracles.FiniteProcess(tables.astype(np.int64), tables, tables + 0.5, tables == 0.0, tables)
    with pytest.raises(to.InvalidProblem, match="iterate_values"):
        oracles.backward_induction(process)
