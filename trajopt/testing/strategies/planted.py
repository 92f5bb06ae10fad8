"""A linear-quadratic problem with its exact answer, made backwards from the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from trajopt.problem import Problem
from trajopt.testing.oracles.linear_quadratic import LinearQuadratic

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class Planted:
    """A strictly convex problem and the answer from which it was made; all its numbers are exact.

    Attributes
    ----------
    states, controls
        (N+1, nx) and (N, nu): the only optimum.
    costates
        (N+1, nx) derivative of the remaining cost, rows of that knot and of later ones held, by the state.
    cost
        The least cost.
    active
        Which rows are tight at the answer: ``"control"`` (N, nu) and ``"state"`` (N+1, nx), 1 at the upper bound, -1 at
        the lower and 0 between them; ``"path"`` (N, m), 1 or 0; ``"end"`` (q,), all 1.
    multipliers
        Of the same shapes; positive at an upper limit, negative at a lower one, of any sign for equalities. Zero at an
        active row where the case is degenerate.
    data
        The problem as tables.
    """

    states: Array
    controls: Array
    costates: Array
    cost: float
    active: Mapping[str, Array]
    multipliers: Mapping[str, Array]
    data: LinearQuadratic

    @classmethod
    def make(
        cls, data: LinearQuadratic, controls: Array, costates: Array, active: Mapping[str, Array],
        multipliers: Mapping[str, Array],
    ) -> Planted:  # fmt: skip
        """Replace the cost's gradients of ``data`` by those for which the answer is the optimum.

        The trajectory of ``controls`` must meet the rows, and multipliers must be zero where rows are not active.
        """
        states, nx = data.roll_out(controls), data.nx
        gradient = np.zeros_like(data.gradient)
        for k in range(data.steps):
            z = np.concatenate([states[k], controls[k]])
            gradient[k] = -data.hessian[k] @ z - data.dynamics[k].T @ costates[k + 1]
            gradient[k] -= data.rows.T @ multipliers["path"][k]
            gradient[k, :nx] += costates[k] - multipliers["state"][k]
            gradient[k, nx:] -= multipliers["control"][k]
        slope = costates[-1] - data.end_hessian @ states[-1]
        slope -= data.end_rows.T @ multipliers["end"] + multipliers["state"][-1]
        data = replace(data, gradient=gradient, end_gradient=slope)
        cost = data.cost(states, controls)
        return cls(states, controls, costates, cost, active, multipliers, data)

    @cached_property
    def problem(self) -> Problem:
        """What solvers are given; traced when it is first asked for, since shrinking draws many cases in vain."""
        return self.data.problem()

    @property
    def degenerate(self) -> bool:
        """Whether an active inequality has a multiplier of zero."""
        return any(
            ((self.active[name] != 0.0) & (self.multipliers[name] == 0.0)).any()
            for name in ("control", "state", "path")
        )

    @cached_property
    def curvature(self) -> float:
        """Least eigenvalue of the stages' Hessians: cost - optimum >= curvature / 2 |u - u*|^2 where rows are met."""
        return float(min(np.linalg.eigvalsh(hessian)[0] for hessian in self.data.hessian))

    @cached_property
    def rounding(self) -> float:
        """Rounding of a cost near the answer: operations along the horizon, times the largest term."""
        data, size = self.data, max(1.0, np.abs(self.states).max(), np.abs(self.controls).max())
        terms = [np.abs(data.hessian).max() * size**2, np.abs(data.end_hessian).max() * size**2]
        terms += [np.abs(data.gradient).max() * size, np.abs(data.end_gradient).max() * size]
        return float(np.finfo(float).eps) * 4 * (data.steps + 1) * (data.nx + data.nu) ** 2 * max(terms)

    def price(self, states: Array, controls: Array) -> float:
        """How far the cost of a trajectory that misses rows a little may lie below the optimum, by weak duality."""
        data, worth = self.data, {name: np.abs(values) for name, values in self.multipliers.items()}
        total = worth["end"] @ np.abs(data.end_rows @ states[-1] - data.end_values)
        for k in range(data.steps):
            z = np.concatenate([states[k], controls[k]])
            total += worth["path"][k] @ np.maximum(0.0, data.rows @ z - data.limits[k])
            total += np.abs(self.costates[k + 1]) @ np.abs(states[k + 1] - data.dynamics[k] @ z - data.offset[k])
        for name, values, (lower, upper) in (
            ("control", controls, data.control_bounds), ("state", states, data.state_bounds)
        ):  # fmt: skip
            total += np.sum(worth[name] * np.maximum(0.0, np.maximum(lower - values, values - upper)))
        return float(total)
