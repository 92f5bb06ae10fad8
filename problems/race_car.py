"""A race car takes a hairpin in least time: a point mass inside the friction circle, between the edges of the road.

The car is followed along the centre line, whose arc length s is the independent variable (Perantoni and Limebeer 2014).
States: offset n to the left of the line [m], angle psi between velocity and line [rad], speed v [m/s]; controls:
accelerations a along and b across the velocity, to the left, in units of the grip g mu. With the curvature k(s) and the
slowness S = dt/ds = (1 - n k) / (v cos psi),

    n' = (1 - n k) tan psi,  psi' = S b g mu / v - k,  v' = S a g mu,    minimise int S ds,

a^2 + b^2 <= 1 (grip), a <= 0.4 (engine), |n| <= 3.5, from the middle of the road at 25 m/s; the line is straight but
for a turn by pi with radius 15 m, whose ends are rounded off:

    k(s) = (tanh((s - 50)/3) - tanh((s - 50 - 15 pi)/3)) / 30,   0 <= s <= 150.

The speed of the best trajectory is also the best one on its own path: an independent check, for that is found by going
through the path forwards and backwards (`profile_time`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing, Line, Primitive, Trail, points
from trajopt.problems.reference import Entry, Reference

GRIP = 9.81
"""Greatest acceleration, with a coefficient of friction of one [m/s^2]."""
ENGINE = 0.4
RADIUS, ENTRY, ROUNDING, LENGTH = 15.0, 50.0, 3.0, 150.0
EXIT = ENTRY + np.pi * RADIUS
HALF_WIDTH = 3.5
SPEED = 25.0


def curvature(s: Any) -> Any:
    """Curvature of the centre line [1/m], a turn to the left."""
    return (np.tanh((s - ENTRY) / ROUNDING) - np.tanh((s - EXIT) / ROUNDING)) / (2.0 * RADIUS)


def slowness(x: Any, s: Any) -> Any:
    """Time for a metre of the centre line [s/m]."""
    return (1.0 - x[0] * curvature(s)) / (x[2] * np.cos(x[1]))


def race_car(x: Any, u: Any, t: Any) -> Any:
    """Derivative of (offset, angle, speed) by the arc length ``t``."""
    pace = slowness(x, t)
    return np.array(
        [(1.0 - x[0] * curvature(t)) * np.tan(x[1]), pace * GRIP * u[1] / x[2] - curvature(t), pace * GRIP * u[0]]
    )


def profile_time(arc: NDArray[np.float64], bend: NDArray[np.float64], speed: float = SPEED) -> float:
    """Least time along a given path, from the speeds that grip allows forwards and backwards.

    Parameters
    ----------
    arc
        Length along the path, increasing, (m,) [m].
    bend
        Curvature of the path there, (m,) [1/m].
    speed
        At the start [m/s].

    Returns
    -------
    float
        Seconds, up to an error of the order of the spacing.
    """
    # The square of the speed has twice the acceleration as its derivative by the arc length.
    squares = GRIP / np.maximum(np.abs(bend), 1e-12)
    steps = np.diff(arc)
    along = lambda k, square: np.sqrt(max(GRIP**2 - (bend[k] * square) ** 2, 0.0))  # noqa: E731 - a short formula
    squares[0] = min(squares[0], speed**2)
    for k, step in enumerate(steps):
        gain = min(along(k, squares[k]), ENGINE * GRIP)
        squares[k + 1] = min(squares[k + 1], squares[k] + 2.0 * step * gain)
    for k in range(len(steps) - 1, -1, -1):
        squares[k] = min(squares[k], squares[k + 1] + 2.0 * steps[k] * along(k + 1, squares[k + 1]))
    speeds = np.sqrt(squares)
    return float(np.sum(2.0 * steps / (speeds[1:] + speeds[:-1])))


def build(*, half_width: float = HALF_WIDTH, speed: float = SPEED, steps: int = 150) -> to.Problem:
    """Least time through the hairpin on a road of twice the half width."""
    slow = 10.0  # about the speed that the grip allows in the turn
    return to.Problem(
        to.ContinuousDynamics(race_car, states=("offset", "angle", "speed"), controls=("along", "across")),
        stage_cost=lambda x, u, t: slowness(x, t),
        initial_state=[0.0, 0.0, speed],
        constraints=[
            to.Bounds(state=([-half_width, -1.2, 1.0], [half_width, 1.2, None]), control=([-1.0, -1.0], [ENGINE, 1.0])),
            to.PathConstraint(lambda x, u: u @ u - 1.0, name="grip"),
        ],
        horizon=to.Horizon(LENGTH, steps=steps),
        guess=(
            np.array([0.0, ENTRY, EXIT, LENGTH]),
            np.array([[0.0, 0.0, speed], [0.0, 0.0, slow], [0.0, 0.0, slow], [0.0, 0.0, slow]]),
            np.array([[0.0, 0.0], [0.0, 0.5], [0.0, 0.5], [0.0, 0.0]]),
        ),
        name="race-car",
    )


_ARC = np.linspace(0.0, LENGTH, 601)
_HEADING = np.concatenate([[0.0], np.cumsum(0.5 * np.diff(_ARC) * (curvature(_ARC[1:]) + curvature(_ARC[:-1])))])
_DIRECTION = np.array([np.cos(_HEADING), np.sin(_HEADING)])
_LINE = np.concatenate(
    [np.zeros((2, 1)), np.cumsum(0.5 * np.diff(_ARC) * (_DIRECTION[:, 1:] + _DIRECTION[:, :-1]), axis=1)], axis=1
)


def place(s: Any, offset: Any) -> NDArray[np.float64]:
    """Positions in the plane, (2, m) [m], of points at arc lengths and offsets (m,)."""
    heading = np.interp(s, _ARC, _HEADING)
    centre = np.array([np.interp(s, _ARC, row) for row in _LINE])
    return centre + offset * np.array([-np.sin(heading), np.cos(heading)])


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    (here,) = points([place(t, x[0])])
    return [Circle(here, 1.0), Trail(here)]


_EDGES = tuple(Line(points(place(_ARC[::10], side * HALF_WIDTH).T), "ground") for side in (-1.0, 1.0))

ENTRIES = (
    Entry(
        "race-car",
        build,
        Reference(
            optimum=7.8481,
            digits=5,
            source=(
                "curvilinear coordinates: Perantoni and Limebeer, Vehicle System Dynamics 52 (2014); track and number: "
                "this library, limit of Hermite-Simpson, 150 to 1200 steps"
            ),
            note="along the middle of the road, which is fixed then, the least time is 8.831 s",
            tags=("path-constraint", "state-constraint"),
            picture=Drawing(_shape, _EDGES, limits=((-5.0, 75.0), (-10.0, 40.0))),
        ),
    ),
)
