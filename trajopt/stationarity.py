r"""How far a trajectory is from satisfying the first-order conditions, with multipliers recovered for it.

With w the decision variables, g = dJ/dw the reduced gradient of the true cost and C = dc/dw that of the active rows,
the multipliers minimise the weighted residual

    r = g + C' nu,   nu >= 0 at upper limits, nu <= 0 at lower ones, free for equalities,

in which a component that pushes a variable out of an active bound of its own does not count (projection). The weights
make the norm independent of mesh and time unit. A control node acts over the time omega_i = \int basis_i dt, so
r_i T / omega_i tends to T H_u(t_i): the change of cost by one unit of control held over the entire horizon. Its root
mean square over the horizon, divided by max(tolerance, |cost|, root mean squares of T L_u and T mu' c_u, which cancel
the costate's part), is the stationarity of one control; those of all controls, and of times, parameters and free
initial states (r_i over max(tolerance, |cost|, its direct parts)), are combined as a Euclidean norm. Refining the mesh
leaves a given H_u(t) its number, and an exact optimum among the controls of the same parametrisation has zero.

Rows count as active within a tolerance; to each multiplier its row's slack is added as a residual of complementarity.
All this is piecewise quadratic and convex in nu; `trajopt.multiplier_program` finds its minimum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from trajopt.active_rows import ActiveRows, Pressing
from trajopt.horizon import Free
from trajopt.multiplier_program import Part, count_components, least_residual
from trajopt.problem import Problem
from trajopt.sensitivity import Decisions, Functionals, Linearisation
from trajopt.trajectory import Trajectory

Array = NDArray[np.float64]

_ENTRIES = 4_000_000
"""Entries of dense gradients that are held at once: 32 MB."""


@dataclass(frozen=True, eq=False)
class Stationarity:
    """First-order conditions at a trajectory.

    Attributes
    ----------
    value
        The scaled norm of the residual.
    nu
        (R,) multipliers of the active rows.
    residual
        (size of w,) gradient of the Lagrangian, without projection, in cost per unit of variable.
    outward
        (size of w,) the part of it that active bounds of the variables balance: their multipliers.
    costates
        (S+1, nx) derivative of the Lagrangian by the state at the begin of each step.
    """

    value: float
    nu: Array
    residual: Array
    outward: Array
    costates: Array


def recover_multipliers(
    problem: Problem, trajectory: Trajectory, parameters: Array, linear: Linearisation, active: ActiveRows,
    cost: float, tolerance: float,
) -> Stationarity:  # fmt: skip
    """Recover multipliers and measure stationarity; a variable within ``tolerance`` of its bound counts as at it."""
    decisions, rows = linear.decisions, active.functionals
    sides = held_sides(problem, trajectory, parameters, decisions, tolerance)
    of_cost = linear.direct(rows.weighted(np.eye(1, 1 + active.slack.size)[0]))
    weights = residual_weights(trajectory, decisions, cost, tolerance, [of_cost])
    norms = row_norms(linear, rows, weights)
    every = [sparse.csr_matrix(sparse.eye(count)) for count in (1 + norms.size, weights.size)]
    part = Part(linear, rows, every[0], every[1])
    nu = least_residual([part], weights, norms, active.slack, active.signs, sides)
    of_rows = linear.direct(rows.weighted(np.concatenate([[0.0], nu])))
    weights = residual_weights(trajectory, decisions, cost, tolerance, [of_cost, of_rows])
    gradient, costates = linear.sweep(rows.weighted(np.concatenate([[1.0], nu])), merged=True)
    residual = gradient[0]
    counting = np.where(count_components(residual, sides), residual, 0.0)
    return Stationarity(float(np.linalg.norm(counting * weights)), nu, residual, residual - counting, costates)


def residual_weights(
    trajectory: Trajectory, decisions: Decisions, cost: float, tolerance: float, parts: list[Array]
) -> Array:
    """Return what each residual component is multiplied with; see the module."""
    nodes, duration = decisions.nodes, float(trajectory.t[-1] - trajectory.t[0])
    share, least = nodes.weights(np.diff(trajectory.t)) / duration, max(tolerance, abs(cost))
    grids = [part[: decisions.controls].reshape(nodes.values.shape) for part in parts]
    means = (np.sqrt((grid**2 / share[:, None]).sum(axis=0)) for grid in grids)
    scale = np.max([np.full(decisions.nu, least), *means], axis=0)
    controls = 1.0 / (np.sqrt(share)[:, None] * scale)
    others = 1.0 / np.max([np.full(decisions.size, least), *np.abs(parts)], axis=0)[decisions.controls :]
    return np.concatenate([controls.ravel(), others])


def held_sides(
    problem: Problem, trajectory: Trajectory, parameters: Array, decisions: Decisions, tolerance: float
) -> Array:
    """Tell which side each variable is held from: -1 at its lower bound, +1 at its upper, 2 at both, 0 where free."""
    values = decisions.nodes.values
    limits = [np.repeat(problem.control_bounds[:, None], len(values), axis=1).reshape(2, -1)]
    horizon, start = problem.horizon, float(trajectory.t[0])
    times = {"start": (start, horizon.start), "duration": (float(trajectory.t[-1]) - start, horizon.duration)}
    for name in decisions.times:
        free = times[name][1]
        assert isinstance(free, Free)
        limits.append(np.array([[free.lower], [free.upper]], dtype=float))
    limits.append(problem.layout.bounds(problem.parameters or {})[:, decisions.parameters])
    limits.append(problem.state_bounds[:, decisions.states])
    lower, upper = np.concatenate(limits, axis=1)
    point = np.concatenate(
        [
            values.ravel(),
            [times[name][0] for name in decisions.times],
            parameters[decisions.parameters],
            trajectory.x[0, decisions.states],
        ]
    )
    found = Pressing.of(point[None], lower, upper, tolerance)
    sides = np.zeros(point.size)
    sides[found.index] = np.where(found.signs == 0, 2, found.signs)
    return sides


def row_norms(linear: Linearisation, rows: Functionals, weights: Array) -> Array:
    """Norms of the weighted gradients of all rows."""
    parts = rows.split(max(1, _ENTRIES // max(1, weights.size)))
    return np.concatenate([np.linalg.norm(linear.sweep(part)[0] * weights, axis=1) for part in parts])[1:]
