"""Dido's problem: the largest area that a closed curve of length one can enclose.

States: position (x, y) along the curve; controls: direction (u, w); the running variable is the arc length in [0, 1],

    x' = u,  y' = w,   maximise 1/2 int (y u - x w),   u^2 + w^2 = 1,   closed: end = start,   int x = int y = 0.

A circle of radius 1/(2 pi), run clockwise: area 1/(4 pi). The last two conditions put its centre at the origin;
where on the circle the curve starts remains free, so the optimum is a continuum and Hessians are singular along it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Drawing, Primitive, Trail
from trajopt.problems.reference import ClosedForm, Entry, Reference


def circle(t: float, radius: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Clockwise circle of that radius in unit time: position and velocity."""
    angle = -2.0 * np.pi * t
    direction = np.array([np.sin(angle), -np.cos(angle)])
    return radius * np.array([np.cos(angle), np.sin(angle)]), 2.0 * np.pi * radius * direction


def build(*, centring: float = 1e-4, steps: int = 40) -> to.Problem:
    """Largest area of a closed curve of length one whose centre lies within ``centring`` of the origin."""
    times = np.linspace(0.0, 1.0, 41)
    too_small = [circle(t, 0.1) for t in times]  # a straight line, the usual guess, is stationary: area zero
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([u[0], u[1]]), states=("x", "y"), controls=("dx", "dy")),
        stage_cost=lambda x, u: -0.5 * (x[1] * u[0] - x[0] * u[1]),
        constraints=[
            to.PathConstraint(lambda x, u: u[0] ** 2 + u[1] ** 2, lower=1.0, upper=1.0, name="arc length"),
            to.BoundaryConstraint(lambda x0, xf: xf - x0, name="closed"),
            to.IntegralConstraint(lambda x, u: x, lower=-centring, upper=centring, name="centred"),
        ],
        horizon=to.Horizon(1.0, steps=steps),
        guess=(times, np.array([x for x, _ in too_small]), np.array([u for _, u in too_small])),
        name="isoperimetric-area",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    return [Trail((float(x[0]), float(x[1])))]


ENTRIES = (
    Entry(
        "isoperimetric-area",
        build,
        Reference(
            optimum=1.0 / (4.0 * np.pi),
            digits=12,
            source="yapss test-suite, isoperimetric; closed form 1/(4 pi)",
            kind="maximum",
            note="the optimal curves form a continuum: any rotation of the circle",
            tags=("path-constraint", "integral-constraint", "boundary-constraint", "free-initial-state"),
            solution=ClosedForm(lambda t: circle(t, 0.5 / np.pi), 1.0),
            picture=Drawing(_shape),
        ),
    ),
)
