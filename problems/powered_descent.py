"""Powered descent on Mars with least fuel: thrust in a shell, glide slope, pointing, free time.

States: position r [m] with z up, velocity v [m/s], mass m [kg]; control: thrust F [kN], over a free time T,

    r' = v,   v' = 1000 F/m - (0, 0, 3.7114),   m' = -1000 alpha |F|,   minimise m(0) - m(T),

    0.3 to 0.8 of six thrusters of 3.1 kN canted by 27 deg: 4.972 <= |F| <= 13.258,  alpha = 1/(225 s g0 cos 27 deg),
    glide slope |(x, y)| <= z / tan(4 deg), pointing within 45 deg of the vertical, and m >= 1505,

from (2000, 0, 1500) with velocity (100, 0, -75) and m = 1905 to rest at the origin. The lower bound of the thrust is
not convex; that its relaxation |F| <= S with S in the shell is lossless is the theorem of the first paper.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Arrow, Circle, Drawing, Line, Primitive, Trail, ground
from trajopt.problems.moon_lander import rocket_outline
from trajopt.problems.reference import Entry, Reference

GRAVITY = 3.7114
WET, DRY = 1905.0, 1505.0
CANT = np.deg2rad(27.0)
THRUST = 6 * 3.1 * float(np.cos(CANT))
LEAST, GREATEST = 0.3 * THRUST, 0.8 * THRUST
CONSUMPTION = 1.0 / (225.0 * 9.80665 * float(np.cos(CANT)))
START = (2000.0, 0.0, 1500.0, 100.0, 0.0, -75.0, WET)
STATES = ("x", "y", "z", "vx", "vy", "vz", "mass")


def lander(x: Any, u: Any) -> Any:
    """Time derivative of position, velocity and mass."""
    acceleration = 1000.0 * u / x[6] - np.array([0.0, 0.0, GRAVITY])
    return np.concatenate([x[3:6], acceleration, np.array([-1000.0 * CONSUMPTION * np.sqrt(u @ u)])])


def build(*, slope: float = 4.0, pointing: float = 45.0, steps: int = 40) -> to.Problem:
    """Land above a ``slope`` and with the thrust within ``pointing`` of the vertical [deg]."""
    rise, cosine = np.tan(np.deg2rad(slope)), np.cos(np.deg2rad(pointing))
    free = [None] * 6
    hover = np.array([[0.0, 0.0, GRAVITY * WET / 1000.0]] * 2)
    end = [0.0] * 6
    return to.Problem(
        to.ContinuousDynamics(lander, states=STATES, controls=("thrust x", "thrust y", "thrust z")),
        terminal_cost=lambda x: WET - x[6],
        initial_state=START,
        constraints=[
            to.Bounds(state=([None, None, 0.0, None, None, None, DRY], [*free, WET])),
            to.PathConstraint(lambda x, u: u @ u, lower=LEAST**2, upper=GREATEST**2, name="thrust"),
            to.PathConstraint(lambda x, u: cosine * np.linalg.norm(u) - u[2], name="pointing"),
            to.PathConstraint(lambda x, u: rise**2 * (x[:2] @ x[:2]) / 1e6 - (x[2] / 1e3) ** 2, name="glide slope"),
            to.TerminalConstraint([*end, None]),
        ],
        horizon=to.Horizon(to.Free(30.0, 150.0, guess=75.0), steps=steps),
        guess=(np.array([0.0, 75.0]), np.array([START, [*end, 0.5 * (WET + DRY)]]), hover),
        name="powered-descent",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    """Seen along the y axis; a kilonewton is drawn 40 m long."""
    place = (float(x[0]), float(x[2]))
    lean = float(np.arctan2(u[2], u[0])) if np.any(u) else np.pi / 2
    return [
        Trail(place),
        rocket_outline(place, 200.0, lean),
        Arrow(place, (place[0] - 40.0 * float(u[0]), place[1] - 40.0 * float(u[2]))),
    ]


_RISE = float(np.tan(np.deg2rad(4.0)))
_SIDES = tuple(Line(((0.0, 0.0), (side, abs(side) * _RISE)), "obstacle") for side in (-1000.0, 4000.0))

ENTRIES = (
    Entry(
        "powered-descent",
        build,
        Reference(
            optimum=None,
            digits=0,
            source="Acikmese, Ploen, Convex programming approach to powered descent guidance for Mars landing, JGCD "
            "30(5), 2007; pointing as in Acikmese, Carson, Blackmore, IEEE TCST 21(6), 2013",
            note="the tests compare with the lossless convexification in the logarithm of the mass",
            tags=("free-time", "path-constraint", "state-constraint", "bang-bang"),
            picture=Drawing(
                _shape,
                (ground(-1000.0, 4000.0), *_SIDES, Circle((0.0, 0.0), 40.0, "target")),
                limits=((-1000.0, 4000.0), (-200.0, 2000.0)),
            ),
        ),
    ),
)
