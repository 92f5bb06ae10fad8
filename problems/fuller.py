"""Fuller's problem: bring a double integrator to rest with least squared position; the control chatters.

States: position x1 and velocity x2; control u; over t in [0, 7/2],

    x1' = x2,  x2' = u,   minimise int x1^2 dt,   |u| <= 1,   (0, 1) -> (0, 0).

The optimal control jumps between -1 and +1 on the curve x1 = -xi x2 |x2|, xi^2 = (sqrt(33) - 1) / 24, infinitely
often before the origin is reached at t = 2.919932; the intervals shrink geometrically. No finite mesh follows, and
collocation values fall below the optimum, because between its nodes a chattering trajectory is cheaper than a real
one.

``fuller-free-end`` is the same over t in [0, 5] without the condition at the end (Luus, "singular control 2"): nothing
forces the double integrator to rest, yet rest is optimal. The problem is convex, and Fuller's law, which stays at the
origin with zero costate, satisfies the maximum principle; so the optimum is that of the fixed end.
"""

from __future__ import annotations

from collections.abc import Sequence

import trajopt as to
from trajopt.problems.double_integrator import dynamics, track_picture
from trajopt.problems.reference import Entry, Reference


def _fuller(name: str, end: Sequence[to.TerminalConstraint], duration: float, force: float, steps: int) -> to.Problem:
    return to.Problem(
        dynamics(),
        stage_cost=lambda x, u: x[0] ** 2,
        initial_state=[0.0, 1.0],
        constraints=[to.Bounds(control=(-force, force)), *end],
        horizon=to.Horizon(duration, steps=steps),
        name=name,
    )


def build(*, duration: float = 3.5, force: float = 1.0, steps: int = 100) -> to.Problem:
    """Fuller's problem with a fixed end at the origin."""
    return _fuller("fuller", [to.TerminalConstraint([0.0, 0.0])], duration, force, steps)


def build_free_end(*, duration: float = 5.0, force: float = 1.0, steps: int = 150) -> to.Problem:
    """Fuller's problem without a condition at the end."""
    return _fuller("fuller-free-end", [], duration, force, steps)


_OPTIMUM = 0.26839383056891114
_TAGS = ("chattering", "singular")
_PICTURE = track_picture(-0.1, 0.5)

ENTRIES = (
    Entry(
        "fuller",
        build,
        Reference(
            optimum=_OPTIMUM,
            digits=10,
            source="Fuller 1963; Bocop fuller; CTDirect.jl fuller (0.2683944); series of the exact switches",
            note="published values below this number are discretisation errors",
            tags=_TAGS,
            picture=_PICTURE,
        ),
    ),
    Entry(
        "fuller-free-end",
        build_free_end,
        Reference(
            optimum=_OPTIMUM,
            digits=9,
            source="Luus 2000; PROPT Singular Control 2 (0.268336059); series of the exact switches",
            note="the value of PROPT lies 6e-5 below the optimum: collocation undercuts a chattering arc",
            tags=_TAGS,
            picture=_PICTURE,
        ),
    ),
)
