"""Monte Carlo tree search: games and processes with known answers, and how it chooses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tree_cases import after, bandit, chain, piglet, synthetic, synthetic_value, tic_tac_toe

import trajopt as to
from trajopt.solvers import MCTS
from trajopt.solvers.mcts import LeafRule, Rollouts

GAME = tic_tac_toe()
PIGLET = {
    2: {(0, 0, 0): 4 / 7, (0, 1, 0): 2 / 5, (1, 0, 0): 4 / 5, (1, 1, 0): 2 / 3},
    3: {(0, 0, 0): 6 / 11, (2, 2, 0): 2 / 3, (0, 2, 0): 2 / 9},
}
"""Probabilities that the player to move wins, from the optimality equations."""


def test_openspiel_draw_with_two_replies():
    """x centre, o corner, x opposite corner: only two replies hold the draw (OpenSpiel's mcts_test)."""
    decision = to.decide(GAME, MCTS(simulations=10_000), state=after(GAME, 4, 0, 8))
    assert decision.value == 0.0
    assert decision.proven == "draw"
    assert decision.action in (2, 6)
    others = [a for a in (1, 3, 5, 7) if decision.visits[a]]
    assert (decision.action_values[others] == -1.0).all()


def test_openspiel_lost_position():
    """Every reply loses, and the search proves it."""
    decision = to.decide(GAME, MCTS(simulations=10_000), state=after(GAME, 4, 0, 8, 1, 2))
    assert (decision.value, decision.proven) == (-1.0, "loss")
    assert decision.simulations < 10_000


def test_openspiel_won_position():
    """The first player wins, by the move that makes two threats."""
    decision = to.decide(GAME, MCTS(simulations=10_000), state=after(GAME, 1, 8))
    assert (decision.action, decision.value, decision.proven) == (2, 1.0, "win")


def test_whole_game_is_solved():
    """Tic-tac-toe from the empty board is a draw, proven through shared nodes."""
    decision = to.decide(GAME, MCTS(simulations=400_000, transpositions=True, exploration=5.0))
    assert decision.proven == "draw"
    assert decision.tree.size <= 5_478  # positions that can be reached at all


@pytest.mark.parametrize("backup", ["mean", "maximum"])
@pytest.mark.parametrize("goal", [2, 3])
def test_piglet_through_chance(goal, backup):
    """Values through chance nodes and irregular turns, as the optimality equations have them."""
    process = piglet(goal)
    planner = MCTS(simulations=60_000, backup=backup, seed=3)
    for points, probability in PIGLET[goal].items():
        decision = to.decide(process, planner, state=[*points, 0])
        best = float(np.nanmax(decision.action_values))
        assert best == pytest.approx(2 * probability - 1, abs=0.05)


def test_piglet_by_sampled_steps():
    """A random step as a function of a uniform number gives what explicit chance gives."""
    decision = to.decide(piglet(2, sampled=True), MCTS(simulations=60_000))
    assert np.nanmax(decision.action_values) == pytest.approx(2 * 4 / 7 - 1, abs=0.05)
    assert decision.action == 0  # flip: there is nothing to hold


def test_chance_visits_follow_probabilities():
    """Outcomes of a chance node are visited within one of what their probabilities ask for."""
    tree = to.decide(piglet(2), MCTS(simulations=2_000, proven=False)).tree
    flip = next(child for child in tree.children() if child.action == 0)
    assert tree.kind(flip.node) == "chance"
    visits = [child.visits for child in tree.children(flip.node)]
    assert abs(visits[0] - visits[1]) <= 1


@pytest.mark.parametrize(
    ("depth", "backup", "found"),
    [(5, "mean", True), (8, "mean", False), (8, "maximum", True), (10, "mean", False), (10, "maximum", False)],
)
def test_chain_without_proofs(depth, backup, found):
    """UCT finds the end of a chain of 5, with maxima of 8; 10 remain too many (Coquelin, Munos 2007): nothing peeks."""
    decision = to.decide(chain(depth), MCTS(simulations=10_000, proven=False, backup=backup))
    assert decision.action == int(found)


def test_proofs_solve_a_long_chain():
    """What is certain is left alone, so that a chain of 15 takes few simulations."""
    decision = to.decide(chain(15), MCTS(simulations=100))
    assert (decision.action, decision.value, decision.proven) == (1, 1.0, "exact")


def nought(state):
    return 0.0


def test_ucb1_bound_of_visits():
    """Worse arms are tried at most 8 ln n / gap^2 + 1 + pi^2 / 3 times (Auer 2002); c = sqrt 2 is UCB1."""
    rewards = np.array([0.9, 0.6, 0.5, 0.1])
    count = 20_000
    decision = to.decide(bandit(rewards), MCTS(simulations=count, proven=False))
    bound = 8 * math.log(count) / (0.9 - rewards[1:]) ** 2 + 1 + math.pi**2 / 3
    assert decision.action == 0
    assert (decision.visits[1:] <= bound).all()
    assert decision.visits.sum() == count


def test_synthetic_tree_converges():
    """The maximum's value of a deterministic tree reaches the true one, which an enumeration knows."""
    true = synthetic_value(4, 5)
    planner = MCTS(backup="maximum", proven=False, exploration=0.3)
    errors = [abs(to.decide(synthetic(4, 5), replace(planner, simulations=n)).value - true) for n in (30, 300, 30_000)]
    assert errors[2] < 1e-12
    assert errors[0] > errors[2]


def test_discounts_multiply_along_the_way():
    """Four payments of one, each worth half of the one before, are worth 1 + 1/2 + 1/4 + 1/8 to the bit."""

    def step(state, action):
        state[0] += 1
        return state, float(action), 0.0 if state[0] == 4 else 0.5

    process = to.DecisionProcess(step, np.zeros(1, np.int64), 2, name="annuity")
    decision = to.decide(process, MCTS(simulations=1000, backup="maximum"))
    assert (decision.action, decision.value) == (1, 1.875)


def test_single_player_tree_is_proven():
    """Without bounds of returns a value is certain when the whole tree is known."""
    decision = to.decide(synthetic(3, 4), MCTS(simulations=100_000))
    assert decision.proven == "exact"
    assert decision.value == pytest.approx(synthetic_value(3, 4), abs=1e-14)  # sums in another order
    state, total, weight = np.asarray(synthetic(3, 4).initial_state), 0.0, 1.0
    for action in decision.principal_variation:
        state, reward, discount = synthetic(3, 4).apply(state, action)
        total, weight = total + weight * reward, weight * discount
    assert weight == 0.0
    assert total == pytest.approx(decision.value, abs=1e-14)


@pytest.mark.parametrize("planner", [MCTS(simulations=6), MCTS(simulations=40, selection="puct", proven=False)])
def test_ties_are_broken_fairly(planner):
    """Among equal actions each is chosen about equally often over seeds, and always the same for a seed."""
    process = bandit(np.zeros(4))
    chosen = [to.decide(process, replace(planner, seed=seed)).action for seed in range(400)]
    counts = np.bincount(chosen, minlength=4)
    assert (np.abs(counts - 100) < 4.5 * math.sqrt(100 * 0.75)).all()  # 4.5 deviations of a binomial
    assert chosen[:20] == [to.decide(process, replace(planner, seed=seed)).action for seed in range(20)]


def test_permuted_actions_give_the_permuted_answer():
    """Renaming the actions renames the visits, where nothing ties."""
    order = np.array([2, 0, 3, 1])
    slopes = np.array([0.1, 0.25, 0.3, 0.35])

    def leaning(state, priors):
        priors[:] = slopes
        return 0.1 * np.sin(1.0 + state[1])

    def leaning_renamed(state, priors):
        priors[:] = slopes[order]
        return 0.1 * np.sin(1.0 + state[1])

    planner = MCTS(simulations=500, selection="puct", proven=False)
    plain = to.decide(synthetic(4, 5), replace(planner, evaluation=LeafRule(leaning)))
    renamed = to.decide(synthetic(4, 5, order=order), replace(planner, evaluation=LeafRule(leaning_renamed)))
    assert renamed.action_values.tolist() == plain.action_values[order].tolist()
    assert renamed.visits.tolist() == plain.visits[order].tolist()


@pytest.mark.parametrize(("normalisation", "factor", "offset"), [("tree", 8.0, 0.0), ("siblings", 8.0, 4.0)])
def test_normalised_search_is_blind_to_units(normalisation, factor, offset):
    """Other units of reward, or among siblings a constant in every reward, change no visit."""
    planner = MCTS(simulations=400, selection="puct", normalisation=normalisation, proven=False, seed=5)
    plain = to.decide(synthetic(3, 4), planner)
    other = to.decide(synthetic(3, 4, factor=factor, offset=offset), planner)
    assert plain.visits.tolist() == other.visits.tolist()
    assert other.value == pytest.approx(factor * plain.value + 4 * offset)


def test_priors_are_followed():
    """PUCT visits like p sqrt(N) / (1 + n) where all values are equal: proportionally to the prior."""

    def rule(state, priors):
        priors[0], priors[1], priors[2] = 0.5, 0.3, 0.2
        return 0.0

    planner = MCTS(simulations=1_000, selection="puct", evaluation=LeafRule(rule), proven=False)
    decision = to.decide(bandit(np.zeros(3)), planner)
    assert np.abs(decision.visits / 1_000 - [0.5, 0.3, 0.2]).max() < 0.005  # one visit in a thousand or so


def test_noise_moves_visits_and_is_drawn_once():
    """Dirichlet noise changes the root's visits, by the seed alone, and leaves the reported prior pure."""
    planner = MCTS(simulations=200, selection="puct", proven=False, noise=(0.3, 0.5), seed=1)
    process = synthetic(6, 3)
    first, again, other = (to.decide(process, replace(planner, seed=seed)) for seed in (1, 1, 2))
    assert first.visits.tolist() == again.visits.tolist() != other.visits.tolist()
    assert to.decide(process, replace(planner, simulations=0)).probabilities == pytest.approx(np.full(6, 1 / 6))


def test_temperature_draws_by_visits():
    """At temperature 1 actions come up as often as they were visited."""
    planner = MCTS(simulations=10, proven=False, temperature=1.0, exploration=0.2, evaluation=LeafRule(nought))
    process = bandit([0.0, 0.3])
    decisions = [to.decide(process, replace(planner, seed=seed)) for seed in range(300)]
    share = np.mean([decision.probabilities[0] for decision in decisions])
    chosen = np.mean([decision.action == 0 for decision in decisions])
    assert 0.05 < share < 0.95
    assert chosen == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 300))


def test_catch_like_task_is_won():
    """A paddle that has ten steps to get under a ball four columns away catches it (OpenSpiel's catch)."""

    def step(state, action):
        state[0] = min(max(state[0] + action - 1, 0), 8)
        state[1] += 1
        if state[1] == 10:
            return state, 1.0 if state[0] == 6 else -1.0, 0.0
        return state, 0.0, 1.0

    process = to.DecisionProcess(step, np.array([2, 0]), 3, returns=(-1.0, 1.0))
    state, reward, discount = np.asarray(process.initial_state), 0.0, 1.0
    while discount != 0.0:
        decision = to.decide(process, MCTS(simulations=100), state=state)
        state, reward, discount = process.apply(state, decision.action)
    assert reward == 1.0


def test_more_rollouts_cost_no_simulation():
    """Several rollouts a leaf sharpen its value: the root's mean has a smaller error."""
    values = {}
    for count in (1, 16):
        planner = MCTS(simulations=60, evaluation=Rollouts(count=count), proven=False)
        values[count] = np.std([to.decide(GAME, replace(planner, seed=seed)).value for seed in range(60)])
    assert values[16] < values[1]


def test_depth_limits():
    """A rollout and a walk that are cut off still answer."""
    decision = to.decide(chain(12), MCTS(simulations=300, evaluation=Rollouts(depth=2), max_depth=2, proven=False))
    assert decision.simulations == 300
    assert max(len(decision.principal_variation), 1) <= 2
