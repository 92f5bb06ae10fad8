"""A robot in the plane tracks a path whose second leg turns by a right angle; published in two phases.

States: position (x1, x2) and velocity (x3, x4); controls: accelerations (u1, u2), |u| <= 10, over t in [0, 2],

    minimise int 100 (x1 - r1)^2 + 100 (x2 - r2)^2 + 500 (x3 - r3)^2 + 500 (x4 - r4)^2 dt,

r = (t/2, 0, 1/2, 0) before t = 1 and (1/2, (t - 1)/2, 0, 1/2) after, from (0, 0, 1/2, 0) to (1/2, 1/2, 0, 1/2).

Both phases last one second. They run side by side over t in [0, 1], which is exact because their lengths are given, and
the end of the first is the start of the second, a free initial state. One phase over [0, 2] whose cost jumps at t = 1
would be right too, but only to the first order of the mesh.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference

START, END = (0.0, 0.0, 0.5, 0.0), (0.5, 0.5, 0.0, 0.5)
WEIGHTS = np.array([100.0, 100.0, 500.0, 500.0])


def tracking(x: Any, u: Any, t: Any) -> Any:
    """Cost rate of both phases."""
    first = x[:4] - np.array([0.5 * t, 0.0, 0.5, 0.0])
    second = x[4:] - np.array([0.5, 0.5 * t, 0.0, 0.5])
    return WEIGHTS @ (first * first + second * second)


def build(*, bound: float = 10.0, steps: int = 300) -> to.Problem:
    """Track the path with accelerations of at most ``bound``."""
    states, controls = ("x", "y", "vx", "vy"), ("ax", "ay")
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u: np.concatenate([x[2:4], u[:2], x[6:], u[2:]]),
            states=[f"{name} {phase}" for phase in ("first", "second") for name in states],
            controls=[f"{name} {phase}" for phase in ("first", "second") for name in controls],
        ),
        stage_cost=tracking,
        initial_state=[*START, *[None] * 4],
        constraints=[
            to.Bounds(control=(-bound, bound)),
            to.BoundaryConstraint(lambda x0, xf: xf[:4] - x0[4:], name="link"),
            to.TerminalConstraint([*[None] * 4, *END]),
        ],
        horizon=to.Horizon(1.0, steps=steps),
        name="two-phase-robot",
    )


ENTRIES = (
    Entry(
        "two-phase-robot",
        build,
        Reference(
            optimum=1.041686,
            digits=7,
            source="PROPT and PSOPT twophase_robot (1.042568); limit of multiple shooting, 400 to 1600 steps",
            tags=("singular", "free-initial-state", "boundary-constraint"),
        ),
    ),
)
