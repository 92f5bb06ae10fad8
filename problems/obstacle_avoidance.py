"""A vehicle of constant speed passes two discs; every feasible path is optimal.

States: position (x, y); control: heading theta; over t in [0, 1], V = 2.138,

    x' = V cos theta,  y' = V sin theta,   minimise int (x'^2 + y'^2) dt,   (0, 0) -> (1.2, 1.6),
    (x - 0.4)^2 + (y - 0.5)^2 >= 0.1,   (x - 0.8)^2 + (y - 1.5)^2 >= 0.1.

The cost is V^2 whatever the path: only feasibility counts, and the path is 7 % longer than the straight line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing, Primitive, Trail, car
from trajopt.problems.reference import Entry, Reference

CENTERS = np.array([[0.4, 0.5], [0.8, 1.5]])
RADIUS = float(np.sqrt(0.1))


def build(*, speed: float = 2.138, steps: int = 60) -> to.Problem:
    """Pass both discs at constant ``speed``."""

    def velocity(x: Any, u: Any) -> Any:
        return speed * np.array([np.cos(u[0]), np.sin(u[0])])

    def cost(x: Any, u: Any) -> Any:
        rate = velocity(x, u)
        return rate @ rate

    return to.Problem(
        to.ContinuousDynamics(velocity, states=("x", "y"), controls=("heading",)),
        stage_cost=cost,
        initial_state=[0.0, 0.0],
        constraints=[
            to.PathConstraint(
                lambda x, u: RADIUS**2 - (x[0] - CENTERS[:, 0]) ** 2 - (x[1] - CENTERS[:, 1]) ** 2, name="discs"
            ),
            to.TerminalConstraint([1.2, 1.6]),
        ],
        horizon=to.Horizon(1.0, steps=steps),
        guess=(
            np.array([0.0, 0.5, 1.0]),
            np.array([[0.0, 0.0], [0.8, 0.6], [1.2, 1.6]]),
            np.array([[0.6], [0.9], [1.2]]),
        ),
        name="obstacle-avoidance",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    return [Trail((float(x[0]), float(x[1]))), car(x[:2], float(u[0]), length=0.1)]


_DISCS = tuple(Circle((float(x), float(y)), RADIUS, "obstacle") for x, y in CENTERS)

ENTRIES = (
    Entry(
        "obstacle-avoidance",
        build,
        Reference(
            optimum=2.138**2,
            digits=12,
            source="PROPT and PSOPT obstacle; the cost is identically V^2",
            note="degenerate: the cost does not depend on the path",
            tags=("path-constraint", "obstacle", "singular"),
            picture=Drawing(_shape, (*_DISCS, Circle((1.2, 1.6), 0.03, "target")), limits=((-0.2, 1.6), (-0.2, 2.0))),
        ),
    ),
)
