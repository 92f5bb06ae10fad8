"""The brachistochrone: the wire down which a bead slides fastest.

States: horizontal position x, height y, speed v; control: angle theta of the wire from the downward vertical,

    x' = v sin theta,  y' = -v cos theta,  v' = g cos theta,   minimise T.

The wire is a cycloid, x = R (phi - sin phi), depth = R (1 - cos phi), with phi = t sqrt(g/R) and theta = phi/2: the
optimal control is linear in time. The bead starts at rest, where v = 0 makes the direction of the wire immaterial.

``brachistochrone`` goes from (0, 10) to (10, 5) m (Dymos); ``brachistochrone-free-height`` reaches the line x = 1 ft
at any height, where the wire ends horizontal and T = sqrt(pi/g) (yapss, which measures the angle from the
horizontal).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root_scalar

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing, Line, Primitive, Trail
from trajopt.problems.reference import ClosedForm, Entry, Reference

STATES = ("x", "height", "speed")
CONTROLS = ("wire angle",)
GRAVITY = 9.80665
GRAVITY_IN_FEET = 32.174


def bead(x: Any, u: Any, *, gravity: float = GRAVITY) -> Any:
    """Time derivative of (x, height, speed)."""
    speed, sine, cosine = x[2], np.sin(u[0]), np.cos(u[0])
    return np.array([speed * sine, -speed * cosine, gravity * cosine])


def build(
    *, gravity: float = GRAVITY, start: tuple[float, float] = (0.0, 10.0), end: tuple[float, float] = (10.0, 5.0),
    steps: int = 40,
) -> to.Problem:  # fmt: skip
    """Slide from ``start`` to ``end``."""
    speed = float(np.sqrt(2.0 * gravity * (start[1] - end[1])))
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: bead(x, u, gravity=gravity), states=STATES, controls=CONTROLS),
        stage_cost=lambda x, u: 1.0,
        initial_state=[*start, 0.0],
        constraints=[
            to.Bounds(control=(0.0, np.pi), state=([None, None, 0.0], None)),
            to.TerminalConstraint([*end, None]),
        ],
        horizon=to.Horizon(to.Free(0.1, 20.0, guess=2.0), steps=steps),
        guess=_guess(2.0, [*start, 0.0], [*end, speed]),
        name="brachistochrone",
    )


def build_free_height(*, gravity: float = GRAVITY_IN_FEET, distance: float = 1.0, steps: int = 40) -> to.Problem:
    """Slide from (0, 0) to the vertical line at ``distance``."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: bead(x, u, gravity=gravity), states=STATES, controls=CONTROLS),
        stage_cost=lambda x, u: 1.0,
        initial_state=[0.0, 0.0, 0.0],
        constraints=[
            to.Bounds(control=(0.0, np.pi / 2), state=([0.0, None, 0.0], [None, 0.0, None])),
            to.TerminalConstraint([distance, None, None]),
        ],
        horizon=to.Horizon(to.Free(0.01, 10.0, guess=0.4), steps=steps),
        guess=_guess(0.4, [0.0, 0.0, 0.0], [distance, -distance, float(np.sqrt(2.0 * gravity * distance))]),
        name="brachistochrone-free-height",
    )


def _guess(duration: float, start: list[float], end: list[float]) -> tuple[Any, Any, Any]:
    """Guess a straight line in all states; the wire turns from steep to level."""
    return np.array([0.0, duration]), np.array([start, end]), np.array([[0.1], [1.5]])


def cycloid(gravity: float, height: float, radius: float, last_angle: float) -> ClosedForm:
    """Return the slide down a cycloid of rolling ``radius`` until the rolling angle ``last_angle``."""
    rate = np.sqrt(gravity / radius)

    def trajectory(t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        angle = rate * t
        depth, speed = radius * (1.0 - np.cos(angle)), 2.0 * np.sqrt(gravity * radius) * np.sin(angle / 2)
        return np.array([radius * (angle - np.sin(angle)), height - depth, speed]), np.array([angle / 2])

    return ClosedForm(trajectory, float(last_angle / rate))


def _between_two_points() -> ClosedForm:
    """Down 5 over 10: the rolling angle solves (phi - sin phi) / (1 - cos phi) = 2."""
    angle = root_scalar(lambda phi: phi - np.sin(phi) - 2.0 * (1.0 - np.cos(phi)), bracket=(1.0, 6.0), xtol=1e-14).root
    return cycloid(GRAVITY, 10.0, float(5.0 / (1.0 - np.cos(angle))), angle)


def _picture(closed: ClosedForm, end: tuple[float, float] | None) -> Drawing:
    """Draw the bead on its way; the optimal wire in the background."""
    wire = [closed(float(t))[0][:2] for t in np.linspace(0.0, closed.duration, 60)]
    size = 0.02 * float(wire[-1][0])
    scenery: tuple[Primitive, ...] = (Line(tuple((float(a), float(b)) for a, b in wire), "ground"),)
    if end is not None:
        scenery += (Circle(end, size, "target"),)

    def shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
        bead_position = (float(x[0]), float(x[1]))
        return [Trail(bead_position), Circle(bead_position, 1.2 * size)]

    return Drawing(shape, scenery)


_CYCLOID = _between_two_points()
_FREE_HEIGHT = cycloid(GRAVITY_IN_FEET, 0.0, 1.0 / np.pi, np.pi)

ENTRIES = (
    Entry(
        "brachistochrone",
        build,
        Reference(
            optimum=1.8016031224530817,
            digits=12,
            source="Bernoulli 1696; Dymos documentation, brachistochrone (1.8016); cycloid",
            tags=("free-time", "smooth"),
            solution=_CYCLOID,
            picture=_picture(_CYCLOID, (10.0, 5.0)),
        ),
    ),
    Entry(
        "brachistochrone-free-height",
        build_free_height,
        Reference(
            optimum=0.31248013070866465,
            digits=12,
            source="yapss test-suite, brachistochrone; closed form sqrt(pi/g)",
            tags=("free-time", "smooth"),
            solution=_FREE_HEIGHT,
            picture=_picture(_FREE_HEIGHT, None),
        ),
    ),
)
