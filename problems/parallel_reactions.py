"""Parallel reactions A -> B, A -> C in a tubular reactor: most B by the choice of temperature.

States: amounts of A and B; control: rate u of the first reaction, the second having the rate u^2 / 2; over t in [0,
1],

    a' = -(u + u^2/2) a,  b' = u a,   maximise b(1),   0 <= u <= 5,   (a, b)(0) = (1, 0).

The control rises and ends on its bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference


def reactor(x: Any, u: Any) -> Any:
    """Time derivative of (A, B)."""
    return np.array([-(u[0] + 0.5 * u[0] ** 2) * x[0], u[0] * x[0]])


def build(*, fastest: float = 5.0, steps: int = 80) -> to.Problem:
    """Most B with the rate at most ``fastest``."""
    return to.Problem(
        to.ContinuousDynamics(reactor, states=("A", "B"), controls=("rate",)),
        terminal_cost=lambda x: -x[1],
        initial_state=[1.0, 0.0],
        constraints=[to.Bounds(control=(0.0, fastest))],
        horizon=to.Horizon(1.0, steps=steps),
        guess=(np.array([0.0, 1.0]), np.array([[1.0, 0.0], [0.2, 0.5]]), np.array([[1.0], [2.0]])),
        name="parallel-reactions",
    )


ENTRIES = (
    Entry(
        "parallel-reactions",
        build,
        Reference(
            optimum=0.573545057539,
            digits=11,
            source="Tieu et al. 1995; PROPT and DYNOPT (0.573540787); indirect shooting",
            kind="maximum",
        ),
    ),
)
