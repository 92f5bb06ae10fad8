"""Linear-quadratic problems as one dense program: its KKT system, its condensed form, and boxes by enumeration."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.testing.oracles.linear_quadratic import LinearQuadratic, Multipliers

Array = NDArray[np.float64]


class Answer(NamedTuple):
    """States (N+1, nx), controls (N, nu), costates (N+1, nx), and multipliers by kind as in `LinearQuadratic`."""

    states: Array
    controls: Array
    costates: Array
    multipliers: Multipliers


class QuadraticProgram(NamedTuple):
    """Minimise 1/2 w'Hw + g'w subject to lower <= M w <= upper, where w = (x_0, ..., x_N, u_0, ..., u_{N-1}).

    The first (N + 1) nx rows are -x_0 = -start and F_k z_k - x_{k+1} = -c_k, whose multipliers are the costates; then
    come control bounds, state bounds, path rows and end rows, each in the order of its table.
    """

    hessian: Array
    gradient: Array
    matrix: Array
    lower: Array
    upper: Array


def assemble(data: LinearQuadratic) -> QuadraticProgram:
    """The whole problem as one program."""
    n, nx, nu = data.steps, data.nx, data.nu
    size = (n + 1) * nx + n * nu
    select = np.eye(size)
    x = select[: (n + 1) * nx].reshape(n + 1, nx, size)
    z = np.concatenate([x[:-1], select[(n + 1) * nx :].reshape(n, nu, size)], axis=1)
    hessian = x[-1].T @ data.end_hessian @ x[-1] + sum(z[k].T @ data.hessian[k] @ z[k] for k in range(n))
    gradient = x[-1].T @ data.end_gradient + sum(z[k].T @ data.gradient[k] for k in range(n))
    dynamics = [-x[0], *(data.dynamics[k] @ z[k] - x[k + 1] for k in range(n))]
    matrix = [
        *dynamics,
        *(z[k, nx:] for k in range(n)),
        *x,
        *(data.rows @ z[k] for k in range(n)),
        data.end_rows @ x[-1],
    ]
    starts = np.concatenate([-data.initial_state, -data.offset.ravel()])
    first = np.repeat([[-np.inf], [np.inf]], nx, axis=1)  # the initial state is given, whatever its bounds are
    lower, upper = (
        np.concatenate(
            [starts, np.tile(data.control_bounds[side], n), first[side], np.tile(data.state_bounds[side], n),
             data.limits.ravel() if side else np.full(data.limits.size, -np.inf), data.end_values]
        )
        for side in (0, 1)
    )  # fmt: skip
    return QuadraticProgram(hessian, gradient, np.vstack(matrix), lower, upper)


def dense_kkt(data: LinearQuadratic, active: Mapping[str, Array] | None = None) -> Answer:
    """Solve the KKT system in which the active rows are equalities and all other inequalities are absent.

    Parameters
    ----------
    data
        The problem.
    active
        By kind, of the shapes of the multipliers: positive where the upper limit acts, negative where the lower one
        does, zero elsewhere; end rows always act. Default: no inequality acts.
    """
    program, n, nx, nu = assemble(data), data.steps, data.nx, data.nu
    shapes = {"control": (n, nu), "state": (n + 1, nx), "path": data.limits.shape}
    given = {name: np.asarray((active or {}).get(name, np.zeros(shape))) for name, shape in shapes.items()}
    signs = np.concatenate(
        [np.ones((n + 1) * nx), *(given[name].ravel() for name in shapes), np.ones(len(data.end_rows))]
    )
    acts = signs != 0.0
    matrix, limits = program.matrix[acts], np.where(signs > 0.0, program.upper, program.lower)[acts]
    size, rows = len(program.gradient), len(matrix)
    system = np.block([[program.hessian, matrix.T], [matrix, np.zeros((rows, rows))]])
    solution = np.asarray(np.linalg.solve(system, np.concatenate([-program.gradient, limits])), np.float64)
    every = np.zeros(len(signs))
    every[acts] = solution[size:]
    return read(data, solution[:size], every)


def read(data: LinearQuadratic, variables: Array, multipliers: Array) -> Answer:
    """Take apart a point of the assembled program and the multipliers of its rows, from whichever solver they are."""
    n, nx, nu = data.steps, data.nx, data.nu
    shapes = {
        "costates": (n + 1, nx), "control": (n, nu), "state": (n + 1, nx), "path": data.limits.shape,
        "end": data.end_values.shape,
    }  # fmt: skip
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])[:-1]
    parts = dict(zip(shapes, np.split(multipliers, ends), strict=True))
    tables = {name: parts[name].reshape(shape) for name, shape in shapes.items()}
    states, controls = variables[: (n + 1) * nx].reshape(n + 1, nx), variables[(n + 1) * nx :].reshape(n, nu)
    return Answer(states, controls, tables.pop("costates"), tables)


def kkt_errors(data: LinearQuadratic, answer: Answer) -> dict[str, float]:
    """By how much an answer misses each optimality condition, from the assembled program.

    Returns
    -------
    dict
        Largest absolute ``"violation"`` of dynamics and rows, slope of the Lagrangian as ``"stationarity"``, multiplier
        of a limit that is not there as wrong ``"sign"``, and ``"complementarity"``, a multiplier times the distance to
        its limit. All are zero at the optimum of a convex problem, and only there.
    """
    program = assemble(data)
    w = np.concatenate([answer.states.ravel(), answer.controls.ravel()])
    kinds = [answer.multipliers[name].ravel() for name in ("control", "state", "path", "end")]
    y = np.concatenate([answer.costates.ravel(), *kinds])
    values, limits = program.matrix @ w, np.where(y > 0.0, program.upper, program.lower)
    limited = np.isfinite(limits) & (program.lower < program.upper)
    return {
        "violation": float(np.maximum(0.0, np.maximum(values - program.upper, program.lower - values)).max()),
        "stationarity": float(np.abs(program.hessian @ w + program.gradient + program.matrix.T @ y).max()),
        "sign": float(np.abs(y[~np.isfinite(limits)]).max(initial=0.0)),
        "complementarity": float(np.abs(y[limited] * (values - limits)[limited]).max(initial=0.0)),
    }


def condense(data: LinearQuadratic) -> tuple[Array, Array, Array, Array]:
    """Without the states: cost = 1/2 U'HU + g'U + constant and X = M U + X_0 for U = (u_0, ..., u_{N-1}).

    Returns
    -------
    H, g, M, X_0
        Of shapes (N nu, N nu), (N nu,), ((N+1) nx, N nu) and ((N+1) nx,).
    """
    n, nu = data.steps, data.nu
    rest = data.roll_out(np.zeros((n, nu))).ravel()
    M = np.array([data.roll_out(unit.reshape(n, nu)).ravel() - rest for unit in np.eye(n * nu)]).T
    program, full = assemble(data), np.vstack([M, np.eye(n * nu)])
    base = np.concatenate([rest, np.zeros(n * nu)])
    return full.T @ program.hessian @ full, full.T @ (program.hessian @ base + program.gradient), M, rest


def box_quadratic_program(hessian: ArrayLike, gradient: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> Array:
    """Minimise 1/2 u'Hu + g'u over a box, H positive definite, by trying all 3^m sets of active bounds.

    The one whose free entries lie in the box and whose multipliers have the right sign is the answer; of several,
    which rounding or degeneracy may leave, that of the least cost.

    Parameters
    ----------
    hessian, gradient, lower, upper
        (m, m), (m,), (m,), (m,); bounds may be infinite. m beyond 8 takes long.
    """
    H, g, low, high = (np.asarray(part, float) for part in (hessian, gradient, lower, upper))
    best, least = np.clip(np.zeros(len(g)), low, high), np.inf
    for held in itertools.product((0, -1, 1), repeat=len(g)):
        sides = np.array(held)
        u = np.where(sides < 0, low, np.where(sides > 0, high, 0.0))
        if not np.isfinite(u).all():
            continue
        free = sides == 0
        if free.any():
            u[free] = np.linalg.solve(H[np.ix_(free, free)], -g[free] - H[np.ix_(free, ~free)] @ u[~free])
        u = np.clip(u, low, high)  # a point of the box, and the answer for one of the sets
        cost = 0.5 * u @ H @ u + g @ u
        if cost < least:
            best, least = u, cost
    return best


def farkas_margin(data: LinearQuadratic, costates: Array, multipliers: Multipliers) -> float:
    """Verify that no trajectory meets dynamics and rows, by Farkas' lemma.

    The rows, each times its multiplier, add up to a number, because every variable cancels. Feasible trajectories make
    every term zero or negative: a positive number shows that there are none.

    Returns
    -------
    float
        That number, less what signs and variables that do not cancel take from it: minus infinity if any does.
    """
    program = assemble(data)
    kinds = [multipliers[name].ravel() for name in ("control", "state", "path", "end")]
    y = np.concatenate([costates.ravel(), *kinds])
    limits = np.where(y > 0.0, program.upper, program.lower)
    # Sums of at most the number of rows, each term rounded.
    rounding = len(y) * np.finfo(float).eps * (np.abs(program.matrix).T @ np.abs(y))
    if (np.abs(program.matrix.T @ y) > rounding).any() or not np.isfinite(limits[y != 0.0]).all():
        return -np.inf
    return float(-y[y != 0.0] @ limits[y != 0.0])
