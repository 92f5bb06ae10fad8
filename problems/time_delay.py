"""A damped oscillator whose forces arrive a quarter of a unit of time late, regulated with least effort.

States: position x1, velocity x2; control u; over t in [0, 5], with d = 1/4,

    x1' = x2,  x2' = -10 x1 - 5 x2 - 2 x1(t - d) - x2(t - d) + u,   minimise 1/2 int 10 x1^2 + x2^2 + u^2 dt,

x = (1, 1) for t <= 0. By the method of steps this is an ordinary problem: the 20 spans of length d run side by side
over s in [0, d], each with its own copy of the state and the control; a span sees the one before it as the past, and
starts where that one ends. Linear dynamics and quadratic cost remain.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference

DELAY, DURATION = 0.25, 5.0
PAST = np.array([1.0, 1.0])


def build(*, steps: int = 10) -> to.Problem:
    """Regulate the delayed oscillator; ``steps`` are those of one delay."""
    spans = round(DURATION / DELAY)

    def side_by_side(x: Any, u: Any) -> Any:
        rates, past = [], PAST
        for k in range(spans):
            now = x[2 * k : 2 * k + 2]
            rates += [now[1], -10.0 * now[0] - 5.0 * now[1] - 2.0 * past[0] - past[1] + u[k]]
            past = now
        return np.array(rates)

    def cost(x: Any, u: Any) -> Any:
        return 0.5 * (10.0 * np.sum(x[::2] ** 2) + np.sum(x[1::2] ** 2) + u @ u)

    return to.Problem(
        to.ContinuousDynamics(
            side_by_side,
            states=tuple(f"{what} {k + 1}" for k in range(spans) for what in ("position", "velocity")),
            controls=tuple(f"force {k + 1}" for k in range(spans)),
        ),
        stage_cost=cost,
        initial_state=[*PAST, *[None] * (2 * spans - 2)],
        constraints=[to.BoundaryConstraint(lambda x0, xf: x0[2:] - xf[:-2], name="spans join")],
        horizon=to.Horizon(DELAY, steps=steps),
        guess=(np.array([0.0, DELAY]), np.ones((2, 2 * spans)), np.zeros((2, spans))),
        name="time-delay",
    )


ENTRIES = (
    Entry(
        "time-delay",
        build,
        Reference(
            optimum=2.5257,
            digits=5,
            source="Luus 2000; PSOPT delay1 (2.525738; 2.52572 by extrapolation)",
            tags=("smooth", "boundary-constraint", "free-initial-state"),
        ),
    ),
)
