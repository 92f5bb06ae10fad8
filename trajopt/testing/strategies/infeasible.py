"""Problems without any feasible trajectory, with a certificate that there is none.

One row is asked for that lies beyond what the bounds on the controls can reach, by a margin that is known. The reach
is linear in the controls, so it is its own certificate: multipliers with which dynamics, bounds and that row add up to
0 >= margin (Farkas' lemma; `trajopt.testing.oracles.farkas_margin` verifies them).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from trajopt.problem import Problem
from trajopt.testing.oracles.dense import farkas_margin
from trajopt.testing.oracles.linear_quadratic import LinearQuadratic
from trajopt.testing.strategies.linear_quadratic import STATE_BAND
from trajopt.testing.strategies.numbers import Quarters, grid, quarters, tame

Array = NDArray[np.float64]

_BOXES = ((-1.0, 1.0), (-0.5, 1.0))


@final
@dataclass(frozen=True, eq=False)
class Infeasible:
    """A linear-quadratic problem that no trajectory satisfies.

    Attributes
    ----------
    margin
        By how much the row stays violated, at least, whatever the controls, in its own unit.
    row
        Which row cannot be met: ``"end"``, ``"path"`` or ``"state"``, and at which knot.
    costates, multipliers
        The certificate, of the shapes of `Planted`.
    data
        The problem as tables.
    """

    margin: float
    row: tuple[str, int]
    costates: Array
    multipliers: Mapping[str, Array]
    data: LinearQuadratic

    @cached_property
    def problem(self) -> Problem:
        """What solvers are given, and never solve; traced when it is first asked for."""
        return self.data.problem()


def infeasible_problems() -> st.SearchStrategy[Infeasible]:
    """Linear-quadratic problems with bounded controls and a terminal, path or state row out of reach."""
    return _problems()


_NUMBERS = 5 * (3 * 3 + 3 * 2 + 3 + 5 * 6 // 2) + 3 * 4 // 2 + 3 + 4
"""Of the largest sizes: dynamics, offsets and Hessians of five stages, Hessian of the end, first state, a row."""


@st.composite
def _problems(draw: Any) -> Infeasible:
    nx, nu, n = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 5))
    kind = draw(st.sampled_from(["end", "path", "state"]))
    knot = {"end": n, "path": draw(st.integers(0, n - 1)), "state": draw(st.integers(1, n))}[kind]
    numbers = draw(quarters(_NUMBERS))
    data = LinearQuadratic.make(
        [np.hstack([tame(numbers.take(nx, nx)), numbers.take(nx, nu)]) for _ in range(n)],
        [numbers.gram(nx + nu) + 0.5 * np.eye(nx + nu) for _ in range(n)],
        numbers.gram(nx),
        numbers.take(nx),
        offset=numbers.take(n, nx),
        control_bounds=np.repeat(np.array(draw(st.sampled_from(_BOXES)))[:, None], nu, axis=1),
        **_rows(numbers, kind, n, nx, nu),
    )
    side = draw(st.sampled_from([1.0, -1.0])) if kind != "path" else 1.0  # a path row has an upper limit alone
    costates, multipliers = _certificate(data, kind, knot, side)
    margin = draw(grid(2.0, smallest=0.25))
    data = _move(data, kind, knot, side, margin - farkas_margin(data, costates, multipliers))
    return Infeasible(margin, (kind, knot), costates, multipliers, data)


def _rows(numbers: Quarters, kind: str, steps: int, nx: int, nu: int) -> dict[str, Array]:
    """Rows of one kind; limits of path rows are wide where they are not the ones that cannot be met."""
    if kind == "end":
        return {"end_rows": np.append(1.0, numbers.take(nx - 1))[None], "end_values": np.zeros(1)}
    if kind == "path":
        return {"rows": np.append(numbers.take(nx + nu - 1), 1.0)[None], "limits": np.full((steps, 1), 64.0)}
    bounds = np.repeat([[-np.inf], [np.inf]], nx, axis=1)
    bounds[:, 0] = STATE_BAND
    return {"state_bounds": bounds}


def _certificate(data: LinearQuadratic, kind: str, knot: int, side: float) -> tuple[Array, dict[str, Array]]:
    """Costates and multipliers of bounds that cancel every variable of the row, weighed by ``side``."""
    n, nx, nu = data.steps, data.nx, data.nu
    multipliers = {"control": np.zeros((n, nu)), "state": np.zeros((n + 1, nx))}
    multipliers |= {"path": np.zeros(data.limits.shape), "end": np.zeros(len(data.end_rows))}
    costates = np.zeros((n + 1, nx))
    if kind == "path":
        multipliers["path"][knot] = side
    elif kind == "state":
        multipliers["state"][knot, 0] = side
    else:
        multipliers["end"][:] = side
    costates[n] = data.end_rows.T @ multipliers["end"] + multipliers["state"][n]
    for k in reversed(range(n)):
        slope = data.dynamics[k].T @ costates[k + 1] + data.rows.T @ multipliers["path"][k]
        costates[k] = slope[:nx] + multipliers["state"][k]
        multipliers["control"][k] = -slope[nx:]
    return costates, multipliers


def _move(data: LinearQuadratic, kind: str, knot: int, side: float, distance: float) -> LinearQuadratic:
    """Put the row further out of reach by a distance, or nearer where it is negative."""
    if kind == "end":
        return replace(data, end_values=data.end_values - side * distance)
    if kind == "path":
        limits = data.limits.copy()
        limits[knot] -= distance
        return replace(data, limits=limits)
    offset = data.offset.copy()  # the bounds stay, and the dynamics carry the state beyond them
    offset[knot - 1, 0] += side * distance
    return replace(data, offset=offset)
