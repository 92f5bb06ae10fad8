"""A Dubins car finds its way out of a room and into the next one.

States, controls and dynamics as in ``parallel-park``; from the middle of the left room, (5/2, 5/2), to the middle of
the right one, (15/2, 5/2), in 3 s, |v|, |w| <= 5, quadratic cost. The walls are 170 overlapping discs of radius 1/2:
verticals at x = 0, 5, 10, a floor at y = 0 and ceilings at y = 5 with doors from 3 to 5 and from 8 to 10. The
straight line runs through a wall; the guess runs through the doors and over the wall, breaking the dynamics instead.
"""

from __future__ import annotations

import numpy as np

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing
from trajopt.problems.parallel_park import CONTROLS, STATES, car_shape, dubins_car
from trajopt.problems.reference import Entry, Reference

RADIUS = 0.5
WAY_POINTS = (
    (2.5, 2.5, 0.0),
    (4.0, 5.0, 0.785),
    (5.0, 6.25, 0.0),
    (7.5, 6.25, -0.261),
    (9.0, 5.0, -1.57),
    (7.5, 2.5, 0.0),
)


def walls() -> np.ndarray:
    """Centres of the discs, shape (170, 2)."""
    up, along = np.linspace(0.0, 5.0, 30), np.linspace(0.0, 10.0, 50)
    verticals = [np.column_stack([np.full(30, x), up]) for x in (0.0, 5.0, 10.0)]
    floor = np.column_stack([along, np.zeros(50)])
    ceilings = [np.column_stack([np.linspace(x, x + 3.0, 15), np.full(15, 5.0)]) for x in (0.0, 5.0)]
    return np.concatenate([*verticals, floor, *ceilings])


def build(
    *, radius: float = RADIUS, duration: float = 3.0, state_weight: float = 1e-3, control_weight: float = 1e-2,
    terminal_weight: float = 100.0, steps: int = 100,
) -> to.Problem:  # fmt: skip
    """Leave the left room and enter the right one between walls of the given ``radius``."""
    goal, centers = np.array(WAY_POINTS[-1]), walls()
    return to.Problem(
        to.ContinuousDynamics(dubins_car, states=STATES, controls=CONTROLS),
        stage_cost=lambda x, u: 0.5 * state_weight * ((x - goal) @ (x - goal)) + 0.5 * control_weight * (u @ u),
        terminal_cost=lambda x: 0.5 * terminal_weight * ((x - goal) @ (x - goal)),
        initial_state=WAY_POINTS[0],
        constraints=[
            to.Bounds(control=(-5.0, 5.0)),
            to.PathConstraint(
                lambda x, u: radius**2 - (x[0] - centers[:, 0]) ** 2 - (x[1] - centers[:, 1]) ** 2, name="walls"
            ),
            to.TerminalConstraint(goal),
        ],
        horizon=to.Horizon(duration, steps=steps),
        guess=(np.linspace(0.0, duration, len(WAY_POINTS)), np.array(WAY_POINTS), np.ones((len(WAY_POINTS), 2))),
        name="car-escape",
    )


_DISCS = tuple(Circle((float(x), float(y)), RADIUS, "obstacle") for x, y in walls())

ENTRIES = (
    Entry(
        "car-escape",
        build,
        Reference(
            optimum=None,
            digits=0,
            source="Altro.jl problems/car_escape.jl (IROS 2019), the layout of its 170 discs",
            note="weights per second; a solver that cannot start from states that break the dynamics is likely to fail",
            tags=("path-constraint", "obstacle"),
            picture=Drawing(
                car_shape, (*_DISCS, Circle((7.5, 2.5), 0.1, "target")), limits=((-1.0, 11.0), (-1.0, 8.0))
            ),
        ),
    ),
)
