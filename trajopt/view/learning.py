"""Pictures of learning: returns over the steps taken, beside a published curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from trajopt.view.style import INK, SERIES, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = tuple[ArrayLike, ArrayLike]
"""Steps and returns."""


def plot_curves(curves: Sequence[Curve], published: Curve | None, title: str = "return of a trial") -> Figure:
    """One thin line for each seed, the median of several in front, and the published curve dashed.

    Curves of several seeds must have the same length for a median to be drawn; trials that end early have none.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    with styled():
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.add_subplot()
        several = len(curves) > 1
        for number, (steps, returns) in enumerate(curves):
            label = ("seeds" if several else "PETS") if number == 0 else None
            axes.plot(
                steps, returns, color=SERIES[0], lw=0.9 if several else 2.0, alpha=0.5 if several else 1, label=label
            )
        if several:
            count = min(len(np.asarray(returns)) for _, returns in curves)
            middle = [
                np.median([np.asarray(part)[:count] for part in parts], axis=0) for parts in zip(*curves, strict=True)
            ]
            axes.plot(*middle, color=SERIES[0], lw=2.2, label="median")
        if published is not None:
            axes.plot(*published, color=INK, ls="--", lw=1.4, marker="o", ms=3.5, label="published")
        axes.set_xlabel("steps in the environment")
        axes.set_title(title)
        axes.legend(loc="lower right")
    return figure
