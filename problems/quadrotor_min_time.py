"""A quadrotor, commanded by thrust and tilt rates, flies 5 m sideways in least time.

States: position r, velocity v, roll phi and pitch theta; controls: thrust per mass a, roll rate, pitch rate, yaw psi,

    r' = v,  v' = R(psi, theta, phi) (0, 0, a) - g e3,   0 <= a <= 45.9,  |phi'|, |theta'| <= 3,

with R = Rz(psi) Ry(theta) Rx(phi), a tilt cos(theta) cos(phi) >= cos(0.55), rest to rest from (0, 0, 2.5) to
(0.01, 5, 2.5), minimising T + int 1e-8 (phi^2 + theta^2 + psi^2 + a^2) + 100 psi^2 dt: yaw is of no use and priced.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Arrow, Circle, Drawing, Line, Primitive, Trail, points
from trajopt.problems.reference import Entry, Reference

GRAVITY = 9.81
STATES = ("x", "y", "z", "vx", "vy", "vz", "roll", "pitch")
CONTROLS = ("thrust", "roll rate", "pitch rate", "yaw")
START, GOAL = (0.0, 0.0, 2.5), (0.01, 5.0, 2.5)


def thrust_axis(roll: Any, pitch: Any, yaw: Any) -> Any:
    """Third column of Rz(yaw) Ry(pitch) Rx(roll): the body's vertical in world axes, (3,)."""
    sine, cosine = np.sin(yaw), np.cos(yaw)
    forward, sideways = np.sin(pitch) * np.cos(roll), np.sin(roll)
    return np.array(
        [cosine * forward + sine * sideways, sine * forward - cosine * sideways, np.cos(pitch) * np.cos(roll)]
    )


def quadrotor(x: Any, u: Any) -> Any:
    """Time derivative of the eight states."""
    acceleration = u[0] * thrust_axis(x[6], x[7], u[3]) - np.array([0.0, 0.0, GRAVITY])
    return np.concatenate([x[3:6], acceleration, u[1:3]])


def build(*, thrust: float = 45.9, rate: float = 3.0, tilt: float = 0.55, steps: int = 100) -> to.Problem:
    """Fly rest to rest without tilting beyond ``tilt``."""
    start, goal = np.array([*START, *np.zeros(5)]), [*GOAL, 0.0, 0.0, 0.0, None, None]
    quarter = np.pi / 2

    def cost(x: Any, u: Any) -> Any:
        return 1.0 + 1e-8 * (x[6] ** 2 + x[7] ** 2 + u[3] ** 2 + u[0] ** 2) + 100.0 * u[3] ** 2

    return to.Problem(
        to.ContinuousDynamics(quadrotor, states=STATES, controls=CONTROLS),
        stage_cost=cost,
        initial_state=start,
        constraints=[
            to.Bounds(
                state=([None] * 6 + [-quarter, -quarter], [None] * 6 + [quarter, quarter]),
                control=([0.0, -rate, -rate, None], [thrust, rate, rate, None]),
            ),
            to.PathConstraint(lambda x, u: np.cos(tilt) - np.cos(x[6]) * np.cos(x[7]), name="tilt"),
            to.TerminalConstraint(goal),
        ],
        horizon=to.Horizon(to.Free(0.1, 20.0, guess=1.0), steps=steps),
        guess=(
            np.array([0.0, 1.0]),
            np.array([start, [*GOAL, *np.zeros(5)]]),
            np.array([[10.0, 0.0, 0.0, 0.0]] * 2),
        ),
        name="quadrotor-min-time",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    """Seen along the x axis: y to the right, z up."""
    _, across, up = thrust_axis(x[6], x[7], u[3])
    centre = np.array(x[1:3])
    arm = 0.4 * np.array([up, -across])
    left, middle, right = points([centre - arm, centre, centre + arm])
    top = (middle[0] + 0.02 * float(u[0] * across), middle[1] + 0.02 * float(u[0] * up))
    return [Trail(middle), Line((left, right)), Arrow(middle, top)]


ENTRIES = (
    Entry(
        "quadrotor-min-time",
        build,
        Reference(
            optimum=1.492,
            digits=4,
            source="CTDirect.jl quadrotor (1.492)",
            tags=("bang-bang", "path-constraint", "free-time"),
            picture=Drawing(_shape, (Circle(GOAL[1:], 0.08, "target"),), limits=((-1.0, 6.0), (1.0, 4.5))),
        ),
    ),
)
