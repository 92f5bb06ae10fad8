"""Inverted pendulum: the pole of Gymnasium's cart-pole model is swung up from hanging.

States: slider [m], hinge [rad] (zero upright) and their velocities; control: the force on the cart in units of 100 N,
at most 3. InvertedPendulum-v5 only balances: its hinge is stopped at a right angle and its reward counts the steps
within 0.2 rad. Here the stop is taken away, everything else is the environment's model and step of 0.04 s. The cost
is, with v the velocities,

    sum 0.04 (rate(x) + 0.1 u^2) + 10 rate(x_N),    rate(x) = 1 - cos hinge + slider^2 + 0.01 |v|^2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing, Line, Primitive, Trail, box, ground, rod
from trajopt.problems.gymnasium_models import EXTRA, PAPER, model_file
from trajopt.problems.reference import Entry, Reference
from trajopt.simulators.mujoco_model import import_mujoco


def build(*, control_weight: float = 0.1, terminal_weight: float = 10.0, steps: int = 50) -> to.Problem:
    """Swing up from hanging at rest."""
    spec = import_mujoco().MjSpec.from_file(str(model_file("inverted_pendulum.xml")))
    spec.joint("hinge").limited = 0
    dynamics = to.MuJoCoDynamics(spec, frame_skip=2)
    start = dynamics.state([0.0, np.pi])

    def rate(x: Any) -> Any:
        return 1.0 - np.cos(x[1]) + x[0] ** 2 + 0.01 * (x[2] ** 2 + x[3] ** 2)

    return to.Problem(
        dynamics,
        stage_cost=lambda x, u: dynamics.timestep * (rate(x) + control_weight * u[0] ** 2),
        terminal_cost=lambda x: terminal_weight * rate(x),
        initial_state=start,
        constraints=[dynamics.bounds],
        horizon=to.Horizon(steps=steps),
        guess=(np.array([0.0, steps]), np.array([start, start]), np.full((2, 1), 0.1)),
        name="inverted-pendulum-swingup",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    """Cart, pole of 0.6 m and its end."""
    pivot, end = rod((x[0], 0.0), np.pi / 2 - float(x[1]), 0.6)
    return [box(0.3, 0.15, pivot), Line((pivot, end), "accent"), Circle(end, 0.05, "accent"), Trail(end)]


ENTRIES = (
    Entry(
        "inverted-pendulum-swingup",
        build,
        Reference(
            None,
            0,
            PAPER.format("InvertedPendulum-v5 (its model; the task is ours)"),
            note="The rail ends at 1 m on both sides, softly. Hanging is a saddle; the guess leaves it by a push.",
            tags=("discrete", "black-box"),
            picture=Drawing(_shape, (ground(-1.2, 1.2, -0.075),), limits=((-1.2, 1.2), (-0.8, 0.8))),
        ),
        EXTRA,
    ),
)
