"""A container crane moves its load with least swing.

States: trolley position x1 [m], rope length x2 [m], swing angle x3 [rad], and their rates x4, x5, x6; controls:
scaled torques of the trolley drive u1 and of the hoist u2,

    x1' = x4,  x2' = x5,  x3' = x6,  x4' = u1 + 17.2656 x3,  x5' = u2,  x6' = -(u1 + 27.0756 x3 + 2 x5 x6)/x2,
    minimise 1/2 int (x3^2 + x6^2) dt,   |u1| <= 2.83374,  -0.80865 <= u2 <= 0.71265,  |x4| <= 2.5,  |x5| <= 1,

over 9 s from (0, 22, 0, 0, -1, 0) to (10, 14, 0, 2.5, 0, 0). Both controls enter linearly and are not weighed, hence
singular arcs. PSOPT writes the same with time divided by 9.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing, Line, Primitive, Trail, box, ground
from trajopt.problems.reference import Entry, Reference


def crane(x: Any, u: Any) -> Any:
    """Time derivative of (position, length, swing) and their rates."""
    length, swing, hoisting, swinging = x[1], x[2], x[4], x[5]
    swing_acceleration = -(u[0] + 27.0756 * swing + 2.0 * hoisting * swinging) / length
    return np.array([x[3], hoisting, swinging, u[0] + 17.2656 * swing, u[1], swing_acceleration])


def build(*, duration: float = 9.0, control_weight: float = 0.0, steps: int = 160) -> to.Problem:
    """Least swing; ``control_weight`` regularises, 0.01 being Augustin and Maurer's choice."""
    return to.Problem(
        to.ContinuousDynamics(
            crane,
            states=("position", "length", "swing", "velocity", "hoisting", "swing rate"),
            controls=("drive", "hoist"),
        ),
        stage_cost=lambda x, u: 0.5 * (x[2] ** 2 + x[5] ** 2 + control_weight * (u @ u)),
        initial_state=[0.0, 22.0, 0.0, 0.0, -1.0, 0.0],
        constraints=[
            to.Bounds(
                state=([None, 1.0, None, -2.5, -1.0, None], [None, None, None, 2.5, 1.0, None]),
                control=([-2.83374, -0.80865], [2.83374, 0.71265]),
            ),
            to.TerminalConstraint([10.0, 14.0, 0.0, 2.5, 0.0, 0.0]),
        ],
        horizon=to.Horizon(duration, steps=steps),
        name="crane-container",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    trolley = (float(x[0]), 0.0)
    load = (float(x[0] + x[1] * np.sin(x[2])), float(-x[1] * np.cos(x[2])))
    return [box(1.5, 0.6, trolley), Line((trolley, load)), box(2.5, 1.2, load, float(x[2]), "accent"), Trail(load)]


ENTRIES = (
    Entry(
        "crane-container",
        build,
        Reference(
            optimum=0.005151,
            digits=3,
            source="Sakawa and Shindo 1982; Teo, Goh and Wong 1991; PSOPT crane (0.005151238)",
            tags=("singular", "state-constraint"),
            picture=Drawing(
                _shape,
                (ground(-3.0, 14.0, 0.3), Circle((10.0, -14.0), 0.3, "target")),
                limits=((-4.0, 15.0), (-25.0, 2.0)),
            ),
        ),
    ),
)
