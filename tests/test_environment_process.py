"""A Gymnasium environment searched by its own rules: what is decided is what the environment then does."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import trajopt as to
from trajopt.solvers import MCTS, ValueIteration


def test_the_shortest_way_along_the_cliff_is_known_exactly() -> None:
    """Thirteen steps of -1, by dynamic programming over an environment that was written for learning."""
    cliff = to.GymnasiumDynamics(gymnasium.make("CliffWalking-v1")).to_process(random=False)
    decision = to.decide(cliff, ValueIteration())
    assert decision.value == -13.0
    assert len(decision.principal_variation) == 13


def test_tree_search_balances_the_pole_of_the_environment_itself() -> None:
    """Rewards of the edges are those of an episode under the same actions, and the pole still stands after it."""
    dynamics = to.GymnasiumDynamics(gymnasium.make("CartPole-v1"))
    process = dynamics.to_process(discount=0.99, seed=3)
    plant = gymnasium.make("CartPole-v1")
    plant.reset(seed=3)
    state = np.array(process.initial_state)
    for _ in range(25):
        decision = to.decide(process, MCTS(simulations=60, backup="maximum", normalisation="tree"), state=state)
        state, reward, discount = process.apply(state, decision.action)
        observation, earned, terminated, _, _ = plant.step(decision.action)
        assert reward == earned == 1.0
        assert discount == 0.99
        assert not terminated
        assert np.allclose(state[:4], observation, rtol=1e-6, atol=1e-6)  # the environment shows single precision


def test_random_environments_are_sampled_by_the_seed_alone() -> None:
    """A slippery lake: steps are functions of a number, and the same seed decides the same."""
    lake = to.GymnasiumDynamics(gymnasium.make("FrozenLake-v1", is_slippery=True)).to_process(discount=0.95)
    assert lake.random_step
    outcomes = {lake.apply(lake.initial_state, 2, uniform)[0].tobytes() for uniform in np.linspace(0.0, 0.99, 30)}
    assert len(outcomes) == 3  # as asked, or to either side
    first, again = (to.decide(lake, MCTS(simulations=150, outcome_widening=(3.0, 0.5))) for _ in range(2))
    assert first.visits.tolist() == again.visits.tolist()
    assert 0.0 <= first.value <= 1.0


def test_actions_that_do_not_fit_are_refused() -> None:
    """A continuous action needs a grid, of the right size."""
    pendulum = to.GymnasiumDynamics(gymnasium.make("Pendulum-v1"))
    assert pendulum.to_process([-2.0, 0.0, 2.0]).actions == 3
    with pytest.raises(to.InvalidProblem, match="continuous action of 1"):
        pendulum.to_process()
    for actions in ([[1.0, 2.0]], [], [np.nan]):
        with pytest.raises(to.InvalidProblem, match=r"shape \(A, 1\)"):
            pendulum.to_process(actions)
    with pytest.raises(to.InvalidProblem, match="discount"):
        pendulum.to_process([0.0], discount=1.5)
