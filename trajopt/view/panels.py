"""What the pictures show, as numbers: each `Panel` holds the curves of one pair of axes, whoever draws them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from trajopt.multi_phase_solution import MultiPhaseSolution
from trajopt.plain import PlainFunctions
from trajopt.solution import Solution
from trajopt.trajectory import Interpolation
from trajopt.view.style import CONTROL_SERIES, INK, MUTED, SERIES

Array = NDArray[np.float64]

_POINTS = 400
"""Samples along a curve: about one for each pixel of a panel, so that a finer mesh is drawn by its knots alone."""
_MOST_ROWS = 6
"""Rows of one constraint, and constraints, that are drawn; the tightest come first and more would hide each other."""
_AXIS = re.compile(r"[_ ]?\d+$|[_ ][wxyz]$|(?<![a-z]{2})[wxyz]$")
"""A number or axis at the end of a name; the letters before it keep "velocity" whole."""
_LARGEST = 1e150
"""Values beyond this are left out as if infinite: axes square their spans, which would overflow."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One line.

    Attributes
    ----------
    x, y
        (n,) coordinates; NaN interrupts the line.
    label
        For the legend; empty if the panel's title says it.
    color
        As Matplotlib takes it.
    lower, upper
        Bounds of the quantity, infinite where free.
    dashed
        Whether it stands for something that was not planned but measured, or for a guide.
    knots
        (m,) indices of points to mark.
    width
        Of the line, in points.
    """

    x: Array
    y: Array
    label: str = ""
    color: str = SERIES[0]
    lower: float = -np.inf
    upper: float = np.inf
    dashed: bool = False
    knots: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    width: float = 1.6

    def __post_init__(self) -> None:
        values = np.asarray(self.y, float)
        object.__setattr__(self, "x", np.asarray(self.x, float))
        object.__setattr__(self, "y", np.where(np.abs(values) < _LARGEST, values, np.nan))


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes.

    Attributes
    ----------
    title
        What is drawn.
    curves
        The lines.
    section
        "states", "controls", "margins", "convergence" or "costates".
    horizontal
        Label of the horizontal axis.
    logarithmic
        Whether the vertical axis is; curves then show their positive values alone.
    logarithmic_time
        Whether the horizontal axis is.
    """

    title: str
    curves: tuple[Curve, ...]
    section: str
    horizontal: str = "time"
    logarithmic: bool = False
    logarithmic_time: bool = False


def state_panels(solution: Solution, measured: tuple[Array, Array] | None = None) -> list[Panel]:
    """States over time, those of one family such as ``vx, vy, vz`` in one panel.

    Parameters
    ----------
    solution
        What to show.
    measured
        Times (n,) and states (n, nx) of the re-integrated trajectory, drawn where it visibly departs from the plan.
    """
    problem = solution.problem
    assert problem is not None
    t, x, every = state_samples(solution)
    panels = []
    for title, group in _families(problem.dynamics.states, solution.x):
        curves = []
        for place, i in enumerate(group):
            color, name = SERIES[place % len(SERIES)], problem.dynamics.states[i]
            label = name if len(group) > 1 else ""
            marks = np.arange(0, len(t), every) if solution.trajectory.steps <= 40 else np.zeros(0, np.intp)
            lower, upper = problem.state_bounds[:, i]
            curves.append(Curve(t, x[:, i], label, color, lower, upper, knots=marks))
            if measured is not None and departs(t, x[:, i], measured[0], measured[1][:, i]):
                said = any(curve.dashed for curve in curves)
                curves.append(Curve(measured[0], measured[1][:, i], "" if said else "re-integrated", INK, dashed=True))
        curves.sort(key=lambda curve: curve.dashed)  # measured ones above the plan, and behind it in the legend
        panels.append(Panel(title, tuple(curves), "states", clock(solution)))
    return panels


def control_panels(solution: Solution) -> list[Panel]:
    """Controls as they really run between the knots, one panel each, with their bounds."""
    problem = solution.problem
    assert problem is not None
    t, u = control_samples(solution)
    panels = []
    for i, name in enumerate(problem.dynamics.controls):
        lower, upper = problem.control_bounds[:, i]
        curve = Curve(t, u[:, i], "", CONTROL_SERIES[i % len(CONTROL_SERIES)], lower, upper)
        panels.append(Panel(name, (curve,), "controls", clock(solution)))
    return panels


def margin_panels(solution: Solution) -> list[Panel]:
    """How far path constraints are from their limits over time, the tightest first; below zero they are violated."""
    problem = solution.problem
    assert problem is not None
    rows = problem.model.path
    if not len(rows):
        return []
    t, margins = _margins(solution)
    with np.errstate(invalid="ignore"):
        tightness = np.min(np.where(np.isfinite(margins), margins, np.inf), axis=0)
    names = [name.partition("[")[0] for name in rows.names]
    groups = [list(members) for _, members in groupby(range(len(names)), key=lambda row: names[row])]
    groups = [sorted(group, key=lambda row: tightness[row])[:_MOST_ROWS] for group in groups]
    panels = []
    for group in sorted(groups, key=lambda group: tightness[group[0]])[:_MOST_ROWS]:
        curves = []
        for place, row in enumerate(group):
            label = rows.names[row].removeprefix(names[row]) if len(group) > 1 else ""
            # Of an equality only the violation exists: its margin is never above zero.
            color = SERIES[(place + 2) % len(SERIES)]
            curves.append(Curve(t, margins[:, row], label, color, lower=0.0))
        panels.append(Panel(f"margin of {names[group[0]]}", tuple(curves), "margins", clock(solution)))
    return panels


def convergence_panels(solution: Solution | MultiPhaseSolution, optimum: float | None = None) -> list[Panel]:
    """Cost and infeasibility of every iteration; ``optimum`` is the known one, as a minimised cost."""
    if not solution.history:
        return []
    number = np.array([record.number for record in solution.history], float)
    cost = np.array([record.cost for record in solution.history])
    curves = [Curve(number, cost, "cost", SERIES[0], knots=_few(number))]
    if optimum is not None:
        curves.append(Curve(number[[0, -1]], np.full(2, optimum), "known optimum", MUTED, dashed=True))
    panels = [Panel("cost", tuple(curves), "convergence", "iteration", _wide(cost, optimum))]
    residuals = []
    for place, name in enumerate(("violation", "stationarity")):
        values = np.array([getattr(record, name) for record in solution.history])
        if (values > 0.0).any():
            positive = np.where(values > 0.0, values, np.nan)
            residuals.append(Curve(number, positive, name, (SERIES[6], SERIES[4])[place], knots=_few(number)))
    if residuals:
        panels.append(Panel("residuals", tuple(residuals), "convergence", "iteration", logarithmic=True))
    return panels


def costate_panels(solution: Solution, costates: Array) -> list[Panel]:
    """Costates of the certificate, (N+1, nx), grouped like nothing else: their units differ, so one panel each."""
    problem = solution.problem
    assert problem is not None
    return [
        Panel(f"costate of {name}", (Curve(solution.t, costates[:, i], "", SERIES[4]),), "costates", clock(solution))
        for i, name in enumerate(problem.dynamics.states)
    ]


def overlaid(labels: Sequence[str], solutions: Sequence[Solution]) -> list[Panel]:
    """Every state and control of all solutions of one problem, one colour for each solution."""
    problem = solutions[0].problem
    assert problem is not None
    states = [state_samples(solution)[:2] for solution in solutions]
    controls = [control_samples(solution) for solution in solutions]
    panels = []
    for section, names, samples, (lower, upper) in (
        ("states", problem.dynamics.states, states, problem.state_bounds),
        ("controls", problem.dynamics.controls, controls, problem.control_bounds),
    ):
        for i, name in enumerate(names):
            curves = tuple(
                Curve(t, values[:, i], label, SERIES[k % len(SERIES)], lower[i], upper[i], width=layer(k, len(labels)))
                for k, (label, (t, values)) in enumerate(zip(labels, samples, strict=True))
            )
            panels.append(Panel(name, curves, section, clock(solutions[0])))
    return panels


def race(
    labels: Sequence[str], solutions: Sequence[Solution | MultiPhaseSolution], optimum: float | None = None
) -> list[Panel]:
    """Cost and violation of all solutions over wall time."""
    panels = []
    ends = [solution.history[-1].seconds for solution in solutions if solution.history]
    # Milliseconds beside minutes: on a linear axis the fast ones would be a vertical line.
    far_apart = bool(ends) and min(ends) > 0.0 and max(ends) > 5.0 * min(ends)
    for name in ("cost", "violation"):
        curves = []
        for k, (label, solution) in enumerate(zip(labels, solutions, strict=True)):
            seconds = np.array([record.seconds for record in solution.history], float)
            values = np.array([getattr(record, name) for record in solution.history], float)
            if name == "violation":
                values = np.where(values > 0.0, values, np.nan)
            if np.isfinite(values).any():
                curves.append(Curve(seconds, values, label, SERIES[k % len(SERIES)], knots=_few(seconds)))
        if not curves:
            continue
        values = np.concatenate([curve.y for curve in curves])
        logarithmic = name == "violation" or _wide(values, optimum)
        if name == "cost" and optimum is not None:
            span = np.array([min(c.x[0] for c in curves), max(c.x[-1] for c in curves)])
            curves.append(Curve(span, np.full(2, optimum), "known optimum", MUTED, dashed=True))
        panels.append(Panel(name, tuple(curves), "convergence", "wall time [s]", logarithmic, far_apart))
    return panels


def control_samples(solution: Solution) -> tuple[Array, Array]:
    """Times (n,) and controls (n, nu) that, joined by straight lines, show holds as steps and polynomials as such."""
    trajectory = solution.trajectory
    curved = trajectory.interpolation in (Interpolation.QUADRATIC, Interpolation.POLYNOMIAL)
    degree = 2 if trajectory.pieces is None else trajectory.pieces.u.shape[1] - 1
    each = max(9, 4 * degree + 1) if curved else 2
    k, times = _inside(trajectory.t, each)
    return times, trajectory.control_on(k, times)


def state_samples(solution: Solution) -> tuple[Array, Array, int]:
    """Times, states, and how many samples an interval has."""
    t, problem = solution.t, solution.problem
    assert problem is not None
    each = int(np.ceil(_POINTS / solution.trajectory.steps)) if problem.dynamics.continuous else 1
    if each == 1 or not np.isfinite(solution.x).all():
        return t, solution.x, 1
    times = np.append((t[:-1, None] + np.diff(t)[:, None] * np.arange(each) / each).ravel(), t[-1])
    try:
        return times, solution(times)[0], each
    except (ArithmeticError, ValueError):
        # The user's dynamics may refuse the states of a failed solve; its knots can be shown nevertheless.
        return t, solution.x, 1


def _inside(t: Array, each: int) -> tuple[NDArray[np.intp], Array]:
    """Intervals and times of ``each`` samples on every interval, both of its ends among them."""
    k = np.repeat(np.arange(len(t) - 1), each)
    return k, (t[:-1, None] + np.diff(t)[:, None] * np.linspace(0.0, 1.0, each)).ravel()


def _margins(solution: Solution) -> tuple[Array, Array]:
    """Times (n,) and distances (n, rows) of path constraints to the nearer limit, negative where violated."""
    problem = solution.problem
    assert problem is not None
    rows = problem.model.path
    functions = PlainFunctions(problem, problem.layout.pack(solution.trajectory.parameters))
    k, times = _inside(solution.t, max(2, int(np.ceil(_POINTS / solution.trajectory.steps))))
    if problem.dynamics.continuous and np.isfinite(solution.x).all():
        states = solution(times)[0]
    else:
        k, times, states = np.arange(solution.trajectory.steps), solution.t[:-1], solution.x[:-1]
    controls = solution.trajectory.control_on(k, times)
    values = np.array([functions.path(x, u, t) for x, u, t in zip(states, controls, times, strict=True)])
    return times, np.minimum(rows.upper - values, values - rows.lower)


def _families(names: Sequence[str], x: Array) -> list[tuple[str, list[int]]]:
    """Titles and members of panels: at most four neighbours whose names differ in a trailing axis or number alone.

    Members whose sizes differ widely are kept apart, since the small ones would look like zero.
    """
    stems = ["position" if name in {"x", "y", "z"} else _AXIS.sub("", name) for name in names]
    groups: list[tuple[str, list[int]]] = []
    for stem, members in groupby(range(len(names)), key=lambda i: stems[i]):
        family = list(members)
        moving = [size for size in (_span(x[:, i]) for i in family) if size > 0.0]
        alike = 1 < len(family) <= 4 and (not moving or max(moving) <= 20.0 * min(moving))
        groups += [(stem, family)] if alike else [(names[i], [i]) for i in family]
    return groups


def _span(values: Array) -> float:
    finite = values[np.abs(values) < _LARGEST]
    return float(np.ptp(finite)) if finite.size else 0.0


def departs(t: Array, planned: Array, times: Array, measured: Array) -> bool:
    """Whether two curves differ by more than the width of a line, taken as half a percent of the range."""
    gap = np.abs(np.interp(times, t, planned) - measured)
    return bool(np.isfinite(gap).any() and np.nanmax(gap) > 0.005 * max(_span(planned), _span(measured)))


def _wide(values: Array, optimum: float | None) -> bool:
    """Whether a cost needs a logarithmic axis: positive throughout, and over more than a factor of fifty."""
    finite = values[np.isfinite(values)]
    if optimum is not None:
        finite = np.append(finite, optimum)
    return bool(finite.size and finite.min() > 0.0 and finite.max() > 50.0 * finite.min())


def layer(place: int, count: int) -> float:
    """Width of a curve among several: later ones are thinner, so that equal ones show below each other."""
    return 1.3 + 0.6 * min(count - 1 - place, 3)


def _few(points: Array) -> NDArray[np.intp]:
    """Marks on every point of a short curve, and on none of a long one, where they would merge."""
    return np.arange(len(points)) if len(points) <= 40 else np.zeros(0, np.intp)


def clock(solution: Solution) -> str:
    """What the horizontal axis of a course shows."""
    assert solution.problem is not None
    return "time" if solution.problem.dynamics.continuous else "step"
