"""Mountain car: drive out of a valley with a motor too weak for the slope, by swinging back first.

States: position p and velocity v, of the difference equation of Gymnasium's MountainCarContinuous-v0; control: push u,

    v+ = v + 0.0015 u - 0.0025 cos(3 p),   p+ = p + v+,   |u| <= 1,

from rest at p = -0.5. Instead of a reward for passing the flag at p = 0.45, which no gradient sees, the end is asked to
be there, with the least effort: minimise sum 0.1 u^2, Gymnasium's cost of pushing. Its walls and its limit of the speed
are bounds of the state.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference

FLAG = 0.45


def build(*, power: float = 0.0015, gravity: float = 0.0025, effort: float = 0.1, steps: int = 120) -> to.Problem:
    """Reach the flag after ``steps`` steps with the least effort."""

    def step(x: Any, u: Any) -> Any:
        velocity = x[1] + power * u[0] - gravity * np.cos(3.0 * x[0])
        return np.array([x[0] + velocity, velocity])

    return to.Problem(
        to.DiscreteDynamics(step, states=("position", "velocity"), controls=("push",)),
        stage_cost=lambda x, u: effort * u[0] ** 2,
        initial_state=[-0.5, 0.0],
        constraints=[
            to.Bounds(control=(-1.0, 1.0), state=([-1.2, -0.07], [0.6, 0.07])),
            to.TerminalConstraint([FLAG, None]),
        ],
        horizon=to.Horizon(steps=steps),
        name="mountain-car",
    )


ENTRIES = (
    Entry(
        "mountain-car",
        build,
        Reference(
            optimum=None,
            digits=0,
            source="Moore 1990; Gymnasium MountainCarContinuous-v0",
            tags=("discrete",),
        ),
    ),
)
