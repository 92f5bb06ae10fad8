"""Newton's method on the rows that act: what brings an augmented Lagrangian from some digits to all of them.

Rows act that are equalities, or whose multiplier l says so: c + l/j lies outside the limits, where j is the penalty of
the augmented Lagrangian. They enter a step of full second order through

    [ H    A' ] [ dz ]      [ grad L ]
    [ A  -1/r ] [ dl ]  = - [   c    ],        l + dl = r (c + l/r + A dz),        r = 1e4 j,

which is what the Riccati recursion solves, for r A'A is what a penalty adds to H: one step closes the rows to 1e-4 of
what one update of the augmented Lagrangian leaves. Multipliers follow the linear model, because those of the true rows
would be wrong by r times the model's error. The dynamics are simulated, and the box of the controls is kept exactly.

It is a method for the neighbourhood of a minimum: where some Q_uu is not positive definite, or steps get short, it
ends. Steps are halved until cost + w |violations|_1 falls enough (Nocedal, Wright 2006, section 18.3), w above all
multipliers.

Reference: Bertsekas, Constrained Optimization and Lagrange Multiplier Methods, 1982, section 4.4 (Newton-like methods);
Hintermueller, Ito, Kunisch 2003 (which rows act); in ALTRO's place of a projected Newton method (Howell et al. 2019).
"""

from __future__ import annotations

import math

from trajopt.lowering.call import call7
from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.ddp import (
    ACCEPTED,
    CONVERGED,
    NOT_FINITE,
    STALLED,
    copy_rollout,
    expand_all,
    magnitude,
    sweep,
)
from trajopt.solvers.kernels.shooting import measure_all, shifted_residual, simulate, total_violation

SHORTEST = 0.5
"""Steps below it say that the minimum is far, where the rows that act are not yet known."""

SHARPNESS = 0.01
"""Part of the rows' tolerance that is aimed at: another step of quadratic convergence gives it away."""

MARGIN = 1.1
"""Weight of the violations above the largest multiplier: any factor above one makes the merit exact."""


@kernel
def iterate(functions, data, current, candidate, penalty, target, expansion, gains, rows, work, state, tolerance,
            row_tolerance):  # fmt: skip
    """One step; returns ACCEPTED, CONVERGED, STALLED (no descent) or NOT_FINITE. ``target`` are multipliers as work."""
    expand_all(functions, data, current, penalty, expansion, gains, rows, True)
    state.length[0] = 0.0
    state.regularisation[0] = 0.0
    success, linear, quadratic, gap = sweep(
        functions, data, current, penalty, expansion, gains, rows, work, state, True
    )
    if not success:
        return STALLED
    state.decrement[0] = -(linear + 0.5 * quadratic)
    if not math.isfinite(state.decrement[0]):
        return NOT_FINITE
    error = measure_all(data, current, penalty)[1]
    small = min(gap, state.decrement[0]) <= tolerance * magnitude(state)
    if small and error <= SHARPNESS * row_tolerance:
        return CONVERGED
    slope, largest = predict_multipliers(functions, data, current, penalty, target, expansion, gains, rows, work)
    state.row_weight[0] = max(state.row_weight[0], MARGIN * largest)
    if search(functions, data, current, candidate, penalty, gains, rows, state, slope):
        move_multipliers(penalty, target, state.length[0])
        return ACCEPTED
    return CONVERGED if small and error <= row_tolerance else STALLED


@kernel
def predict_multipliers(functions, data, current, penalty, target, expansion, gains, rows, work):
    """``target`` becomes r (s + A dz) along the linear model's full step, or zero where a row does not act.

    Returns the cost's slope along the step, and the largest multiplier.
    """
    steps, nx, nz = expansion.F.shape
    nu, nc = nz - nx, current.path.shape[1]
    weight, judge = penalty.weight[0], penalty.judge[0]
    slope, largest = 0.0, 0.0
    dz = work.dz
    for i in range(nx):
        dz[0, i] = 0.0
    for s in range(steps):
        for i in range(nu):
            dz[0, nx + i] = gains.k[s, i]
            for j in range(nx):
                dz[0, nx + i] += gains.K[s, i, j] * dz[0, j]
        for i in range(nz):
            slope += expansion.g[s, i] * dz[0, i]
        if nc > 0:
            call7(functions.path_expand, current.x, s * nx, current.u, s * nu, data.times, 2 * s, data.parameters, 0,
                  rows.path_weights, 0, rows.path_jacobian, 0, rows.curvature, 0)  # fmt: skip
            part, size = predict_rows(current.path[s], penalty.path[s], weight, judge, data.path_lower, data.path_upper,
                                      rows.path_jacobian, dz, target.path[s])  # fmt: skip
            slope, largest = slope - part, max(largest, size)
        for i in range(nx):
            dz[1, i] = 0.0
            for j in range(nz):
                dz[1, i] += expansion.F[s, i, j] * dz[0, j]
        for i in range(nx):
            dz[0, i] = dz[1, i]
    for i in range(nx):
        slope += expansion.end_gradient[i] * dz[0, i]
    # The Jacobian of the end rows is still there, from the expansion.
    part, size = predict_rows(current.end, penalty.end, weight, judge, data.end_lower, data.end_upper,
                              rows.end_jacobian, dz, target.end)  # fmt: skip
    return slope - part, max(largest, size)


@kernel
def predict_rows(values, multipliers, weight, judge, lower, upper, jacobian, dz, target):
    """Do one stage of `predict_multipliers`; returns the rows' share of the merit's slope, and the largest."""
    share, largest = 0.0, 0.0
    for row in range(values.shape[0]):
        residual = shifted_residual(values[row], multipliers[row], weight, judge, lower[row], upper[row])
        target[row] = 0.0
        if residual != 0.0 or lower[row] == upper[row]:
            change = 0.0
            for j in range(jacobian.shape[1]):
                change += jacobian[row, j] * dz[0, j]
            share += weight * residual * change
            target[row] = weight * (residual + change)
            if lower[row] < upper[row]:  # a row pulled off its limit is free; the other limit is not the next to act
                above = values[row] + multipliers[row] / judge > upper[row]
                target[row] = max(0.0, target[row]) if above else min(0.0, target[row])
            largest = max(largest, abs(target[row]))
    return share, largest


@kernel
def search(functions, data, current, candidate, penalty, gains, rows, state, slope):
    """Backtrack along the gains until cost and weighted violations fall; then ``current`` is the new trajectory."""
    weight, violation = state.row_weight[0], total_violation(data, current)
    promise = weight * violation - slope
    length = 1.0
    while promise >= 0.0 and length >= SHORTEST:
        cost, _ = simulate(functions, data, current, gains.k, gains.K, length, candidate, penalty, rows)
        gain = state.cost[0] - cost + weight * (violation - total_violation(data, candidate))
        if gain > 0.0 and gain >= 1e-4 * length * promise:
            copy_rollout(candidate, current)
            state.cost[0], state.length[0], state.gain[0] = cost, length, gain
            return True
        length *= 0.5
    return False


@kernel
def move_multipliers(penalty, target, length):
    """Go that part of the way to the target."""
    for s in range(penalty.path.shape[0]):
        for i in range(penalty.path.shape[1]):
            penalty.path[s, i] += length * (target.path[s, i] - penalty.path[s, i])
    for i in range(penalty.end.shape[0]):
        penalty.end[i] += length * (target.end[i] - penalty.end[i])
