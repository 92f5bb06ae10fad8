"""Gaussian processes against the posterior written out, and their moments against Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest
from learned_cases import make_problem, pendulum, sample
from scipy.optimize import check_grad

import trajopt as to
from trajopt.learned_dynamics import GaussianProcess
from trajopt.learned_dynamics.gaussian_process import negative_log_likelihood

RNG = np.random.default_rng(0)
X, U, Y = sample(80, noise=0.01)
MODEL = GaussianProcess(2, 1, restarts=0).fit(X, U, Y)


def written_out(z, inputs, y, parameters):
    """Mean and variance at one point, from the joint normal of data and prediction (Rasmussen and Williams 2.19)."""
    lengths, signal, noise = np.exp(parameters[:-2]), np.exp(parameters[-2]), np.exp(parameters[-1])

    def k(a, b):
        return signal**2 * np.exp(-0.5 * np.sum(((a - b) / lengths) ** 2))

    matrix = np.array([[k(a, b) for b in inputs] for a in inputs]) + noise**2 * np.eye(len(inputs))
    row = np.array([k(z, a) for a in inputs])
    inverse = np.linalg.inv(matrix)
    return row @ inverse @ y, k(z, z) - row @ inverse @ row + noise**2


def test_the_posterior_is_the_conditional_normal():
    """Means and deviations are those of conditioning the joint normal, to the rounding of an ill-conditioned solve."""
    learned = MODEL.learned
    mean, deviation = MODEL.predict(X[:4] + 0.1, U[:4])
    z = (np.hstack([X[:4] + 0.1, U[:4]]) - learned["input_mean"]) / learned["input_deviation"]
    for row in range(4):
        for entry in range(2):
            m, v = written_out(z[row], learned["inputs"], learned["targets"][:, entry], learned["parameters"][entry])
            scale = learned["target_deviation"][entry]
            assert mean[row, entry] == pytest.approx(
                X[row, entry] + 0.1 + learned["target_mean"][entry] + scale * m, rel=1e-7
            )
            assert deviation[row, entry] == pytest.approx(scale * np.sqrt(v), rel=1e-5)


def test_likelihood_and_its_gradient():
    """The likelihood is the normal density of the data, and its gradient agrees with differences."""
    z, y = RNG.normal(size=(15, 3)), RNG.normal(size=15)
    parameters = np.array([0.1, -0.2, 0.5, 0.3, -1.0])
    value, _ = negative_log_likelihood(parameters, z, y)
    lengths = np.exp(parameters[:3])
    matrix = np.exp(0.6 - 0.5 * np.sum(((z[:, None] - z) / lengths) ** 2, axis=2)) + np.exp(-2.0) * np.eye(15)
    _, log_determinant = np.linalg.slogdet(2.0 * np.pi * matrix)
    assert value == pytest.approx(0.5 * y @ np.linalg.solve(matrix, y) + 0.5 * log_determinant, rel=1e-12)
    error = check_grad(
        lambda p: negative_log_likelihood(p, z, y)[0], lambda p: negative_log_likelihood(p, z, y)[1], parameters
    )
    assert error < 1e-5  # forward differences leave the square root of rounding times the curvature


def test_the_search_finds_a_likely_kernel():
    """On data drawn from a kernel the likelihood found is at least that of the kernel that they were drawn from."""
    rng = np.random.default_rng(2)
    x, u = rng.normal(size=(60, 1)), rng.normal(size=(60, 1))
    z = np.hstack([x, u])
    true = np.array([np.log(0.7), np.log(3.0), 0.0, np.log(0.1)])
    lengths = np.exp(true[:2])
    matrix = np.exp(-0.5 * np.sum(((z[:, None] - z) / lengths) ** 2, axis=2)) + 0.01 * np.eye(60)
    change = np.linalg.cholesky(matrix) @ rng.normal(size=(60, 1))
    learned = GaussianProcess(1, 1).fit(x, u, x + change).learned
    y = learned["targets"][:, 0]
    scales = np.log(learned["input_deviation"]), np.log(learned["target_deviation"][0])
    same = np.concatenate([true[:2] - scales[0], true[2:] - scales[1]])
    found = negative_log_likelihood(learned["parameters"][0], learned["inputs"], y)[0]
    assert found <= negative_log_likelihood(same, learned["inputs"], y)[0] + 1e-6
    assert (
        learned["parameters"][0][0] < learned["parameters"][0][1]
    )  # the input that matters more has the shorter length


def test_moments_are_those_of_samples():
    """Mean, covariance and cross-covariance of the next state agree with sampling, within Monte Carlo error."""
    count = 200_000
    mean, u = np.array([0.3, -0.5]), np.array([0.2])
    root = np.array([[0.5, 0.0], [0.3, 0.4]])
    states = mean + RNG.normal(size=(count, 2)) @ root.T
    predicted, deviation = MODEL.predict(states, np.broadcast_to(u, (count, 1)))
    after = predicted + deviation * RNG.normal(size=predicted.shape)
    found, covariance, cross = MODEL.moments(mean, root @ root.T, u)
    spread = after.std(axis=0)
    np.testing.assert_allclose(found, after.mean(axis=0), atol=5 * spread.max() / np.sqrt(count))
    joint = np.cov(np.hstack([states, after]).T)
    error = 5 * np.sqrt(2.0 / count) * spread.max() ** 2 * 1.5  # a covariance's error is below that of the variance
    np.testing.assert_allclose(covariance, joint[2:, 2:], atol=error)
    np.testing.assert_allclose(cross, joint[:2, 2:], atol=error)


def test_moments_of_a_certain_state_are_the_prediction():
    """Without spread the moments are the posterior's mean and variance, and there is nothing to correlate with."""
    found, covariance, cross = MODEL.moments(X[0], np.zeros((2, 2)), U[0])
    mean, deviation = MODEL.predict(X[:1], U[:1])
    np.testing.assert_allclose(found, mean[0], rtol=1e-9)
    np.testing.assert_allclose(covariance, np.diag(deviation[0] ** 2), rtol=1e-4, atol=1e-9)
    np.testing.assert_array_equal(cross, 0.0)


def test_it_plans():
    """The traced mean of a process that knows the pendulum gives nearly the optimum of the pendulum."""
    x, u, after = sample(50)
    model = GaussianProcess(2, 1, restarts=0).fit(x, u, after)
    true = to.solve(make_problem(to.DiscreteDynamics(pendulum, nx=2, nu=1)))
    learned = to.solve(make_problem(model.to_traced()), "ilqr")
    assert learned.success
    states = make_problem(to.BlackBoxDynamics(pendulum, nx=2, nu=1)).dynamics.rollout(
        true.x[:1], learned.u[None], 0, None, RNG
    )[0]
    cost = np.sum(states[:-1] ** 2) + np.sum(learned.u**2) + 10 * np.sum(states[-1] ** 2)
    assert cost == pytest.approx(true.cost, rel=1e-4)
    assert cost >= true.cost * (1 - 1e-9)


def test_samples_have_the_predicted_deviation():
    """With propagation="sample" a step draws from the predicted normals, by the generator given."""
    model = GaussianProcess(2, 1, propagation="sample", restarts=0).fit(X, U, Y)
    assert model.stochastic
    count = 20000
    x, u = np.tile(X[:1], (count, 1)), np.tile(U[:1], (count, 1))
    drawn = model.step(x, u, 0, None, np.random.default_rng(0))
    mean, deviation = model.predict(X[:1], U[:1])
    np.testing.assert_allclose(drawn.mean(axis=0), mean[0], atol=5 * deviation.max() / np.sqrt(count))
    np.testing.assert_allclose(drawn.std(axis=0), deviation[0], rtol=5 / np.sqrt(2 * count))
    np.testing.assert_array_equal(drawn, model.step(x, u, 0, None, np.random.default_rng(0)))
