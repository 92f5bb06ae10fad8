"""Dynamics that are not traced: the contract that simulators and learned models fill, beside its traced twin."""

from __future__ import annotations

import numpy as np
import pytest

import trajopt as to
from trajopt.certificate import certify
from trajopt.problem import Feature
from trajopt.registry import _all, find_solver
from trajopt.solvers import ILQR, MPPI
from trajopt.symbolic import Parameters

RNG = np.random.default_rng(0)


def swing(x, u):
    return np.array([x[0] + 0.05 * x[1], x[1] + 0.05 * (u[0] - np.sin(x[0]))])


def swing_batch(x, u):
    assert x.ndim == u.ndim == 2
    return np.stack([x[:, 0] + 0.05 * x[:, 1], x[:, 1] + 0.05 * (u[:, 0] - np.sin(x[:, 0]))], axis=1)


def problem(dynamics, **options):
    options = {"initial_state": [0.5, 0.0], "horizon": to.Horizon(steps=30)} | options
    return to.Problem(dynamics, lambda x, u: x @ x + u @ u, lambda x: 10 * x @ x, **options)


TRACED = problem(to.DiscreteDynamics(swing, nx=2, nu=1))
BLACK = problem(to.BlackBoxDynamics(swing_batch, nx=2, nu=1))


def test_rollout_is_the_traced_one():
    """Row by row a rollout of a batch is what the traced function gives, exactly."""
    x, u = RNG.normal(size=(7, 2)), RNG.normal(size=(7, 12, 1))
    states = BLACK.dynamics.rollout(x, u, 0, None, RNG)
    assert states.shape == (7, 13, 2)
    for row in range(7):
        state = x[row]
        for k in range(12):
            state = swing(state, u[row, k])
            np.testing.assert_array_equal(states[row, k + 1], state)


def test_differences_are_the_derivatives():
    """Central differences agree with the derivatives to what truncation and rounding leave, eps^(2/3)."""
    x, u = RNG.normal(size=(5, 2)), RNG.normal(size=(5, 1))
    by_x, by_u = BLACK.dynamics.linearise(x, u, 0, None)
    exact = np.array([[[1.0, 0.05], [-0.05 * np.cos(angle), 1.0]] for angle in x[:, 0]])
    np.testing.assert_allclose(by_x, exact, atol=1e-9)
    np.testing.assert_allclose(by_u, np.broadcast_to([[0.0], [0.05]], (5, 2, 1)), atol=1e-9)


def test_certificate_is_the_traced_one():
    """The same answer gets the same cost, defect and violation; what needs derivatives is told to be missing."""
    solution = to.solve(TRACED, ILQR())
    trajectory = solution.trajectory
    twin = to.Solution(**{**solution.__dict__, "problem": BLACK})
    first, second = certify(solution), certify(twin)
    assert first.passed
    assert second.passed
    assert second.cost == first.cost
    assert second.defect == first.defect
    assert np.isnan(second.stationarity)
    assert any("black box" in remark for remark in second.remarks)
    assert trajectory.x.shape == second.x.shape


def test_features():
    """A black box is a feature, and so is chance; both are refused by solvers that trace, which say who can."""
    random = problem(to.BlackBoxDynamics(lambda x, u, rng: x + rng.normal(size=x.shape), nx=2, nu=1))
    assert BLACK.features == {Feature.DISCRETE_TIME, Feature.BLACK_BOX}
    assert random.features == BLACK.features | {Feature.STOCHASTIC}
    assert TRACED.features == {Feature.DISCRETE_TIME}
    for name, solver in _all().items():
        if Feature.BLACK_BOX not in solver.handles:
            with pytest.raises(to.UnsupportedProblem, match="black-box dynamics"):
                to.solve(BLACK, name)


def test_random_steps_come_from_the_generator():
    """The same generator gives the same rollout, another one another; derivatives of chance are refused."""
    dynamics = to.BlackBoxDynamics(lambda x, u, rng: x + u + rng.normal(size=x.shape), nx=1, nu=1)
    x, u = np.zeros((4, 1)), np.zeros((4, 5, 1))
    first, again, other = (dynamics.rollout(x, u, 0, None, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first[:, 1:] != other[:, 1:]).all()
    with pytest.raises(to.UnsupportedProblem, match="random"):
        dynamics.linearise(x, u[:, 0], 0, None)


def test_time_and_parameters_reach_the_step():
    """t counts steps from the first one on, and p holds the parameters by name."""
    dynamics = to.BlackBoxDynamics(lambda x, u, t, p: x + t * p.rate, nx=1, nu=1)
    made = problem(dynamics, initial_state=[0.0], parameters={"rate": 2.0}, horizon=to.Horizon(steps=4))
    states = dynamics.rollout(np.zeros((1, 1)), np.zeros((1, 4, 1)), 0, Parameters(made.parameters), RNG)
    np.testing.assert_array_equal(states[0, :, 0], [0.0, 0.0, 2.0, 6.0, 12.0])


def test_own_arrays_are_safe():
    """A step that overwrites its arguments does not reach the rollout's states."""

    def careless(x, u):
        x += u
        return x

    states = to.BlackBoxDynamics(careless, nx=1, nu=1).rollout(np.zeros((1, 1)), np.ones((1, 3, 1)), 0, None, RNG)
    np.testing.assert_array_equal(states[0, :, 0], [0.0, 1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (lambda x, u: x[:, :1], r"shape \(1, 1\), but \(1, 2\)"),
        (lambda x, u: x[0], r"shape \(2,\), but \(1, 2\)"),
        (lambda x, u: None, "shape"),
        (lambda x, u: "nonsense", "str"),
        (lambda x, u: x * np.nan, "finite"),
        (lambda x: x, "signature"),
    ],
)
def test_bad_steps(step, told):
    """What a step must not return, or cannot take, is told in a sentence when the problem is made."""
    with pytest.raises(to.InvalidProblem, match=told):
        problem(to.BlackBoxDynamics(step, nx=2, nu=1))


def test_auto_takes_who_handles_everything():
    """iLQR is preferred for a black box under control bounds; with other constraints a sampling solver is."""
    bounded = problem(BLACK.dynamics, constraints=[to.Bounds(control=(-1, 1))])
    reaching = problem(BLACK.dynamics, constraints=[to.TerminalConstraint([0.0, None])])
    assert isinstance(find_solver("auto", bounded), ILQR)
    assert isinstance(find_solver("auto", reaching), MPPI)
