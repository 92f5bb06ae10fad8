"""Parallel parking of a Dubins car: move sideways in a narrow lane.

States: position (x, y) [m] and heading theta [rad], anticlockwise from the x axis; controls: speed v and turning
rate w,

    x' = v cos theta,  y' = v sin theta,  theta' = w,   |v|, |w| <= 2,

from the origin to (0, 3/2) with heading 0 in 3 s, inside |x| <= 1/4, -0.001 <= y <= 1.501; quadratic cost. The car
cannot slide, so it must turn, drive and turn back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Drawing, Line, Polygon, Primitive, Trail, car
from trajopt.problems.reference import Entry, Reference

STATES = ("x", "y", "heading")
CONTROLS = ("speed", "turning rate")


def dubins_car(x: Any, u: Any) -> Any:
    """Time derivative of (x, y, heading)."""
    return np.array([u[0] * np.cos(x[2]), u[0] * np.sin(x[2]), u[1]])


def car_shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    """Draw a wedge at the car's position, with its trail."""
    return [Trail((float(x[0]), float(x[1]))), car(x[:2], float(x[2]))]


def build(
    *, speed: float = 2.0, turning_rate: float = 2.0, lane: float = 0.25, distance: float = 1.5, duration: float = 3.0,
    state_weight: float = 1e-2, control_weight: float = 1e-2, terminal_weight: float = 100.0, steps: int = 100,
) -> to.Problem:  # fmt: skip
    """Move sideways by ``distance`` within ``lane`` of the y axis."""
    goal, slack = np.array([0.0, distance, 0.0]), 1e-3
    return to.Problem(
        to.ContinuousDynamics(dubins_car, states=STATES, controls=CONTROLS),
        stage_cost=lambda x, u: 0.5 * state_weight * ((x - goal) @ (x - goal)) + 0.5 * control_weight * (u @ u),
        terminal_cost=lambda x: 0.5 * terminal_weight * ((x - goal) @ (x - goal)),
        initial_state=[0.0, 0.0, 0.0],
        constraints=[
            to.Bounds(
                state=([-lane, -slack, None], [lane, distance + slack, None]),
                control=([-speed, -turning_rate], [speed, turning_rate]),
            ),
            to.TerminalConstraint(goal),
        ],
        horizon=to.Horizon(duration, steps=steps),
        guess=(np.array([0.0, duration]), np.array([np.zeros(3), goal]), np.full((2, 2), 0.1)),
        name="parallel-park",
    )


_LANE = tuple(Line(((side, -0.3), (side, 1.8)), "ground") for side in (-0.25, 0.25))
_SLOT = Polygon(((-0.2, 1.4), (0.2, 1.4), (0.2, 1.6), (-0.2, 1.6)), "target")

ENTRIES = (
    Entry(
        "parallel-park",
        build,
        Reference(
            optimum=None,
            digits=0,
            source="Altro.jl problems/dubins_car.jl (Howell, Jackson, Manchester, IROS 2019)",
            note="mirror images, and driving forwards or backwards first, are different local minima",
            tags=("state-constraint",),
            picture=Drawing(car_shape, (*_LANE, _SLOT), limits=((-0.8, 0.8), (-0.3, 1.8))),
        ),
    ),
)
