"""Fuller's problem: bring a double integrator to rest with least squared position; the control chatters.

States: position x1 and velocity x2; control u; over t in [0, 7/2],

    x1' = x2,  x2' = u,   minimise int x1^2 dt,   |u| <= 1,   (0, 1) -> (0, 0).

The optimal control jumps between -1 and +1 on the curve x1 = -xi x2 |x2|, xi^2 = (sqrt(33) - 1) / 24, infinitely
often before the origin is reached at t = 2.919932; the intervals shrink geometrically. No finite mesh follows, and
collocation values fall below the optimum, because between its nodes a chattering trajectory is cheaper than a real
one.
"""

from __future__ import annotations

import trajopt as to
from trajopt.problems.double_integrator import dynamics, track_picture
from trajopt.problems.reference import Entry, Reference


def build(*, duration: float = 3.5, force: float = 1.0, steps: int = 100) -> to.Problem:
    """Fuller's problem with a fixed end at the origin."""
    return to.Problem(
        dynamics(),
        stage_cost=lambda x, u: x[0] ** 2,
        initial_state=[0.0, 1.0],
        constraints=[to.Bounds(control=(-force, force)), to.TerminalConstraint([0.0, 0.0])],
        horizon=to.Horizon(duration, steps=steps),
        name="fuller",
    )


ENTRIES = (
    Entry(
        "fuller",
        build,
        Reference(
            optimum=0.26839383056891114,
            digits=10,
            source="Fuller 1963; Bocop fuller; CTDirect.jl fuller (0.2683944); series of the exact switches",
            note="published values below this number are discretisation errors",
            tags=("chattering", "singular"),
            picture=track_picture(-0.1, 0.5),
        ),
    ),
)
