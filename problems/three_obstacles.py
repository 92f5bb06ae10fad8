"""A Dubins car among three discs on its way.

States, controls and dynamics as in ``parallel-park``; from the origin to (3, 3) with heading 0 in 5 s, 0 <= v <= 3,
|w| <= 3, quadratic cost. The discs stand on the diagonal at 3/4, 3/2 and 9/4 and have the radius 1/4, to which the
car adds its own, 0.175. The start, heading to the right, breaks the tie between the two sides.
"""

from __future__ import annotations

import numpy as np

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing
from trajopt.problems.parallel_park import CONTROLS, STATES, car_shape, dubins_car
from trajopt.problems.reference import Entry, Reference

CENTERS = (0.75, 1.5, 2.25)
OBSTACLE_RADIUS = 0.25
CAR_RADIUS = 0.175


def build(
    *, clearance: float = OBSTACLE_RADIUS + CAR_RADIUS, duration: float = 5.0, state_weight: float = 1.0,
    control_weight: float = 0.5, terminal_weight: float = 10.0, steps: int = 100,
) -> to.Problem:  # fmt: skip
    """Cross the field, ``clearance`` away from the three centres."""
    goal, centers = np.array([3.0, 3.0, 0.0]), np.array(CENTERS)
    return to.Problem(
        to.ContinuousDynamics(dubins_car, states=STATES, controls=CONTROLS),
        stage_cost=lambda x, u: 0.5 * state_weight * ((x - goal) @ (x - goal)) + 0.5 * control_weight * (u @ u),
        terminal_cost=lambda x: 0.5 * terminal_weight * ((x - goal) @ (x - goal)),
        initial_state=[0.0, 0.0, 0.0],
        constraints=[
            to.Bounds(control=([0.0, -3.0], [3.0, 3.0])),
            to.PathConstraint(
                lambda x, u: clearance**2 - (x[0] - centers) ** 2 - (x[1] - centers) ** 2, name="obstacles"
            ),
            to.TerminalConstraint(goal),
        ],
        horizon=to.Horizon(duration, steps=steps),
        guess=(
            # around the discs on the right-hand side, where the first heading points
            np.array([0.0, 0.5 * duration, duration]),
            np.array([[0.0, 0.0, 0.0], [2.2, 0.8, 0.8], [3.0, 3.0, 0.0]]),
            np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]),
        ),
        name="three-obstacles",
    )


_DISCS = tuple(Circle((center, center), OBSTACLE_RADIUS, "obstacle") for center in CENTERS)

ENTRIES = (
    Entry(
        "three-obstacles",
        build,
        Reference(
            optimum=None,
            digits=0,
            source="Altro.jl problems/dubins_car.jl (Howell, Jackson, Manchester, IROS 2019)",
            tags=("path-constraint", "obstacle"),
            picture=Drawing(
                car_shape, (*_DISCS, Circle((3.0, 3.0), 0.06, "target")), limits=((-0.4, 3.8), (-0.6, 3.6))
            ),
        ),
    ),
)
