"""The moving picture of a system: frames as numbers, and the page element that plays them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from trajopt.solution import Solution
from trajopt.view.player import PLAYER

if TYPE_CHECKING:
    from trajopt.problems.drawing import Drawing, Primitive

_FRAMES = 181
"""Frames of a film: the player interpolates between them, so three seconds at 60 per second are fine enough."""
_DIGITS = 6
"""Significant digits of a coordinate: a millionth of the picture is far below a pixel."""


def film(solution: Solution, drawing: Drawing, frames: int = _FRAMES) -> dict[str, Any]:
    """Everything that the player needs, as plain lists and numbers.

    Parameters
    ----------
    solution
        Sampled on a uniform grid of times by ``solution(t)``.
    drawing
        What the system looks like.
    frames
        How many instants.

    Returns
    -------
    dict
        ``times``: (frames,); ``frames``: the primitives of each time; ``scenery``; ``limits``: ((x lowest, x highest),
        (y lowest, y highest)); ``equal``: whether both directions share a scale. A primitive is [kind, role, numbers].
    """
    assert solution.problem is not None
    times = np.linspace(solution.t[0], solution.t[-1], frames)
    if not solution.problem.dynamics.continuous:
        times = solution.t  # between steps there is no state to show
    x, u = solution(times)
    pictures = [
        [_numbers(primitive) for primitive in drawing.shape(state, control, float(t))]
        for state, control, t in zip(x, u, times, strict=True)
    ]
    scenery = [_numbers(primitive) for primitive in drawing.scenery]
    limits = drawing.limits if drawing.limits is not None else _fit([*pictures, scenery])
    return {
        "times": [_short(t) for t in times],
        "frames": pictures,
        "scenery": scenery,
        "limits": [[float(bound) for bound in pair] for pair in limits],
        "equal": drawing.equal_aspect,
    }


def animation_element(solution: Solution, drawing: Drawing, label: str) -> str:
    """The film with its player as HTML; "" where the answer holds numbers that cannot be drawn."""
    if not (np.isfinite(solution.x).all() and np.isfinite(solution.u).all()):
        return ""
    try:
        content = film(solution, drawing)
        data = json.dumps(content, separators=(",", ":"), allow_nan=False)
    except (ArithmeticError, ValueError):
        return ""  # states of a failed solve may be finite and yet beyond what the picture's formulas take
    # A page ends a script at the first "</": nothing inside may look like that.
    return PLAYER.substitute(label=escape(label, quote=True), film=data.replace("</", "<\\/"))


def _numbers(primitive: Primitive) -> list[Any]:
    """A primitive as [kind, role, coordinates in the order of its fields]."""
    fields = asdict(primitive)
    role = fields.pop("role")
    values = np.concatenate([np.ravel(np.asarray(value, float)) for value in fields.values()])
    return [type(primitive).__name__.lower(), role, [_short(value) for value in values]]


def _short(value: float) -> float:
    return float(f"{float(value):.{_DIGITS}g}")


def _fit(pictures: Sequence[Sequence[list[Any]]]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits around everything that is drawn, with a margin of six percent."""
    corners = []
    for picture in pictures:
        for kind, _, values in picture:
            if kind == "circle":
                x, y, radius = values
                corners += [(x - radius, y - radius), (x + radius, y + radius)]
            else:
                corners += list(zip(values[0::2], values[1::2], strict=True))
    points = np.array(corners or [(-1.0, -1.0), (1.0, 1.0)])
    low, high = points.min(axis=0), points.max(axis=0)
    # A motion along a line still needs some height to be seen in.
    span = np.maximum(high - low, 0.2 * np.max(high - low))
    span = np.where(span > 0.0, span, 1.0)
    middle = 0.5 * (low + high)
    (left, bottom), (right, top) = middle - 0.56 * span, middle + 0.56 * span
    return (float(left), float(right)), (float(bottom), float(top))
