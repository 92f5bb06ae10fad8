"""Goddard's rocket: the greatest height on a given amount of fuel, against drag.

States: altitude h above the ground, speed v, mass m; control: thrust T. Units: the radius of the Earth is 100,
gravity at the ground is 1 and the launch mass is 1, hence a time unit in which all numbers are near one:

    h' = v,  v' = (T - D)/m - g,  m' = -T/c,   D = 3.1 v^2 exp(-5 h),  g = 1/(1 + h/100)^2,   maximise h(tf),

0 <= T <= 3.5, c = 5, from (0, 0, 1) to m = 0.6, tf free. COPS measures from the centre, with radius 1: its height is
1 + h/100, its speed v/10 and its time t/10. Full thrust, then a singular arc on which D (1 + v/c) = m g, then
coasting; in this unit of time the switches are at 0.235096840, 0.726707434 and tf = 1.988562621.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Arrow, Drawing, Primitive, ground
from trajopt.problems.moon_lander import rocket_outline
from trajopt.problems.reference import Entry, Reference


def rocket(x: Any, u: Any, *, drag: float = 3.1, decay: float = 5.0, exhaust: float = 5.0) -> Any:
    """Time derivative of (altitude, speed, mass)."""
    altitude, speed, mass = x[0], x[1], x[2]
    resistance = drag * speed**2 * np.exp(-decay * altitude)
    gravity = 1.0 / (1.0 + altitude / 100.0) ** 2
    return np.array([speed, (u[0] - resistance) / mass - gravity, -u[0] / exhaust])


def build(
    *, drag: float = 3.1, decay: float = 5.0, exhaust: float = 5.0, thrust: float = 3.5, empty: float = 0.6,
    steps: int = 100,
) -> to.Problem:  # fmt: skip
    """Greatest height on the fuel 1 - ``empty``."""
    times = np.linspace(0.0, 2.0, 21)
    way = times / 2.0
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u: rocket(x, u, drag=drag, decay=decay, exhaust=exhaust),
            states=("altitude", "speed", "mass"),
            controls=("thrust",),
        ),
        terminal_cost=lambda x: -x[0],
        initial_state=[0.0, 0.0, 1.0],
        constraints=[
            to.Bounds(state=([0.0, 0.0, empty], [None, None, 1.0]), control=(0.0, thrust)),
            to.TerminalConstraint([None, None, empty]),
        ],
        horizon=to.Horizon(to.Free(0.1, 10.0, guess=2.0), steps=steps),
        guess=(
            times,
            np.stack([way, 4.0 * way * (1.0 - way), 1.0 - (1.0 - empty) * way], axis=1),
            np.full((21, 1), 0.5 * thrust),
        ),
        name="goddard-rocket",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    height = float(x[0])
    return [rocket_outline((0.0, height), 0.12), Arrow((0.0, height), (0.0, height - 0.05 * float(u[0])))]


ENTRIES = (
    Entry(
        "goddard-rocket",
        build,
        Reference(
            optimum=1.2836918317533,
            digits=11,
            source="Bryson and Ho 1975; COPS 3.0 rocket (1.01283); integration of the three arcs (1.012836918317533)",
            kind="maximum",
            note="published from the centre of the Earth: h = 1.012836918317533 means 100 (h - 1) here; PSOPT's drag "
            "exp(-500 h) in place of exp(-500 (h - 1)) is another problem",
            tags=("bang-bang", "singular", "free-time"),
            picture=Drawing(_shape, (ground(-0.4, 0.4),), limits=((-0.4, 0.4), (-0.2, 1.5))),
        ),
    ),
)
