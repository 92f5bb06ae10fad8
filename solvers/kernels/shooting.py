"""Trajectories by simulation: the forward pass of iLQR and DDP, and the quadratic models of its stages.

Constraints lower <= c <= upper enter as an augmented Lagrangian. With multipliers l and penalty r, a row's shifted
residual is s = y - clip(y, lower, upper), y = c + l / r, and the row adds

    r/2 s^2 - l^2 / (2r)  to the merit,    r s grad c  to its gradient,    r grad c grad c'  to its Hessian,

the latter where s is not zero or lower == upper.

Equalities (lower == upper) and both kinds of inequality are one formula. The new multiplier is r s, and |s - l / r| is
the larger of infeasibility and complementarity error, which is what convergence is judged by.

Reference: Birgin, Martinez, Practical Augmented Lagrangian Methods, SIAM 2014, chapter 4.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajopt.lowering.call import call5, call6, call7, call8
from trajopt.lowering.kernel import kernel
from trajopt.problem import Problem
from trajopt.transcription.stages import Stages

Array = NDArray[np.float64]


class Functions(NamedTuple):
    """Addresses of the problem's compiled functions; see ``trajopt.transcription.stages`` for their arguments."""

    step: int
    expand: int
    path: int
    path_expand: int
    end: int
    end_expand: int


class Data(NamedTuple):
    """Numbers of the problem: ``times`` (N, 2) of (t_k, h); (tf, h) in ``end_time`` (2); packed parameters; limits."""

    times: Array
    end_time: Array
    parameters: Array
    lower: Array
    upper: Array
    path_lower: Array
    path_upper: Array
    end_lower: Array
    end_upper: Array


def make_data(problem: Problem, stages: Stages, t: Array) -> Data:
    """Collect the numbers of a problem on the knots ``t``, with h the step length (1 for discrete dynamics)."""
    lower, upper = problem.control_bounds
    steps = np.diff(t)
    times = np.ascontiguousarray(np.column_stack([t[:-1], steps]))
    end_time = np.array([t[-1], steps[-1]])
    limits = stages.limits(problem)
    return Data(times, end_time, problem.layout.pack(problem.parameters), lower, upper, *limits)


class Rollout(NamedTuple):
    """A trajectory: states (N+1, nx), controls (N, nu), values of path (N, nc) and end (ne) constraints.

    And ``gap`` (N, nx), by which the dynamics miss the next state, F(x_k, u_k) - x_{k+1}: zero when simulated.
    """

    x: Array
    u: Array
    path: Array
    end: Array
    gap: Array


def make_rollout(steps: int, nx: int, nu: int, nc: int, ne: int) -> Rollout:
    """Room for a trajectory of these sizes."""
    shapes = [(steps + 1, nx), (steps, nu), (steps, nc), (ne,), (steps, nx)]
    return Rollout(*(np.zeros(shape) for shape in shapes))


class Penalty(NamedTuple):
    """Multipliers of path (N, nc) and end (ne) rows, the penalty (1), and the one that ``judge``s which rows act (1).

    The two penalties differ in Newton steps alone (`trajopt.solvers.kernels.newton`).
    """

    path: Array
    end: Array
    weight: Array
    judge: Array


def make_penalty(steps: int, nc: int, ne: int, weight: float = 1.0) -> Penalty:
    """Zero multipliers for rows of these numbers."""
    return Penalty(np.zeros((steps, nc)), np.zeros(ne), np.full(1, weight), np.full(1, weight))


def balanced_penalty(data: Data, rollout: Rollout, cost: float) -> float:
    """What balances cost and violation of a rollout (Birgin, Martinez 2014, section 12.4)."""
    squares = sum(
        float(np.sum(np.maximum(0.0, np.maximum(lower - values, values - upper)) ** 2))
        for values, lower, upper in (
            (rollout.path, data.path_lower, data.path_upper),
            (rollout.end, data.end_lower, data.end_upper),
        )
    )
    size = max(1.0, abs(cost))
    return min(max(2.0 * size / max(1.0, 0.5 * squares), 1e-6 * size), 10.0 * size)


@kernel
def set_penalty(penalty, weight, judge):
    """Give both penalties their values."""
    penalty.weight[0], penalty.judge[0] = weight, judge


class Expansion(NamedTuple):
    """Quadratic models: F (N, nx, nz), g (N, nz), H (N, nz, nz) of the stages; ``end_gradient``, ``end_hessian``."""

    F: Array
    g: Array
    H: Array
    end_gradient: Array
    end_hessian: Array


class ConstraintWork(NamedTuple):
    """Work for constraint rows: Jacobians (nc, nz) and (ne, nx), weights (nc), (ne), curvature (nz, nz), cost (1).

    And ``slope`` (nx), the gradient of cost and multipliers times rows of the stage expanded last, by its state.
    """

    path_jacobian: Array
    end_jacobian: Array
    path_weights: Array
    end_weights: Array
    curvature: Array
    cost: Array
    slope: Array


def make_constraint_work(nx: int, nu: int, nc: int, ne: int) -> ConstraintWork:
    """Work for rows of these numbers."""
    nz = nx + nu
    shapes = [(nc, nz), (ne, nx), (nc,), (ne,), (nz, nz), (1,), (nx,)]
    return ConstraintWork(*(np.zeros(shape) for shape in shapes))


@kernel
def shifted_residual(value, multiplier, weight, judge, lower, upper):
    """How far value + multiplier / weight lies outside the limits, with sign; NaN if the value is not finite.

    Zero where value + multiplier / judge lies within them, in which case the row does not act.
    """
    shifted = value + multiplier / judge
    if not math.isfinite(shifted):
        return math.nan
    if shifted < lower:
        return value + multiplier / weight - lower
    if shifted > upper:
        return value + multiplier / weight - upper
    return 0.0


@kernel
def penalty_of(values, multipliers, weight, lower, upper):
    """What the rows add to the merit."""
    total = 0.0
    for i in range(values.shape[0]):
        residual = shifted_residual(values[i], multipliers[i], weight, weight, lower[i], upper[i])
        total += 0.5 * weight * residual * residual - multipliers[i] * multipliers[i] / (2.0 * weight)
    return total


@kernel
def simulate(functions, data, current, k, K, length, out, penalty, work):
    """Roll out u + length k + K dx into ``out``; returns cost and merit, infinite when anything is not finite.

    Gaps of the current trajectory shrink by the step, out.gap = (1 - length) gap (Mastalli et al. 2020, eq. 15), so
    that a full step obeys the dynamics. ``out`` may not be ``current``.
    """
    steps, nu = current.u.shape
    nx = current.x.shape[1]
    nc = current.path.shape[1]
    weight = penalty.weight[0]
    cost, merit, left = 0.0, 0.0, 1.0 - length
    for i in range(nx):
        out.x[0, i] = current.x[0, i]
    for s in range(steps):
        for i in range(nu):
            control = current.u[s, i] + length * k[s, i]
            for j in range(nx):
                control += K[s, i, j] * (out.x[s, j] - current.x[s, j])
            out.u[s, i] = min(max(control, data.lower[i]), data.upper[i])
        call6(functions.step, out.x, s * nx, out.u, s * nu, data.times, 2 * s, data.parameters, 0,
              out.x, (s + 1) * nx, work.cost, 0)  # fmt: skip
        cost += work.cost[0]
        for i in range(nx):
            out.gap[s, i] = left * current.gap[s, i]
            out.x[s + 1, i] -= out.gap[s, i]
            if not math.isfinite(out.x[s + 1, i]):
                return math.inf, math.inf
        if nc > 0:
            call5(functions.path, out.x, s * nx, out.u, s * nu, data.times, 2 * s, data.parameters, 0, out.path, s * nc)
            merit += penalty_of(out.path[s], penalty.path[s], weight, data.path_lower, data.path_upper)
    call5(functions.end, out.x, steps * nx, data.end_time, 0, data.parameters, 0, work.cost, 0, out.end, 0)
    cost += work.cost[0]
    merit += cost + penalty_of(out.end, penalty.end, weight, data.end_lower, data.end_upper)
    if not math.isfinite(merit):
        return math.inf, math.inf
    return cost, merit


@kernel
def evaluate(functions, data, rollout, penalty, work):
    """Gaps and constraints of given states and controls; returns cost and merit, infinite unless all is finite."""
    steps, nu = rollout.u.shape
    nx, nc = rollout.x.shape[1], rollout.path.shape[1]
    weight = penalty.weight[0]
    cost, merit = 0.0, 0.0
    for s in range(steps):
        call6(functions.step, rollout.x, s * nx, rollout.u, s * nu, data.times, 2 * s, data.parameters, 0,
              rollout.gap, s * nx, work.cost, 0)  # fmt: skip
        cost += work.cost[0]
        for i in range(nx):
            rollout.gap[s, i] -= rollout.x[s + 1, i]
            if not math.isfinite(rollout.gap[s, i]):
                return math.inf, math.inf
        if nc > 0:
            call5(functions.path, rollout.x, s * nx, rollout.u, s * nu, data.times, 2 * s, data.parameters, 0,
                  rollout.path, s * nc)  # fmt: skip
            merit += penalty_of(rollout.path[s], penalty.path[s], weight, data.path_lower, data.path_upper)
    call5(functions.end, rollout.x, steps * nx, data.end_time, 0, data.parameters, 0, work.cost, 0, rollout.end, 0)
    cost += work.cost[0]
    merit += cost + penalty_of(rollout.end, penalty.end, weight, data.end_lower, data.end_upper)
    if not math.isfinite(merit):
        return math.inf, math.inf
    return cost, merit


@kernel
def gap_size(rollout):
    """Sum and largest of the absolute gaps."""
    total, largest = 0.0, 0.0
    for s in range(rollout.gap.shape[0]):
        for i in range(rollout.gap.shape[1]):
            total += abs(rollout.gap[s, i])
            largest = max(largest, abs(rollout.gap[s, i]))
    return total, largest


@kernel
def add_rows(values, multipliers, weight, judge, lower, upper, jacobian, weights, g, H):
    """Add the rows' terms to the gradient g and the lower triangle of H; ``weights`` becomes r s for each row."""
    size = g.shape[0]
    for row in range(values.shape[0]):
        residual = shifted_residual(values[row], multipliers[row], weight, judge, lower[row], upper[row])
        weights[row] = weight * residual
        if residual != 0.0 or lower[row] == upper[row]:
            for i in range(size):
                slope = jacobian[row, i]
                if slope != 0.0:
                    g[i] += weights[row] * slope
                    for j in range(i + 1):
                        H[i, j] += weight * slope * jacobian[row, j]


@kernel(forceinline=True)  # copying its arguments' descriptors would take longer than the stage
def expand_stage(s, functions, data, rollout, costate, penalty, expansion, work, second_order):
    """F, g, H of stage ``s``, constraints included; ``costate`` (nx) weighs the curvature of the dynamics."""
    nx, nu = rollout.x.shape[1], rollout.u.shape[1]
    nc, nz = rollout.path.shape[1], rollout.x.shape[1] + rollout.u.shape[1]
    call8(functions.expand, rollout.x, s * nx, rollout.u, s * nu, data.times, 2 * s, data.parameters, 0, costate, 0,
          expansion.F, s * nx * nz, expansion.g, s * nz, expansion.H, s * nz * nz)  # fmt: skip
    for i in range(nx):
        work.slope[i] = expansion.g[s, i]
    if nc == 0:
        return
    weight, judge = penalty.weight[0], penalty.judge[0]
    for row in range(nc):
        residual = shifted_residual(
            rollout.path[s, row], penalty.path[s, row], weight, judge, data.path_lower[row], data.path_upper[row]
        )
        work.path_weights[row] = weight * residual if weight == judge else penalty.path[s, row]
    call7(functions.path_expand, rollout.x, s * nx, rollout.u, s * nu, data.times, 2 * s, data.parameters, 0,
          work.path_weights, 0, work.path_jacobian, 0, work.curvature, 0)  # fmt: skip
    H = expansion.H[s]
    add_multipliers(work.slope, penalty.path[s], work.path_jacobian)
    add_rows(rollout.path[s], penalty.path[s], weight, judge, data.path_lower, data.path_upper,
             work.path_jacobian, work.path_weights, expansion.g[s], H)  # fmt: skip
    add_curvature(H, work.curvature, second_order)


@kernel
def expand_end(functions, data, rollout, penalty, expansion, work, second_order):
    """Gradient and Hessian of the terminal cost, constraints included."""
    steps, nx = rollout.u.shape[0], rollout.x.shape[1]
    weight, judge = penalty.weight[0], penalty.judge[0]
    for row in range(rollout.end.shape[0]):
        residual = shifted_residual(
            rollout.end[row], penalty.end[row], weight, judge, data.end_lower[row], data.end_upper[row]
        )
        work.end_weights[row] = weight * residual if weight == judge else penalty.end[row]
    call8(functions.end_expand, rollout.x, steps * nx, data.end_time, 0, data.parameters, 0, work.end_weights, 0,
          expansion.end_gradient, 0, expansion.end_hessian, 0, work.end_jacobian, 0, work.curvature, 0)  # fmt: skip
    for i in range(nx):
        work.slope[i] = expansion.end_gradient[i]
    add_multipliers(work.slope, penalty.end, work.end_jacobian)
    add_rows(rollout.end, penalty.end, weight, judge, data.end_lower, data.end_upper, work.end_jacobian,
             work.end_weights, expansion.end_gradient, expansion.end_hessian)  # fmt: skip
    add_end_curvature(expansion.end_hessian, work.curvature, second_order)


@kernel
def add_multipliers(slope, multipliers, jacobian):
    """Add the rows times their multipliers to the slope by the state."""
    for row in range(multipliers.shape[0]):
        if multipliers[row] != 0.0:
            for i in range(slope.shape[0]):
                slope[i] += multipliers[row] * jacobian[row, i]


@kernel
def add_curvature(H, curvature, second_order):
    """Add the constraints' own curvature (for full second order) and complete the upper triangle."""
    size = H.shape[0]
    for i in range(size):
        for j in range(i + 1):
            if second_order:
                H[i, j] += curvature[i, j]
            H[j, i] = H[i, j]


@kernel
def add_end_curvature(H, curvature, second_order):
    """As `add_curvature`, for the terminal block, which is packed (nx, nx) at the start of the work array."""
    size = H.shape[0]
    flat = curvature.reshape(curvature.size)
    for i in range(size):
        for j in range(i + 1):
            if second_order:
                H[i, j] += flat[i * size + j]
            H[j, i] = H[i, j]


@kernel
def measure(values, multipliers, weight, judge, lower, upper):
    """Largest violation of the rows, and largest infeasibility or complementarity error."""
    violation, error = 0.0, 0.0
    for i in range(values.shape[0]):
        violation = max(violation, lower[i] - values[i], values[i] - upper[i])
        residual = shifted_residual(values[i], multipliers[i], weight, judge, lower[i], upper[i])
        error = max(error, abs(residual - multipliers[i] / weight))
    return violation, error


@kernel
def measure_all(data, rollout, penalty):
    """`measure` over the whole trajectory."""
    weight, judge = penalty.weight[0], penalty.judge[0]
    violation, error = measure(rollout.end, penalty.end, weight, judge, data.end_lower, data.end_upper)
    for s in range(rollout.u.shape[0]):
        one, other = measure(rollout.path[s], penalty.path[s], weight, judge, data.path_lower, data.path_upper)
        violation, error = max(violation, one), max(error, other)
    return violation, error


@kernel
def total_violation(data, rollout):
    """Sum of all violations."""
    total = 0.0
    for s in range(rollout.u.shape[0]):
        for i in range(rollout.path.shape[1]):
            value = rollout.path[s, i]
            total += max(0.0, data.path_lower[i] - value, value - data.path_upper[i])
    for i in range(rollout.end.shape[0]):
        total += max(0.0, data.end_lower[i] - rollout.end[i], rollout.end[i] - data.end_upper[i])
    return total


@kernel
def update_multipliers(data, rollout, penalty):
    """Every multiplier becomes r s."""
    weight, judge = penalty.weight[0], penalty.judge[0]
    for s in range(rollout.u.shape[0]):
        for i in range(rollout.path.shape[1]):
            penalty.path[s, i] = weight * shifted_residual(
                rollout.path[s, i], penalty.path[s, i], weight, judge, data.path_lower[i], data.path_upper[i]
            )
    for i in range(rollout.end.shape[0]):
        penalty.end[i] = weight * shifted_residual(
            rollout.end[i], penalty.end[i], weight, judge, data.end_lower[i], data.end_upper[i]
        )
