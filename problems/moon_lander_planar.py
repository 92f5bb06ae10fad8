"""A lander with two rotors hops sideways and upwards in least time.

States: position (x, y), velocity, tilt theta anticlockwise from the vertical and its rate; controls: thrusts F1, F2 at
the ends of an arm of length D,

    x'' = -(F1 + F2) sin(theta)/m,  y'' = (F1 + F2) cos(theta)/m - g,  I theta'' = D/2 (F2 - F1),   0 <= F <= 2 g,

m = 1, g = 9.81, I = 0.1, D = 1; from rest at the origin to zero velocity at (5, 5), with any tilt and rate; T is
minimised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Arrow, Circle, Drawing, Line, Primitive, Trail, points
from trajopt.problems.reference import Entry, Reference

GRAVITY, INERTIA, ARM = 9.81, 0.1, 1.0
STATES = ("x", "y", "vx", "vy", "tilt", "tilt rate")


def lander(x: Any, u: Any) -> Any:
    """Time derivative of the six states, for unit mass."""
    thrust = u[0] + u[1]
    return np.array(
        [x[2], x[3], -thrust * np.sin(x[4]), thrust * np.cos(x[4]) - GRAVITY, x[5], 0.5 * ARM / INERTIA * (u[1] - u[0])]
    )


def build(*, target: tuple[float, float] = (5.0, 5.0), thrust: float = 2.0 * GRAVITY, steps: int = 100) -> to.Problem:
    """Hop to ``target``, arriving with zero velocity."""
    return to.Problem(
        to.ContinuousDynamics(lander, states=STATES, controls=("left thrust", "right thrust")),
        stage_cost=lambda x, u: 1.0,
        initial_state=np.zeros(6),
        constraints=[
            to.Bounds(control=(0.0, thrust)),
            to.TerminalConstraint([*target, 0.0, 0.0, None, None]),
        ],
        horizon=to.Horizon(to.Free(0.1, 20.0, guess=1.0), steps=steps),
        guess=(np.array([0.0, 1.0]), np.array([np.zeros(6), [*target, 0.0, 0.0, 0.0, 0.0]]), np.full((2, 2), 5.0)),
        name="moon-lander-planar",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    centre, (sine, cosine) = x[:2], (np.sin(x[4]), np.cos(x[4]))
    arm, up = 0.5 * ARM * np.array([cosine, sine]), 0.05 * np.array([-sine, cosine])
    left, right = points([centre - arm, centre + arm])
    tops = points([left + u[0] * up, right + u[1] * up])
    return [Trail((float(x[0]), float(x[1]))), Line((left, right)), Arrow(left, tops[0]), Arrow(right, tops[1])]


ENTRIES = (
    Entry(
        "moon-lander-planar",
        build,
        Reference(
            optimum=0.9618,
            digits=4,
            source="CTDirect.jl moonlander (0.962); limit of Hermite-Simpson with 100 and 200 steps",
            tags=("bang-bang", "free-time"),
            picture=Drawing(_shape, (Circle((5.0, 5.0), 0.1, "target"),), limits=((-1.5, 7.0), (-1.5, 7.0))),
        ),
    ),
)
