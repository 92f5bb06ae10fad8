"""The sparse program for the multipliers, against a dense bounded least squares that knows nothing of its structure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import lsq_linear

import trajopt as to
from trajopt import optimality, problems, stationarity
from trajopt.multiplier_program import least_residual
from trajopt.solvers import Collocation


def programs(monkeypatch, name, noise):
    """Give every program that the certificate of a slightly wrong answer sets up: its arguments."""
    seen = []

    def spy(*arguments):
        seen.append(arguments)
        return least_residual(*arguments)

    monkeypatch.setattr(stationarity, "least_residual", spy)
    solution = to.solve(problems.load(name), Collocation())
    rng = np.random.default_rng(0)
    u = solution.trajectory.u
    low, high = solution.problem.control_bounds
    u = np.clip(u + noise * rng.standard_normal(u.shape), low, high)
    wrong = replace(solution, trajectory=replace(solution.trajectory, u=u))
    assert np.isfinite(wrong.certificate.stationarity)
    assert optimality.recover_multipliers is stationarity.recover_multipliers
    return seen


def dense_least_residual(part, weights, size, penalty, signs, sides):
    """Return the least |W (g + C' nu + z)|^2 + |penalty size nu|^2, with the gradients of all rows written out."""
    gradients = part.linear.sweep(part.rows)[0] * weights
    held = np.flatnonzero(sides)
    scaled = gradients[1:] / size[:, None]
    matrix = np.concatenate([scaled.T, np.eye(weights.size)[:, held]], axis=1)
    below = np.concatenate([np.diag(penalty), np.zeros((size.size, held.size))], axis=1)
    every = np.concatenate([signs, sides[held]])
    bounds = np.where(every == 1, 0.0, -np.inf), np.where(every == -1, 0.0, np.inf)
    target = np.concatenate([-gradients[0], np.zeros(size.size)])
    found = lsq_linear(np.concatenate([matrix, below]), target, bounds, method="bvls", tol=1e-14)
    return 2.0 * found.cost


def value(nu, part, weights, size, penalty, signs, sides):
    """Return what the program minimises, from the gradients written out."""
    gradients = part.linear.sweep(part.rows)[0]
    residual = (gradients[0] + nu @ gradients[1:]) * weights
    counting = (sides == 0) | ((sides == -1) & (residual < 0.0)) | ((sides == 1) & (residual > 0.0))
    return (residual[counting] ** 2).sum() + ((penalty * size * nu) ** 2).sum()


@pytest.mark.parametrize("name", ["bryson-denham", "goddard-rocket", "brachistochrone", "cartpole-swingup"])
@pytest.mark.parametrize("noise", [0.0, 1e-2])
def test_residual_is_least(name, noise, monkeypatch):
    """No admissible multipliers explain the gradient better by more than a hundredth of what is left of it."""
    (arguments,) = programs(monkeypatch, name, noise)
    (part,), weights, *_, signs, _ = arguments
    nu = least_residual(*arguments)
    assert (signs * nu >= 0.0).all()
    scale = ((part.linear.sweep(part.rows)[0][0] * weights) ** 2).sum()
    # The stationarity is the square root, and only its magnitude counts. What rounding leaves is far below.
    assert value(nu, part, *arguments[1:]) <= dense_least_residual(part, *arguments[1:]) * 1.02 + 1e-13 * scale
