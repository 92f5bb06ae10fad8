"""Two of Luus's collection of singular control problems.

``singular-control-luus`` (number 4): a triple integrator brought to rest with least squared position,

    x1' = x2,  x2' = x3,  x3' = u,   minimise int x1^2 dt over [0, 5],   |u| <= 1,   x(0) = (1, 0, 0).

The singular arc x = 0 has order three: it is entered through infinitely many switches, as in Fuller's problem.

``singular-control-yeo`` (number 5), over t in [0, 1],

    x1' = x2,  x2' = -x3 u + 16 t - 8,  x3' = u,   0 <= u <= 10,   x(0) = (0, -1, -sqrt(5)),
    minimise int x1^2 + x2^2 + 0.0005 (x2 + 16 t - 8 - 0.1 x3 u^2)^2 dt.

The small weight makes it nearly singular: u is worth little, so that coarse meshes ring.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference


def triple_integrator(x: Any, u: Any) -> Any:
    """Time derivative of (position, velocity, acceleration)."""
    return np.array([x[1], x[2], u[0]])


def yeo(x: Any, u: Any, t: Any) -> Any:
    """Time derivative of the three states of Yeo's problem."""
    return np.array([x[1], -x[2] * u[0] + 16.0 * t - 8.0, u[0]])


def build_luus(*, steps: int = 100) -> to.Problem:
    """Bring the triple integrator to rest with least squared position."""
    return to.Problem(
        to.ContinuousDynamics(triple_integrator, states=("position", "velocity", "acceleration"), controls=("jerk",)),
        stage_cost=lambda x, u: x[0] ** 2,
        initial_state=[1.0, 0.0, 0.0],
        constraints=[to.Bounds(control=(-1.0, 1.0))],
        horizon=to.Horizon(5.0, steps=steps),
        name="singular-control-luus",
    )


def build_yeo(*, weight: float = 0.0005, steps: int = 100) -> to.Problem:
    """Yeo's problem; ``weight`` is what keeps it from being singular."""
    return to.Problem(
        to.ContinuousDynamics(yeo, states=("x1", "x2", "x3"), controls=("u",)),
        stage_cost=lambda x, u, t: (
            x[0] ** 2 + x[1] ** 2 + weight * (x[1] + 16.0 * t - 8.0 - 0.1 * x[2] * u[0] ** 2) ** 2
        ),
        initial_state=[0.0, -1.0, -np.sqrt(5.0)],
        constraints=[to.Bounds(control=(0.0, 10.0))],
        horizon=to.Horizon(1.0, steps=steps),
        name="singular-control-yeo",
    )


ENTRIES = (
    Entry(
        "singular-control-luus",
        build_luus,
        Reference(
            optimum=1.2521,
            digits=5,
            source=(
                "Luus 2000; PROPT Singular Control 4 (1.252389645 with 100 nodes); "
                "limit of Hermite-Simpson with 100 to 1600 steps (1.25212)"
            ),
            note="a certified cost of 1.25212 lies below the published optimum",
            tags=("chattering", "singular"),
        ),
    ),
    Entry(
        "singular-control-yeo",
        build_yeo,
        Reference(
            optimum=0.11925,
            digits=5,
            source=(
                "Yeo 1980; Luus 2000; PROPT Singular Control 5 (0.119253718); PSOPT (0.1192613); limit of "
                "Hermite-Simpson with 100 to 1600 steps (0.119251)"
            ),
            note="the value of PSOPT lies above a certified one, 0.119251",
        ),
    ),
)
