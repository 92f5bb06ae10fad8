"""Minimum-time motion of a robot arm that turns about its base, tilts and slides through it.

States: length rho of the arm beyond the base, azimuth theta and polar angle phi, each with its rate; controls:
forces. The arm has length L = 5 and unit mass per length; Coriolis terms are left out, as in the source:

    L rho'' = u1,   I sin(phi)^2 theta'' = u2,   I phi'' = u3,   I = ((L - rho)^3 + rho^3)/3,   |u| <= 1,

rest to rest, theta from 0 to 2 pi/3, with rho = 4.5 and phi = pi/4 at both ends; T is minimised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing, Line, Primitive, Trail
from trajopt.problems.reference import Entry, Reference

LENGTH = 5.0


def robot_arm(x: Any, u: Any) -> Any:
    """Time derivative of (rho, rho', theta, theta', phi, phi')."""
    reach, polar = x[0], x[4]
    inertia = ((LENGTH - reach) ** 3 + reach**3) / 3.0
    return np.array([x[1], u[0] / LENGTH, x[3], u[1] / (inertia * np.sin(polar) ** 2), x[5], u[2] / inertia])


def build(
    *, reach: float = 4.5, azimuth: float = 2.0 * np.pi / 3.0, tilt: float = np.pi / 4, steps: int = 100
) -> to.Problem:
    """Turn by ``azimuth``, rest to rest, at the given ``reach`` and ``tilt``."""
    start, end = [reach, 0.0, 0.0, 0.0, tilt, 0.0], [reach, 0.0, azimuth, 0.0, tilt, 0.0]
    return to.Problem(
        to.ContinuousDynamics(
            robot_arm,
            states=("reach", "reach rate", "azimuth", "azimuth rate", "polar angle", "polar rate"),
            controls=("sliding force", "turning torque", "tilting torque"),
        ),
        stage_cost=lambda x, u: 1.0,
        initial_state=start,
        constraints=[
            to.Bounds(
                state=([0.0, None, -np.pi, None, 0.0, None], [LENGTH, None, np.pi, None, np.pi, None]),
                control=(-1.0, 1.0),
            ),
            to.TerminalConstraint(end),
        ],
        horizon=to.Horizon(to.Free(0.1, 100.0, guess=10.0), steps=steps),
        name="robot-arm",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    """Seen from above."""
    direction = np.sin(x[4]) * np.array([np.cos(x[2]), np.sin(x[2])])
    tip, tail = x[0] * direction, (x[0] - LENGTH) * direction
    gripper = (float(tip[0]), float(tip[1]))
    return [Line(((float(tail[0]), float(tail[1])), gripper)), Circle(gripper, 0.12, "accent"), Trail(gripper)]


ENTRIES = (
    Entry(
        "robot-arm",
        build,
        Reference(
            optimum=9.1409,
            digits=5,
            source="Moessner-Beigel 1995; COPS 3.0 robot; limit of Hermite-Simpson with 100 to 800 steps",
            note="COPS and Dymos print 9.14138, with errors of their grids",
            tags=("bang-bang", "free-time"),
            picture=Drawing(_shape, (Circle((0.0, 0.0), 0.2, "ground"),), limits=((-3.0, 4.5), (-1.0, 4.5))),
        ),
    ),
)
