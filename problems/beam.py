"""A beam clamped at both ends under a ceiling: least bending energy with a bound on the deflection.

States: deflection q and slope v; control: curvature u; the running variable is the length along the beam, in [0, 1].

    q' = v,  v' = u,   minimise int u^2,   0 <= q <= 1/10,  |u| <= 10,   (q, v): (0, 1) -> (0, -1).

It is Bryson and Denham's problem without the factor 1/2, hence 8 / (9 * 0.1); the bounds on u and q >= 0 are
inactive.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.bryson_denham import resting_on_the_wall
from trajopt.problems.double_integrator import double_integrator
from trajopt.problems.drawing import Drawing, Line, Primitive, Trail, ground, points
from trajopt.problems.reference import Entry, Reference


def build(*, ceiling: float = 0.1, curvature: float = 10.0, steps: int = 60) -> to.Problem:
    """Build the shape of least bending energy that stays below ``ceiling``."""
    return to.Problem(
        to.ContinuousDynamics(double_integrator, states=("deflection", "slope"), controls=("curvature",)),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[0.0, 1.0],
        constraints=[
            to.Bounds(state=([0.0, None], [ceiling, None]), control=(-curvature, curvature)),
            to.TerminalConstraint([0.0, -1.0]),
        ],
        horizon=to.Horizon(1.0, steps=steps),
        name="beam",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    reach = 0.05
    return [Trail((t, float(x[0]))), Line(points([(t - reach, x[0] - reach * x[1]), (t + reach, x[0] + reach * x[1])]))]


ENTRIES = (
    Entry(
        "beam",
        build,
        Reference(
            optimum=80.0 / 9.0,
            digits=12,
            source="Bocop beam; OptimalControlProblems.jl beam; closed form 8 / (9 * 0.1)",
            note="published discretised values: trapezoidal with 200, 500, 1000 steps 8.891335, 8.889282, 8.888987",
            tags=("state-constraint",),
            solution=resting_on_the_wall(0.1),
            picture=Drawing(_shape, (ground(0.0, 1.0), ground(0.0, 1.0, 0.1)), equal_aspect=False),
        ),
    ),
)
