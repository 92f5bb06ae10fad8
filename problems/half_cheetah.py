"""Half-cheetah: a planar runner of seven links and six motors shall run far.

States: Gymnasium's model, positions (rootx, rootz, rooty and six joints) and velocities; controls: six torques in units
of the greatest ones. The reward of HalfCheetah-v5 is the speed over a step of 0.05 s minus a tenth of |u|^2; summed

    return of N steps = (rootx_N - rootx_0) / 0.05 - 0.1 sum |u_k|^2.
"""

from __future__ import annotations

import numpy as np

import trajopt as to
from trajopt.problems.gymnasium_models import EXTRA, PAPER, load_model
from trajopt.problems.reference import Entry, Reference


def build(*, control_weight: float = 0.1, steps: int = 50) -> to.Problem:
    """Run from rest; the environment's episodes have 1,000 steps, planners look some tens ahead."""
    dynamics = to.MuJoCoDynamics(load_model("half_cheetah.xml"), frame_skip=5)
    start = dynamics.state()
    rootx = dynamics.states.index("rootx")
    return to.Problem(
        dynamics,
        stage_cost=lambda x, u: control_weight * (u @ u),
        terminal_cost=lambda x: -(x[rootx] - start[rootx]) / dynamics.timestep,
        initial_state=start,
        constraints=[dynamics.bounds],
        horizon=to.Horizon(steps=steps),
        guess=(np.array([0.0, steps]), np.array([start, start]), np.zeros((2, dynamics.nu))),
        name="half-cheetah",
    )


ENTRIES = (
    Entry(
        "half-cheetah",
        build,
        Reference(
            None,
            0,
            PAPER.format("HalfCheetah-v5"),
            note="The cost is minus the return; many local minima, contacts all along.",
            tags=("discrete", "black-box"),
        ),
        EXTRA,
    ),
)
