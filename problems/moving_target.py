"""Catch a target that runs away: free time and a terminal condition that moves.

State x, control u; the target starts 10 ahead and runs at speed 2,

    x' = u,   minimise int u^2 dt,   x(0) = 0,  x(T) = 2 T + 10,  1/10 <= T <= 100.

At constant speed u = 2 + 10/T the cost is (2 T + 10)^2 / T, least at T = 5 with u = 4 and cost 80.
"""

from __future__ import annotations

import numpy as np

import trajopt as to
from trajopt.problems.reference import ClosedForm, Entry, Reference


def build(*, lead: float = 10.0, speed: float = 2.0, steps: int = 20) -> to.Problem:
    """Catch a target that starts ``lead`` ahead and runs at ``speed``."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([u[0]]), states=("position",), controls=("velocity",)),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[0.0],
        constraints=[to.TerminalConstraint(lambda x, t: x[0] - speed * t - lead, name="caught")],
        horizon=to.Horizon(to.Free(0.1, 100.0, guess=1.0), steps=steps),
        name="moving-target",
    )


ENTRIES = (
    Entry(
        "moving-target",
        build,
        Reference(
            optimum=80.0,
            digits=12,
            source="Bocop integrator_1D; closed form",
            tags=("free-time", "smooth"),
            solution=ClosedForm(lambda t: (np.array([4.0 * t]), np.array([4.0])), 5.0),
        ),
    ),
)
