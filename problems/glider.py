"""A hang glider flies as far as possible through a thermal updraught, losing 100 m.

States: distance x, altitude y, velocities v and w; control: lift coefficient c. Units: 100 m, 10 m/s and thus 10 s,
so that accelerations are in m/s^2.

    updraught a(x) = 1/4 (1 - r) exp(-r),  r = (x - 2.5)^2;
    relative vertical speed z = w - a,  airspeed s = sqrt(v^2 + z^2),
    D = k (c0 + c1 c^2) s^2,  L = k c s^2,   v' = -(L z + D v)/s,   w' = (L v - D z)/s - g,

with k = rho S/(2 m) = 7.91 in this unit, c0 = 0.034, c1 = 0.069662, g = 9.81, 0 <= c <= 1.4; from (0, 10, 1.323,
-0.1288) to altitude 9 with the same velocity. Maximise x(tf). Undulating flight has many local optima.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Arrow, Drawing, Primitive, Trail, ground
from trajopt.problems.reference import Entry, Reference

GRAVITY = 9.81
FORCE = 0.5 * 1.13 * 14.0 / 100.0 * 100.0  # 1/2 rho S / m in SI, times (10 m/s)^2
RELEASE = (1.323, -0.1288)


def updraught(x: Any) -> Any:
    """Vertical speed of the air at the distance ``x``."""
    squared = (x - 2.5) ** 2
    return 0.25 * (1.0 - squared) * np.exp(-squared)


def glider(x: Any, u: Any) -> Any:
    """Time derivative of (distance, altitude, horizontal speed, vertical speed)."""
    forward, climb = x[2], x[3]
    relative = climb - updraught(x[0])
    airspeed = np.sqrt(forward**2 + relative**2)
    drag = FORCE * (0.034 + 0.069662 * u[0] ** 2) * airspeed
    lift = FORCE * u[0] * airspeed
    return np.array([forward, climb, -lift * relative - drag * forward, lift * forward - drag * relative - GRAVITY])


def build(*, loss: float = 1.0, lift: float = 1.4, steps: int = 240) -> to.Problem:
    """Farthest flight while losing the altitude ``loss``."""
    duration = 10.0
    end = [duration * RELEASE[0], 10.0 - loss, *RELEASE]
    return to.Problem(
        to.ContinuousDynamics(
            glider,
            states=("distance", "altitude", "horizontal speed", "vertical speed"),
            controls=("lift coefficient",),
        ),
        terminal_cost=lambda x: -x[0],
        initial_state=[0.0, 10.0, *RELEASE],
        constraints=[
            to.Bounds(state=([0.0, None, 0.0, None], None), control=(0.0, lift)),
            to.TerminalConstraint([None, 10.0 - loss, *RELEASE]),
        ],
        horizon=to.Horizon(to.Free(1.0, 20.0, guess=duration), steps=steps),
        guess=(np.array([0.0, duration]), np.array([[0.0, 10.0, *RELEASE], end]), np.full((2, 1), 0.5 * lift)),
        name="glider",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    place = (float(x[0]), float(x[1]))
    return [Trail(place), Arrow(place, (place[0] + 0.5 * float(x[2]), place[1] + 0.5 * float(x[3])))]


_THERMAL = tuple(
    Arrow((place, 8.7), (place, 8.7 + float(updraught(place))), "ground")
    for place in np.linspace(1.0, 4.0, 13).tolist()
)

ENTRIES = (
    Entry(
        "glider",
        build,
        Reference(
            optimum=12.4799,
            digits=6,
            source="Bulirsch et al. 1993; COPS 3.0 glider; limit of Hermite-Simpson with 120 to 960 steps",
            kind="maximum",
            note="in units of 100 m; COPS prints 1255.05 m for 100 trapezoidal steps, 0.6 % too far",
            tags=("free-time", "bang-bang"),
            picture=Drawing(
                _shape, (ground(-0.5, 13.5, 9.0), *_THERMAL), equal_aspect=False, limits=((-0.5, 13.5), (8.6, 10.6))
            ),
        ),
    ),
)
