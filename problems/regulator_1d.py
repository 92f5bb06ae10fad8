"""Scalar regulator: hold x near zero, then arrive at one half; the control enters linearly.

State x, control u; over t in [0, 2],

    x' = u,   minimise int x^2 dt,   |u| <= 1,   x(0) = 1,  x(2) = 1/2.

Bang - singular - bang: u = -1 until x = 0 at t = 1, u = 0 on the singular arc x = 0, u = +1 from t = 3/2. The cost is
1/3 + 1/24 = 3/8.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.reference import ClosedForm, Entry, Reference


def build(*, rate: float = 1.0, steps: int = 40) -> to.Problem:
    """Build the regulator with |u| <= ``rate``."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([u[0]]), states=("x",), controls=("u",)),
        stage_cost=lambda x, u: x[0] ** 2,
        initial_state=[1.0],
        constraints=[to.Bounds(control=(-rate, rate)), to.TerminalConstraint([0.5])],
        horizon=to.Horizon(2.0, steps=steps),
        name="regulator-1d",
    )


def _trajectory(t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if t < 1.0:
        return np.array([1.0 - t]), np.array([-1.0])
    if t < 1.5:
        return np.array([0.0]), np.array([0.0])
    return np.array([t - 1.5]), np.array([1.0])


ENTRIES = (
    Entry(
        "regulator-1d",
        build,
        Reference(
            optimum=0.375,
            digits=12,
            source="Bocop regulator_1D; closed form",
            tags=("bang-bang", "singular"),
            solution=ClosedForm(_trajectory, 2.0, corners=(1.0, 1.5)),
        ),
    ),
)
