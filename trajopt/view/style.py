"""The look shared by all pictures: colours, and Matplotlib settings that stay inside the `styled` context."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib import rc_context

INK = "#1b2331"
"""Text and titles."""
MUTED = "#5b6677"
"""Tick labels, bounds and everything that stands back."""
GRID = "#e2e6ed"
"""Grid lines and frames."""
FORBIDDEN = "#d6455e"
"""Shading of what a bound or a constraint excludes."""
SERIES = ("#2f6fde", "#e07b22", "#1f9e78", "#c44fb0", "#8a6fe8", "#b58a00", "#d6455d", "#2aa1c0")
"""Curves, told apart on light and dark grounds and in the usual kinds of colour blindness."""
CONTROL_SERIES = ("#e07b22", "#1f9e78", "#c44fb0", "#8a6fe8", "#2f6fde", "#b58a00")
"""Curves of controls, which so differ from states at a glance."""

_SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": INK,
    "text.usetex": False,
    "text.parse_math": False,  # names are the user's: a dollar sign in one is no formula
    "axes.facecolor": "none",
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 7.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.limits": (-4, 5),
    "axes.formatter.use_mathtext": False,
    "axes.xmargin": 0.0,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "grid.linestyle": "-",
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "legend.handlelength": 1.4,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.dpi": 150,
    "figure.dpi": 110,
    "path.simplify": True,
    "path.simplify_threshold": 0.1,
    "svg.fonttype": "none",
}


@contextmanager
def styled(**settings: Any) -> Iterator[None]:
    """Matplotlib with the settings of this house inside the context, and with the user's own again behind it."""
    changed: Any = _SETTINGS | settings  # Matplotlib types the keys as literals, one by one
    with rc_context(changed), warnings.catch_warnings():
        # A name in letters that the font lacks is drawn as boxes by Matplotlib, and rightly by the browser.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font", category=UserWarning)
        yield
