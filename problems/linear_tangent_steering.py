"""Linear tangent steering: a rocket of constant thrust gains height and speed as fast as possible.

States: position (x, y) and velocity (v, w); control: thrust angle u from the horizontal; no gravity,

    x' = v,  y' = w,  v' = a cos u,  w' = a sin u,   minimise T,   |u| <= pi/2,

from rest at the origin to height 5, horizontal speed 45 and no vertical speed; a = 100. The costates of the velocity
are linear in time, hence the name: tan u falls linearly, here from 1.4085 to -1.4085 in angle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Arrow, Drawing, Primitive, Trail, ground, placed
from trajopt.problems.reference import Entry, Reference


def rocket(x: Any, u: Any, *, thrust: float = 100.0) -> Any:
    """Time derivative of (x, y, horizontal speed, vertical speed)."""
    return np.array([x[2], x[3], thrust * np.cos(u[0]), thrust * np.sin(u[0])])


def build(*, thrust: float = 100.0, height: float = 5.0, speed: float = 45.0, steps: int = 50) -> to.Problem:
    """Least time to the given height at the given horizontal speed."""
    duration = 1.3 * speed / thrust
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u: rocket(x, u, thrust=thrust),
            states=("x", "height", "horizontal speed", "vertical speed"),
            controls=("thrust angle",),
        ),
        stage_cost=lambda x, u: 1.0,
        initial_state=[0.0, 0.0, 0.0, 0.0],
        constraints=[
            to.Bounds(control=(-np.pi / 2, np.pi / 2)),
            to.TerminalConstraint([None, height, speed, 0.0]),
        ],
        horizon=to.Horizon(to.Free(0.05, 10.0, guess=duration), steps=steps),
        guess=(
            np.array([0.0, duration]),
            np.array([[0.0, 0.0, 0.0, 0.0], [0.5 * speed * duration, height, speed, 0.0]]),
            np.array([[1.0], [-1.0]]),
        ),
        name="linear-tangent-steering",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    nozzle, flame = placed([(-0.2, 0.0), (-1.2, 0.0)], x[:2], float(u[0]))
    return [Trail((float(x[0]), float(x[1]))), Arrow(flame, nozzle)]


ENTRIES = (
    Entry(
        "linear-tangent-steering",
        build,
        Reference(
            optimum=0.5545708783346031,
            digits=12,
            source="Bryson and Ho 1975, 2.4; Betts 2001; COPS 3.0 steering (0.554577); root of the exact conditions",
            tags=("smooth", "free-time"),
            picture=Drawing(_shape, (ground(-1.0, 13.0), ground(-1.0, 13.0, 5.0))),
        ),
    ),
)
