"""A quadrotor in Euler steps flies from hover to hover: the example of FATROP.

States (12): position r [m], velocity v [m/s], roll phi, pitch theta, yaw psi, body rates w [rad/s]; controls: speeds of
the four rotors [rad/s], rotors 1 and 3 on the body's x axis, 2 and 4 on its y axis. With thrusts F = k_F omega^2 and
R = Rz(psi) Ry(theta) Rx(phi),

    r' = v,  v' = R (0, 0, sum F)/m - g e3,  (phi, theta, psi)' = E(phi, theta) w,
    J w' = (l (F2 - F4), l (F3 - F1), k_M (omega1^2 - omega2^2 + omega3^2 - omega4^2)) - w x J w,

m = 1, l = 0.25, k_F = 1e-5, k_M = 1e-6, J = diag(0.01, 0.01, 0.02); explicit Euler steps of 5/100 s from hover at the
origin to rest at (5, 5, 2), minimising sum |omega/600|^2, 0 <= omega <= 600, |phi|, |theta| <= pi/4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Arrow, Circle, Drawing, Line, Primitive, Trail, points
from trajopt.problems.quadrotor_min_time import thrust_axis
from trajopt.problems.reference import Entry, Reference

MASS, GRAVITY, ARM, THRUST, DRAG = 1.0, 9.81, 0.25, 1e-5, 1e-6
INERTIA = np.array([0.01, 0.01, 0.02])
STATES = ("x", "y", "z", "vx", "vy", "vz", "roll", "pitch", "yaw", "roll rate", "pitch rate", "yaw rate")
FASTEST = 600.0
GOAL = (5.0, 5.0, 2.0)


def euler_rates(roll: Any, pitch: Any, spin: Any) -> Any:
    """Derivatives of (roll, pitch, yaw) from the body rates (3,)."""
    sine, cosine = np.sin(roll), np.cos(roll)
    yawing = (sine * spin[1] + cosine * spin[2]) / np.cos(pitch)
    return np.array([spin[0] + np.sin(pitch) * yawing, cosine * spin[1] - sine * spin[2], yawing])


def quadrotor(x: Any, u: Any) -> Any:
    """Time derivative of the 12 states; ``u`` (4,) are the rotor speeds."""
    squares = u * u
    force = THRUST * squares
    spin = x[9:12]
    torque = np.array(
        [ARM * (force[1] - force[3]), ARM * (force[2] - force[0]),
         DRAG * (squares[0] - squares[1] + squares[2] - squares[3])]
    )  # fmt: skip
    acceleration = np.sum(force) / MASS * thrust_axis(x[6], x[7], x[8]) - np.array([0.0, 0.0, GRAVITY])
    angular = (torque - np.cross(spin, INERTIA * spin)) / INERTIA
    return np.concatenate([x[3:6], acceleration, euler_rates(x[6], x[7], spin), angular])


def build(*, duration: float = 5.0, steps: int = 100) -> to.Problem:
    """Hover to hover with least squared rotor speeds, which are counted in units of the fastest."""
    h, tilt = duration / steps, np.pi / 4
    hover = float(np.sqrt(MASS * GRAVITY / (4.0 * THRUST))) / FASTEST
    start, end = np.zeros(12), np.array([*GOAL, *np.zeros(9)])
    level = [None] * 6
    return to.Problem(
        to.DiscreteDynamics(
            lambda x, u: x + h * quadrotor(x, FASTEST * u),
            states=STATES,
            controls=tuple(f"rotor {i}" for i in range(1, 5)),
        ),
        stage_cost=lambda x, u: u @ u,
        initial_state=start,
        constraints=[
            to.Bounds(
                state=([*level, -tilt, -tilt, *[None] * 4], [*level, tilt, tilt, *[None] * 4]), control=(0.0, 1.0)
            ),
            to.TerminalConstraint(end),
        ],
        horizon=to.Horizon(steps=steps),
        guess=(np.array([0.0, float(steps)]), np.array([start, end]), np.full((2, 4), hover)),
        name="quadrotor-euler",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    """Seen along the y axis: x to the right, z up; the frame is drawn twice its size."""
    along, _, up = thrust_axis(x[6], x[7], x[8])
    centre, arm = np.array([x[0], x[2]]), 2.0 * ARM * np.array([up, -along])
    left, middle, right = points([centre - arm, centre, centre + arm])
    lift = 0.3 * float(u @ u)
    return [Trail(middle), Line((left, right)),
            Arrow(middle, (middle[0] + lift * float(along), middle[1] + lift * float(up)))]  # fmt: skip


ENTRIES = (
    Entry(
        "quadrotor-euler",
        build,
        Reference(
            optimum=None,
            digits=0,
            source="FATROP example quadrotor (Vanroye, Sathya, De Schutter, Decre, IROS 2023)",
            tags=("discrete", "state-constraint"),
            picture=Drawing(_shape, (Circle((5.0, 2.0), 0.1, "target"),), limits=((-1.0, 6.0), (-1.0, 4.0))),
        ),
    ),
)
