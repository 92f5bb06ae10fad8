"""A regulator that has to pass a given place on its way; published with an interior-point condition, in two phases.

State x, control u, over t in [0, 1],

    x' = u,   minimise int x^2 + u^2 dt,   x(0) = 1, x(3/4) = 9/10, x(1) = 3/4.

The two segments, of lengths T1 = 3/4 and T2 = 1/4, run side by side over s in [0, 1], which is exact because their
lengths are given: xi' = Ti ui, minimise int sum Ti (xi^2 + ui^2) ds, from (1, 9/10) to (9/10, 3/4). The optimum of a
segment from a to b is ((a^2 + b^2) cosh T - 2 a b) / sinh T.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.reference import ClosedForm, Entry, Reference

LENGTHS = np.array([0.75, 0.25])
PLACES = np.array([1.0, 0.9, 0.75])


def build(*, steps: int = 50) -> to.Problem:
    """Both segments side by side."""
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u: LENGTHS * u, states=("first segment", "second segment"), controls=("first rate", "second rate")
        ),
        stage_cost=lambda x, u: LENGTHS @ (x * x + u * u),
        initial_state=PLACES[:2],
        constraints=[to.TerminalConstraint(PLACES[1:])],
        horizon=to.Horizon(1.0, steps=steps),
        name="way-point",
    )


def optimum() -> float:
    """Closed form."""
    a, b = PLACES[:2], PLACES[1:]
    return float(np.sum(((a**2 + b**2) * np.cosh(LENGTHS) - 2.0 * a * b) / np.sinh(LENGTHS)))


def trajectory(s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """State and control of both segments."""
    a, b, gone, left = PLACES[:2], PLACES[1:], LENGTHS * s, LENGTHS * (1.0 - s)
    x = (a * np.sinh(left) + b * np.sinh(gone)) / np.sinh(LENGTHS)
    return x, (b * np.cosh(gone) - a * np.cosh(left)) / np.sinh(LENGTHS)


ENTRIES = (
    Entry(
        "way-point",
        build,
        Reference(
            optimum=optimum(),
            digits=12,
            source="PSOPT interior_point (Bryson and Ho); closed form",
            tags=("lq", "smooth"),
            solution=ClosedForm(trajectory, 1.0),
        ),
    ),
)
