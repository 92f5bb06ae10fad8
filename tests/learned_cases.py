"""A pendulum that learned models are fitted to, and its data."""

from __future__ import annotations

import numpy as np

import trajopt as to

NX, NU = 2, 1


def pendulum(x, u):
    """One explicit Euler step of 0.05 s; for one state or a batch, it reads the last axis."""
    angle, rate = x[..., 0], x[..., 1]
    return np.stack([angle + 0.05 * rate, rate + 0.05 * (u[..., 0] - np.sin(angle))], axis=-1)


def sample(count, seed=0, noise=0.0):
    """Transitions (count, 2), (count, 1), (count, 2) from states over two deviations."""
    rng = np.random.default_rng(seed)
    x, u = 2.0 * rng.normal(size=(count, NX)), rng.normal(size=(count, NU))
    return x, u, pendulum(x, u) + noise * rng.normal(size=(count, NX))


def make_problem(dynamics, **options):
    """Bring the pendulum from 0.5 to rest in 30 steps."""
    options = {"initial_state": [0.5, 0.0], "horizon": to.Horizon(steps=30)} | options
    return to.Problem(dynamics, lambda x, u: x @ x + u @ u, lambda x: 10 * x @ x, **options)
