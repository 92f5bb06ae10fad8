"""An electric vehicle crosses hills with least energy.

States: position s and speed v; control: torque u; over t in [0, 1],

    s' = v,  v' = u - h2 v^2 - h0 - r(s),   r(s) = 3 + 0.4 s - s^2 + 0.1 s^3,   minimise 1000 int u v + u^2 dt,

rest to rest over s = 10, s, v >= 0, h0 = 0.1, h2 = 0.001. The first term is the power at the wheel, the second the loss
in the motor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Drawing, Line, Primitive, Trail, box, points
from trajopt.problems.reference import Entry, Reference

ROAD = (3.0, 0.4, -1.0, 0.1)
"""Coefficients of the slope's pull over position, ascending."""


def vehicle(x: Any, u: Any) -> Any:
    """Time derivative of (position, speed)."""
    slope = ROAD[0] + ROAD[1] * x[0] + ROAD[2] * x[0] ** 2 + ROAD[3] * x[0] ** 3
    return np.array([x[1], u[0] - 1e-3 * x[1] ** 2 - 0.1 - slope])


def build(*, distance: float = 10.0, steps: int = 50) -> to.Problem:
    """Cross the hills in unit time, rest to rest."""
    return to.Problem(
        to.ContinuousDynamics(vehicle, states=("position", "speed"), controls=("torque",)),
        stage_cost=lambda x, u: 1e3 * (u[0] * x[1] + u[0] ** 2),
        initial_state=[0.0, 0.0],
        constraints=[to.Bounds(state=([0.0, 0.0], None)), to.TerminalConstraint([distance, 0.0])],
        horizon=to.Horizon(1.0, steps=steps),
        name="electric-vehicle",
    )


def height(position: Any) -> Any:
    """Height of the road, whose slope pulls the vehicle; an eighth of the true scale, for the picture."""
    return 0.125 * np.polynomial.Polynomial(ROAD).integ()(position)


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    place = (float(x[0]), float(height(x[0])))
    return [box(0.6, 0.3, (place[0], place[1] + 0.15)), Trail(place)]


_ROAD = Line(points((s, height(s)) for s in np.linspace(0.0, 10.0, 101)), "ground")

ENTRIES = (
    Entry(
        "electric-vehicle",
        build,
        Reference(
            optimum=1228580.29,
            digits=9,
            source="Petit and Sciarretta 2011; CTDirect.jl electric_vehicle (1.23e6); maximum principle",
            tags=("smooth",),
            picture=Drawing(_shape, (_ROAD,), equal_aspect=False),
        ),
    ),
)
