"""Minimum-time motion of a planar arm of two links.

States: angular velocities x1 and x2 of the inner and the outer link, angle x3 = q2 - q1 between them, angle x4 = q1
of the inner link; controls: torques u1 and u2 at base and elbow, |u| <= 1,

    x1' =  (sin x3 (9/4 cos x3 x1^2 + 2 x2^2) + 4/3 (u1 - u2) - 3/2 cos x3 u2) / d
    x2' = -(sin x3 (7/2 x1^2 + 9/4 cos x3 x2^2) - 7/3 u2 + 3/2 cos x3 (u1 - u2)) / d
    x3' = x2 - x1,  x4' = x1,   d = 31/36 + 9/4 sin(x3)^2,

from (0, 0, 0.5, 0) to (0, 0, 0.5, 0.522). Both links have unit length and mass, the outer one carries a unit mass at
its tip.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing, Line, Primitive, Trail, rod
from trajopt.problems.reference import Entry, Reference


def two_link_arm(x: Any, u: Any) -> Any:
    """Time derivative of (inner rate, outer rate, angle between, inner angle)."""
    inner, outer, sine, cosine = x[0], x[1], np.sin(x[2]), np.cos(x[2])
    base = u[0] - u[1]
    denominator = 31.0 / 36.0 + 9.0 / 4.0 * sine**2
    first = sine * (9.0 / 4.0 * cosine * inner**2 + 2.0 * outer**2) + 4.0 / 3.0 * base - 1.5 * cosine * u[1]
    second = sine * (3.5 * inner**2 + 9.0 / 4.0 * cosine * outer**2) - 7.0 / 3.0 * u[1] + 1.5 * cosine * base
    return np.array([first / denominator, -second / denominator, outer - inner, inner])


def build(*, torque: float = 1.0, turn: float = 0.522, steps: int = 80) -> to.Problem:
    """Turn the arm by ``turn`` as fast as possible, rest to rest."""
    return to.Problem(
        to.ContinuousDynamics(
            two_link_arm,
            states=("inner rate", "outer rate", "elbow angle", "inner angle"),
            controls=("base torque", "elbow torque"),
        ),
        stage_cost=lambda x, u: 1.0,
        initial_state=[0.0, 0.0, 0.5, 0.0],
        constraints=[to.Bounds(control=(-torque, torque)), to.TerminalConstraint([0.0, 0.0, 0.5, turn])],
        horizon=to.Horizon(to.Free(0.1, 20.0, guess=3.0), steps=steps),
        name="two-link-arm",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    base, elbow = rod((0.0, 0.0), float(x[3]), 1.0)
    _, tip = rod(elbow, float(x[3] + x[2]), 1.0)
    return [Line((base, elbow, tip)), Circle(elbow, 0.04), Circle(tip, 0.08, "accent"), Trail(tip)]


ENTRIES = (
    Entry(
        "two-link-arm",
        build,
        Reference(
            optimum=2.9823,
            digits=5,
            source="Luus 2000, 12.4.2; PSOPT twolinkarm (2.988662); limit of Hermite-Simpson, 80 to 640 steps",
            tags=("bang-bang", "free-time"),
            picture=Drawing(_shape, (Circle((0.0, 0.0), 0.06, "ground"),), limits=((-0.5, 2.2), (-0.5, 2.2))),
        ),
    ),
)
