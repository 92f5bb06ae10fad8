"""Rest to rest with least effort under a speed limit.

States: position q and velocity v; control: acceleration u; over t in [0, 1],

    q' = v,  v' = u,   minimise int u^2 dt,   v <= V,   (q, v): (0, 0) -> (1, 0).

Without the limit the speed is the parabola 6 t (1 - t), whose top is 3/2. For 1 < V < 3/2 the cart speeds up until
s = 3/2 (1 - 1/V), reaching the limit tangentially, v = V (1 - (1 - t/s)^2), drives at the limit, and mirrors the start;
the cost is 16 V^3/(9 (V - 1)). The limit V = 1.250656 is what PSOPT makes of a chance constraint.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.double_integrator import dynamics, track_picture
from trajopt.problems.drawing import Circle
from trajopt.problems.reference import ClosedForm, Entry, Reference

LIMIT = 1.250656


def build(*, limit: float = LIMIT, steps: int = 60) -> to.Problem:
    """Rest to rest over unit distance in unit time, no faster than ``limit``."""
    return to.Problem(
        dynamics(),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[0.0, 0.0],
        constraints=[to.Bounds(state=(None, [None, limit])), to.TerminalConstraint([1.0, 0.0])],
        horizon=to.Horizon(1.0, steps=steps),
        name="velocity-limited",
    )


_REACHED = 1.5 * (1.0 - 1.0 / LIMIT)


def _trajectory(t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    forward = min(t, 1.0 - t)  # the motion is symmetric about the middle
    left = max(0.0, 1.0 - forward / _REACHED)
    travelled = LIMIT * (forward - _REACHED / 3.0 * (1.0 - left**3))
    push = 2.0 * LIMIT / _REACHED * left
    early = t < 0.5
    return (
        np.array([travelled if early else 1.0 - travelled, LIMIT * (1.0 - left**2)]),
        np.array([push if early else -push]),
    )


ENTRIES = (
    Entry(
        "velocity-limited",
        build,
        Reference(
            optimum=16.0 * LIMIT**3 / (9.0 * (LIMIT - 1.0)),
            digits=12,
            source="PSOPT chance_constraint (13.87443, its deterministic equivalent); closed form",
            tags=("state-constraint",),
            solution=ClosedForm(_trajectory, 1.0, corners=(_REACHED, 0.5, 1.0 - _REACHED)),
            picture=track_picture(0.0, 1.0, Circle((1.0, -0.06), 0.03, "target")),
        ),
    ),
)
