"""A cart that comes in fast is stopped at the origin with least effort.

States: position q and velocity v; control: acceleration u; over t in [0, 1],

    q' = v,  v' = u,   minimise 1/2 int u^2 dt,   (q, v): (1, -2) -> (0, 0).

The costates are polynomials, so u is linear in time; from this start it is even constant, u = 2, hence q = (1 - t)^2
and J = 2.
"""

from __future__ import annotations

import numpy as np

import trajopt as to
from trajopt.problems.double_integrator import dynamics, half_effort, track_picture
from trajopt.problems.drawing import Circle
from trajopt.problems.reference import ClosedForm, Entry, Reference


def build(*, distance: float = 1.0, speed: float = 2.0, steps: int = 40) -> to.Problem:
    """Stop at the origin, coming from ``distance`` with ``speed`` towards it."""
    return to.Problem(
        dynamics(),
        stage_cost=half_effort,
        initial_state=[distance, -speed],
        constraints=[to.TerminalConstraint([0.0, 0.0])],
        horizon=to.Horizon(1.0, steps=steps),
        name="double-integrator-braking",
    )


ENTRIES = (
    Entry(
        "double-integrator-braking",
        build,
        Reference(
            optimum=2.0,
            digits=12,
            source="CTDirect.jl double_integrator; closed form",
            tags=("lq", "smooth"),
            solution=ClosedForm(lambda t: (np.array([(1.0 - t) ** 2, 2.0 * t - 2.0]), np.array([2.0])), 1.0),
            picture=track_picture(0.0, 1.0, Circle((0.0, -0.06), 0.03, "target")),
        ),
    ),
)
