"""Pictures of solutions, drawn with Matplotlib's objects alone: no window, no global figure, no changed settings."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from trajopt.multi_phase_solution import MultiPhaseSolution
from trajopt.solution import Solution
from trajopt.view.panels import Curve, Panel, control_panels, convergence_panels, margin_panels, state_panels
from trajopt.view.phases import phase_panels
from trajopt.view.style import FORBIDDEN, GRID, INK, MUTED, styled

_PANEL = (3.7, 2.35)
"""Width and height of a panel in inches."""


def plot_solution(solution: Solution | MultiPhaseSolution, optimum: float | None = None) -> Figure:
    """States, controls with their bounds, constraint margins and convergence in one figure.

    Parameters
    ----------
    solution
        What to show; it may have failed and hold NaN.
    optimum
        The known optimal cost, drawn into the convergence.

    Returns
    -------
    Figure
        Independent of pyplot: save it with ``figure.savefig(path)``.
    """
    problem = solution.problem
    assert problem is not None
    if isinstance(solution, MultiPhaseSolution):
        panels = phase_panels(solution)
    else:
        panels = [*state_panels(solution), *control_panels(solution), *margin_panels(solution)]
    panels += convergence_panels(solution, optimum)
    solver = solution.solver.partition("(")[0]
    title = f"{problem.name or 'problem'}  ·  {solver}  ·  {solution.status}, cost {solution.cost:.6g}"
    return figure_of(panels, title)


def figure_of(panels: Sequence[Panel], title: str, shared_legend: bool = False) -> Figure:
    """All panels in one figure, each section beginning a row; with a shared legend the curves are named once."""
    places, rows, columns = _arrangement(panels)
    with styled():
        height = _PANEL[1] * rows + 0.5 + 0.3 * shared_legend
        figure = Figure(figsize=(_PANEL[0] * columns, height), layout="constrained")
        grid = figure.add_gridspec(rows, columns)
        for panel, place in zip(panels, places, strict=True):
            draw(figure.add_subplot(grid[place]), panel, legend=not shared_legend)
        figure.suptitle(title, x=0.012, ha="left", fontsize=12, fontweight="bold", color=INK)
        if shared_legend:
            _legend_below(figure, panels)
    return figure


def _arrangement(panels: Sequence[Panel]) -> tuple[list[tuple[int, slice]], int, int]:
    """Row and columns of each panel, number of rows and columns; the last panel of a section fills its row."""
    sections = [[p for p in panels if p.section == s] for s in dict.fromkeys(panel.section for panel in panels)]
    columns = min(4 if len(panels) > 15 else 3, max([2, *map(len, sections)]))
    places, row = [], 0
    for members in sections:
        for k in range(len(members)):
            last = k == len(members) - 1
            places.append((row + k // columns, slice(k % columns, columns if last else k % columns + 1)))
        row += -(-len(members) // columns)
    return places, max(row, 1), columns


def _legend_below(figure: Figure, panels: Sequence[Panel]) -> None:
    named = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    if named:
        figure.legend(list(named.values()), list(named), loc="outside lower left", ncols=min(6, len(named)), fontsize=9)


def svg_of(panel: Panel, key: str, legend: bool = True) -> str:
    """One panel as an inline ``<svg>`` element whose colours follow the page and whose ids begin with ``key``."""
    with styled(**{"svg.hashsalt": key}):
        figure = Figure(figsize=_PANEL, layout="constrained")
        draw(figure.add_subplot(), panel, legend=legend)
    return inline_svg(figure, key, panel.title)


def inline_svg(figure: Figure, key: str, title: str) -> str:
    """A figure as an inline ``<svg>`` element; see `svg_of`."""
    buffer = io.StringIO()
    with styled(**{"svg.hashsalt": key}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(buffer.getvalue(), key, title)


def _inline(text: str, key: str, title: str) -> str:
    """Strip what only a file of its own needs, keep ids apart from those of other pictures, and free the colours."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r"#([A-Za-z][\w.-]*)", text))
    text = re.sub(r' id="([^"]*)"', lambda match: f' id="{key}-{match[1]}"' if match[1] in used else "", text)
    text = re.sub(r'(url\(|href=")#', lambda match: f"{match[0]}{key}-", text)
    for color, variable in ((INK, "ink"), (MUTED, "muted"), (GRID, "grid")):
        text = text.replace(color, f"var(--{variable})")
    text = re.sub(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 role="img">', text, count=1)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "inherit", text)
    return re.sub(r"\n\s*", "\n", text)


def draw(axes: Axes, panel: Panel, legend: bool = True) -> None:
    """Draw one panel into ``axes``."""
    axes.set_title(panel.title)
    axes.set_xlabel(panel.horizontal)
    # Ticks are made when the figure is drawn, perhaps outside this context: what they look like is said here and now.
    axes.tick_params(color=GRID, labelcolor=MUTED, labelsize=8.0, labelfontfamily="DejaVu Sans", which="both")
    axes.grid(True, color=GRID, linewidth=0.8)
    lines = [(curve, _visible(curve, panel.logarithmic)) for curve in panel.curves]
    if not any(np.isfinite(y).any() for _, y in lines):
        axes.text(0.5, 0.5, "no finite values", transform=axes.transAxes, ha="center", va="center", color=MUTED)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    for curve, y in lines:
        _draw_curve(axes, curve, y)
    _set_limits(axes, panel, [y for _, y in lines])
    _draw_bounds(axes, panel)
    if legend and len(panel.curves) > 1:
        _legend(axes, panel)


def _legend(axes: Axes, panel: Panel) -> None:
    """Name the curves beside the title, where nothing is hidden, if there is room."""
    labels = [curve.label for curve in panel.curves if curve.label]
    room = 48  # characters above a panel, of which each entry needs four more for its line
    if labels and len(panel.title) * 1.3 + sum(len(label) + 4 for label in labels) <= room:
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(labels), labelcolor=MUTED, borderpad=0.1,
            borderaxespad=0.2, columnspacing=1.0, handlelength=1.0, handletextpad=0.5,
        )  # fmt: skip
    elif labels:
        axes.legend(loc="best", ncols=2 if len(labels) > 3 else 1, labelcolor=MUTED)


def _visible(curve: Curve, logarithmic: bool) -> np.ndarray:
    return np.where(curve.y > 0.0, curve.y, np.nan) if logarithmic else curve.y


def _draw_curve(axes: Axes, curve: Curve, y: np.ndarray) -> None:
    style = "--" if curve.dashed else "-"
    width = 1.1 if curve.dashed else curve.width
    axes.plot(curve.x, y, style, color=curve.color, linewidth=width, label=curve.label or "_")
    if len(curve.knots):
        axes.plot(curve.x[curve.knots], y[curve.knots], ".", color=curve.color, markersize=3.5)


def _set_limits(axes: Axes, panel: Panel, values: Sequence[np.ndarray]) -> None:
    times = np.concatenate([curve.x for curve in panel.curves])
    times = times[np.isfinite(times) & ((times > 0.0) | (not panel.logarithmic_time))]
    first, last = (times.min(), times.max()) if times.size else (0.0, 1.0)
    if panel.logarithmic_time:
        _set_decades(axes, "x", first, last)
    else:
        pad = 0.02 * (last - first) if last > first else 0.5
        axes.set_xlim(first - pad, last + pad)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=panel.horizontal in {"iteration", "step"}))
    shown = np.concatenate(values)
    shown = shown[np.isfinite(shown)]
    low, high = float(shown.min()), float(shown.max())
    if panel.logarithmic:
        _set_decades(axes, "y", low, high)
        return
    # A bound is worth seeing where the quantity comes near it, a remote one would flatten the curve. What is left of a
    # control's range matters more than its details.
    reach = (20.0 if panel.section == "controls" else 1.0) * ((high - low) or abs(high) or 1.0)
    near = [b for curve in panel.curves for b in (curve.lower, curve.upper) if low - reach <= b <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.08 * (high - low) if high - low > 1e-9 * max(abs(low), abs(high)) else 0.1 * (abs(high) or 1.0)
    axes.set_ylim(low - margin, high + margin)
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _set_decades(axes: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """A logarithmic axis with about five labels, without the mathematics font that Matplotlib would use."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = low / 1.5, high * 1.5
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    every = max(1, int(np.ceil(np.log10(high / low) / 5.0)))
    ticks = 10.0 ** np.arange(np.ceil(np.log10(low) / every) * every, np.log10(high), every)
    if len(ticks) < 2:
        # Less than a decade: round numbers as on a linear axis.
        ticks = np.array([tick for tick in MaxNLocator(4).tick_values(low, high) if low < tick < high])
    axis.set_ticks(ticks, [f"{tick:.0e}" if tick < 1e-3 or tick >= 1e5 else f"{tick:g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())


def _draw_bounds(axes: Axes, panel: Panel) -> None:
    """Thin dashed lines at the bounds; where all curves share them, the forbidden side is shaded."""
    bottom, top = axes.get_ylim()
    shared = len({(curve.lower, curve.upper) for curve in panel.curves if not curve.dashed}) == 1
    for curve in panel.curves[:1] if shared else panel.curves:
        for bound, far in ((curve.lower, bottom), (curve.upper, top)):
            if not bottom <= bound <= top:
                continue
            axes.axhline(bound, color=MUTED if shared else curve.color, linewidth=0.9, linestyle=(0, (4, 3)))
            if shared:
                axes.axhspan(min(bound, far), max(bound, far), color=FORBIDDEN, alpha=0.08, linewidth=0)
    axes.set_ylim(bottom, top)
