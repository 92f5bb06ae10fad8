"""Soft landing on the moon with least fuel: fall freely, then brake with full thrust.

States: height h and vertical speed v; control: thrust per mass u,

    h' = v,  v' = u - g,   minimise int u dt,   0 <= u <= 3,  h >= 0,  g = 3/2,   (10, -2) -> (0, 0), T free.

One switch, where braking at full thrust just suffices: at (2 sqrt(17) - 4)/3; the cost is 2 sqrt(17).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Arrow, Circle, Drawing, Polygon, Primitive, ground, placed
from trajopt.problems.reference import ClosedForm, Entry, Reference


def lander(x: Any, u: Any, *, gravity: float = 1.5) -> Any:
    """Time derivative of (height, vertical speed)."""
    return np.array([x[1], u[0] - gravity])


def build(*, gravity: float = 1.5, thrust: float = 3.0, steps: int = 60) -> to.Problem:
    """Land softly from height 10, sinking at speed 2."""
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u: lander(x, u, gravity=gravity), states=("height", "vertical speed"), controls=("thrust",)
        ),
        stage_cost=lambda x, u: u[0],
        initial_state=[10.0, -2.0],
        constraints=[
            to.Bounds(state=([0.0, None], None), control=(0.0, thrust)),
            to.TerminalConstraint([0.0, 0.0]),
        ],
        horizon=to.Horizon(to.Free(0.5, 20.0, guess=4.0), steps=steps),
        name="moon-lander",
    )


_SWITCH = (2.0 * np.sqrt(17.0) - 4.0) / 3.0
_DURATION = _SWITCH + (2.0 + 1.5 * _SWITCH) / 1.5


def _trajectory(t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if t < _SWITCH:
        return np.array([10.0 - 2.0 * t - 0.75 * t**2, -2.0 - 1.5 * t]), np.array([0.0])
    left = _DURATION - t
    return np.array([0.75 * left**2, -1.5 * left]), np.array([3.0])


def rocket_outline(position: Any, size: float, angle: float = np.pi / 2) -> Polygon:
    """Draw a rocket that points along ``angle``; its tail is at ``position``."""
    outline = ((0.0, -0.15), (0.75, -0.15), (1.0, 0.0), (0.75, 0.15), (0.0, 0.15))
    return Polygon(placed([(size * a, size * b) for a, b in outline], position, angle))


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    height = float(x[0])
    return [rocket_outline((0.0, height), 1.5), Arrow((0.0, height), (0.0, height - 0.4 * float(u[0])))]


ENTRIES = (
    Entry(
        "moon-lander",
        build,
        Reference(
            optimum=2.0 * float(np.sqrt(17.0)),
            digits=12,
            source="mpopt documentation, moon lander (8.24621); closed form 2 sqrt(17)",
            tags=("bang-bang", "free-time"),
            solution=ClosedForm(_trajectory, float(_DURATION), corners=(float(_SWITCH),)),
            picture=Drawing(
                _shape, (ground(-4.0, 4.0), Circle((0.0, -0.3), 0.2, "target")), limits=((-4.0, 4.0), (-1.5, 12.0))
            ),
        ),
    ),
)
