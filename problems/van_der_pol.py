"""Van der Pol's oscillator, damped with least effort.

``van-der-pol`` (Bocop), states (x1, x2), over t in [0, 2] from (1, 0), both ends free otherwise:

    x1' = x2,  x2' = eps w (1 - x1^2) x2 - w^2 x1 + u,   minimise 1/2 int (x1^2 + x2^2 + u^2) dt,   eps = w = 1.

``van-der-pol-bounded`` (PROPT), states (rate, position), over t in [0, 5] from (0, 1):

    x1' = (1 - x2^2) x1 - x2 + u,  x2' = x1,   minimise int (x1^2 + x2^2 + u^2) dt,   -0.3 <= u <= 1.

Without its bound the second has the optimum 2.8669524225633.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference


def oscillator(x: Any, u: Any, *, damping: float = 1.0, frequency: float = 1.0) -> Any:
    """Time derivative of (position, velocity)."""
    acceleration = damping * frequency * (1.0 - x[0] ** 2) * x[1] - frequency**2 * x[0] + u[0]
    return np.array([x[1], acceleration])


def build(*, damping: float = 1.0, frequency: float = 1.0, duration: float = 2.0, steps: int = 50) -> to.Problem:
    """Bocop's variant: smooth, free end."""
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u: oscillator(x, u, damping=damping, frequency=frequency),
            states=("position", "velocity"),
            controls=("force",),
        ),
        stage_cost=lambda x, u: 0.5 * (x @ x + u[0] ** 2),
        initial_state=[1.0, 0.0],
        horizon=to.Horizon(duration, steps=steps),
        name="van-der-pol",
    )


def build_bounded(*, weakest: float = -0.3, strongest: float = 1.0, steps: int = 80) -> to.Problem:
    """PROPT's variant: the lower bound of the control is active for a while."""
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u: np.array([(1.0 - x[1] ** 2) * x[0] - x[1] + u[0], x[0]]),
            states=("rate", "position"),
            controls=("force",),
        ),
        stage_cost=lambda x, u: x @ x + u[0] ** 2,
        initial_state=[0.0, 1.0],
        constraints=[to.Bounds(control=(weakest, strongest))],
        horizon=to.Horizon(5.0, steps=steps),
        name="van-der-pol-bounded",
    )


ENTRIES = (
    Entry(
        "van-der-pol",
        build,
        Reference(
            optimum=1.0478069082203052,
            digits=10,
            source="Bocop vanderpol; CTDirect.jl (1.047921); two-point boundary-value problem of the maximum principle",
            tags=("smooth",),
        ),
    ),
    Entry(
        "van-der-pol-bounded",
        build_bounded,
        Reference(
            optimum=2.8672610452216896,
            digits=10,
            source="PROPT Van der Pol (2.867259538); indirect shooting",
            note="the value of PROPT with 60 nodes is 1.5e-6 below the optimum",
        ),
    ),
)
