"""A control split into two nonnegative parts whose sum is penalised.

State x; controls u1, u2 >= 0; over t in [0, 1],

    x' = -x - u1 + u2,   minimise int (u1 + u2)^2 dt,   x: -1 -> 0.

Pushing both ways at once only costs, so u1 = 0, and u2 is the control of least effort: it grows as the costate does,
u2 = 2 e^t/(e^2 - 1), and J = 2/(e^2 - 1). The cost has no curvature along u1 - u2: only the bounds make the control
unique.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.reference import ClosedForm, Entry, Reference


def leak(x: Any, u: Any) -> Any:
    """Time derivative of x."""
    return np.array([-x[0] - u[0] + u[1]])


def build(*, steps: int = 40) -> to.Problem:
    """Fill the leaking deficit with least squared effort."""
    return to.Problem(
        to.ContinuousDynamics(leak, states=("x",), controls=("outflow", "inflow")),
        stage_cost=lambda x, u: (u[0] + u[1]) ** 2,
        initial_state=[-1.0],
        constraints=[to.Bounds(control=(0.0, None)), to.TerminalConstraint([0.0])],
        horizon=to.Horizon(1.0, steps=steps),
        name="split-control",
    )


def _trajectory(t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    effort = 1.0 / np.sinh(1.0)  # of u2 = effort e^(t - 1), so that x(1) = 0
    state = -np.exp(-t) + effort * np.exp(-1.0) * np.sinh(t)
    return np.array([state]), np.array([0.0, effort * np.exp(t - 1.0)])


ENTRIES = (
    Entry(
        "split-control",
        build,
        Reference(
            optimum=2.0 / (np.exp(2.0) - 1.0),
            digits=12,
            source="CTDirect.jl simple_integrator; closed form",
            tags=("smooth",),
            solution=ClosedForm(_trajectory, 1.0),
        ),
    ),
)
