"""Answers with known truth, for the tests of the certificate."""

from __future__ import annotations

import numpy as np

import trajopt as to
from trajopt.problem import Problem
from trajopt.solution import Solution
from trajopt.status import Status
from trajopt.trajectory import Interpolation, Trajectory


def answer(problem: Problem, t, x, u, cost: float, **options) -> Solution:
    """An answer as a solver would return it; linear control unless told otherwise."""
    interpolation = options.pop("interpolation", Interpolation.LINEAR)
    arrays = (np.asarray(part, float) for part in (t, x, u))
    trajectory = Trajectory(*arrays, interpolation, options.pop("u_mid", None), options.pop("parameters", {}))
    return Solution(
        problem=problem, solver="test", status=Status.SOLVED, trajectory=trajectory, cost=cost, iterations=0, **options
    )


def double_integrator(steps: int, **options) -> Problem:
    """Rest to rest over one metre in one second with least effort: u = 6 - 12 t, cost 6."""
    options = {"constraints": [to.TerminalConstraint([1.0, 0.0])], "initial_state": [0.0, 0.0]} | options
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0]]), states=["position", "velocity"], controls=["force"]),
        stage_cost=lambda x, u: 0.5 * u[0] ** 2,
        horizon=to.Horizon(1.0, steps=steps),
        **options,
    )


def least_effort(steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Knots, states and controls of the optimum of `double_integrator`."""
    t = np.linspace(0.0, 1.0, steps + 1)
    return t, np.stack([3 * t**2 - 2 * t**3, 6 * t - 6 * t**2], axis=1), (6 - 12 * t)[:, None]


def least_effort_held(steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The same among held controls: least squares over the steps; cost 6 / (1 - 1 / steps^2)."""
    h = 1.0 / steps
    u = 12.0 / (1.0 - h * h) * (0.5 - (np.arange(steps) + 0.5) * h)
    x = np.zeros((steps + 1, 2))
    for k in range(steps):
        x[k + 1] = [x[k, 0] + h * x[k, 1] + 0.5 * h * h * u[k], x[k, 1] + h * u[k]]
    return np.linspace(0.0, 1.0, steps + 1), x, u[:, None], 6.0 / (1.0 - h * h)
