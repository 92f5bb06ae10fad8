"""What the pictures and pages of an answer in several phases show: the phases side by side on one axis of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trajopt.multi_phase_solution import MultiPhaseSolution
from trajopt.solution import Solution
from trajopt.view.panels import Curve, Panel, clock, control_samples, departs, layer, margin_panels, state_samples
from trajopt.view.style import INK, SERIES

Array = NDArray[np.float64]


def phase_panels(solution: MultiPhaseSolution, measured: bool = False) -> list[Panel]:
    """Every state and control, one panel each, and margins of path constraints; a colour for each phase.

    Parameters
    ----------
    solution
        What to show.
    measured
        Whether to draw the re-integrated trajectories as well, where they visibly depart from the plan.
    """
    panels: dict[tuple[str, str], list[Curve]] = {}
    for number, (name, phase) in enumerate(zip(solution.names, solution.phases, strict=True)):
        color = SERIES[number % len(SERIES)]
        for section, quantity, t, y, lower, upper in _quantities(phase):
            panels.setdefault((section, quantity), []).append(Curve(t, y, name, color, lower, upper))
    for (section, quantity), t, x in _measured(solution) if measured else ():
        curves = panels[section, quantity]
        label = "" if any(curve.dashed for curve in curves) else "re-integrated"
        curves.append(Curve(t, x, label, INK, dashed=True))
    found = [
        Panel(quantity, tuple(sorted(curves, key=lambda curve: curve.dashed)), section, clock(solution.phases[0]))
        for (section, quantity), curves in sorted(panels.items(), key=lambda item: item[0][0] != "states")
    ]
    return [*found, *_margins(solution)]


def phase_costates(solution: MultiPhaseSolution) -> list[Panel]:
    """Costates of the certificate, one panel for each state; they jump as the multipliers of the links say."""
    panels: dict[str, list[Curve]] = {}
    for number, (phase, made) in enumerate(zip(solution.phases, solution.certificate.phases, strict=True)):
        if made.costates.shape != phase.x.shape or phase.problem is None:
            continue
        for i, state in enumerate(phase.problem.dynamics.states):
            curve = Curve(phase.t, made.costates[:, i], solution.names[number], SERIES[number % len(SERIES)])
            panels.setdefault(state, []).append(curve)
    step = clock(solution.phases[0])
    return [Panel(f"costate of {state}", tuple(curves), "costates", step) for state, curves in panels.items()]


def overlaid_phases(labels: Sequence[str], solutions: Sequence[MultiPhaseSolution]) -> list[Panel]:
    """Every state and control of all solutions of one problem, one colour for each solution."""
    panels: dict[tuple[str, str], list[Curve]] = {}
    for k, (label, solution) in enumerate(zip(labels, solutions, strict=True)):
        pieces: dict[tuple[str, str], list[tuple[Array, Array]]] = {}
        for phase in solution.phases:
            for section, quantity, t, y, _, _ in _quantities(phase):
                # A gap between phases: what jumps there is no line.
                piece = np.append(t, t[-1:]), np.append(y, np.nan)
                pieces.setdefault((section, quantity), []).append(piece)
        for key, parts in pieces.items():
            t, y = (np.concatenate(values) for values in zip(*parts, strict=True))
            curve = Curve(t, y, label, SERIES[k % len(SERIES)], width=layer(k, len(labels)))
            panels.setdefault(key, []).append(curve)
    step = clock(solutions[0].phases[0])
    return [
        Panel(quantity, tuple(curves), section, step)
        for (section, quantity), curves in sorted(panels.items(), key=lambda item: item[0][0] != "states")
    ]


def describe_phases(solution: MultiPhaseSolution) -> list[tuple[str, str]]:
    """Labels and values that say what the problem is."""
    rows = []
    for name, phase in zip(solution.names, solution.phases, strict=True):
        problem = phase.problem
        assert problem is not None
        kind = "continuous time" if problem.dynamics.continuous else "discrete time"
        parts = [
            f"{kind}, t={phase.t[0]:.6g} to {phase.t[-1]:.6g}, {phase.steps} steps",
            f"states {', '.join(problem.dynamics.states)}",
            f"controls {', '.join(problem.dynamics.controls) or 'none'}",
        ]
        rows.append((f"phase {name}", "; ".join(parts)))
    assert solution.problem is not None
    rows.append(("links", ", ".join(solution.problem.model.names) or "none"))
    return rows


def link_rows(solution: MultiPhaseSolution) -> list[tuple[str, str]]:
    """What each row of the links costs: its multiplier, as the certificate found it."""
    found = solution.certificate.multipliers
    return [(name, f"multiplier {value[0]:.6g}") for name, value in found.items()]


def _quantities(phase: Solution) -> Iterator[tuple[str, str, Array, Array, float, float]]:
    """Section, name, times, values and bounds of every state and control."""
    problem = phase.problem
    assert problem is not None
    t, x, _ = state_samples(phase)
    for i, name in enumerate(problem.dynamics.states):
        yield "states", name, t, x[:, i], *problem.state_bounds[:, i]
    t, u = control_samples(phase)
    for i, name in enumerate(problem.dynamics.controls):
        yield "controls", name, t, u[:, i], *problem.control_bounds[:, i]


def _measured(solution: MultiPhaseSolution) -> Iterator[tuple[tuple[str, str], Array, Array]]:
    """Keys of panels with re-integrated states that visibly depart from the plan."""
    for phase, made in zip(solution.phases, solution.certificate.phases, strict=True):
        assert phase.problem is not None
        t, x, _ = state_samples(phase)
        for i, name in enumerate(phase.problem.dynamics.states if made.x.size else ()):
            if departs(t, x[:, i], made.t, made.x[:, i]):
                yield ("states", name), made.t, made.x[:, i]


def _margins(solution: MultiPhaseSolution) -> list[Panel]:
    """Margins of the path constraints of each phase."""
    return [
        replace(panel, title=f"{name}: {panel.title}")
        for name, phase in zip(solution.names, solution.phases, strict=True)
        for panel in margin_panels(phase)
    ]
