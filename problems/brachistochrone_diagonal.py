"""The brachistochrone from one corner of a square to the opposite one.

States and control as in ``brachistochrone``; from rest at (0, 0) to (2, -2) m under g = 9.8 m/s^2. The cycloid ends at
the rolling angle phi with phi - sin phi = 1 - cos phi, phi = 2.412011: below its lowest point it would rise again, and
it does not get there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root_scalar

import trajopt as to
from trajopt.problems.brachistochrone import CONTROLS, STATES, bead, cycloid
from trajopt.problems.drawing import Circle, Drawing, Line, Primitive, Trail, points
from trajopt.problems.reference import Entry, Reference

GRAVITY = 9.8
SIDE = 2.0


def build(*, gravity: float = GRAVITY, side: float = SIDE, steps: int = 40) -> to.Problem:
    """Slide from the upper left to the lower right corner of a square."""
    speed = float(np.sqrt(2.0 * gravity * side))
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: bead(x, u, gravity=gravity), states=STATES, controls=CONTROLS),
        stage_cost=lambda x, u: 1.0,
        initial_state=[0.0, 0.0, 0.0],
        constraints=[
            to.Bounds(control=(0.0, np.pi), state=([None, None, 0.0], None)),
            to.TerminalConstraint([side, -side, None]),
        ],
        horizon=to.Horizon(to.Free(0.1, 20.0, guess=1.0), steps=steps),
        guess=(np.array([0.0, 1.0]), np.array([[0.0, 0.0, 0.0], [side, -side, speed]]), np.array([[0.1], [1.5]])),
        name="brachistochrone-diagonal",
    )


_ANGLE = root_scalar(lambda phi: phi - np.sin(phi) - (1.0 - np.cos(phi)), bracket=(1.0, 6.0), xtol=1e-14).root
_CYCLOID = cycloid(GRAVITY, 0.0, float(SIDE / (1.0 - np.cos(_ANGLE))), _ANGLE)
_WIRE = Line(points(_CYCLOID(t)[0][:2] for t in np.linspace(0.0, _CYCLOID.duration, 60)), "ground")


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    place = (float(x[0]), float(x[1]))
    return [Trail(place), Circle(place, 0.05)]


ENTRIES = (
    Entry(
        "brachistochrone-diagonal",
        build,
        Reference(
            optimum=0.8247591431566251,
            digits=12,
            source="Bernoulli 1696; PSOPT brac1; cycloid",
            tags=("free-time", "smooth"),
            solution=_CYCLOID,
            picture=Drawing(_shape, (_WIRE, Circle((SIDE, -SIDE), 0.04, "target"))),
        ),
    ),
)
