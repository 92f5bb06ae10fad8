"""An asymmetric rigid body turns by 150 degrees in least time.

States: attitude quaternion q (vector part first), angular velocity w in body axes; controls: torques u,

    q' = 1/2 (q4 w + q x w, -q . w),  J w' = u - w x J w,   |u| <= 50,   J = diag(5621, 4547, 2364),

rest to rest, about the first axis; T is minimised. Turning about the axis alone is not the fastest: all three torques
switch. The source states q4 as a control with |q| = 1; here it is a state, which keeps the norm by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Drawing, Line, Primitive, Trail, points
from trajopt.problems.reference import Entry, Reference

INERTIA = np.array([5621.0, 4547.0, 2364.0])
STATES = ("q1", "q2", "q3", "q4", "w1", "w2", "w3")


def body(x: Any, u: Any) -> Any:
    """Time derivative of (q1, q2, q3, q4, w1, w2, w3)."""
    vector, scalar, spin = x[:3], x[3], x[4:]
    turning = 0.5 * (scalar * spin + np.cross(vector, spin))
    momentum = INERTIA * spin
    return np.concatenate([turning, [-0.5 * (vector @ spin)], (u - np.cross(spin, momentum)) / INERTIA])


def build(*, angle: float = np.deg2rad(150.0), torque: float = 50.0, steps: int = 100) -> to.Problem:
    """Turn by ``angle`` [rad] about the first axis, rest to rest."""
    start = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    times = np.linspace(0.0, 30.0, 21)
    way = angle * times / 30.0
    turning = np.zeros((21, 7))
    turning[:, 0], turning[:, 3] = np.sin(way / 2), np.cos(way / 2)
    return to.Problem(
        to.ContinuousDynamics(body, states=STATES, controls=("torque 1", "torque 2", "torque 3")),
        stage_cost=lambda x, u: 1.0,
        initial_state=start,
        constraints=[
            to.Bounds(control=(-torque, torque)),
            # The scalar part follows from the norm; prescribing it as well would make the constraints dependent.
            to.TerminalConstraint([np.sin(angle / 2), 0.0, 0.0, None, 0.0, 0.0, 0.0]),
        ],
        horizon=to.Horizon(to.Free(5.0, 100.0, guess=30.0), steps=steps),
        guess=(times, turning, np.tile([1.0, 0.5, -0.5], (21, 1))),
        name="rigid-body-reorientation",
    )


def rotation(q: Any) -> Any:
    """Matrix (3, 3) from body to fixed axes."""
    vector, scalar = np.asarray(q[:3]), q[3]
    cross = np.array([[0.0, -q[2], q[1]], [q[2], 0.0, -q[0]], [-q[1], q[0], 0.0]])
    return (scalar**2 - vector @ vector) * np.eye(3) + 2.0 * np.outer(vector, vector) + 2.0 * scalar * cross


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    """The three body axes, seen along a diagonal of the fixed ones."""
    view = np.array([[-1.0, 1.0, 0.0], [-0.5, -0.5, 1.0]]) / np.sqrt(2.0)
    tips = points((view @ rotation(x)).T)
    return [*(Line(((0.0, 0.0), tip), role) for tip, role in zip(tips, ("body", "accent", "accent"), strict=True)),
            Trail(tips[1])]  # fmt: skip


ENTRIES = (
    Entry(
        "rigid-body-reorientation",
        build,
        Reference(
            optimum=28.6304,
            digits=5,
            source="Fleming, Sekhavat, Ross 2010; PSOPT reorientation (28.63041)",
            tags=("bang-bang", "free-time"),
            picture=Drawing(_shape, limits=((-1.3, 1.3), (-1.3, 1.3))),
        ),
    ),
)
