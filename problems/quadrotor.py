"""A quadrotor flies a zig-zag past two way-points to a third.

States (13): position r [m], attitude quaternion q (scalar first, body to world), velocity v [m/s] in world axes,
angular velocity w [rad/s] in body axes; controls: thrusts F of the four rotors [N], rotors 1 and 3 on the body's x
axis, 2 and 4 on its y axis.

    r' = v,  q' = 1/2 q * (0, w),  v' = R(q) (0, 0, F1 + F2 + F3 + F4)/m - g e3,
    J w' = (L (F2 - F4), L (F3 - F1), k (F1 - F2 + F3 - F4)) - w x J w

with m = 0.5, J = diag(0.0023, 0.0023, 0.004), L = 0.175, k = 0.0245, 0 <= F <= 12. From rest at (0, -10, 1), past
(10, 0, 1) at 1.6 s and (-10, 0, 1) at 3.25 s, to (0, 10, 1) at 5 s. ALTRO weighs the way-points at one knot each;
here each weight is spread over a Gaussian in time of the same integral, as a stage cost is a function of time. The
final state is weighed, not prescribed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Arrow, Circle, Drawing, Line, Primitive, Trail, ground, points
from trajopt.problems.reference import Entry, Reference

MASS, GRAVITY, ARM, DRAG_ARM = 0.5, 9.81, 0.175, 0.0245
INERTIA = np.array([0.0023, 0.0023, 0.004])
STATES = (
    "x", "y", "z", "q0", "q1", "q2", "q3", "vx", "vy", "vz", "roll rate", "pitch rate", "yaw rate",
)  # fmt: skip
CONTROLS = ("rotor 1", "rotor 2", "rotor 3", "rotor 4")
START, WAY_POINTS, GOAL = (0.0, -10.0, 1.0), ((10.0, 0.0, 1.0), (-10.0, 0.0, 1.0)), (0.0, 10.0, 1.0)
PASSING_TIMES = (1.6, 3.25)


def quadrotor(x: Any, u: Any) -> Any:
    """Time derivative of the 13 states."""
    q, velocity, spin = x[3:7], x[7:10], x[10:13]
    turning = 0.5 * np.array(
        [
            -q[1] * spin[0] - q[2] * spin[1] - q[3] * spin[2],
            q[0] * spin[0] + q[2] * spin[2] - q[3] * spin[1],
            q[0] * spin[1] + q[3] * spin[0] - q[1] * spin[2],
            q[0] * spin[2] + q[1] * spin[1] - q[2] * spin[0],
        ]
    )
    lift = (u[0] + u[1] + u[2] + u[3]) / MASS
    acceleration = lift * body_axis(q) - np.array([0.0, 0.0, GRAVITY])
    torque = np.array([ARM * (u[1] - u[3]), ARM * (u[2] - u[0]), DRAG_ARM * (u[0] - u[1] + u[2] - u[3])])
    angular = (torque - np.cross(spin, INERTIA * spin)) / INERTIA
    return np.concatenate([velocity, turning, acceleration, angular])


def body_axis(q: Any) -> Any:
    """Return the body's z axis in world axes, times |q|^2: (3,)."""
    return np.array(
        [
            2.0 * (q[1] * q[3] + q[0] * q[2]),
            2.0 * (q[2] * q[3] - q[0] * q[1]),
            q[0] ** 2 - q[1] ** 2 - q[2] ** 2 + q[3] ** 2,
        ]
    )


def resting_at(position: Any) -> NDArray[np.float64]:
    """State of a level quadrotor at rest."""
    return np.concatenate([position, [1.0, 0.0, 0.0, 0.0], np.zeros(6)])


def build(
    *, thrust: float = 12.0, passing_weight: float = 0.05, passing_width: float = 0.05, control_weight: float = 1e-4,
    duration: float = 5.0, steps: int = 100,
) -> to.Problem:  # fmt: skip
    """Fly the zig-zag; ``passing_weight`` is the integral of each way-point's weight, ``passing_width`` its spread."""
    resting = np.concatenate([np.full(7, 1e-5), np.full(6, 1e-3)])
    ending = np.concatenate([np.full(3, 10.0), np.full(4, 100.0), np.full(6, 10.0)])
    passing = np.concatenate([np.ones(3), np.full(10, 1e-3)])
    nominal, goal = resting_at(np.zeros(3)), resting_at(GOAL)
    gates = [resting_at(position) for position in WAY_POINTS]
    height = passing_weight / (passing_width * np.sqrt(2.0 * np.pi))

    def stage_cost(x: Any, u: Any, t: Any) -> Any:
        cost = resting @ (x - nominal) ** 2 + control_weight * (u @ u)
        for gate, time in zip(gates, PASSING_TIMES, strict=True):
            cost = cost + height * np.exp(-0.5 * ((t - time) / passing_width) ** 2) * (passing @ (x - gate) ** 2)
        return 0.5 * cost

    return to.Problem(
        to.ContinuousDynamics(quadrotor, states=STATES, controls=CONTROLS),
        stage_cost=stage_cost,
        terminal_cost=lambda x: 0.5 * (ending @ (x - goal) ** 2),
        initial_state=resting_at(START),
        constraints=[to.Bounds(control=(0.0, thrust))],
        horizon=to.Horizon(duration, steps=steps),
        guess=(
            np.array([0.0, *PASSING_TIMES, duration]),
            np.array([resting_at(position) for position in (START, *WAY_POINTS, GOAL)]),
            np.full((4, 4), MASS * GRAVITY / 4),
        ),
        name="quadrotor",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    """Seen from the side, along the x axis: y to the right, z up; the frame is drawn six times its size."""
    _, y, z = x[:3]
    _, across, up = body_axis(x[3:7])
    reach = 6.0 * ARM / max(float(np.hypot(across, up)), 1e-9)
    tips = points([(y - reach * up, z + reach * across), (y + reach * up, z - reach * across)])
    lift = 0.02 * float(u.sum())
    centre = (float(y), float(z))
    return [Trail(centre), Line(tips), Arrow(centre, (centre[0] + lift * float(across), centre[1] + lift * float(up)))]


_GATES = tuple(Circle((y, z), 0.15, "target") for _, y, z in (*WAY_POINTS, GOAL))

ENTRIES = (
    Entry(
        "quadrotor",
        build,
        Reference(
            optimum=None,
            digits=0,
            source="Altro.jl problems/quadrotor.jl (Jackson, Tracy, Manchester, ICRA 2021); RobotZoo.jl quadrotor",
            note="way-points weighed by Gaussians in time instead of at single knots, so costs differ from Altro.jl",
            picture=Drawing(_shape, (ground(-13.0, 13.0), *_GATES), limits=((-13.0, 13.0), (-2.0, 8.0))),
        ),
    ),
)
