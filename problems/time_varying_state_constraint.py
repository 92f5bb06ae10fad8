"""A speed that must stay below a parabola in time.

States x1, x2; control u; over t in [0, 1],

    x1' = x2,  x2' = -x2 + u,   minimise int x1^2 + x2^2 + 0.005 u^2 dt,   x2 <= 8 (t - 1/2)^2 - 1/2,   (0, -1).

The limit, of order one, is active on an arc about the middle, where it asks for x2 = -1/2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference


def drive(x: Any, u: Any) -> Any:
    """Time derivative of (x1, x2)."""
    return np.array([x[1], -x[1] + u[0]])


def limit(t: Any) -> Any:
    """Upper limit of x2."""
    return 8.0 * (t - 0.5) ** 2 - 0.5


def build(*, weight: float = 0.005, steps: int = 100) -> to.Problem:
    """Stay below the parabola; ``weight`` is the cost of control."""
    return to.Problem(
        to.ContinuousDynamics(drive, states=("x1", "x2"), controls=("u",)),
        stage_cost=lambda x, u: x @ x + weight * u[0] ** 2,
        initial_state=[0.0, -1.0],
        constraints=[to.PathConstraint(lambda x, u, t: x[1] - limit(t), name="x2 below the parabola")],
        horizon=to.Horizon(1.0, steps=steps),
        name="time-varying-state-constraint",
    )


ENTRIES = (
    Entry(
        "time-varying-state-constraint",
        build,
        Reference(
            optimum=0.16982,
            digits=5,
            source="Teo and Jennings 1989; PROPT; PSOPT stc1 (0.169818); limit of Hermite-Simpson, 100 to 400 steps",
            tags=("path-constraint",),
        ),
    ),
)
