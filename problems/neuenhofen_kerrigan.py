"""Neuenhofen and Kerrigan's problem, on which collocation rings: singular, smooth, and with a known solution.

State y, control u; over t in [0, pi/2],

    y' = y^2/2 + u,   minimise int (y^2 + cos(t) u) dt,   -3/2 <= u <= 1,   y(0) = 0, y(pi/2) free.

The control enters linearly with costate -cos t, so it is singular throughout: y = -sin t / (2 - cos t) and
u = 1/2 - 3/2 / (cos t - 2)^2. Hermite-Simpson on 41 nodes reports -0.257352, below the true optimum -0.256997, with a
control that zigzags by 1.3: a test of honesty for certificates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.reference import ClosedForm, Entry, Reference


def build(*, steps: int = 40) -> to.Problem:
    """Build the problem X1 of the paper."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([0.5 * x[0] ** 2 + u[0]]), states=("y",), controls=("u",)),
        stage_cost=lambda x, u, t: x[0] ** 2 + np.cos(t) * u[0],
        initial_state=[0.0],
        constraints=[to.Bounds(control=(-1.5, 1.0))],
        horizon=to.Horizon(np.pi / 2, steps=steps),
        name="neuenhofen-kerrigan",
    )


def _trajectory(t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    gap = 2.0 - np.cos(t)
    return np.array([-np.sin(t) / gap]), np.array([0.5 - 1.5 / gap**2])


ENTRIES = (
    Entry(
        "neuenhofen-kerrigan",
        build,
        Reference(
            optimum=-0.25699696256067867,
            digits=12,
            source="Neuenhofen and Kerrigan, CDC 2020; PSOPT x1_example; closed form with quadrature",
            note="Hermite-Simpson on 41 nodes gives -0.257351960, below the optimum, with a control error of 1.32",
            tags=("singular",),
            solution=ClosedForm(_trajectory, np.pi / 2),
        ),
    ),
)
