"""Cart-pole swing-up in Runge-Kutta steps: a common ground for comparing solvers, the same nonlinear program for all.

The cart-pole of ``cartpole`` in discrete time: one classical Runge-Kutta step of 1/20 s with held force in each of 100
steps; from rest to exactly (0, pi, 0, 0), |u| <= 5,

    minimise sum over steps 0.05 (0.01 |x - goal|^2 + 0.1 u^2).

The guess is a straight line of the angle. Among the local minima are 2.8257, which DDP finds from rest, 2.9738 and
3.3486.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.cartpole import CONTROLS, STATES, cartpole
from trajopt.problems.cartpole import ENTRIES as CARTPOLES
from trajopt.problems.reference import Entry, Reference


def build(*, force: float = 5.0, duration: float = 5.0, steps: int = 100) -> to.Problem:
    """Swing up with quadratic cost, in ``steps`` Runge-Kutta steps."""
    goal, h = np.array([0.0, np.pi, 0.0, 0.0]), duration / steps

    def step(x: Any, u: Any) -> Any:
        k1 = cartpole(x, u)
        k2 = cartpole(x + 0.5 * h * k1, u)
        k3 = cartpole(x + 0.5 * h * k2, u)
        k4 = cartpole(x + h * k3, u)
        return x + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)

    return to.Problem(
        to.DiscreteDynamics(step, states=STATES, controls=CONTROLS),
        stage_cost=lambda x, u: h * (0.01 * ((x - goal) @ (x - goal)) + 0.1 * u[0] ** 2),
        initial_state=np.zeros(4),
        constraints=[to.Bounds(control=(-force, force)), to.TerminalConstraint(goal)],
        horizon=to.Horizon(steps=steps),
        guess=(np.array([0.0, float(steps)]), np.array([np.zeros(4), goal]), np.zeros((2, 1))),
        name="cartpole-discrete",
    )


ENTRIES = (
    Entry(
        "cartpole-discrete",
        build,
        Reference(
            optimum=None,
            digits=0,
            source="benchmark of this library; cart-pole of RobotZoo.jl",
            note="local minima at 2.8257, 2.9738 and 3.3486; what a solver finds from the guess depends on its path",
            tags=("discrete",),
            picture=CARTPOLES[0].reference.picture,
        ),
    ),
)
