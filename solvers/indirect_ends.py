"""Which rows at the ends (terminal, boundary, integral) are active: equalities always, inequalities by their values."""

from __future__ import annotations

from collections.abc import Iterator

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.model import Rows
from trajopt.problem import Problem
from trajopt.trajectory import Trajectory
from trajopt.transcription.boundary_value import EndRow

Array = NDArray[np.float64]

KINDS = ("terminal", "boundary", "integral")


def end_values(problem: Problem, trajectory: Trajectory) -> dict[str, Array]:
    """Values of the rows by kind; integrals by the trapezoidal rule."""
    m, t, x = problem.model, trajectory.t, trajectory.x
    p = problem.layout.pack({**(problem.parameters or {}), **trajectory.parameters})
    terminal = ca.Function("terminal", [m.x, m.t, m.p], [m.terminal.expression])
    boundary = ca.Function("boundary", [m.x0, m.xf, m.t0, m.tf, m.p], [m.boundary.expression])
    integrand = ca.Function("integrand", [m.x, m.u, m.t, m.p], [ca.densify(m.integral.expression)])
    rates = np.asarray(integrand(x.T, trajectory.control(t).T, t[None], p))
    return {
        "terminal": np.asarray(terminal(x[-1], t[-1], p)).ravel(),
        "boundary": np.asarray(boundary(x[0], x[-1], t[0], t[-1], p)).ravel(),
        "integral": np.trapezoid(rates, t, axis=1),
    }


def active_rows(problem: Problem, trajectory: Trajectory, near: float) -> tuple[EndRow, ...]:
    """Return equalities, and inequalities that the trajectory comes ``near`` to, or violates if that is negative."""
    values = end_values(problem, trajectory)
    return tuple(row for kind in KINDS for row in _active(kind, getattr(problem.model, kind), values[kind], near))


def _active(kind: str, rows: Rows, values: Array, near: float) -> Iterator[EndRow]:
    for i, (lower, upper, value) in enumerate(zip(rows.lower, rows.upper, values, strict=True)):
        if lower == upper:
            yield EndRow(kind, i, float(lower), 0)
        elif np.isfinite(upper) and value >= upper - near * (1.0 + abs(upper)):
            yield EndRow(kind, i, float(upper), 1)
        elif np.isfinite(lower) and value <= lower + near * (1.0 + abs(lower)):
            yield EndRow(kind, i, float(lower), -1)


def corrected_rows(
    problem: Problem, trajectory: Trajectory, rows: tuple[EndRow, ...], prices: dict[str, Array], slack: float
) -> tuple[EndRow, ...]:
    """Return rows without those that push the wrong way, and with those that the trajectory violates."""
    kept = [row for row in rows if not prices or row.sign * prices[row.kind][row.row] >= -slack]
    active = {(row.kind, row.row) for row in rows}
    violated = active_rows(problem, trajectory, -slack)
    return tuple(kept) + tuple(row for row in violated if (row.kind, row.row) not in active)
