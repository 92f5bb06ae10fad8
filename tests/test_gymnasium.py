"""Environments as dynamics, problems as environments, and problems on Gymnasium's models against its own rewards."""

from __future__ import annotations

import pickle
import subprocess
import sys

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from mujoco_cases import shoot

import trajopt as to
from trajopt import problems
from trajopt.certificate import certify
from trajopt.plain import PlainFunctions
from trajopt.simulators.mujoco_rollout import silent_warnings
from trajopt.trajectory import Interpolation, Trajectory

RNG = np.random.default_rng(0)


def make(name, **settings):
    """An environment; MuJoCo's remarks about Gymnasium's old files are not ours."""
    with silent_warnings():
        return gymnasium.make(name, **settings)


def play(env, actions, seed):
    """Returns after each step of an episode, until it ends, and the step after which it did."""
    env.reset(seed=seed)
    returns = [0.0]
    for k, action in enumerate(actions):
        _, reward, terminated, _, _ = env.step(action)
        returns.append(returns[-1] + reward)
        if terminated:
            return np.array(returns), k + 1
    return np.array(returns), None


@pytest.mark.parametrize(
    "name", ["CartPole-v1", "Pendulum-v1", "MountainCar-v0", "MountainCarContinuous-v0", "HalfCheetah-v5", "Hopper-v5"]
)
def test_rollout_is_the_episode(name):
    """A rollout collects the rewards of the episode that the environment itself runs, exactly, and ends with it."""
    dynamics = to.GymnasiumDynamics(make(name))
    space = dynamics.env.action_space
    space.seed(1)
    actions = [space.sample() for _ in range(100)]
    controls = np.array(actions, dtype=float).reshape(1, 100, -1)
    states = dynamics.rollout(dynamics.reset(3)[None], controls, 0, None, RNG)[0]
    returns, end = play(make(name).unwrapped, actions, 3)
    np.testing.assert_array_equal(states[: len(returns), dynamics.reward], returns)
    np.testing.assert_array_equal(states[:, dynamics.ended], np.arange(101) >= (end or 101))
    np.testing.assert_array_equal(states[len(returns) :], np.tile(states[len(returns) - 1], (101 - len(returns), 1)))
    assert not dynamics.stochastic
    assert to.Problem(dynamics, initial_state=dynamics.reset(), horizon=to.Horizon(steps=1)).nx == dynamics.nx


def test_rows_do_not_touch_each_other():
    """A batch in any order gives the same rows, ended or not, with bad numbers beside them."""
    dynamics = to.GymnasiumDynamics(make("CartPole-v1"))
    x = np.tile(dynamics.reset(0), (6, 1))
    x[1, 2] = 0.2  # falls at the next step
    x[1, 3] = 3.0
    x[2, dynamics.ended] = 1.0
    x[3, 0] = np.nan
    u = np.array([[0.0], [1.0], [1.0], [0.0], [np.nan], [0.7]])
    after = dynamics.step(x, u, 0, None, RNG)
    np.testing.assert_array_equal(dynamics.step(x[::-1], u[::-1], 0, None, RNG)[::-1], after)
    assert after[1, dynamics.ended] == 1.0
    np.testing.assert_array_equal(after[2], x[2])
    assert np.isnan(after[3:5]).all()
    np.testing.assert_array_equal(after[5], dynamics.step(x[5:], np.ones((1, 1)), 0, None, RNG)[0])  # rounded
    assert dynamics.bounds == to.Bounds(control=([0.0], [1.0]))


def test_chance_comes_from_the_generator():
    """An environment that draws numbers is recognised, and draws them from the generator that it is given."""
    dynamics = to.GymnasiumDynamics(make("FrozenLake-v1"))
    assert dynamics.stochastic
    x, u = np.tile(dynamics.reset(0), (8, 1)), np.full((8, 10, 1), 2.0)
    first, again, other = (dynamics.rollout(x, u, 0, None, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


class Counter(gymnasium.Env):
    """An environment whose reward depends on a count that its state hides."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.count = np.zeros(1), 0
        return self.state, {}

    def step(self, action):
        self.state, self.count = 0.5 * (self.state + action), self.count + 1
        return self.state, float(self.count), False, False, {}


def test_hidden_state_is_refused():
    """What cannot be reset to a state is told so; with functions that carry all of it, it is taken."""
    with pytest.raises(to.UnsupportedProblem, match="Counter did not repeat a step"):
        to.GymnasiumDynamics(Counter())

    def restore(env, numbers):
        env.state, env.count = numbers[:1], int(numbers[1])

    dynamics = to.GymnasiumDynamics(Counter(), get_state=lambda env: [*env.state, env.count], set_state=restore)
    states = dynamics.rollout(dynamics.reset()[None], np.zeros((1, 4, 1)), 0, None, RNG)[0]
    np.testing.assert_array_equal(states[:, dynamics.reward], [0.0, 1.0, 3.0, 6.0, 10.0])
    with pytest.raises(to.InvalidProblem, match="one of get_state and set_state"):
        to.GymnasiumDynamics(Counter(), set_state=restore)


def test_strange_environments_are_refused():
    """No environment, wrappers with a memory, unknown states and unknown actions are told in a sentence."""
    with pytest.raises(to.InvalidProblem, match="type int"):
        to.GymnasiumDynamics(3)
    wrapped = gymnasium.wrappers.FrameStackObservation(make("Pendulum-v1"), 2)
    with pytest.raises(to.UnsupportedProblem, match="FrameStackObservation"):
        to.GymnasiumDynamics(wrapped)

    class Closed(Counter):
        state = property(lambda self: None, lambda self, value: None)

        def step(self, action):
            return np.zeros(1), 0.0, False, False, {}

    with pytest.raises(to.UnsupportedProblem, match="Closed was given"):
        to.GymnasiumDynamics(Closed())

    class Several(Counter):
        action_space = gymnasium.spaces.MultiDiscrete([2, 2])

    with pytest.raises(to.UnsupportedProblem, match="MultiDiscrete"):
        to.GymnasiumDynamics(Several())


def test_planning_maximises_the_return():
    """Minimising minus the reward state by random shooting balances the cart-pole beyond chance, in the environment."""
    dynamics = to.GymnasiumDynamics(make("CartPole-v1"))
    problem = to.Problem(
        dynamics,
        terminal_cost=lambda x: -x[dynamics.reward],
        initial_state=dynamics.reset(0),
        constraints=[dynamics.bounds],
        horizon=to.Horizon(steps=60),
    )
    controls, history = shoot(problem, 60, 6)
    returns, _ = play(make("CartPole-v1").unwrapped, [int(np.rint(u[0])) for u in controls], 0)
    assert returns[-1] == -history[-1]
    assert history[-1] < history[0]


def test_pickles_step_alike():
    """A copy through pickle gives the same bits."""
    dynamics = to.GymnasiumDynamics(make("Pendulum-v1"))
    x, u = dynamics.reset(4)[None], np.ones((1, 1))
    copied = pickle.loads(pickle.dumps(dynamics))
    np.testing.assert_array_equal(copied.step(x, u, 0, None, RNG), dynamics.step(x, u, 0, None, RNG))


@pytest.mark.parametrize(
    ("name", "environment", "settings"),
    [
        ("half-cheetah", "HalfCheetah-v5", {}),
        ("hopper", "Hopper-v5", {"terminate_when_unhealthy": False}),
        ("reacher", "Reacher-v5", {}),
    ],
)
def test_costs_are_the_rewards_of_gymnasium(name, environment, settings):
    """For every k the cost of k steps is minus the environment's return, and its state is ours to the last bit.

    Its constraint solver starts afresh at every step, as ours does. The reacher's reward reads places that the last
    Runge-Kutta stage left behind: there its own formula is evaluated after the places have been computed.
    """
    problem = problems.load(name, steps=60)
    start, nq = problem.initial_values, problem.dynamics.model.nq
    env = make(environment, **settings).unwrapped
    env.reset(seed=0)
    env.model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_WARMSTART)
    mujoco.mj_resetData(env.model, env.data)
    env.set_state(start[:nq], start[nq : nq + env.model.nv])
    controls = np.random.default_rng(5).uniform(-1, 1, (60, problem.nu))
    states = problem.dynamics.rollout(start[None], controls[None], 0, None, RNG)[0]
    functions = PlainFunctions(problem, problem.layout.pack({}))
    collected = cost = 0.0
    for k, control in enumerate(controls):
        reward = env.step(control)[1]
        reached = np.concatenate([env.data.qpos, env.data.qvel])
        np.testing.assert_array_equal(reached, states[k + 1, : reached.size])
        if name == "reacher":
            mujoco.mj_forward(env.model, env.data)
            true = env._get_rew(control)[0]
            assert true == pytest.approx(reward, abs=2e-3)  # an angle's difference between stages times 0.2 m
            reward = true
        collected += reward
        cost += functions.stage_cost(states[k], control, k)
        assert -(cost + functions.terminal_cost(states[k + 1], k + 1)) == pytest.approx(collected, abs=1e-12)


@pytest.mark.parametrize("name", ["half-cheetah", "hopper", "reacher", "inverted-pendulum-swingup"])
def test_problems_on_gymnasiums_models(name):
    """Each of them loads, guesses within its bounds, and is improved by random shooting from its guess."""
    problem = problems.load(name, steps=20)
    assert problem.name == name
    assert problems.extra(name) == "gym,mujoco"
    assert problems.reference(name).source
    assert np.isfinite(problem.control_bounds).all()
    _, history = shoot(problem, 40, 4)
    assert history[-1] < history[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["cartpole-swingup", "lotka-volterra-fishing", "cartpole-discrete", "hopper"])
def test_environments_pass_the_checker(name, dtype):
    """Gymnasium's own checker has nothing to say, warnings being errors."""
    check_env(to.to_gymnasium(problems.load(name, steps=20), dtype=dtype))


@pytest.mark.parametrize("name", ["cartpole-swingup", "cartpole-discrete", "reacher"])
def test_rewards_add_up_to_the_certificates_cost(name):
    """An episode's rewards are minus the cost, and its violations those, which the certificate finds for it."""
    problem = problems.load(name, steps=15)
    env = to.to_gymnasium(problem, dtype="float64")
    env.action_space.seed(0)
    _, info = env.reset()
    states, total, controls, truncated = [info["state"]], 0.0, [], False
    lower, upper = problem.control_bounds
    while not truncated:
        action = env.action_space.sample()
        _, reward, terminated, truncated, info = env.step(action)
        assert not terminated
        controls.append((1 - (action + 1) / 2) * lower + (action + 1) / 2 * upper)
        states.append(info["state"])
        total += reward
    trajectory = Trajectory(problem.horizon.knots(), np.array(states), np.array(controls), Interpolation.HOLD)
    certificate = certify(to.Solution(problem, "episode", to.Status.SOLVED, trajectory, -total, 1))
    # The certificate integrates a horizon in one go, so that errors of its integrator, 1e-10 a step, are other ones.
    assert certificate.cost == pytest.approx(-total, rel=1e-7)
    assert certificate.defect < 1e-7
    assert info["violation"] == pytest.approx(certificate.violation, rel=1e-5, abs=1e-9)


def test_episode_that_breaks_down():
    """Dynamics that become infinite terminate the episode with the least reward, and the observation stays finite."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: x**2 + u, nx=1, nu=1),
        lambda x, u: x[0],
        initial_state=[1.0],
        constraints=[to.Bounds(control=(-1, 1))],
        horizon=to.Horizon(3.0, steps=3),
    )
    env = to.to_gymnasium(problem)
    env.reset()
    observation, reward, terminated, truncated, info = env.step(np.ones(1))
    assert (terminated, truncated) == (True, False)
    assert observation in env.observation_space
    assert np.isfinite(reward)
    assert info["failure"]


def test_environment_starts_elsewhere_and_ends():
    """The options of reset choose the state; a step after the horizon and numbers of a wrong shape are refused."""
    env = to.to_gymnasium(problems.load("cartpole-discrete", steps=1))
    observation, _ = env.reset(options={"state": [0.1, 0.2, 0.3, 0.4]})
    np.testing.assert_allclose(observation, [0.1, 0.2, 0.3, 0.4], rtol=1e-6)
    with pytest.raises(to.InvalidProblem, match=r"shape \(2,\)"):
        env.step(np.zeros(2))
    assert env.step(np.zeros(1))[3]
    with pytest.raises(to.InvalidProblem, match="reset"):
        env.step(np.zeros(1))


@pytest.mark.parametrize(
    ("problem", "options", "error", "told"),
    [
        (problems.load("brachistochrone"), {}, to.UnsupportedProblem, "a free duration"),
        (problems.load("double-integrator-min-energy"), {}, to.UnsupportedProblem, "unbounded controls"),
        (problems.load("cartpole-discrete"), {"dtype": "int8"}, to.InvalidProblem, "float32"),
        (3, {}, to.InvalidProblem, "got a int"),
    ],
)
def test_problems_that_are_no_environments(problem, options, error, told):
    """What an episode cannot walk along is told in a sentence."""
    with pytest.raises(error, match=told):
        to.to_gymnasium(problem, **options)


def test_missing_extra_is_named():
    """Without Gymnasium both directions name the extra, and so do the problems on its models."""
    code = (
        "import sys; sys.modules['gymnasium'] = None\n"
        "import trajopt as to; from trajopt import problems\n"
        "for call in (lambda: to.GymnasiumDynamics(3), lambda: to.to_gymnasium(problems.load('cartpole'))):\n"
        "    try: call()\n"
        "    except to.MissingExtra as error: assert 'pip install \"trajopt[gym]\"' in str(error), error\n"
        "    else: raise AssertionError\n"
        "try: problems.load('hopper')\n"
        "except to.MissingExtra as error: assert 'pip install \"trajopt[gym,mujoco]\"' in str(error), error\n"
        "else: raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
