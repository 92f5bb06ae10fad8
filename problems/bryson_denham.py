"""Bryson and Denham's problem: a cart thrown at a wall, turned round with least effort, not touching beyond it.

States: position q and velocity v; control: acceleration u; over t in [0, 1],

    q' = v,  v' = u,   minimise 1/2 int u^2 dt,   q <= l,   (q, v): (0, 1) -> (0, -1).

The bound q <= l has order two: the control shows in its second derivative. For l <= 1/6 the optimum rests on the wall
for 3 l <= t <= 1 - 3 l, where u = 0, and leaves it tangentially; on the outer arcs u is linear,
u = -(2 / (3 l)) (1 - t / (3 l)), and the cost is 4 / (9 l). Between 1/6 and 1/4 it touches once; beyond, never.

``bryson-denham`` has l = 1/9 and ``bryson-denham-breakwell`` l = 1/10. A collocation mesh whose knots miss t = 3 l
gives values slightly off 4 / (9 l), often below, because the bound holds at the knots alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.double_integrator import dynamics, half_effort, track_picture
from trajopt.problems.drawing import Drawing, box
from trajopt.problems.reference import ClosedForm, Entry, Reference


def build(*, wall: float = 1.0 / 9.0, steps: int = 60) -> to.Problem:
    """Turn round in front of the wall at position ``wall``."""
    return _build("bryson-denham", wall, steps)


def build_breakwell(*, wall: float = 0.1, steps: int = 60) -> to.Problem:
    """Bryson and Denham's problem with the wall where Breakwell has it."""
    return _build("bryson-denham-breakwell", wall, steps)


def _build(name: str, wall: float, steps: int) -> to.Problem:
    return to.Problem(
        dynamics(),
        stage_cost=half_effort,
        initial_state=[0.0, 1.0],
        constraints=[to.Bounds(state=(None, [wall, None])), to.TerminalConstraint([0.0, -1.0])],
        horizon=to.Horizon(1.0, steps=steps),
        name=name,
    )


def resting_on_the_wall(wall: float) -> ClosedForm:
    """Optimal trajectory for wall <= 1/6: three arcs, symmetric in time."""
    contact = 3.0 * wall

    def trajectory(t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        forward = t if t < 0.5 else 1.0 - t
        direction = 1.0 if t < 0.5 else -1.0
        left = max(0.0, 1.0 - forward / contact)
        return np.array([wall * (1.0 - left**3), direction * left**2]), np.array([-2.0 * left / contact])

    return ClosedForm(trajectory, 1.0, corners=(contact, 0.5, 1.0 - contact))


def wall_picture(wall: float) -> Drawing:
    """Draw a block that flies towards the wall; the block's right edge is its position."""
    drawing = track_picture(0.0, wall, box(0.2 * wall, 0.8 * wall, (1.1 * wall, 0.2 * wall), role="obstacle"))

    def shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list:
        width = 0.12 * wall
        return [box(width, width, (x[0] - width / 2, width / 2))]

    return Drawing(shape, drawing.scenery, limits=drawing.limits)


def _reference(wall: float, optimum: float, source: str) -> Reference:
    return Reference(
        optimum=optimum,
        digits=12,
        source=source,
        note="closed form 4 / (9 l); values of coarse grids, such as 3.9995 for l = 1/9, lie below it",
        tags=("state-constraint",),
        solution=resting_on_the_wall(wall),
        picture=wall_picture(wall),
    )


ENTRIES = (
    Entry(
        "bryson-denham",
        build,
        _reference(1.0 / 9.0, 4.0, "Bryson, Denham, Dreyfus 1963; GPOPS manual; Dymos documentation; closed form"),
    ),
    Entry(
        "bryson-denham-breakwell",
        build_breakwell,
        _reference(0.1, 40.0 / 9.0, "Bryson and Ho 1975, 3.11; PSOPT breakwell; Dymos documentation; closed form"),
    ),
)
