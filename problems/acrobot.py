"""Acrobot: a double pendulum with a motor at the elbow alone, swung up.

States: angle q1 of the upper link from the horizontal [rad], angle q2 of the lower link relative to the upper one,
both anticlockwise, and their rates; control: torque u at the elbow [N m]. Hanging is (-pi/2, 0), upright (pi/2, 0).

    M(q) q'' + C(q, q') + G(q) + b q' = (0, u)
    M11 = J1 + J2 + m1 l1^2 + m2 (l1^2 + l2^2 + 2 l1 l2 cos q2)
    M12 = J2 + m2 (l2^2 + l1 l2 cos q2),  M22 = J2 + m2 l2^2
    C = m2 l1 l2 sin q2 (-2 q1' q2' - q2'^2, q1'^2)
    G = g ((m1 + m2) l1 cos q1 + m2 l2 cos(q1 + q2), m2 l2 cos(q1 + q2))

Masses sit at the ends of the links and carry the inertias J on top; all of m, l, J and b are one. Quadratic cost,
|u| <= 15, 5 s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing, Line, Primitive, Trail, rod
from trajopt.problems.reference import Entry, Reference

MASSES = LENGTHS = INERTIAS = (1.0, 1.0)
GRAVITY = 9.81


def acrobot(x: Any, u: Any, *, damping: float = 1.0) -> Any:
    """Time derivative of (upper angle, lower angle, upper rate, lower rate)."""
    (m1, m2), (l1, l2), (j1, j2) = MASSES, LENGTHS, INERTIAS
    upper, lower, upper_rate, lower_rate = x[0], x[1], x[2], x[3]
    m12 = j2 + m2 * (l2**2 + l1 * l2 * np.cos(lower))
    m22 = j2 + m2 * l2**2
    m11 = j1 + m22 + m1 * l1**2 + m2 * (l1**2 + 2.0 * l1 * l2 * np.cos(lower))
    coupling = m2 * l1 * l2 * np.sin(lower)
    outer_weight = m2 * l2 * np.cos(upper + lower) * GRAVITY
    inner_weight = (m1 + m2) * l1 * np.cos(upper) * GRAVITY
    r1 = coupling * (2.0 * upper_rate + lower_rate) * lower_rate - inner_weight - outer_weight - damping * upper_rate
    r2 = u[0] - coupling * upper_rate**2 - outer_weight - damping * lower_rate
    determinant = m11 * m22 - m12**2
    return np.array([upper_rate, lower_rate, (m22 * r1 - m12 * r2) / determinant, (m11 * r2 - m12 * r1) / determinant])


def build(
    *, damping: float = 1.0, torque: float = 15.0, duration: float = 5.0, state_weight: float = 1.0,
    control_weight: float = 0.01, terminal_weight: float = 100.0, steps: int = 100,
) -> to.Problem:  # fmt: skip
    """Swing up with quadratic cost."""
    start, goal = np.array([-np.pi / 2, 0.0, 0.0, 0.0]), np.array([np.pi / 2, 0.0, 0.0, 0.0])
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u: acrobot(x, u, damping=damping),
            states=("upper angle", "lower angle", "upper rate", "lower rate"),
            controls=("torque",),
        ),
        stage_cost=lambda x, u: 0.5 * state_weight * ((x - goal) @ (x - goal)) + 0.5 * control_weight * u[0] ** 2,
        terminal_cost=lambda x: 0.5 * terminal_weight * ((x - goal) @ (x - goal)),
        initial_state=start,
        constraints=[to.Bounds(control=(-torque, torque)), to.TerminalConstraint(goal)],
        horizon=to.Horizon(duration, steps=steps),
        name="acrobot",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    shoulder, elbow = rod((0.0, 0.0), float(x[0]), LENGTHS[0])
    _, tip = rod(elbow, float(x[0] + x[1]), LENGTHS[1])
    return [Line((shoulder, elbow, tip)), Circle(elbow, 0.08), Circle(tip, 0.08), Trail(tip)]


ENTRIES = (
    Entry(
        "acrobot",
        build,
        Reference(
            optimum=None,
            digits=0,
            source="Altro.jl problems/acrobot.jl (Howell, Jackson, Manchester, IROS 2019); RobotZoo.jl acrobot",
            note="many local minima: Hermite-Simpson finds 47.07 with 100 steps and 49.90 with 200",
            picture=Drawing(
                _shape,
                (Circle((0.0, 0.0), 0.05, "ground"), Circle((0.0, 2.0), 0.06, "target")),
                limits=((-2.3, 2.3), (-2.3, 2.3)),
            ),
        ),
    ),
)
