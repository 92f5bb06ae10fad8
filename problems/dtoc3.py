"""DTOC3: a linear-quadratic problem in discrete time.

States (y1, y2), control x; with N knots, so N - 1 steps,

    y1+ = y1 + y2/N,  y2+ = y2 - y1/N + x/N,   minimise 1/(2N) sum_t 2 y1[t+1]^2 + y2[t+1]^2 + 6 x[t]^2,
    y[1] = (15, 5).

The cost of a step looks at the state behind it. The optimum comes from a Riccati recursion; for N = 10, 50, 100,
500, 1000 and 5000 it is 224.5903818850981, 233.27871307127, 234.28771650313, 235.08445187339, 235.18341208531 and
235.2624810352049.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference


def build(*, steps: int = 99) -> to.Problem:
    """DTOC3 with ``steps`` steps, hence N = steps + 1 knots."""
    knots = steps + 1

    def step(x: Any, u: Any) -> Any:
        return np.array([x[0] + x[1] / knots, x[1] - x[0] / knots + u[0] / knots])

    def cost(x: Any, u: Any) -> Any:
        following = step(x, u)
        return (2.0 * following[0] ** 2 + following[1] ** 2 + 6.0 * u[0] ** 2) / (2.0 * knots)

    return to.Problem(
        to.DiscreteDynamics(step, states=("y1", "y2"), controls=("x",)),
        stage_cost=cost,
        initial_state=[15.0, 5.0],
        horizon=to.Horizon(steps=steps),
        name="dtoc3",
    )


ENTRIES = (
    Entry(
        "dtoc3",
        build,
        Reference(
            optimum=234.28771650313,
            digits=12,
            source="Coleman and Liao 1995; CUTEst DTOC3 with N = 100; Riccati recursion",
            note="values in the comments of DTOC3.SIF are wrong from the fifth digit",
            tags=("lq", "discrete"),
        ),
    ),
)
