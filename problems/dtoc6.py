"""DTOC6: a convex problem in discrete time whose control enters exponentially.

State y, control x; with N knots, so N - 1 steps,

    y+ = y + exp(x),   minimise 1/2 sum_{t<N} x[t]^2 + (y[t] + exp(x[t]))^2,   y[1] = 0.

The cost looks at the state behind each step. For N = 5001 FATROP and IPOPT find 134850.616259.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference


def build(*, steps: int = 100) -> to.Problem:
    """DTOC6 with ``steps`` steps, hence N = steps + 1 knots."""

    def step(x: Any, u: Any) -> Any:
        return np.array([x[0] + np.exp(u[0])])

    return to.Problem(
        to.DiscreteDynamics(step, states=("y",), controls=("x",)),
        stage_cost=lambda x, u: 0.5 * (u[0] ** 2 + step(x, u)[0] ** 2),
        initial_state=[0.0],
        horizon=to.Horizon(steps=steps),
        name="dtoc6",
    )


ENTRIES = (
    Entry(
        "dtoc6",
        build,
        Reference(
            optimum=727.981317,
            digits=9,
            source="Murray and Yakowitz 1981; Coleman and Liao 1992; CUTEst DTOC6 with N = 101; Euler equation",
            note="values in the comments of DTOC6.SIF (727.9505731659) are wrong from the fifth digit",
            tags=("smooth", "discrete"),
        ),
    ),
)
