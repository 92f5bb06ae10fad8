"""Fishing of predators and prey so that both settle at their equilibrium; the relaxed problem.

States: prey x0 and predators x1; control: fishing w; over t in [0, 12],

    x0' = x0 - x0 x1 - 0.4 x0 w,  x1' = -x1 + x0 x1 - 0.2 x1 w,   minimise int (x0 - 1)^2 + (x1 - 1)^2 dt,

0 <= w <= 1, from (1/2, 7/10). The original asks for w in {0, 1}; the relaxed optimum is its infimum. After two
switches the control follows a singular arc.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference


def pond(x: Any, u: Any) -> Any:
    """Time derivative of (prey, predators)."""
    prey, predators = x[0], x[1]
    return np.array([prey * (1.0 - predators - 0.4 * u[0]), predators * (prey - 1.0 - 0.2 * u[0])])


def build(*, duration: float = 12.0, steps: int = 120) -> to.Problem:
    """Settle both populations by fishing."""
    return to.Problem(
        to.ContinuousDynamics(pond, states=("prey", "predators"), controls=("fishing",)),
        stage_cost=lambda x, u: (x[0] - 1.0) ** 2 + (x[1] - 1.0) ** 2,
        initial_state=[0.5, 0.7],
        constraints=[to.Bounds(control=(0.0, 1.0))],
        horizon=to.Horizon(duration, steps=steps),
        name="lotka-volterra-fishing",
    )


ENTRIES = (
    Entry(
        "lotka-volterra-fishing",
        build,
        Reference(
            optimum=1.34408,
            digits=5,
            source="Sager 2006, mintOC; PSOPT lotka (1.344098)",
            tags=("bang-bang", "singular"),
        ),
    ),
)
