"""The Newton system of the interior-point method, solved by a Riccati recursion.

With z = (x, u) the system is, stage by stage,

    H dz + C'dy + F'dl+ - dl = -b,      C dz - D_c dy = -r_c,      F dz - dx+ - D_g dl+ = -r_g,

where l are the costates and D >= 0 is diagonal. Rows are condensed, dy = W (C dz + r_c) with W = 1 / (D_c + delta): the
small delta stands where D_c is zero, for equalities, and iterative refinement on the system without it takes it back.
So rank-deficient rows do no harm, and Q_uu > 0 at every stage says that the system has the right inertia. With
dl+ = P dx+ + p, soft gaps (D_g > 0) turn P into P~ = (P^-1 + D_g)^-1 = D_g^-1/2 (I + M)^-1 M D_g^-1/2, where
M = D_g^1/2 P D_g^1/2, and then

    Q = H + C'WC + F'P~F,     Y = L^-1 Q_ux with L L' = Q_uu,     K = -L^-T Y,     P = Q_xx - Y'Y.

References: Rao, Wright, Rawlings 1998; Frison, Diehl, HPIPM, 2020; Vanroye et al., FATROP, 2023.
"""

from __future__ import annotations

import math

from trajopt.solvers.kernels.box_qp import solve_factored
from trajopt.solvers.kernels.interior_space import FIXED, inner
from trajopt.solvers.kernels.rows import combine_rows


@inner(forceinline=True)
def factor_in_place(L, size, first, width):
    """Cholesky factor of the leading block of a row-major matrix at ``first`` of a flat array, over its lower triangle.

    The diagonal becomes reciprocals. False unless positive definite.
    """
    for i in range(size):
        row = first + i * width
        for j in range(i + 1):
            other = first + j * width
            value = L[row + j]
            for c in range(j):
                value -= L[row + c] * L[other + c]
            if i == j:
                if not (value > 0.0 and value < math.inf):  # also false for NaN
                    return False
                L[row + i] = 1.0 / math.sqrt(value)
            else:
                L[row + j] = value * L[other + j]
    return True


@inner
def add_rows(Q, W, first_row, C, first_entry, rows, width, WC):
    """Add C'WC to the lower triangle of Q (at its own row length), for rows from ``first_row`` of W."""
    for j in range(rows):
        weight = W[first_row + j]
        for i in range(width):
            WC[j, i] = weight * C[first_entry + j * width + i]
    length, stride = Q.shape[1], WC.shape[1]
    for i in range(width):
        combine_rows(Q, i * length, 1.0, Q, i * length, 1.0, WC, i, stride, C, first_entry, width, rows, i + 1)


@inner
def soften(P, k, D, first, work):
    """P[k] becomes P~ for the gap before knot ``k``, whose D begins at ``first``; False unless I + M > 0."""
    nx = P.shape[1]
    L, Z = work.M, work.T
    for i in range(nx):
        for j in range(nx):
            Z[i, j] = math.sqrt(D[first + i]) * P[k, i, j] * math.sqrt(D[first + j])
            L[i, j] = Z[i, j]
        L[i, i] += 1.0
    if not factor_in_place(L.reshape(nx * nx), nx, 0, nx):
        return False
    for c in range(nx):  # Z = (I + M)^-1 M, which unlike M - M (I + M)^-1 M loses nothing where M is large
        for i in range(nx):
            for j in range(i):
                Z[i, c] -= L[i, j] * Z[j, c]
            Z[i, c] *= L[i, i]
        for i in range(nx - 1, -1, -1):
            for j in range(i + 1, nx):
                Z[i, c] -= L[j, i] * Z[j, c]
            Z[i, c] *= L[i, i]
    for i in range(nx):
        for j in range(i + 1):
            both = math.sqrt(D[first + i]) * math.sqrt(D[first + j])
            P[k, i, j] = P[k, j, i] = 0.5 * (Z[i, j] + Z[j, i]) / both
    return True


@inner
def factor_end(data, expansion, system, factor, work, delta):
    """Value Hessian at the last knot."""
    steps, nx, nu = data.times.shape[0], data.group.shape[0], data.held.shape[0]
    nz, nr, ne = nx + nu, data.path_rows.shape[0], data.end_rows.shape[0]
    Q = work.Q
    for i in range(nx):
        for j in range(i + 1):
            Q[i, j] = expansion.H[steps * nz * nz + i * nx + j]
        Q[i, i] += system.sigma[steps * nz + i] + delta
    add_rows(Q, system.W, steps * nr, expansion.C, steps * nr * nz, ne, nx, work.WC)
    for i in range(nx):
        for j in range(i + 1):
            factor.P[steps, i, j] = factor.P[steps, j, i] = Q[i, j]


@inner
def hold(data, Q):
    """Take the rows and columns of controls without freedom out of the system."""
    nx, nu = data.group.shape[0], data.held.shape[0]
    for i in range(nu):
        if data.held[i] == 1:
            for j in range(nx + nu):
                Q[nx + i, j] = 0.0
            for j in range(i, nu):
                Q[nx + j, nx + i] = 0.0
            Q[nx + i, nx + i] = 1.0


@inner
def factor_stage(data, s, expansion, system, factor, work, delta):
    """Gains and value Hessian of stage ``s``; False unless Q_uu is positive definite."""
    nx, nu, nr = data.group.shape[0], data.held.shape[0], data.path_rows.shape[0]
    nz = nx + nu
    Q, T, K, P, F = work.Q, work.T, factor.K, factor.P, expansion.F
    first, matrix, gains = s * nz * nz, s * nx * nz, s * nu * nx
    for i in range(nx):
        combine_rows(T, i * nz, 0.0, T, i * nz, 1.0, P, ((s + 1) * nx + i) * nx, 1, F, matrix, nz, nx, nz)
    for i in range(nz):
        combine_rows(Q, i * nz, 1.0, expansion.H, first + i * nz, 1.0, F, matrix + i, nz, T, 0, nz, nx, i + 1)
        Q[i, i] += system.sigma[s * nz + i] + delta
    if nr > 0:
        add_rows(Q, system.W, s * nr, expansion.C, s * nr * nz, nr, nz, work.WC)
    hold(data, Q)
    for i in range(nu):
        for j in range(i + 1):
            factor.L[s, i, j] = Q[nx + i, nx + j]
    if not factor_in_place(factor.L.reshape(factor.L.size), nu, s * nu * nu, nu):
        return False
    L = factor.L
    for i in range(nu):  # Y, in the place of K
        scale = L[s, i, i]
        combine_rows(K, gains + i * nx, scale, Q, (nx + i) * nz, -scale, L, (s * nu + i) * nu, 1, K, gains, nx, i, nx)
    for i in range(nx):
        combine_rows(P, (s * nx + i) * nx, 1.0, Q, i * nz, -1.0, K, gains + i, nx, K, gains, nx, nu, i + 1)
    for i in range(nx):
        for j in range(i):
            P[s, j, i] = P[s, i, j]
    for i in range(nu - 1, -1, -1):
        row, scale = gains + i * nx, L[s, i, i]
        combine_rows(K, row, -scale, K, row, -scale, L, (s * nu + i + 1) * nu + i, nu, K, row + nx, nx, nu - 1 - i, nx)
    return True


@inner
def factorise(data, expansion, system, factor, work, delta):
    """Factor the system with ``delta`` on the diagonal of H; False unless its inertia is right."""
    steps, nx, rows = data.times.shape[0], data.group.shape[0], data.kind.shape[0]
    soft = data.elastic[0] > 0.0
    factor_end(data, expansion, system, factor, work, delta)
    for s in range(steps - 1, -1, -1):
        if soft and not soften(factor.P, s + 1, system.D, rows + s * nx, work):
            return False
        if not factor_stage(data, s, expansion, system, factor, work, delta):
            return False
    L0 = factor.L0
    for i in range(nx):
        for j in range(nx):
            L0[i, j] = 0.0
    count = 0
    for i in range(nx):
        group = data.group[i]
        count = max(count, group + 1)
        for j in range(nx):
            if group != FIXED and data.group[j] != FIXED:
                L0[group, data.group[j]] += factor.P[0, i, j]
    return factor_in_place(L0.reshape(nx * nx), count, 0, nx)


@inner
def row_forces(data, first_row, first_entry, rows, width, W, r, C, out):
    """Add C'W r to ``out``."""
    for j in range(rows):
        force = W[first_row + j] * r[first_row + j]
        if force != 0.0:
            for i in range(width):
                out[i] += force * C[first_entry + j * width + i]


@inner
def sweep_back(data, expansion, system, factor, b, r, work):
    """Linear terms k and p of the recursion for the right-hand side (b, r)."""
    steps, nx, nu = data.times.shape[0], data.group.shape[0], data.held.shape[0]
    nz, nr, ne, rows = nx + nu, data.path_rows.shape[0], data.end_rows.shape[0], data.kind.shape[0]
    q, pulled, F, P = work.vector[0], work.vector[1], expansion.F, factor.P
    soft = data.elastic[0] > 0.0
    for i in range(nx):
        q[i] = b[steps * nz + i]
    row_forces(data, steps * nr, steps * nr * nz, ne, nx, system.W, r, expansion.C, q)
    for i in range(nx):
        work.p[steps, i] = q[i]
    for s in range(steps - 1, -1, -1):
        gap = rows + s * nx
        for i in range(nx):  # P~ r_g + p~, with p~ = p - P~ D p
            value = work.p[s + 1, i]
            for j in range(nx):
                lift = r[gap + j]
                if soft:
                    lift -= system.D[gap + j] * work.p[s + 1, j]
                value += P[s + 1, i, j] * lift
            pulled[i] = value
        combine_rows(q, 0, 1.0, b, s * nz, 1.0, pulled, 0, 1, F, s * nx * nz, nz, nx, nz)
        if nr > 0:
            row_forces(data, s * nr, s * nr * nz, nr, nz, system.W, r, expansion.C, q)
        for i in range(nu):
            if data.held[i] == 1:
                q[nx + i] = 0.0
            work.k[s, i] = -q[nx + i]
        solve_factored(factor.L[s], nu, work.k[s])
        combine_rows(work.p, s * nx, 1.0, q, 0, 1.0, q, nx, 1, factor.K, s * nu * nx, nx, nu, nx)


@inner
def move_start(data, factor, work, dz):
    """Best step of the free initial state."""
    nx = data.group.shape[0]
    start = work.vector[2]
    count = 0
    for i in range(nx):
        start[i] = 0.0
    for i in range(nx):
        group = data.group[i]
        if group != FIXED:
            count = max(count, group + 1)
            start[group] -= work.p[0, i]
    solve_factored(factor.L0, count, start)
    for i in range(nx):
        dz[i] = start[data.group[i]] if data.group[i] != FIXED else 0.0


@inner
def sweep_forward(data, expansion, system, factor, r, work, dz, dm):
    """Step dz and multipliers dm = (dy, dl) from the linear terms."""
    steps, nx, nu = data.times.shape[0], data.group.shape[0], data.held.shape[0]
    nz, nr, ne, rows = nx + nu, data.path_rows.shape[0], data.end_rows.shape[0], data.kind.shape[0]
    F, P, soft, arrival = expansion.F, factor.P, data.elastic[0] > 0.0, work.vector[3]
    move_start(data, factor, work, dz)
    for s in range(steps):
        x, gap = s * nz, rows + s * nx
        for i in range(nu):
            value = work.k[s, i]
            for j in range(nx):
                value += factor.K[s, i, j] * dz[x + j]
            dz[x + nx + i] = value
        for i in range(nx):
            value = r[gap + i]
            for j in range(nz):
                value += F[(s * nx + i) * nz + j] * dz[x + j]
            arrival[i] = value
        for i in range(nx):
            value = work.p[s + 1, i]
            for j in range(nx):
                lift = arrival[j] - system.D[gap + j] * work.p[s + 1, j] if soft else arrival[j]
                value += P[s + 1, i, j] * lift
            dm[gap + i] = value
            dz[x + nz + i] = arrival[i] - system.D[gap + i] * value if soft else arrival[i]
        for j in range(s * nr, (s + 1) * nr):
            dm[j] = row_multiplier(j, j * nz, x, nz, system, expansion.C, r, dz)
    for j in range(ne):
        row = steps * nr + j
        dm[row] = row_multiplier(row, steps * nr * nz + j * nx, steps * nz, nx, system, expansion.C, r, dz)


@inner(forceinline=True)
def row_multiplier(row, entry, first, width, system, C, r, dz):
    """W (C dz + r) of one row."""
    value = r[row]
    for i in range(width):
        value += C[entry + i] * dz[first + i]
    return system.W[row] * value
