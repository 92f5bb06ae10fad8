"""Scalar linear-quadratic problem with both ends fixed: the smallest problem with an exponential dichotomy.

State x, control u; over t in [0, 2],

    x' = u,   minimise 1/2 int (x^2 + u^2) dt,   x(0) = 1,  x(2) = 1/2.

The Euler equation x'' = x gives x = A e^t + B e^-t, u = x', costate -u.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.reference import ClosedForm, Entry, Reference


def build(*, duration: float = 2.0, start: float = 1.0, end: float = 0.5, steps: int = 40) -> to.Problem:
    """Build the two-point problem from ``start`` to ``end``."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([u[0]]), states=("x",), controls=("u",)),
        stage_cost=lambda x, u: 0.5 * (x[0] ** 2 + u[0] ** 2),
        initial_state=[start],
        constraints=[to.TerminalConstraint([end])],
        horizon=to.Horizon(duration, steps=steps),
        name="lqr-two-point",
    )


def _trajectory(t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    growing = (0.5 - np.exp(-2.0)) / (2.0 * np.sinh(2.0))
    rising, falling = growing * np.exp(t), (1.0 - growing) * np.exp(-t)
    return np.array([rising + falling]), np.array([rising - falling])


ENTRIES = (
    Entry(
        "lqr-two-point",
        build,
        Reference(
            optimum=0.510461418068826,
            digits=12,
            source="PSOPT lqr_gauss; closed form",
            tags=("lq", "smooth"),
            solution=ClosedForm(_trajectory, 2.0),
        ),
    ),
)
