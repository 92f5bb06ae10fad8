"""Small problems and searches that the tests of sampling solvers share."""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.guess import make_guess
from trajopt.solvers import CEM, CMAES, DIAL, ICEM, MPPI, PredictiveSampling, RandomShooting
from trajopt.solvers.sampling import SamplingSolver
from trajopt.solvers.sampling.search import Search

METHODS = [RandomShooting, PredictiveSampling, CEM, ICEM, DIAL, CMAES, MPPI]
MOVING = METHODS[1:]
"""Those whose proposal moves."""


def begin(solver: SamplingSolver, problem: to.Problem) -> Search:
    """A search before its first iteration."""
    return Search(solver, problem, make_guess(problem, None))


def quadratic(hessian: Any, gradient: Any, guess: Any, offset: float = 0.0) -> to.Problem:
    """Minimise 1/2 u'Hu + g'u + c: one step to x = u."""
    hessian, gradient, guess = np.atleast_2d(hessian), np.atleast_1d(gradient), np.atleast_1d(guess)
    n = len(gradient)
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: u, nx=n, nu=n),
        terminal_cost=lambda x: 0.5 * (x @ hessian @ x) + gradient @ x + offset,
        initial_state=np.zeros(n),
        horizon=to.Horizon(steps=1),
        guess=(np.arange(2.0), np.zeros((2, n)), guess[None, :]),
    )


def regulator() -> to.Problem:
    """The linear-quadratic instance of MuJoCo MPC's tests: a double integrator over ten steps."""
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: np.array([x[0] + x[1], x[1] + u[0]]), nx=2, nu=1),
        stage_cost=lambda x, u: 0.5 * (x @ x),
        terminal_cost=lambda x: 0.5 * (x @ x),
        initial_state=[1.0, 0.0],
        horizon=to.Horizon(steps=10),
    )


def swing(*, black_box: bool = False, **options: Any) -> to.Problem:
    """A pendulum in discrete time with constraints of all kinds, traced or as a black box."""

    def traced(x, u):
        return np.array([x[0] + 0.1 * x[1], x[1] + 0.1 * (u[0] - np.sin(x[0]))])

    def batch(x, u):
        return np.stack([x[:, 0] + 0.1 * x[:, 1], x[:, 1] + 0.1 * (u[:, 0] - np.sin(x[:, 0]))], axis=1)

    dynamics = to.BlackBoxDynamics(batch, nx=2, nu=1) if black_box else to.DiscreteDynamics(traced, nx=2, nu=1)
    settings: dict[str, Any] = {
        "initial_state": [0.0, 0.0],
        "constraints": [
            to.Bounds(control=(-1.0, 1.0), state=([None, -0.8], [None, 0.8])),
            to.PathConstraint(lambda x, u: x[0] + u[0], upper=1.5),
            to.TerminalConstraint([0.8, None]),
        ],
        "horizon": to.Horizon(steps=20),
    }
    return to.Problem(dynamics, lambda x, u, t: 0.1 * x @ x + 0.01 * t * u @ u, **(settings | options))
