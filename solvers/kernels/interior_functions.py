"""Values and derivatives of the whole problem for the interior-point method, scaled, from the compiled stages."""

from __future__ import annotations

import math

from trajopt.lowering.call import call5, call6, call7, call8
from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.interior_space import EQUALITY, INEQUALITY, UNUSED, inner


@inner
def set_residual(data, v, row, value, slacks, r):
    """Residual of a row from the value of its function."""
    kind = data.kind[row]
    scaled = data.row_scale[row] * value
    if kind == EQUALITY:
        r[row] = scaled - data.target[row]
    elif kind == INEQUALITY:
        r[row] = scaled - v[slacks + row]
    else:
        r[row] = 0.0


@kernel
def evaluate(data, v, r, work):
    """Residuals of all rows and gaps into ``r``; returns the scaled cost of the problem itself."""
    steps, nx, nu = data.times.shape[0], data.group.shape[0], data.held.shape[0]
    nz, nr, ne, rows = nx + nu, data.path_rows.shape[0], data.end_rows.shape[0], data.kind.shape[0]
    n = steps * nz + nx
    cost = 0.0
    for s in range(steps):
        x = s * nz
        call6(data.functions.step, v, x, v, x + nx, data.times, 2 * s, data.parameters, 0,
              work.following, 0, work.cost, 0)  # fmt: skip
        cost += work.cost[0]
        for i in range(nx):
            r[rows + s * nx + i] = work.following[i] - v[x + nz + i]
        if nr > 0:
            call5(data.functions.path, v, x, v, x + nx, data.times, 2 * s, data.parameters, 0, work.path, 0)
            for j in range(nr):
                set_residual(data, v, s * nr + j, work.path[data.path_rows[j]], n, r)
    call5(data.functions.end, v, steps * nz, data.end_time, 0, data.parameters, 0, work.cost, 0, work.end, 0)
    for j in range(ne):
        set_residual(data, v, steps * nr + j, work.end[data.end_rows[j]], n, r)
    if data.elastic[0] > 0.0:
        add_elastic(data, v, n + rows, r)
    return data.cost_scale[0] * (cost + work.cost[0])


@inner
def add_elastic(data, v, first, r):
    """Add q - p to every residual in use; p begins at ``first``."""
    count = r.shape[0]
    for j in range(count):
        if j >= data.kind.shape[0] or data.kind[j] != UNUSED:
            r[j] += v[first + count + j] - v[first + j]


@kernel
def expand(data, point, expansion, work):
    """All derivatives at a point, with the curvature of the Lagrangian; returns whether they are finite.

    The compiled Hessian weighs cost and dynamics together, so costates are divided by the scale of the cost first; in
    restoration, where the cost does not count, the Hessian of the cost alone is taken off again.
    """
    steps, nx, nu = data.times.shape[0], data.group.shape[0], data.held.shape[0]
    nz, nr, rows = nx + nu, data.path_rows.shape[0], data.kind.shape[0]
    restoring = data.elastic[0] > 0.0
    scale = data.cost_scale[0]
    total = 0.0
    for s in range(steps):
        x = s * nz
        for i in range(nx):
            multiplier = point.m[rows + s * nx + i]
            work.weights[i] = multiplier if restoring else multiplier / scale
        call8(data.functions.expand, point.v, x, point.v, x + nx, data.times, 2 * s, data.parameters, 0, work.weights,
              0, expansion.F, s * nx * nz, expansion.g, x, expansion.H, s * nz * nz)  # fmt: skip
        if restoring:
            remove_cost(data, point.v, s, expansion, work)
        else:
            for i in range(nz):
                expansion.g[x + i] *= scale
            for i in range(s * nz * nz, (s + 1) * nz * nz):
                expansion.H[i] *= scale
        if nr > 0:
            expand_rows(data, point, s, expansion, work)
        for i in range(s * nz * nz, (s + 1) * nz * nz):
            total += expansion.H[i]
        for i in range(s * nx * nz, (s + 1) * nx * nz):
            total += expansion.F[i]
    expand_end(data, point, expansion, work)
    for value in expansion.g:
        total += value
    for value in expansion.C:
        total += value
    return math.isfinite(total)


@inner
def remove_cost(data, v, s, expansion, work):
    """Leave of gradient and Hessian of stage ``s`` only what the dynamics put there."""
    nx, nu = data.group.shape[0], data.held.shape[0]
    nz = nx + nu
    x = s * nz
    for i in range(nx):
        work.weights[i] = 0.0
    call8(data.functions.expand, v, x, v, x + nx, data.times, 2 * s, data.parameters, 0, work.weights, 0,
          expansion.F, s * nx * nz, work.gradient, 0, work.hessian, 0)  # fmt: skip
    for i in range(nz):
        expansion.g[x + i] = 0.0
        for j in range(nz):
            expansion.H[(s * nz + i) * nz + j] -= work.hessian[i, j]


@inner
def expand_rows(data, point, s, expansion, work):
    """Jacobian of the rows of stage ``s``, and their curvature onto its Hessian."""
    nx, nu = data.group.shape[0], data.held.shape[0]
    nz, nr = nx + nu, data.path_rows.shape[0]
    x = s * nz
    for j in range(work.path.shape[0]):
        work.path_weights[j] = 0.0
    for j in range(nr):
        if data.kind[s * nr + j] != UNUSED:
            work.path_weights[data.path_rows[j]] += point.m[s * nr + j] * data.row_scale[s * nr + j]
    call7(data.functions.path_expand, point.v, x, point.v, x + nx, data.times, 2 * s, data.parameters, 0,
          work.path_weights, 0, work.path_jacobian, 0, work.hessian, 0)  # fmt: skip
    for j in range(nr):
        scale = data.row_scale[s * nr + j] if data.kind[s * nr + j] != UNUSED else 0.0
        for i in range(nz):
            expansion.C[(s * nr + j) * nz + i] = scale * work.path_jacobian[data.path_rows[j], i]
    for i in range(nz):
        for j in range(nz):
            expansion.H[(s * nz + i) * nz + j] += work.hessian[i, j]


@inner
def expand_end(data, point, expansion, work):
    """Gradient, Hessian and Jacobian of the end."""
    steps, nx, nu = data.times.shape[0], data.group.shape[0], data.held.shape[0]
    nz, nr, ne = nx + nu, data.path_rows.shape[0], data.end_rows.shape[0]
    first, jacobian, hessian = steps * nr, steps * nr * nz, steps * nz * nz
    for j in range(work.end.shape[0]):
        work.end_weights[j] = 0.0
    for j in range(ne):
        if data.kind[first + j] != UNUSED:
            work.end_weights[data.end_rows[j]] += point.m[first + j] * data.row_scale[first + j]
    call8(data.functions.end_expand, point.v, steps * nz, data.end_time, 0, data.parameters, 0, work.end_weights, 0,
          expansion.g, steps * nz, expansion.H, hessian, work.end_jacobian, 0, work.hessian, 0)  # fmt: skip
    scale = 0.0 if data.elastic[0] > 0.0 else data.cost_scale[0]
    curvature = work.hessian.reshape(work.hessian.size)  # packed (nx, nx) at its start
    for i in range(nx):
        expansion.g[steps * nz + i] *= scale
        for j in range(nx):
            at = i * nx + j
            expansion.H[hessian + at] = scale * expansion.H[hessian + at] + curvature[at]
    for j in range(ne):
        factor = data.row_scale[first + j] if data.kind[first + j] != UNUSED else 0.0
        for i in range(nx):
            expansion.C[jacobian + j * nx + i] = factor * work.end_jacobian[data.end_rows[j], i]
