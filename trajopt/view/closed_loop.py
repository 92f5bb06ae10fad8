"""Pictures of a control loop: what the plant did, the plans on the way, and the time of each tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trajopt.closed_loop import ClosedLoop
from trajopt.files import write_atomically
from trajopt.solution import Solution
from trajopt.status import Status
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.view.animation import animation_element
from trajopt.view.facts import duration, number
from trajopt.view.page import card, facts_list, header, page, pictures, section, tiles
from trajopt.view.panels import Curve, Panel, control_panels, control_samples, state_panels, state_samples
from trajopt.view.plot import figure_of
from trajopt.view.style import INK, MUTED, SERIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trajopt.problems.drawing import Drawing

Array = NDArray[np.float64]

_PLANS = 12
"""Plans that are drawn: each is seen, and the loop in front of them too."""


def plot_closed_loop(loop: ClosedLoop, every: int | None = None) -> Figure:
    """States, controls and the time of each tick in one figure; see `ClosedLoop.plot`."""
    title = f"{loop.problem.name or 'problem'}  ·  MPC with {loop.solver.partition('(')[0]}  ·  cost {loop.cost:.6g}"
    return figure_of(closed_loop_panels(loop, every), title)


def closed_loop_panels(loop: ClosedLoop, every: int | None = None) -> list[Panel]:
    """One panel for each family of states and each control, plans behind them; then cost and time of the ticks."""
    if not len(loop.u):
        return []
    driven = as_solution(loop)
    shown = loop.plans[:: every or max(1, -(-len(loop.plans) // _PLANS))]
    plans = [plan for k, plan in enumerate(shown) if plan is not None and plan not in shown[:k]]
    dynamics = loop.problem.dynamics
    states = [state_samples(plan)[:2] for plan in plans]
    controls = [control_samples(plan) for plan in plans]
    panels = [_with_plans(panel, dynamics.states, states) for panel in state_panels(driven)]
    panels += [_with_plans(panel, dynamics.controls, controls) for panel in control_panels(driven)]
    return [*panels, *_tick_panels(loop)]


def as_solution(loop: ClosedLoop) -> Solution:
    """What the plant did, in the form that plots and films take; its states between ticks are the model's cubics."""
    problem = loop.problem
    trajectory = Trajectory(loop.t, loop.x, loop.u, Interpolation.HOLD, None, problem.layout.unpack(_packed(loop)))
    return Solution(problem, loop.solver, Status.SOLVED, trajectory, loop.cost, len(loop.u))


def _packed(loop: ClosedLoop) -> Array:
    return loop.problem.layout.pack(loop.problem.parameters)


def _with_plans(panel: Panel, names: Sequence[str], plans: Sequence[tuple[Array, Array]]) -> Panel:
    """The loop's panel, with the same quantities of each plan behind it, thin and dashed: (n,) times, (n, m) values."""
    shown = [(curve, names.index(curve.label or panel.title)) for curve in panel.curves]
    behind = [
        Curve(t, values[:, i], "", MUTED, curve.lower, curve.upper, dashed=True)
        for t, values in plans
        for curve, i in shown
    ]
    behind[:1] = [replace(curve, label="plans") for curve in behind[:1]]
    front = [replace(curve, label=curve.label or "loop", width=2.2, knots=curve.knots[:0]) for curve in panel.curves]
    return replace(panel, curves=(*behind, *front))


def _tick_panels(loop: ClosedLoop) -> list[Panel]:
    """Cost of the periods, and milliseconds of the ticks."""
    t, ticks = loop.t[:-1], loop.ticks
    clock = "time" if loop.problem.dynamics.continuous else "step"
    marks = np.flatnonzero([tick.overrun for tick in ticks])
    curves = [Curve(t, np.array([1e3 * tick.seconds for tick in ticks]), "to the command", SERIES[0], knots=marks)]
    preparation = np.array([1e3 * tick.preparation for tick in ticks])
    if preparation.any():
        curves.append(Curve(t, preparation, "preparation", SERIES[2]))
    return [
        Panel("cost of the period", (Curve(t, loop.costs, "", INK),), "ticks", clock),
        Panel("milliseconds of the tick", tuple(curves), "ticks", clock, logarithmic=True),
    ]


def write_closed_loop(loop: ClosedLoop, path: Path, drawing: Drawing | None = None) -> Path:
    """Write the report on a loop; see `ClosedLoop.report`."""
    text = closed_loop_page(loop, drawing)
    write_atomically(path, lambda file: file.write(text.encode()))
    return path


def closed_loop_page(loop: ClosedLoop, drawing: Drawing | None = None) -> str:
    """The report as HTML."""
    name = loop.problem.name or "problem"
    good = not loop.failure
    moving = card(animation_element(as_solution(loop), drawing, name)) if drawing is not None and len(loop.u) else ""
    return page(
        f"{name}: closed loop",
        [
            header(
                name, "ran to its end" if good else "ended early", "good" if good else "bad", f"MPC with {loop.solver}"
            ),
            tiles(_tiles(loop)),
            section("The loop", f'<div class="stack">{moving}{card(facts_list(_facts(loop)))}</div>'),
            section("States, controls and plans", pictures(closed_loop_panels(loop), "loop")),
        ],
    )


def _tiles(loop: ClosedLoop) -> list[tuple[str, str, str, str]]:
    timing = loop.timing()
    return [
        ("Cost", number(loop.cost, 7), "along the plant's true motion", ""),
        ("Ticks", str(len(loop.u)), f"{number(loop.t[-1] - loop.t[0], 4)} of time", ""),
        ("Median", duration(timing["p50"]), "from the measurement to the command", ""),
        ("99 percent", duration(timing["p99"]), f"at most {duration(timing['max'])}", ""),
        ("Overruns", str(loop.overruns), "ticks beyond the budget", "bad" if loop.overruns else "good"),
    ]


def _facts(loop: ClosedLoop) -> list[tuple[str, str]]:
    counts = {"solves": loop.statuses, "commands": loop.sources}
    rows = [(label, ", ".join(f"{name}: {n}" for name, n in count.items())) for label, count in counts.items()]
    worst = [f"{record.name} by {number(record.amount, 3)} at {number(record.time, 4)}"
             for record in loop.violations()[:3] if record.amount > 0.0]  # fmt: skip
    rows.append(("violated", "; ".join(worst) or "nothing at the ticks"))
    if loop.failure:
        rows.append(("ended early", loop.failure))
    return rows
