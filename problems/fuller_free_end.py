"""Fuller's problem with a free end: nothing forces the double integrator to rest, yet rest is optimal.

As ``fuller``, over t in [0, 5] and without the condition at the end (Luus, "singular control 2"). The problem is
convex. Fuller's law reaches the origin at t = 2.919932 and stays there with zero costate, which satisfies the maximum
principle; so the optimum is that of the fixed end.
"""

from __future__ import annotations

import trajopt as to
from trajopt.problems.double_integrator import dynamics, track_picture
from trajopt.problems.reference import Entry, Reference


def build(*, duration: float = 5.0, force: float = 1.0, steps: int = 150) -> to.Problem:
    """Fuller's problem without a condition at the end."""
    return to.Problem(
        dynamics(),
        stage_cost=lambda x, u: x[0] ** 2,
        initial_state=[0.0, 1.0],
        constraints=[to.Bounds(control=(-force, force))],
        horizon=to.Horizon(duration, steps=steps),
        name="fuller-free-end",
    )


ENTRIES = (
    Entry(
        "fuller-free-end",
        build,
        Reference(
            optimum=0.26839383056891114,
            digits=9,
            source="Luus 2000; PROPT Singular Control 2 (0.268336059); series of the exact switches",
            note="the value of PROPT lies 6e-5 below the optimum: collocation undercuts a chattering arc",
            tags=("chattering", "singular"),
            picture=track_picture(-0.1, 0.5),
        ),
    ),
)
