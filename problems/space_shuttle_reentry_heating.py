"""Space-shuttle re-entry with a limit on the heating of the wing's leading edge.

As ``space-shuttle-reentry``, with the heating rate, in BTU/(ft^2 s),

    q = 17700 sqrt(rho) (v/10^4)^3.07 (c0 + c1 alpha + c2 alpha^2 + c3 alpha^3) <= 70,   alpha in degrees, v in ft/s.

The limit is met once early, on an arc, and costs three and a half degrees of crossrange.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems import space_shuttle_reentry as shuttle
from trajopt.problems.reference import Entry, Reference

LIMIT = 70.0
HEATING = (1.0672181, -0.19213774e-1, 0.21286289e-3, -0.10117249e-5)
"""Coefficients of the angle of attack in degrees, ascending."""


def heating(x: Any, u: Any) -> Any:
    """Heating rate of the leading edge [BTU/(ft^2 s)]."""
    attack = u[0] / shuttle.DEGREE
    density = shuttle.DENSITY * np.exp(-shuttle.FEET * x[0] / shuttle.SCALE_HEIGHT)
    shape = HEATING[0] + HEATING[1] * attack + HEATING[2] * attack**2 + HEATING[3] * attack**3
    return 17_700.0 * np.sqrt(density) * x[3] ** 3.07 * shape


def build(*, limit: float = LIMIT, steps: int = 120) -> to.Problem:
    """Greatest crossrange with a heating rate of at most ``limit``."""
    free = shuttle.build(steps=steps)
    cooled = to.PathConstraint(lambda x, u: heating(x, u) / limit, upper=1.0, name="heating")
    return dataclasses.replace(free, constraints=[*free.constraints, cooled], name="space-shuttle-reentry-heating")


ENTRIES = (
    Entry(
        "space-shuttle-reentry-heating",
        build,
        Reference(
            optimum=30.6255,
            digits=6,
            source="Betts 2010, Example 6.1 (30.6255 degrees, tf = 2198.67 s); Dymos reentry",
            kind="maximum",
            tags=("free-time", "path-constraint"),
            picture=shuttle.ENTRIES[0].reference.picture,
        ),
    ),
)
