"""The barrier: the condensed Newton system, the steps of what was condensed, and how far from optimal a point is.

Each bounded variable v_i adds -mu log(v_i - lower_i) - mu log(upper_i - v_i), and where only one side is bounded the
damping kappa mu distance, which keeps the barrier problem bounded. With slope_i the derivative of these terms and
Sigma_i = zl_i / (v_i - lower_i) + zu_i / (upper_i - v_i), the Newton step of slack and elastic variables is

    ds = (y + dy - slope) / Sigma,   dp = (y + dy - price - slope) / Sigma,   dq = (-y - dy - price - slope) / Sigma,

and putting them into the rows leaves C dz - D dy = -(r + shift), D the sum of their 1 / Sigma.

Reference: Waechter, Biegler, On the implementation of an interior-point filter line-search algorithm, 2006.
"""

from __future__ import annotations

import math

from trajopt.solvers.kernels.interior_refinement import linearise, project
from trajopt.solvers.kernels.interior_space import INEQUALITY, UNUSED, inner

DAMPING = 1e-5
"""kappa_d of the reference, section 3.7."""

RESET = 1e10
"""kappa_Sigma of the reference, eq. 16: by how much a multiplier may differ from mu over its distance."""

LARGE_MULTIPLIERS = 100.0
"""s_max of the reference, eq. 6: mean multiplier from which errors are measured relative to the mean."""


@inner(forceinline=True)
def slope_of(data, v, i, mu):
    """Derivative of the barrier by variable ``i``."""
    lower, upper = data.lower[i], data.upper[i]
    slope = 0.0
    if lower > -math.inf:
        slope -= mu / (v[i] - lower)
        if upper == math.inf:
            slope += DAMPING * mu
    if upper < math.inf:
        slope += mu / (upper - v[i])
        if lower == -math.inf:
            slope -= DAMPING * mu
    return slope


@inner(forceinline=True)
def stiffness(data, point, i):
    """Sigma of variable ``i``."""
    sigma = 0.0
    if data.lower[i] > -math.inf:
        sigma += point.zl[i] / (point.v[i] - data.lower[i])
    if data.upper[i] < math.inf:
        sigma += point.zu[i] / (data.upper[i] - point.v[i])
    return sigma


@inner
def barrier_value(data, v, mu):
    """Barrier terms, with the elastic cost in restoration; infinite outside the bounds."""
    total, damping = 0.0, 0.0
    for i in range(v.shape[0]):
        lower, upper = data.lower[i], data.upper[i]
        if lower > -math.inf:
            if not v[i] > lower:
                return math.inf
            total -= math.log(v[i] - lower)
            if upper == math.inf:
                damping += v[i] - lower
        if upper < math.inf:
            if not v[i] < upper:
                return math.inf
            total -= math.log(upper - v[i])
            if lower == -math.inf:
                damping += upper - v[i]
    return mu * (total + DAMPING * damping) + elastic_cost(data, v)


@inner
def elastic_cost(data, v):
    """Price of the elastic variables, and the distance from the reference."""
    price, weight = data.elastic[0], data.elastic[1]
    if price == 0.0:
        return 0.0
    n, total = data.reference.shape[0], 0.0
    for i in range(n + data.kind.shape[0], v.shape[0]):
        total += v[i]
    distance = 0.0
    for i in range(n):
        distance += ((v[i] - data.reference[i]) / data.measure[i]) ** 2
    return price * total + 0.5 * weight * distance


@inner
def set_gradient(data, point, expansion, system):
    """Gradient of the Lagrangian by z without bounds, into ``system.a``."""
    steps, nx, nu = data.times.shape[0], data.group.shape[0], data.held.shape[0]
    nz, nr, ne, rows = nx + nu, data.path_rows.shape[0], data.end_rows.shape[0], data.kind.shape[0]
    a, m, F, C = system.a, point.m, expansion.F, expansion.C
    for i in range(a.shape[0]):
        a[i] = expansion.g[i]
        if data.elastic[0] > 0.0:
            a[i] += data.elastic[1] * (point.v[i] - data.reference[i]) / data.measure[i] ** 2
    for s in range(steps + 1):
        width, x = nz if s < steps else nx, s * nz
        for j in range(nr if s < steps else ne):
            entry = (s * nr + j) * nz if s < steps else steps * nr * nz + j * nx
            for i in range(width):
                a[x + i] += C[entry + i] * m[s * nr + j]
        if s == steps:
            break
        for i in range(nx):
            multiplier, row = m[rows + s * nx + i], (s * nx + i) * nz
            a[x + nz + i] -= multiplier
            for j in range(nz):
                a[x + j] += F[row + j] * multiplier
    project(data, a)


@inner
def condense(data, point, system, mu, softness):
    """Fill b, sigma, D, W and shift; equalities get W = 1 / ``softness``."""
    n, rows = system.a.shape[0], data.kind.shape[0]
    price, count = data.elastic[0], point.m.shape[0]
    for i in range(n):
        system.b[i] = system.a[i] + slope_of(data, point.v, i, mu)
        system.sigma[i] = stiffness(data, point, i)
        if price > 0.0:
            system.sigma[i] += data.elastic[1] / data.measure[i] ** 2
    project(data, system.b)
    for j in range(count):
        system.D[j] = system.shift[j] = system.W[j] = 0.0
        used, y = True, point.m[j]
        if j < rows:
            used = data.kind[j] != UNUSED
            if data.kind[j] == INEQUALITY:
                system.D[j] = 1.0 / stiffness(data, point, n + j)
                system.shift[j] = system.D[j] * (slope_of(data, point.v, n + j, mu) - y)
        if not used:
            continue
        if price > 0.0:
            p, q = n + rows + j, n + rows + count + j
            soft_p, soft_q = 1.0 / stiffness(data, point, p), 1.0 / stiffness(data, point, q)
            system.D[j] += soft_p + soft_q
            system.shift[j] += soft_p * (price + slope_of(data, point.v, p, mu) - y)
            system.shift[j] -= soft_q * (price + slope_of(data, point.v, q, mu) + y)
        system.W[j] = 1.0 / (system.D[j] if system.D[j] > 0.0 else softness)


@inner
def recover(data, point, expansion, r, step, mu, work):
    """Steps of slacks, elastic variables and multipliers of bounds, from those of z and m; ``r`` are the residuals.

    The softest variable of a row takes what its linearisation leaves instead of its own formula, whose rounding is
    multiplied by 1 / Sigma.
    """
    n, rows, count = data.reference.shape[0], data.kind.shape[0], point.m.shape[0]
    linearise(data, expansion, r, step.v, work.residual_m)
    if data.elastic[0] > 0.0:
        for j in range(count):
            recover_elastic(data, point, j, step, mu, work.residual_m[j])
    else:
        for j in range(rows):
            step.v[n + j] = work.residual_m[j] if data.kind[j] == INEQUALITY else 0.0
    for i in range(point.v.shape[0]):
        step.zl[i] = step.zu[i] = 0.0
        if data.lower[i] > -math.inf:
            step.zl[i] = (mu - point.zl[i] * step.v[i]) / (point.v[i] - data.lower[i]) - point.zl[i]
        if data.upper[i] < math.inf:
            step.zu[i] = (mu + point.zu[i] * step.v[i]) / (data.upper[i] - point.v[i]) - point.zu[i]


@inner
def recover_elastic(data, point, j, step, mu, left):
    """Steps of slack and elastic variables of one row: ds + dp - dq = left."""
    n, rows, count = data.reference.shape[0], data.kind.shape[0], point.m.shape[0]
    price, y = data.elastic[0], point.m[j] + step.m[j]
    p, q = n + rows + j, n + rows + count + j
    soft_p, soft_q, soft_s = 1.0 / stiffness(data, point, p), 1.0 / stiffness(data, point, q), 0.0
    dp = soft_p * (y - price - slope_of(data, point.v, p, mu))
    dq = soft_q * (-y - price - slope_of(data, point.v, q, mu))
    ds = 0.0
    if j < rows and data.kind[j] == INEQUALITY:
        soft_s = 1.0 / stiffness(data, point, n + j)
        ds = soft_s * (y - slope_of(data, point.v, n + j, mu))
    if j >= rows or data.kind[j] != UNUSED:
        if soft_s >= max(soft_p, soft_q):
            ds = left - dp + dq
        elif soft_p >= soft_q:
            dp = left - ds + dq
        else:
            dq = ds + dp - left
    step.v[p], step.v[q] = dp, dq
    if j < rows:
        step.v[n + j] = ds


@inner
def directional_slope(data, point, expansion, step, mu):
    """Derivative of the barrier problem's cost along a step."""
    n, price = data.reference.shape[0], data.elastic[0]
    total = 0.0
    for i in range(point.v.shape[0]):
        slope = slope_of(data, point.v, i, mu)
        if i < n:
            slope += expansion.g[i]
            if price > 0.0:
                slope += data.elastic[1] * (point.v[i] - data.reference[i]) / data.measure[i] ** 2
        elif i >= n + data.kind.shape[0]:
            slope += price
        total += slope * step.v[i]
    return total


@inner
def longest_step(data, point, step, tau):
    """Fractions of a step in v, and in the multipliers, that keep a distance 1 - ``tau`` to every bound."""
    primal, dual = 1.0, 1.0
    for i in range(point.v.shape[0]):
        if data.lower[i] > -math.inf:
            if step.v[i] < 0.0:
                primal = min(primal, tau * (point.v[i] - data.lower[i]) / -step.v[i])
            if step.zl[i] < 0.0:
                dual = min(dual, tau * point.zl[i] / -step.zl[i])
        if data.upper[i] < math.inf:
            if step.v[i] > 0.0:
                primal = min(primal, tau * (data.upper[i] - point.v[i]) / step.v[i])
            if step.zu[i] < 0.0:
                dual = min(dual, tau * point.zu[i] / -step.zu[i])
    return primal, dual


@inner
def move_multipliers(data, point, step, primal, dual, mu):
    """Apply the steps of all multipliers; those of bounds stay within a factor of mu over their distance (eq. 16)."""
    for j in range(point.m.shape[0]):
        point.m[j] += primal * step.m[j]
    for i in range(point.v.shape[0]):
        if data.lower[i] > -math.inf:
            centre = mu / (point.v[i] - data.lower[i])
            point.zl[i] = max(min(point.zl[i] + dual * step.zl[i], RESET * centre), centre / RESET)
        if data.upper[i] < math.inf:
            centre = mu / (data.upper[i] - point.v[i])
            point.zu[i] = max(min(point.zu[i] + dual * step.zu[i], RESET * centre), centre / RESET)


@inner
def dual_infeasibility(data, point, system):
    """Largest entry of the gradient of the Lagrangian by every variable."""
    n, rows, count = system.a.shape[0], data.kind.shape[0], point.m.shape[0]
    largest = 0.0
    for i in range(n):
        largest = max(largest, abs(system.a[i] - point.zl[i] + point.zu[i]))
    for j in range(rows):
        if data.kind[j] == INEQUALITY:
            largest = max(largest, abs(point.m[j] + point.zl[n + j] - point.zu[n + j]))
    if data.elastic[0] > 0.0:
        for j in range(count):
            if j >= rows or data.kind[j] != UNUSED:
                p, q = n + rows + j, n + rows + count + j
                largest = max(largest, abs(data.elastic[0] - point.m[j] - point.zl[p]))
                largest = max(largest, abs(data.elastic[0] + point.m[j] - point.zl[q]))
    return largest


@inner
def complementarity(data, point, mu):
    """Largest deviation of multiplier times distance from mu."""
    largest = 0.0
    for i in range(point.v.shape[0]):
        if data.lower[i] > -math.inf:
            largest = max(largest, abs(point.zl[i] * (point.v[i] - data.lower[i]) - mu))
        if data.upper[i] < math.inf:
            largest = max(largest, abs(point.zu[i] * (data.upper[i] - point.v[i]) - mu))
    return largest


@inner
def multiplier_scales(data, point):
    """s_d and s_c of the reference, eq. 6."""
    rows, bounds, count, used = 0.0, 0.0, 0, 0
    for value in point.m:
        rows += abs(value)
        used += 1
    for i in range(point.v.shape[0]):
        if data.lower[i] > -math.inf:
            bounds += point.zl[i]
            count += 1
        if data.upper[i] < math.inf:
            bounds += point.zu[i]
            count += 1
    both = (rows + bounds) / max(1, used + count)
    return max(LARGE_MULTIPLIERS, both) / LARGE_MULTIPLIERS, max(
        LARGE_MULTIPLIERS, bounds / max(1, count)
    ) / LARGE_MULTIPLIERS


@inner
def infeasibility(data, point):
    """Sum and maximum of the residuals, and the maximum in the problem's own units.

    Both maxima are relative to max(1, size of the limit or state), as the certificate's violations are: of a large
    number rounding leaves no more.
    """
    total, largest, violation = 0.0, 0.0, 0.0
    rows, count, n = data.kind.shape[0], point.m.shape[0], data.reference.shape[0]
    nx = data.group.shape[0]
    nz = nx + data.held.shape[0]
    for j in range(count):
        value = point.r[j]
        total += abs(value)
        if data.elastic[0] > 0.0 and (j >= rows or data.kind[j] != UNUSED):
            value -= point.v[n + rows + count + j] - point.v[n + rows + j]
        if j < rows:
            size = max(abs(data.target[j]), abs(point.v[n + j]))
            largest = max(largest, abs(point.r[j]) / max(1.0, size))
            violation = max(violation, abs(value) / max(data.row_scale[j], size))
        else:
            step = (j - rows) // nx
            size = max(1.0, abs(point.v[(step + 1) * nz + (j - rows) - step * nx]))
            largest, violation = max(largest, abs(point.r[j]) / size), max(violation, abs(value) / size)
    return total, largest, violation


@inner
def error_of(data, point, system, progress, mu):
    """E_mu of the reference, eq. 5; its three parts, unscaled, are left in progress."""
    scale_dual, scale_centre = multiplier_scales(data, point)
    progress[0].dual_error = dual_infeasibility(data, point, system)
    progress[0].complementarity = complementarity(data, point, mu)
    return max(
        progress[0].dual_error / scale_dual, progress[0].primal_error, progress[0].complementarity / scale_centre
    )
