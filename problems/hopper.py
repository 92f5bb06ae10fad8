"""Hopper: a planar one-legged robot of four links and three motors shall hop far and not fall.

States: Gymnasium's model, positions (rootx, rootz, rooty and three joints) and velocities; controls: three torques in
units of the greatest ones. The reward of Hopper-v5 is the speed over a step of 8 ms, plus 1 if the state after the step
is healthy, minus a thousandth of |u|^2. Healthy means: the torso is above 0.7 m and leans less than 0.2 rad, and all
but its place is less than 100. The environment ends at the first unhealthy state; here it goes on without that reward,
which is the environment with ``terminate_when_unhealthy=False``. While the hopper stays up the two are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.gymnasium_models import EXTRA, PAPER, load_model
from trajopt.problems.reference import Entry, Reference


def healthy(x: Any) -> Any:
    """Return 1 where the torso is up and nothing has blown up, else 0."""
    height, lean = x[1], x[2]
    standing = np.where(height > 0.7, 1.0, 0.0) * np.where(np.abs(lean) < 0.2, 1.0, 0.0)
    return standing * np.prod(np.where(np.abs(x[2:]) < 100.0, 1.0, 0.0))


def build(*, healthy_reward: float = 1.0, control_weight: float = 1e-3, steps: int = 100) -> to.Problem:
    """Hop from the standing pose."""
    dynamics = to.MuJoCoDynamics(load_model("hopper.xml"), frame_skip=4)
    start = dynamics.state()
    rootx = dynamics.states.index("rootx")
    return to.Problem(
        dynamics,
        stage_cost=lambda x, u: control_weight * (u @ u) - healthy_reward * healthy(x),
        terminal_cost=lambda x: (
            (start[rootx] - x[rootx]) / dynamics.timestep - healthy_reward * (healthy(x) - healthy(start))
        ),
        initial_state=start,
        constraints=[dynamics.bounds],
        horizon=to.Horizon(steps=steps),
        guess=(np.array([0.0, steps]), np.array([start, start]), np.zeros((2, dynamics.nu))),
        name="hopper",
    )


ENTRIES = (
    Entry(
        "hopper",
        build,
        Reference(
            None,
            0,
            PAPER.format("Hopper-v5"),
            note="The cost is minus the return, as if the environment did not end when the hopper falls.",
            tags=("discrete", "black-box"),
        ),
        EXTRA,
    ),
)
