"""Monte Carlo tree search as a thing to use: limits, reuse, batches, threads, evaluations from outside, bad input."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from tree_cases import after, bandit, chain, piglet, synthetic, tic_tac_toe

import trajopt as to
from trajopt.solvers import MCTS
from trajopt.solvers.mcts import LeafRule, Rollouts

GAME = tic_tac_toe()


def same(first: to.Decision, second: to.Decision) -> bool:
    """Whether two decisions agree bit for bit."""
    return (
        first.action == second.action
        and first.visits.tolist() == second.visits.tolist()
        and np.array_equal(first.action_values, second.action_values, equal_nan=True)
        and first.principal_variation == second.principal_variation
    )


def heads(states):
    """Values and priors as a network would give them: any function of the state."""
    places = states[:, 1].astype(float)
    priors = np.exp(np.sin(places[:, None] + np.arange(4)))
    return 0.3 * np.sin(places), priors / priors.sum(axis=1, keepdims=True)


def heads_rule(state, priors):
    """The same as a rule of one state."""
    for action in range(4):
        priors[action] = np.exp(np.sin(state[1] + action))
    return 0.3 * np.sin(float(state[1]))


def test_same_seed_same_bits_whatever_the_threads():
    """A batch in one thread, in three, and one by one gives the same bits, and so does a second time."""
    states = np.stack([after(GAME, *moves) for moves in ((), (4,), (4, 0), (1, 2), (8, 7, 6))])
    batches = [to.decide_batch(GAME, MCTS(simulations=700, threads=threads), states) for threads in (1, 3, 3)]
    alone = [to.decide(GAME, MCTS(simulations=700, seed=seed), state=state) for seed, state in enumerate(states)]
    for batch in batches:
        assert all(same(one, other) for one, other in zip(batch, alone, strict=True))
    assert not same(alone[0], to.decide(GAME, MCTS(simulations=700, seed=99)))


def test_python_rules_give_the_same_as_compiled_ones():
    """``compiled=False`` is slow, and otherwise no different."""
    for process in (tic_tac_toe(), piglet(2), piglet(2, sampled=True)):
        planner = MCTS(simulations=60, seed=4)
        assert same(to.decide(process, planner), to.decide(replace(process, compiled=False), planner))


def test_outside_evaluation_is_the_rule_of_one_state():
    """Values and priors in one batched call give the visits that the compiled rule gives."""
    process = synthetic(4, 6)
    planner = MCTS(simulations=300, selection="puct", normalisation="siblings", proven=False)
    inside = to.decide(process, replace(planner, evaluation=LeafRule(heads_rule)))
    outside = to.decide(process, replace(planner, evaluation=heads))
    assert inside.visits.tolist() == outside.visits.tolist()
    assert outside.action_values == pytest.approx(inside.action_values, abs=1e-6)  # priors are kept in single precision


def test_one_call_evaluates_all_trees():
    """A simulation of B trees is one call with B states, and the root's call is no simulation."""
    sizes = []

    def counted(states):
        sizes.append(len(states))
        return heads(states)

    planner = MCTS(simulations=20, selection="puct", evaluation=counted)
    decisions = to.decide_batch(synthetic(4, 6), planner, np.zeros((7, 2), np.int64))
    assert sizes == [7] * 21
    assert all(decision.visits.sum() == 20 for decision in decisions)


def test_parallel_simulations_of_one_tree():
    """With virtual loss a call gets several leaves, every simulation counts once, and the answer is as good."""
    sizes = []

    def counted(states):
        sizes.append(len({tuple(state) for state in states.tolist()}))
        return heads(states)

    process = synthetic(4, 12)
    planner = MCTS(simulations=400, selection="puct", evaluation=counted, parallel=8, proven=False)
    decision = to.decide(process, planner)
    assert decision.visits.sum() == 400
    assert len(sizes) <= 1 + 400 // 8 + 5
    assert np.mean(sizes[5:]) > 6.0
    edges = decision.tree.edges()
    assert (edges["pending"] == 0).all()
    serial = to.decide(process, replace(planner, parallel=1))
    assert decision.value == pytest.approx(serial.value, abs=0.1)


def test_reuse_is_fresh_plus_old_visits():
    """Going on from a tree adds simulations to it, keeps what is known, and forgets what did not happen."""
    planner = MCTS(simulations=500, proven=False)
    first = to.decide(GAME, planner)
    tree = first.tree.after(first.action)
    known = {child.action: child.visits for child in tree.children()}
    assert sum(known.values()) == tree.visits - 1  # the first visit valued the node itself
    second = to.decide(GAME, planner, tree=tree)
    assert second.simulations == 500
    assert second.visits.sum() == sum(known.values()) + 500
    assert all(second.visits[action] >= visits for action, visits in known.items())
    assert second.tree.size <= tree.size + 500
    assert np.array_equal(second.tree.state, after(GAME, first.action))


def test_reuse_in_two_parts_is_one_search():
    """300 and 200 simulations on one tree are bit for bit 500 in one go."""
    whole = to.decide(GAME, MCTS(simulations=500, proven=False))
    part = to.decide(GAME, MCTS(simulations=300, proven=False))
    assert same(to.decide(GAME, MCTS(simulations=200, proven=False), tree=part.tree), whole)


def test_reuse_through_chance_and_sampled_steps():
    """A tree goes on through an outcome, and through the state that a random step led to."""
    process = piglet(3)
    tree = to.decide(process, MCTS(simulations=500)).tree.after(0).after(1)
    assert tree.state.tolist() == [0, 0, 1, 0]
    assert to.decide(process, MCTS(simulations=10), tree=tree).visits.sum() > 100
    process = piglet(3, sampled=True)
    tree = to.decide(process, MCTS(simulations=500)).tree.after(0, state=[0, 0, 1, 0])
    assert to.decide(process, MCTS(simulations=10), tree=tree).visits.sum() > 100


def test_what_reuse_refuses():
    """Illegal actions, ends, missing states and foreign trees get a sentence."""
    tree = to.decide(GAME, MCTS(simulations=50), state=after(GAME, 4, 0)).tree
    with pytest.raises(to.InvalidProblem, match="illegal in the root of the tree"):
        tree.after(4)
    with pytest.raises(to.InvalidProblem, match="illegal"):
        tree.after(9)
    with pytest.raises(to.InvalidProblem, match="about another state"):
        to.decide(GAME, MCTS(), tree=tree, state=after(GAME, 1))
    with pytest.raises(to.InvalidProblem, match="tree of an earlier decision"):
        MCTS().plan(GAME, after(GAME), tree=3, monitor=to.monitor.Monitor())
    with pytest.raises(to.InvalidProblem, match="nothing left to decide"):
        to.decide(GAME, MCTS(simulations=5), state=after(GAME, 0, 3, 1, 4)).tree.after(2)
    with pytest.raises(to.InvalidProblem, match="the state that it led to"):
        to.decide(piglet(3, sampled=True), MCTS(simulations=5)).tree.after(0)


def test_memory_limit_stops_expansion_and_not_the_search():
    """Beyond the limit no node is made; all simulations are done, and the message says so."""
    limited = MCTS(simulations=20_000, max_memory=2e6, proven=False)
    decision = to.decide(GAME, limited)
    assert decision.simulations == 20_000
    assert "memory limit" in decision.message
    used = sum(array.nbytes for array in decision.tree.forest)
    assert used <= 2e6
    assert decision.action == to.decide(GAME, replace(limited, max_memory=2e9)).action == 4
    many = to.decide(synthetic(4, 6), MCTS(simulations=2_000, selection="puct", evaluation=heads, max_memory=3e5))
    assert many.simulations == 2_000


def test_memory_grows_with_nodes_and_not_with_actions():
    """Where priors are equal 10,000 actions take no more memory than 10."""
    planner = MCTS(simulations=2_000, proven=False)
    wide, narrow = (to.decide(chain_of(actions), planner).tree.forest for actions in (10_000, 10))
    assert sum(array.nbytes for array in wide) <= 4 * sum(array.nbytes for array in narrow)


def chain_of(actions):
    """Every action goes on for three steps."""

    def step(state, action):
        state[0] += 1
        return state, 0.001 * (action % 7), 0.0 if state[0] == 3 else 1.0

    return to.DecisionProcess(step, np.zeros(1, np.int64), actions)


def test_time_limit_answers():
    """A millisecond is enough for an answer, and a second for one in time."""
    to.decide(GAME, MCTS(simulations=10))  # loads the kernels
    start = time.perf_counter()
    decision = to.decide(GAME, MCTS(simulations=10**9, proven=False), max_time=1e-3)
    assert time.perf_counter() - start < 0.25  # 1 ms, and whatever else the machine was doing
    assert decision.status is to.Status.TIME_LIMIT
    assert GAME.legal_actions(after(GAME))[decision.action]
    assert decision.simulations > 0


def test_zero_simulations_answer_from_the_prior():
    """Nothing but the prior speaks; equal priors leave it to the seed."""
    planner = MCTS(simulations=0, selection="puct", evaluation=heads)
    decision = to.decide(synthetic(4, 6), planner)
    assert decision.probabilities == pytest.approx(heads(np.zeros((1, 2)))[1][0])
    assert decision.action == int(np.argmax(decision.probabilities))
    assert decision.value == pytest.approx(float(heads(np.zeros((1, 2)))[0][0]))
    chosen = {to.decide(GAME, MCTS(simulations=0, seed=seed), state=after(GAME, 4)).action for seed in range(60)}
    assert chosen == {0, 1, 2, 3, 5, 6, 7, 8}


def test_nothing_finite_wins():
    """A reward that is not finite is never chosen, but told; where there is nothing else the status says so."""
    decision = to.decide(bandit([0.1, math.nan, 0.2, math.inf, -math.inf]), MCTS(simulations=100, proven=False))
    assert decision.action == 2
    assert decision.value == pytest.approx(0.2, abs=0.06)
    assert "3 simulations met a reward" in decision.message
    decision = to.decide(bandit([math.nan, math.nan]), MCTS(simulations=100))
    assert decision.status is to.Status.NUMERICAL_FAILURE


def test_values_of_an_evaluation_that_are_not_finite():
    """A leaf whose value is NaN counts as impossible; a NaN at the root costs its value alone."""

    def faulty(states):
        values, priors = heads(states)
        return np.where(states[:, 1] % 4 == 2, math.nan, values), priors

    decision = to.decide(synthetic(4, 6), MCTS(simulations=200, selection="puct", evaluation=faulty))
    assert decision.visits[1] == 0  # its state is number 2
    assert decision.visits.sum() > 100
    assert "not finite" in decision.message
    always = to.decide(synthetic(4, 6), MCTS(simulations=20, evaluation=lambda s: np.full(len(s), math.nan)))
    assert always.status is to.Status.NUMERICAL_FAILURE


@pytest.mark.parametrize("priors", [[0.0, 0.0, 0.0], [math.nan, 1.0, 1.0], [-1.0, 2.0, 2.0]])
def test_bad_priors_are_replaced_and_told(priors):
    """Priors that are no distribution become one."""

    def evaluation(states):
        return np.zeros(len(states)), np.tile(priors, (len(states), 1))

    decision = to.decide(bandit([0.1, 0.2, 0.3]), MCTS(simulations=60, selection="puct", evaluation=evaluation))
    assert "priors were" in decision.message
    assert decision.action == 2


def test_priors_need_not_be_normalised_and_masks_hold():
    """Priors of any sum are a distribution over what is legal; an illegal action is never tried."""

    def evaluation(states):
        return np.zeros(len(states)), np.tile(np.arange(1.0, 10.0), (len(states), 1))

    state = after(GAME, 8, 7)
    decision = to.decide(GAME, MCTS(simulations=0, selection="puct", evaluation=evaluation), state=state)
    assert decision.probabilities.tolist() == pytest.approx([*np.arange(1, 8) / 28, 0, 0])
    decision = to.decide(GAME, MCTS(simulations=300, selection="puct", evaluation=evaluation), state=state)
    assert decision.visits[[7, 8]].sum() == 0


def test_states_without_legal_action():
    """At the root that is refused; within the tree it counts as impossible."""

    def step(state, action):
        state[0] = action
        return state, 0.0, 1.0 if action == 1 else 0.0

    def legal(state, out):
        out[:] = state[0] != 1

    process = to.DecisionProcess(step, np.zeros(1, np.int64), 2, legal=legal)
    decision = to.decide(process, MCTS(simulations=50, proven=False))
    assert decision.action == 0
    assert "without legal action" in decision.message
    with pytest.raises(to.InvalidProblem, match="no action is legal"):
        to.decide(process, MCTS(), state=[1])


def test_a_rule_that_raises_is_named():
    """Whatever rules raise becomes a sentence, compiled or not."""

    def step(state, action):
        if state[0] == 2:
            raise ValueError("three is too many")
        state[0] += 1
        return state, 0.0, 1.0

    process = to.DecisionProcess(step, np.zeros(1, np.int64), 2)
    with pytest.raises(to.InvalidProblem, match="raised during the search"):
        to.decide(process, MCTS())
    with pytest.raises(to.InvalidProblem, match="three is too many"):
        to.decide(replace(process, compiled=False), MCTS())


def test_widening_bounds_children():
    """A node of N visits has at most about k N^a actions, and a random step as many outcomes."""
    wide = to.decide(chain_of(10_000), MCTS(simulations=3_000, action_widening=(2.0, 0.5), proven=False))
    assert (wide.visits > 0).sum() <= 2.0 * math.sqrt(3_000) + 1

    def step(state, action, uniform):
        return state + uniform, uniform + action, 1.0 if state[0] < 3.0 else 0.0

    process = to.DecisionProcess(step, np.zeros(1), 2)
    decision = to.decide(process, MCTS(simulations=2_000, outcome_widening=(1.0, 0.5)))
    for child in decision.tree.children():
        assert decision.tree.kind(child.node) == "sampled"
        assert len(decision.tree.children(child.node)) <= math.sqrt(child.visits) + 1
    assert decision.action == 1
    free = to.decide(process, MCTS(simulations=200))
    assert len(free.tree.children(free.tree.children()[0].node)) == free.tree.children()[0].visits


def test_chance_at_the_root_has_no_action():
    """Where nature moves there is nothing to choose, but there is a value."""
    decision = to.decide(piglet(2), MCTS(simulations=20_000), state=[0, 0, 0, 1])
    assert decision.action == -1
    assert decision.value == pytest.approx(0.5 * (2 * 5 / 7 - 1) - 0.5 * (2 * 4 / 7 - 1), abs=0.05)


def test_callback_stops():
    """A callback sees values and ends the search."""
    seen = []
    decision = to.decide(
        GAME, MCTS(simulations=10**9, proven=False), callback=lambda iteration: seen.append(iteration) or len(seen) == 2
    )
    assert decision.status is to.Status.STOPPED
    assert len(seen) == 2


@pytest.mark.parametrize(
    "settings",
    [
        {"simulations": -1}, {"selection": "ucb"}, {"backup": "best"}, {"normalisation": "all"}, {"evaluation": 3},
        {"exploration": math.nan}, {"exploration_base": 0.0}, {"noise": (0.0, 0.5)}, {"noise": 0.3},
        {"seed": -1}, {"temperature": -1}, {"action_widening": (1.0, 2.0)}, {"outcome_widening": (0.0, 0.5)},
        {"parallel": 0}, {"parallel": 2, "evaluation": Rollouts()}, {"max_depth": 0}, {"max_memory": 0.0},
        {"threads": 0}, {"proven": 1}, {"virtual_loss": -1.0},
    ],
)  # fmt: skip
def test_settings_are_checked(settings):
    """A setting that means nothing is refused when the planner is made."""
    with pytest.raises(to.InvalidProblem, match="was given"):
        MCTS(**settings)


def test_rollouts_and_leaf_rules_are_checked():
    """Evaluations refuse what they cannot do."""
    for wrong in (lambda: Rollouts(count=0), lambda: Rollouts(depth=0), lambda: LeafRule(lambda: 0.0)):
        with pytest.raises(to.InvalidProblem):
            wrong()
    with pytest.raises(to.InvalidProblem, match="returned shapes"):
        to.decide(chain(3), MCTS(evaluation=lambda states: np.zeros(len(states) + 1)))
    with pytest.raises(to.InvalidProblem, match="one state in each row"):
        to.decide_batch(chain(3), MCTS(), np.zeros(1))
