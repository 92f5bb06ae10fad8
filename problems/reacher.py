"""Reacher: a planar arm of two links and two motors brings its fingertip to a target.

States: Gymnasium's model, positions (joint0, joint1, target_x, target_y) and velocities, and as outputs the places of
the fingertip and of the target [m]; controls: two torques in units of the greatest ones. The reward of Reacher-v5 is
minus the distance of the fingertip from the target after the step, minus |u|^2. The environment reads both places where
the last stage of its Runge-Kutta step left them, up to about a millimetre from where the step ends; here they are those
of the state.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.gymnasium_models import EXTRA, PAPER, model_file
from trajopt.problems.reference import Entry, Reference


def build(
    *, target: tuple[float, float] = (0.1, -0.1), distance_weight: float = 1.0, control_weight: float = 1.0,
    steps: int = 50,
) -> to.Problem:  # fmt: skip
    """Reach from the stretched arm along x; ``target`` (2,) [m] is within 0.2 m of the shoulder."""
    dynamics = to.MuJoCoDynamics(model_file("reacher.xml"), frame_skip=2, outputs=["body fingertip", "body target"])
    start = dynamics.state([0.0, 0.0, *target])

    def distance(x: Any) -> Any:
        return distance_weight * np.linalg.norm(x[-6:-3] - x[-3:])

    return to.Problem(
        dynamics,
        stage_cost=lambda x, u: distance(x) + control_weight * (u @ u),
        terminal_cost=lambda x: distance(x) - distance(start),
        initial_state=start,
        constraints=[dynamics.bounds],
        horizon=to.Horizon(steps=steps),
        guess=(np.array([0.0, steps]), np.array([start, start]), np.zeros((2, dynamics.nu))),
        name="reacher",
    )


ENTRIES = (
    Entry(
        "reacher",
        build,
        Reference(
            None,
            0,
            PAPER.format("Reacher-v5"),
            note="The cost is minus the return up to the distance of the first knot, which no control changes.",
            tags=("discrete", "black-box"),
        ),
        EXTRA,
    ),
)
