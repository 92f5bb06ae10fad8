"""Feasibility restoration: when no step passes, minimise the sum of all residuals near where the search got stuck.

    minimise price sum(p + q) + weight/2 |(z - reference) / measure|^2   subject to   residuals + q - p = 0,  p, q >= 0

with the bounds as they are, by the same method, of which every residual is soft: rows and gaps. It ends as soon as a
point passes the filter of the search and has a tenth less infeasibility; if instead it converges while residuals are
left, these cannot be lowered nearby, and the problem counts as infeasible.

Reference: Waechter, Biegler 2006, section 3.3, with their constants.
"""

from __future__ import annotations

import math

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.interior_functions import evaluate, expand
from trajopt.solvers.kernels.interior_iterate import (
    CONTINUE,
    CONVERGED,
    STUCK,
    accept,
    copy_point,
    measure,
)
from trajopt.solvers.kernels.interior_search import add_to_filter, in_filter, take
from trajopt.solvers.kernels.interior_space import UNUSED, inner
from trajopt.solvers.kernels.interior_start import estimate_multipliers
from trajopt.solvers.kernels.interior_system import barrier_value, error_of, longest_step

PRICE = 1e3
"""rho of the reference."""

SOFT_FALL = 0.9999
"""By how much a soft step must lower the error; IPOPT's soft_resto_pderror_reduction_factor."""

REQUIRED = 0.9
"""kappa_resto of the reference: infeasibility that restoration must at least come down to."""


@kernel
def begin(data, point, progress, soft, soft_point, soft_progress):
    """Set up the soft problem at the current point, with p and q on its central path (eqs. 32 and 33)."""
    n, rows, count = data.reference.shape[0], data.kind.shape[0], point.m.shape[0]
    mu = max(progress[0].mu, progress[0].primal_error)
    soft.elastic[0], soft.elastic[1] = PRICE, math.sqrt(mu)
    for i in range(n + rows):
        soft_point.v[i] = point.v[i]
        soft_point.zl[i], soft_point.zu[i] = min(PRICE, point.zl[i]), min(PRICE, point.zu[i])
    for i in range(n):
        soft.reference[i] = point.v[i]
        soft.measure[i] = max(1.0, abs(point.v[i]))
    for j in range(count):
        p, q = n + rows + j, n + rows + count + j
        soft_point.m[j] = 0.0
        residual = point.r[j]
        half = (mu - PRICE * residual) / (2.0 * PRICE)
        soft_point.v[q] = half + math.sqrt(half * half + mu * residual / (2.0 * PRICE))
        if not soft_point.v[q] > 0.0:  # cancellation, when the residual is large
            soft_point.v[q] = 0.5 * mu / PRICE
        soft_point.v[p] = max(residual + soft_point.v[q], 0.5 * mu / PRICE)
        soft_point.zl[p], soft_point.zl[q] = mu / soft_point.v[p], mu / soft_point.v[q]
        soft_point.zu[p] = soft_point.zu[q] = 0.0
    soft_progress[0].mu = mu
    soft_progress[0].watching = soft_progress[0].shortened = soft_progress[0].blocked = soft_progress[0].blocks = 0
    soft_progress[0].regularisation = soft_progress[0].last_regularisation = 0.0


@kernel
def start_soft(soft, point, expansion, system, work, progress):
    """Value the soft problem's first point; False unless it is finite."""
    progress[0].cost = evaluate(soft, point.v, point.r, work)
    if not measure(soft, point, expansion, system, work, progress):
        return False
    progress[0].barrier = progress[0].cost + barrier_value(soft, point.v, progress[0].mu)
    progress[0].theta_most = 1e4 * max(1.0, progress[0].theta)
    progress[0].theta_least = 1e-4 * max(1.0, progress[0].theta)
    progress[0].filter_count = 0
    return True


@kernel
def may_return(data, soft_point, work, progress):
    """Whether the soft problem's point passes the filter of the problem itself, with less infeasibility."""
    cost = evaluate(data, soft_point.v, work.trial_r, work)
    theta = 0.0
    for value in work.trial_r:
        theta += abs(value)
    if not theta <= REQUIRED * progress[0].theta:
        return False
    for i in range(data.lower.shape[0]):
        work.trial[i] = soft_point.v[i]
    phi = cost + barrier_value(data, work.trial, progress[0].mu)
    return math.isfinite(phi) and not in_filter(work, progress, theta, phi)


@kernel
def leave(data, point, soft_point, expansion, system, factor, step, work, progress):
    """Go on from the soft problem's point, with central multipliers of bounds and new ones of rows."""
    progress[0].reference_theta, progress[0].reference_barrier = progress[0].theta, progress[0].barrier
    add_to_filter(work, progress)
    progress[0].watching = progress[0].shortened = 0
    for i in range(point.v.shape[0]):
        point.v[i] = soft_point.v[i]
        if data.lower[i] > -math.inf:
            point.zl[i] = min(PRICE, progress[0].mu / (point.v[i] - data.lower[i]))
        if data.upper[i] < math.inf:
            point.zu[i] = min(PRICE, progress[0].mu / (data.upper[i] - point.v[i]))
    for j in range(point.m.shape[0]):
        point.m[j] = 0.0
    progress[0].cost = evaluate(data, point.v, point.r, work)
    if not expand(data, point, expansion, work):
        return False
    estimate_multipliers(data, point, expansion, system, factor, step, work, progress)
    if not measure(data, point, expansion, system, work, progress):
        return False
    progress[0].barrier = progress[0].cost + barrier_value(data, point.v, progress[0].mu)
    return True


@kernel
def worst_residual(data, point):
    """Index and size of the largest residual in the problem's own units."""
    worst, size = 0, 0.0
    for j in range(point.r.shape[0]):
        value = abs(point.r[j])
        if j < data.kind.shape[0]:
            value = value / data.row_scale[j] if data.kind[j] != UNUSED else 0.0
        if value > size:
            worst, size = j, value
    return worst, size


@kernel
def adopt(data, point, soft_point, work, progress):
    """Take the soft problem's point for the answer; returns its largest violation."""
    for i in range(point.v.shape[0]):
        point.v[i] = soft_point.v[i]
    progress[0].cost = evaluate(data, point.v, point.r, work)
    _, size = worst_residual(data, point)
    progress[0].violation = size
    return size


@inner
def soft_step(data, point, expansion, system, step, saved, work, progress, tolerance, row_tolerance):
    """Take the longest step that the filter refused if it lowers the error of the barrier problem all the same.

    Rounding can hide a fall of the barrier cost close to a solution (soft restoration; IPOPT does so, too). Returns a
    verdict as an iteration does; STUCK leaves everything as it was, but for the derivatives.
    """
    mu, theta = progress[0].mu, progress[0].theta
    before, last = error_of(data, point, system, progress, mu), progress[0].cost
    copy_point(point, saved)
    alpha, dual = longest_step(data, point, step, max(0.99, 1.0 - mu))
    take(data, point.v, step.v, alpha, work.trial)
    progress[0].cost = evaluate(data, work.trial, work.trial_r, work)
    progress[0].step, progress[0].dual_step = alpha, dual
    accept(data, point, step, work, progress)
    better = measure(data, point, expansion, system, work, progress)
    better = better and progress[0].theta <= max(theta, tolerance)  # or search and restoration could go in circles
    if better and error_of(data, point, system, progress, mu) <= SOFT_FALL * before:
        progress[0].barrier = progress[0].cost + barrier_value(data, point.v, mu)
        progress[0].error = error_of(data, point, system, progress, 0.0)
        solved = progress[0].error <= tolerance and progress[0].violation <= row_tolerance
        return CONVERGED if solved else CONTINUE
    copy_point(saved, point)
    progress[0].cost = last
    measure(data, point, expansion, system, work, progress)
    return STUCK
