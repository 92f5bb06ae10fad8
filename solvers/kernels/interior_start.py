"""The first point of the interior-point method: scales, limits and slacks, first multipliers, first barrier parameter.

A guess without multipliers is moved well inside its bounds, and gets least-squares multipliers. A guess with them is a
warm start: the barrier problem that it solves well enough, E_mu <= kappa_epsilon mu, is the one of mu = E_0 /
kappa_epsilon, so the method goes on from there, and variables keep the distance mu / z to the bounds that they press
on.

Reference: Waechter, Biegler 2006, section 3.6 and 3.8, with their constants.
"""

from __future__ import annotations

import math

from trajopt.lowering.call import call5
from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.interior_functions import evaluate, expand
from trajopt.solvers.kernels.interior_iterate import BARRIER_ERROR, SOFTNESS, assess, measure
from trajopt.solvers.kernels.interior_refinement import norm, solve
from trajopt.solvers.kernels.interior_riccati import factorise
from trajopt.solvers.kernels.interior_space import EQUALITY, FIXED, INEQUALITY, UNUSED, inner
from trajopt.solvers.kernels.interior_system import barrier_value, set_gradient

RELAXATION = 1e-8
"""By how much limits are relaxed, relative to max(1, |limit|); IPOPT's bound_relax_factor."""

PUSH = 1e-2
"""How far inside its bounds a variable starts, relative to the bound and to the range; kappa_1 and kappa_2."""

STEEPEST, LEAST_SCALE = 100.0, 1e-8
"""Largest gradient at the first point after scaling, and the least scale."""

LARGEST_FIRST_MULTIPLIER = 1e3
"""Least-squares multipliers beyond it are discarded."""


@kernel
def start(
    data, point, expansion, system, factor, step, work, progress, limits, settled, relaxation, barrier, least_barrier,
    warm,
):  # fmt: skip
    """Scale the problem at the point and value it there; False unless it is finite.

    ``limits`` (2, M) are those of the rows, ``settled`` (nr) marks rows that no control enters. With ``warm``, the
    point holds multipliers in the problem's own units, zl and zu being the parts that press on lower and upper bounds.
    """
    place_variables(data, point.v, relaxation, warm)
    drop_settled_rows(data, point.v, limits, settled, 2.0 * relaxation, work)
    expand(data, point, expansion, work)
    set_scales(data, expansion)
    set_row_limits(data, limits, relaxation)
    place_slacks(data, point, work)
    progress[0].mu = barrier
    if warm:
        adopt_multipliers(data, point)
        scale_expansion(data, expansion)
        if not assess(data, point, expansion, system, progress):
            return False
        progress[0].mu = max(least_barrier, min(barrier, progress[0].error / BARRIER_ERROR))
        keep_distances(data, point, progress[0].mu)
    else:
        move_slacks_inside(data, point)
    unite_groups(data, point.v)
    progress[0].cost = evaluate(data, point.v, point.r, work)
    if not warm:
        if not (math.isfinite(progress[0].cost) and expand(data, point, expansion, work)):
            return False
        estimate_multipliers(data, point, expansion, system, factor, step, work, progress)
    if not measure(data, point, expansion, system, work, progress):
        return False
    progress[0].barrier = progress[0].cost + barrier_value(data, point.v, progress[0].mu)
    progress[0].theta_most = 1e4 * max(1.0, progress[0].theta)
    progress[0].theta_least = 1e-4 * max(1.0, progress[0].theta)
    progress[0].filter_count = 0
    return math.isfinite(progress[0].barrier)


@inner
def drop_settled_rows(data, v, limits, settled, tolerance, work):
    """Leave out rows that only see a fixed initial state and hold there: nothing can move them."""
    nx, nr = data.group.shape[0], data.path_rows.shape[0]
    for group in data.group:
        if group != FIXED:
            return
    if nr == 0:
        return
    call5(data.functions.path, v, 0, v, nx, data.times, 0, data.parameters, 0, work.path, 0)
    for j in range(nr):
        value = work.path[data.path_rows[j]]
        if settled[j] and limits[0, j] - tolerance <= value <= limits[1, j] + tolerance:
            data.kind[j] = UNUSED


@inner
def set_scales(data, expansion):
    """Scale cost and rows so that no gradient at the first point exceeds `STEEPEST`."""
    nx, _nr = data.group.shape[0], data.path_rows.shape[0]
    nz, rows = nx + data.held.shape[0], data.times.shape[0] * data.path_rows.shape[0]
    data.cost_scale[0] = scale_of(norm(expansion.g, expansion.g))
    for j in range(data.kind.shape[0]):
        width, entry = (nz, j * nz) if j < rows else (nx, rows * nz + (j - rows) * nx)
        row = expansion.C[entry : entry + width]
        data.row_scale[j] = scale_of(norm(row, row))


@inner
def scale_expansion(data, expansion):
    """Scale derivatives that were found before the scales: all of the Lagrangian has the scale of the cost."""
    nx, rows = data.group.shape[0], data.times.shape[0] * data.path_rows.shape[0]
    nz = nx + data.held.shape[0]
    for i in range(expansion.g.shape[0]):
        expansion.g[i] *= data.cost_scale[0]
    for i in range(expansion.H.shape[0]):
        expansion.H[i] *= data.cost_scale[0]
    for j in range(data.kind.shape[0]):
        width, entry = (nz, j * nz) if j < rows else (nx, rows * nz + (j - rows) * nx)
        for i in range(width):
            expansion.C[entry + i] *= data.row_scale[j]


@inner
def scale_of(steepest):
    """Scale for a gradient of that size; one that is not finite gets none."""
    if not (steepest > STEEPEST and steepest < math.inf):
        return 1.0
    return max(LEAST_SCALE, STEEPEST / steepest)


@inner(forceinline=True)
def relaxed(limit, outwards, most):
    """A limit moved outwards; an infinite one stays."""
    if abs(limit) == math.inf:
        return limit
    return limit + outwards * min(RELAXATION * max(1.0, abs(limit)), most)


@inner
def place_variables(data, v, relaxation, warm):
    """Relax the bounds of states and controls, and move these inside: well inside, or at a warm start just so."""
    for i in range(data.reference.shape[0]):
        data.lower[i] = relaxed(data.lower[i], -1.0, relaxation)
        data.upper[i] = relaxed(data.upper[i], 1.0, relaxation)
        v[i] = min(max(v[i], data.lower[i]), data.upper[i]) if warm else inside(data, v, i, math.inf, math.inf)


@inner
def unite_groups(data, v):
    """Entries of the initial state that move as one begin equal."""
    for entry in range(data.group.shape[0]):
        for other in range(entry):
            if data.group[entry] != FIXED and data.group[other] == data.group[entry]:
                v[entry] = v[other]


@inner
def set_row_limits(data, limits, relaxation):
    """Targets of equalities, and bounds of the slacks of inequalities, relaxed in the problem's unit."""
    n = data.reference.shape[0]
    for j in range(data.kind.shape[0]):
        scale = data.row_scale[j]
        if data.kind[j] == EQUALITY:
            data.target[j] = scale * limits[0, j]
        elif data.kind[j] == INEQUALITY:
            data.lower[n + j] = scale * relaxed(limits[0, j], -1.0, relaxation)
            data.upper[n + j] = scale * relaxed(limits[1, j], 1.0, relaxation)


@inner
def place_slacks(data, point, work):
    """Residuals, with slacks at the values of their rows, within their bounds; what is not finite counts as zero."""
    n, rows = data.reference.shape[0], data.kind.shape[0]
    for j in range(rows):
        point.v[n + j] = 0.0
    evaluate(data, point.v, point.r, work)
    for j in range(rows):
        if data.kind[j] == INEQUALITY:
            value = point.r[j] if math.isfinite(point.r[j]) else 0.0
            point.v[n + j] = min(max(value, data.lower[n + j]), data.upper[n + j])
    evaluate(data, point.v, point.r, work)


@inner(forceinline=True)
def inside(data, v, i, most_low, most_high):
    """Variable ``i`` moved off its bounds by the distance of section 3.6, or less."""
    lower, upper = data.lower[i], data.upper[i]
    room = PUSH * (upper - lower)
    value = v[i]
    if lower > -math.inf:
        value = max(value, lower + min(PUSH * max(1.0, abs(lower)), room, most_low))
    if upper < math.inf:
        value = min(value, upper - min(PUSH * max(1.0, abs(upper)), room, most_high))
    return value


@inner
def move_slacks_inside(data, point):
    """Cold start: slacks well inside their bounds, multipliers of bounds at one."""
    for i in range(point.v.shape[0]):
        if i >= data.reference.shape[0]:
            point.v[i] = inside(data, point.v, i, math.inf, math.inf)
        point.zl[i] = 1.0 if data.lower[i] > -math.inf else 0.0
        point.zu[i] = 1.0 if data.upper[i] < math.inf else 0.0


@inner
def adopt_multipliers(data, point):
    """Warm start: scale the multipliers of the guess; those of slacks are those of their rows."""
    n, rows, scale = data.reference.shape[0], data.kind.shape[0], data.cost_scale[0]
    for j in range(point.m.shape[0]):
        point.m[j] *= scale / data.row_scale[j] if j < rows else scale
    for i in range(point.v.shape[0]):
        if i < n:
            point.zl[i] *= scale
            point.zu[i] *= scale
        else:
            point.zl[i], point.zu[i] = max(0.0, -point.m[i - n]), max(0.0, point.m[i - n])
        if data.lower[i] == -math.inf:
            point.zl[i] = 0.0
        if data.upper[i] == math.inf:
            point.zu[i] = 0.0


@inner
def keep_distances(data, point, mu):
    """Warm start: variables keep the distance mu / z to their bounds, and multipliers are at least central."""
    v = point.v
    for i in range(v.shape[0]):
        low = mu / point.zl[i] if point.zl[i] > 0.0 else math.inf
        high = mu / point.zu[i] if point.zu[i] > 0.0 else math.inf
        v[i] = inside(data, v, i, low, high)
        if data.lower[i] > -math.inf:
            point.zl[i] = max(point.zl[i], mu / (v[i] - data.lower[i]))
        if data.upper[i] < math.inf:
            point.zu[i] = max(point.zu[i], mu / (data.upper[i] - v[i]))


@inner
def estimate_multipliers(data, point, expansion, system, factor, step, work, progress):
    """Multipliers that minimise the gradient of the Lagrangian; the Newton system with an identity in H's place."""
    steps, nx, nu = data.times.shape[0], data.group.shape[0], data.held.shape[0]
    nz, n = nx + nu, system.a.shape[0]
    set_gradient(data, point, expansion, system)
    for i in range(expansion.H.shape[0]):
        expansion.H[i] = 0.0
    for s in range(steps + 1):
        width = nz if s < steps else nx
        for i in range(width):
            expansion.H[s * nz * nz + i * width + i] = 1.0
    for i in range(n):
        system.b[i] = system.a[i] - point.zl[i] + point.zu[i]
        system.sigma[i] = 0.0
    for j in range(point.m.shape[0]):
        system.D[j] = system.W[j] = system.rhs[j] = 0.0
        if j < data.kind.shape[0] and data.kind[j] != UNUSED:
            system.W[j] = 1.0 / SOFTNESS
            if data.kind[j] == INEQUALITY:  # the slack's own condition, y = zu - zl, with the same weight
                system.D[j] = system.W[j] = 1.0
                system.rhs[j] = point.zu[n + j] - point.zl[n + j]
    if not factorise(data, expansion, system, factor, work, 0.0):
        return
    solve(data, expansion, system, factor, system.b, system.rhs, work, 0.0, step.v, step.m, progress)
    if norm(step.m, step.m) <= LARGEST_FIRST_MULTIPLIER:
        for j in range(point.m.shape[0]):
            point.m[j] = step.m[j]
