"""How a system looks, as data: outlines in the plane that a report may animate with any plotting library.

A `Drawing` holds a function ``shape(x, u, t)`` that returns the primitives of one instant, and the primitives that
never move. Lengths are in the unit of the problem's own positions; x points right and y points up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
"""Horizontal and vertical coordinate."""

ROLES = ("body", "accent", "ground", "obstacle", "target")
"""What a primitive stands for, from which a report chooses its colour."""


@dataclass(frozen=True)
class Line:
    """An open polygonal line through ``points``: links, ropes, ground, curves."""

    points: tuple[Point, ...]
    role: str = "body"


@dataclass(frozen=True)
class Circle:
    """A filled disc."""

    center: Point
    radius: float
    role: str = "body"


@dataclass(frozen=True)
class Polygon:
    """A filled closed outline; the last point joins the first."""

    points: tuple[Point, ...]
    role: str = "body"


@dataclass(frozen=True)
class Trail:
    """A point whose path over time is drawn behind the motion."""

    point: Point
    role: str = "accent"


@dataclass(frozen=True)
class Arrow:
    """An arrow from ``start`` to ``end``: a force, a thrust, a velocity."""

    start: Point
    end: Point
    role: str = "accent"


Primitive = Line | Circle | Polygon | Trail | Arrow
Shape = Callable[[NDArray[np.float64], NDArray[np.float64], float], Sequence[Primitive]]


@dataclass(frozen=True)
class Drawing:
    """How to animate a trajectory.

    Attributes
    ----------
    shape
        Function (x: (nx,), u: (nu,), t) -> primitives of that instant.
    scenery
        Primitives that never move, drawn first.
    equal_aspect
        Whether one unit is equally long in both directions; False for altitude over downrange and the like.
    limits
        ((x lowest, x highest), (y lowest, y highest)); None lets the report fit the motion.
    """

    shape: Shape
    scenery: tuple[Primitive, ...] = ()
    equal_aspect: bool = True
    limits: tuple[Point, Point] | None = None


def points(pairs: Iterable[Any]) -> tuple[Point, ...]:
    """Pairs of numbers, or an (n, 2) array, as points of plain floats."""
    return tuple((float(horizontal), float(vertical)) for horizontal, vertical in pairs)


def placed(outline: Iterable[Point], position: Any, angle: float = 0.0) -> tuple[Point, ...]:
    """Points of an outline given in body axes, rotated anticlockwise by ``angle`` and moved to ``position``."""
    sine, cosine = np.sin(angle), np.cos(angle)
    return points(
        (position[0] + cosine * along - sine * across, position[1] + sine * along + cosine * across)
        for along, across in outline
    )


def box(width: float, height: float, position: Any = (0.0, 0.0), angle: float = 0.0, role: str = "body") -> Polygon:
    """Draw a rectangle centred at ``position``."""
    corners = ((-width / 2, -height / 2), (width / 2, -height / 2), (width / 2, height / 2), (-width / 2, height / 2))
    return Polygon(placed(corners, position, angle), role)


def ground(lowest: float, highest: float, height: float = 0.0) -> Line:
    """Draw a horizontal line that stands for the floor, the rail or the sea."""
    return Line(((lowest, height), (highest, height)), "ground")


def car(position: Any, heading: float, length: float = 0.3) -> Polygon:
    """Draw a wedge that points where the car is heading; the reference point is its middle."""
    outline = ((-length / 2, -length / 4), (length / 4, -length / 4), (length / 2, 0.0), (length / 4, length / 4),
               (-length / 2, length / 4))  # fmt: skip
    return Polygon(placed(outline, position, heading))


def rod(start: Any, angle: float, length: float) -> tuple[Point, Point]:
    """Both ends of a link that leaves ``start`` at ``angle``, measured anticlockwise from the horizontal."""
    return points((start, (start[0] + length * np.cos(angle), start[1] + length * np.sin(angle))))  # type: ignore[return-value]
