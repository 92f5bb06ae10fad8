"""The Riccati recursion: the backward pass of LQR, iLQR and DDP, with bounds on the control.

With z = (x, u), stage k has dynamics F_k = dx+/dz, cost gradient g_k and Hessian H_k. From the value function
V(dx) = v'dx + 1/2 dx'V dx at k + 1, the action value is

    q = g + F'v,     Q = H + F'VF,     Q~_uu = Q_uu + regularisation diag(scale),

its minimum over lower <= u + du <= upper is du = k + K dx (K is zero in rows at a bound), and

    v <- q_x + K'(Q_uu k + q_u) + Q_xu k,     V <- Q_xx + K'(Q_uu K + Q_ux) + Q_xu K.

Where states leave a gap, dx_{k+1} = F_k dz + c_k, the slope v + V c beyond it takes the place of v.

The forms with the unregularised Q_uu keep V exact for the gains that are applied. A step of length s along k changes
the cost by s (sum of q_u'k) + s^2/2 (sum of k'Q_uu k) to second order.

Of the symmetric matrices H and Q, only the lower triangles are read and written, but for Q_uu, which is whole.

Reference: Tassa, Erez, Todorov, IROS 2012, eqs. 11a-11c; Tassa, Mansard, Todorov, ICRA 2014.
"""

from __future__ import annotations

import math

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.box_qp import factor_free, solve_box_qp, solve_factored
from trajopt.solvers.kernels.rows import combine_rows


@kernel
def pull_gap(s, gap, v, V, T):
    """v <- v + V c, with T as work: the slope of the value function beyond the gap c of stage ``s``."""
    nx = gap.shape[1]
    for i in range(nx):
        total = 0.0
        for j in range(nx):
            total += V[i, j] * gap[s, j]
        T[i, 0] = total
    for i in range(nx):
        v[i] += T[i, 0]


@kernel(forceinline=True)
def action_value(s, F, g, H, v, V, q, Q, T, Quu):
    """q = g + F'v and Q = H + F'VF of stage ``s``, with T = VF as work."""
    nx, nz = T.shape
    first = s * nx * nz
    combine_rows(q, 0, 1.0, g, s * nz, 1.0, v, 0, 1, F, first, nz, nx, nz)
    for i in range(nx):
        combine_rows(T, i * nz, V[i, 0], F, first, 1.0, V, i * nx + 1, 1, F, first + nz, nz, nx - 1, nz)
    for i in range(nz):
        combine_rows(Q, i * nz, 1.0, H, (s * nz + i) * nz, 1.0, F, first + i, nz, T, 0, nz, nx, i + 1)
    for i in range(nz - nx):
        for j in range(i + 1):
            Quu[i, j] = Quu[j, i] = Q[nx + i, nx + j]


@kernel(forceinline=True)
def minimise_action(s, q, Q, Quu, regularisation, scale, lower, upper, u, k, K, box):
    """Gains k[s], K[s] within the bounds; returns False when Q~_uu is not positive definite."""
    nu, nx = K.shape[1], K.shape[2]
    for i in range(nu):
        box.q[i] = q[nx + i]
        box.lower[i] = lower[i] - u[s, i]
        box.upper[i] = upper[i] - u[s, i]
        box.free[i] = i
        for j in range(nu):
            box.Q[i, j] = Quu[i, j]
        box.Q[i, i] += regularisation * scale[i]
    count = nu
    inside = factor_free(box.Q, box.free, nu, box.L)
    if inside:  # the box is rarely in the way: try the plain Newton step before the quadratic program
        for i in range(nu):
            box.trial[i] = -box.q[i]
        solve_factored(box.L, nu, box.trial)
        for i in range(nu):
            inside = inside and box.lower[i] <= box.trial[i] <= box.upper[i]
            box.gradient[i] = box.trial[i]
    if inside:
        for i in range(nu):
            k[s, i] = box.gradient[i]
    else:
        count = solve_box_qp(s, k, box)
        if count < 0:
            return False
    solve_gains(s, Q, box.L, box.free, count, K)
    return True


@kernel(forceinline=True)
def solve_gains(s, Q, L, free, count, K):
    """K[s] = -Q_uu^-1 Q_ux in the free rows, from the factor of their block, and zero in the others."""
    nu, nx = K.shape[1], K.shape[2]
    nz, first = nx + nu, s * nu * nx
    for a in range(count):  # all columns at once, in the first rows
        row = (nx + free[a]) * nz
        combine_rows(K, first + a * nx, -L[a, a], Q, row, -L[a, a], L, a * nu, 1, K, first, nx, a, nx)
    for a in range(count - 1, -1, -1):
        row = first + a * nx
        combine_rows(K, row, L[a, a], K, row, -L[a, a], L, (a + 1) * nu + a, nu, K, row + nx, nx, count - 1 - a, nx)
    if count == nu:
        return
    a = count - 1
    for i in range(nu - 1, -1, -1):  # from the end, because free[a] >= a
        if a >= 0 and free[a] == i:
            for j in range(nx):
                K[s, i, j] = K[s, a, j]
            a -= 1
        else:
            for j in range(nx):
                K[s, i, j] = 0.0


@kernel(forceinline=True)
def update_value(s, q, Q, Quu, k, K, v, V, T, w):
    """v and V before stage ``s`` for the gains that will be applied, with work T (nu, nx) and w (nu).

    Returns q_u'k and k'Q_uu k.
    """
    nu, nx = K.shape[1], K.shape[2]
    nz, first = nx + nu, s * nu * nx
    linear, quadratic = 0.0, 0.0
    for i in range(nu):  # w = Q_uu k + q_u
        slope = 0.0
        for j in range(nu):
            slope += Quu[i, j] * k[s, j]
        linear += q[nx + i] * k[s, i]
        quadratic += slope * k[s, i]
        w[i] = slope + q[nx + i]
    for i in range(nu):  # T = Q_uu K + Q_ux
        combine_rows(T, i * nx, 1.0, Q, (nx + i) * nz, 1.0, Quu, i * nu, 1, K, first, nx, nu, nx)
    combine_rows(v, 0, 1.0, q, 0, 1.0, w, 0, 1, K, first, nx, nu, nx)
    combine_rows(v, 0, 1.0, v, 0, 1.0, k, s * nu, 1, Q, nx * nz, nz, nu, nx)
    for i in range(nx):
        combine_rows(V, i * nx, 1.0, Q, i * nz, 1.0, K, first + i, nx, T, 0, nx, nu, i + 1)
        combine_rows(V, i * nx, 1.0, V, i * nx, 1.0, Q, nx * nz + i, nz, K, first, nx, nu, i + 1)
    for i in range(nx):
        for j in range(i):
            V[j, i] = V[i, j]
    return linear, quadratic


@kernel(forceinline=True)
def linear_gap(s, qu, lower, upper, u):
    """How far q_u'du can fall within the bounds of stage ``s``, or where there are none, within 1 + |u|."""
    gap = 0.0
    for i in range(qu.shape[0]):
        slope = qu[i]
        room = u[s, i] - lower[i] if slope > 0.0 else upper[i] - u[s, i]
        if room == math.inf:
            room = 1.0 + abs(u[s, i])
        gap += abs(slope) * room
    return gap
