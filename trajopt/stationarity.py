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
All this is piecewise quadratic and convex in nu. A Newton method on the set of counting components finds its minimum;
should it stop early, the residual is too large, never too small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from trajopt.active_rows import ActiveRows, Pressing
from trajopt.horizon import Free
from trajopt.problem import Problem
from trajopt.sensitivity import Decisions, Linearisation
from trajopt.trajectory import Trajectory

Array = NDArray[np.float64]

_REGULARISATION = 1e-8
"""Least weight on the size of scaled multipliers: settles dependent rows, and moves the residual by rounding alone."""

_BOUNDED = 300
"""Up to this many sign-bound multipliers the exact active-set method is used, beyond it an interior method."""


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
    gradients, _ = linear.sweep(rows)
    g, C = gradients[0], gradients[1:]
    sides = _sides(problem, trajectory, parameters, decisions, tolerance)
    of_cost = linear.direct(rows.weighted(np.eye(1, len(gradients))[0]))
    weights = _weights(trajectory, decisions, cost, tolerance, [of_cost])
    nu = _least_residual(g * weights, C * weights, active.signs, active.slack, sides)
    residual = g + nu @ C
    of_rows = linear.direct(rows.weighted(np.concatenate([[0.0], nu])))
    weights = _weights(trajectory, decisions, cost, tolerance, [of_cost, of_rows])
    counting = np.where(_counts(residual, sides), residual, 0.0)
    _, costates = linear.sweep(rows.weighted(np.concatenate([[1.0], nu])), merged=True)
    return Stationarity(float(np.linalg.norm(counting * weights)), nu, residual, residual - counting, costates)


def _weights(trajectory: Trajectory, decisions: Decisions, cost: float, tolerance: float, parts: list[Array]) -> Array:
    """Return what each residual component is multiplied with; see the module."""
    nodes, duration = decisions.nodes, float(trajectory.t[-1] - trajectory.t[0])
    share, least = nodes.weights(np.diff(trajectory.t)) / duration, max(tolerance, abs(cost))
    grids = [part[: decisions.controls].reshape(nodes.values.shape) for part in parts]
    means = (np.sqrt((grid**2 / share[:, None]).sum(axis=0)) for grid in grids)
    scale = np.max([np.full(decisions.nu, least), *means], axis=0)
    controls = 1.0 / (np.sqrt(share)[:, None] * scale)
    others = 1.0 / np.max([np.full(decisions.size, least), *np.abs(parts)], axis=0)[decisions.controls :]
    return np.concatenate([controls.ravel(), others])


def _sides(
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


def _counts(residual: Array, sides: Array) -> NDArray[np.bool_]:
    """Components that count: descent, against the residual, must be possible within the bounds."""
    return (sides == 0) | ((sides == -1) & (residual < 0.0)) | ((sides == 1) & (residual > 0.0))


def _least_residual(g: Array, C: Array, signs: NDArray[np.intp], slack: Array, sides: Array) -> Array:
    """Multipliers of least projected residual, by Newton's method on the set of counting components.

    A multiplier costs its slack besides: among rows that explain the gradient equally well, those at their limits do.
    """
    size = np.linalg.norm(C, axis=1)
    size[size == 0.0] = 1.0
    A, penalty = C / size[:, None], _REGULARISATION + slack

    def measure(nu: Array) -> float:
        residual = g + nu @ A
        return float((residual[_counts(residual, sides)] ** 2).sum()) + float(((penalty * nu) ** 2).sum())

    nu = np.zeros(len(A))
    value, counting = measure(nu), _counts(g, sides)
    for _ in range(50):  # each iteration fixes a set of components; a few suffice, and the value never rises
        target = _bounded_least_squares(A[:, counting].T, -g[counting], penalty, signs)
        length = 1.0
        while length > 1e-6 and measure(nu + length * (target - nu)) > value:
            length *= 0.5
        trial = nu + length * (target - nu)
        if not measure(trial) < value * (1.0 - 1e-12):
            break
        nu, value, before = trial, measure(trial), counting
        counting = _counts(g + nu @ A, sides)
        if length == 1.0 and np.array_equal(before, counting):
            break
    return nu / size


def _bounded_least_squares(A: Array, b: Array, penalty: Array, signs: NDArray[np.intp]) -> Array:
    """Minimise |A nu - b|^2 + |penalty nu|^2 under the signs."""
    count = A.shape[1]
    if count == 0:
        return np.zeros(0)
    A = np.concatenate([A, np.diag(penalty)])
    b = np.concatenate([b, np.zeros(count)])
    nu = np.asarray(np.linalg.lstsq(A, b, rcond=None)[0], float)
    if (nu * signs >= 0.0).all():
        return nu
    bounds = np.where(signs > 0, 0.0, -np.inf), np.where(signs < 0, 0.0, np.inf)
    method = "bvls" if np.count_nonzero(signs) <= _BOUNDED else "trf"
    return np.asarray(lsq_linear(A, b, bounds, method=method, tol=1e-12).x)
