"""A rocket lands inside a glide slope with its thrust inside a cone: conic constraints.

States: position r and velocity v (z up); control: thrust F [N]; over 10 s in 100 steps of h,

    r+ = r + h v + h^2/2 a,  v+ = v + h a,   a = F/m - g e3,   m = 10,  g = 9.81,

from (4, 2, 20) with velocity (-3, 2, -5) to rest at the origin, minimising 1/2 sum 0.01 |x|^2 + 0.1 |F|^2 + 50 |x_N|^2;
|F| <= 2 m g, |(F1, F2)| <= tan(7 deg) F3, |(r1, r2)| <= tan(60 deg) r3, the glide slope measured from the vertical.
Cones are stated by their squares, with F3 >= 0 and r3 >= 0, so that they are smooth at their tips.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Arrow, Drawing, Line, Primitive, Trail, ground
from trajopt.problems.moon_lander import rocket_outline
from trajopt.problems.reference import Entry, Reference

MASS, GRAVITY = 10.0, 9.81
STATES = ("x", "y", "z", "vx", "vy", "vz")
START = (4.0, 2.0, 20.0, -3.0, 2.0, -5.0)


def build(
    *, thrust: float = 2.0, cone: float = 7.0, slope: float = 60.0, duration: float = 10.0, steps: int = 100
) -> to.Problem:
    """Land with at most ``thrust`` times the weight, its angle within ``cone`` and the path within ``slope`` [deg]."""
    h = duration / steps
    weight = MASS * GRAVITY

    def step(x: Any, u: Any) -> Any:
        acceleration = weight * u / MASS - np.array([0.0, 0.0, GRAVITY])
        return np.concatenate([x[:3] + h * x[3:] + 0.5 * h**2 * acceleration, x[3:] + h * acceleration])

    def within(vector: Any, angle: float) -> Any:
        return vector[0] ** 2 + vector[1] ** 2 - np.tan(np.deg2rad(angle)) ** 2 * vector[2] ** 2

    free = [None, None]
    return to.Problem(
        to.DiscreteDynamics(step, states=STATES, controls=("thrust x", "thrust y", "thrust z")),
        stage_cost=lambda x, u: 0.5 * (1e-2 * (x @ x) + 0.1 * weight**2 * (u @ u)),
        terminal_cost=lambda x: 50.0 * (x @ x),
        initial_state=START,
        constraints=[
            to.Bounds(state=([*free, 0.0, None, None, None], None), control=([*free, 0.0], None)),
            to.PathConstraint(lambda x, u: u @ u - thrust**2, name="greatest thrust"),
            to.PathConstraint(lambda x, u: within(u, cone), name="thrust cone"),
            to.PathConstraint(lambda x, u: within(x, slope), name="glide slope"),
            to.TerminalConstraint(np.zeros(6)),
        ],
        horizon=to.Horizon(steps=steps),
        guess=(np.array([0.0, float(steps)]), np.array([START, np.zeros(6)]), np.array([[0.0, 0.0, 1.0]] * 2)),
        name="rocket-landing",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    """Seen along the y axis."""
    place = (float(x[0]), float(x[2]))
    lean = float(np.arctan2(u[2], u[0])) if np.any(u) else np.pi / 2
    return [
        Trail(place),
        rocket_outline(place, 2.0, lean),
        Arrow(place, (place[0] - float(u[0]), place[1] - float(u[2]))),
    ]


_SLOPE = float(np.tan(np.deg2rad(60.0)))
_SIDES = tuple(Line(((0.0, 0.0), (side * 10.0, 10.0 / _SLOPE)), "obstacle") for side in (-1.0, 1.0))

ENTRIES = (
    Entry(
        "rocket-landing",
        build,
        Reference(
            optimum=None,
            digits=0,
            source="altro-mpc-icra2021, rocket landing (Jackson, Punnoose, Neamati, Tracy, Jitosho, Manchester 2021)",
            note="controls are counted in weights of the rocket",
            tags=("discrete", "path-constraint", "state-constraint"),
            picture=Drawing(_shape, (ground(-10.0, 10.0), *_SIDES), limits=((-10.0, 10.0), (-2.0, 24.0))),
        ),
    ),
)
