"""Robbins' problem: a triple integrator bounces on a bound ever more often.

States x1, x2, x3; control u; over t in [0, 10],

    x1' = x2,  x2' = x3,  x3' = u,   minimise int 3 x1 + u^2/2 dt,   x1 >= 0,   (1, -2, 0) -> (0, 0, 0).

The bound has order three, and for odd orders above one the optimum does not rest on it: it touches it at isolated
times that accumulate, each arc a fixed fraction of the one before, until x1 = 0 for good.
"""

from __future__ import annotations

import trajopt as to
from trajopt.problems.reference import Entry, Reference
from trajopt.problems.singular_control import triple_integrator


def build(*, slope: float = 3.0, steps: int = 200) -> to.Problem:
    """Come to rest on the bound; ``slope`` is the cost of distance from it."""
    return to.Problem(
        to.ContinuousDynamics(triple_integrator, states=("x1", "x2", "x3"), controls=("u",)),
        stage_cost=lambda x, u: slope * x[0] + 0.5 * u[0] ** 2,
        initial_state=[1.0, -2.0, 0.0],
        constraints=[to.Bounds(state=([0.0, None, None], None)), to.TerminalConstraint([0.0, 0.0, 0.0])],
        horizon=to.Horizon(10.0, steps=steps),
        name="robbins",
    )


ENTRIES = (
    Entry(
        "robbins",
        build,
        Reference(
            optimum=19.4316,
            digits=6,
            source="Robbins 1980; Bocop; CTDirect.jl robbins (19.4); limit of Hermite-Simpson with 200 to 1000 steps",
            tags=("state-constraint",),
        ),
    ),
)
