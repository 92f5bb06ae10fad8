"""The Riccati recursion: the backward pass of LQR, iLQR and DDP, with bounds on the control.

With z = (x, u), stage k has dynamics F_k = dx+/dz, cost gradient g_k and Hessian H_k. From the value function
V(dx) = v'dx + 1/2 dx'V dx at k + 1, the action value is

    q = g + F'v,     Q = H + F'VF,     Q~_uu = Q_uu + regularisation diag(scale),

its minimum over lower <= u + du <= upper is du = k + K dx (K is zero in rows at a bound), and

    v <- q_x + K'Q_uu k + K'q_u + Q_xu k,     V <- Q_xx + K'Q_uu K + K'Q_ux + Q_xu K.

The forms with the unregularised Q_uu keep V exact for the gains that are applied. A step of length s along k changes the
cost by s (sum of q_u'k) + s^2/2 (sum of k'Q_uu k) to second order.

Reference: Tassa, Erez, Todorov, IROS 2012, eqs. 11a-11c; Tassa, Mansard, Todorov, ICRA 2014.
"""

from __future__ import annotations

import math

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.box_qp import factor_free, solve_box_qp, solve_factored


@kernel(forceinline=True)
def action_value(s, F, g, H, v, V, q, Q, T):
    """q = g + F'v and Q = H + F'VF of stage ``s``, with T = VF as work."""
    nx, nz = T.shape
    # Inner loops run along rows: the terms of a row are independent of each other, those of a dot product are not.
    for i in range(nz):
        q[i] = g[s, i]
    for i in range(nx):
        for j in range(nz):
            q[j] += F[s, i, j] * v[i]
            T[i, j] = V[i, 0] * F[s, 0, j]
        for a in range(1, nx):
            for j in range(nz):
                T[i, j] += V[i, a] * F[s, a, j]
    for i in range(nz):
        for j in range(nz):
            Q[i, j] = H[s, i, j]
        for a in range(nx):
            for j in range(nz):
                Q[i, j] += F[s, a, i] * T[a, j]


@kernel(forceinline=True)
def minimise_action(s, q, Q, regularisation, scale, lower, upper, u, k, K, Quu, qu, low, high, free, L, gradient, trial):
    """Gains k[s], K[s] within the bounds; returns False when Q_uu is not positive definite."""
    nu, nx = K.shape[1], K.shape[2]
    for i in range(nu):
        qu[i] = q[nx + i]
        low[i] = lower[i] - u[s, i]
        high[i] = upper[i] - u[s, i]
        free[i] = i
        for j in range(nu):
            Quu[i, j] = Q[nx + i, nx + j]
        Quu[i, i] += regularisation * scale[i]
    count = nu
    inside = factor_free(Quu, free, nu, L)
    if inside:  # the box is rarely in the way: try the plain Newton step before the quadratic program
        for i in range(nu):
            trial[i] = -qu[i]
        solve_factored(L, nu, trial)
        for i in range(nu):
            inside = inside and low[i] <= trial[i] <= high[i]
            gradient[i] = trial[i]
    if inside:
        for i in range(nu):
            k[s, i] = gradient[i]
    else:
        count = solve_box_qp(Quu, qu, low, high, k[s], free, L, gradient, trial)
        if count < 0:
            return False
        for i in range(nu):
            for j in range(nx):
                K[s, i, j] = 0.0
    for a in range(count):  # forward, then backward substitution, on all columns at once
        for j in range(nx):
            K[s, free[a], j] = -Q[nx + free[a], j]
        for b in range(a):
            for j in range(nx):
                K[s, free[a], j] -= L[a, b] * K[s, free[b], j]
        for j in range(nx):
            K[s, free[a], j] *= L[a, a]
    for a in range(count - 1, -1, -1):
        for b in range(a + 1, count):
            for j in range(nx):
                K[s, free[a], j] -= L[b, a] * K[s, free[b], j]
        for j in range(nx):
            K[s, free[a], j] *= L[a, a]
    return True


@kernel(forceinline=True)
def update_value(s, q, Q, k, K, v, V, T):
    """v and V before stage ``s``, for the gains that will be applied; T is work (nu, nx)."""
    nu, nx = T.shape
    for i in range(nu):  # T = Q_uu K + Q_ux
        for j in range(nx):
            value = Q[nx + i, j]
            for a in range(nu):
                value += Q[nx + i, nx + a] * K[s, a, j]
            T[i, j] = value
    for i in range(nx):
        value = q[i]
        for a in range(nu):  # K'(Q_uu k + q_u) + Q_xu k
            value += K[s, a, i] * q[nx + a] + T[a, i] * k[s, a]
        v[i] = value
        for j in range(i + 1):
            value = Q[i, j]
            for a in range(nu):
                value += K[s, a, i] * T[a, j] + Q[i, nx + a] * K[s, a, j]
            V[i, j] = value
            V[j, i] = value


@kernel(forceinline=True)
def predicted_change(s, q, Q, k):
    """q_u'k and k'Q_uu k of stage ``s``."""
    nu = k.shape[1]
    nx = q.shape[0] - nu
    linear, quadratic = 0.0, 0.0
    for i in range(nu):
        linear += q[nx + i] * k[s, i]
        for j in range(nu):
            quadratic += k[s, i] * Q[nx + i, nx + j] * k[s, j]
    return linear, quadratic


@kernel(forceinline=True)
def linear_gap(s, q, lower, upper, u):
    """How far q_u'du can fall within the bounds of stage ``s``, or where there are none, within 1 + |u|."""
    gap = 0.0
    nu = u.shape[1]
    nx = q.shape[0] - nu
    for i in range(nu):
        slope = q[nx + i]
        room = u[s, i] - lower[i] if slope > 0.0 else upper[i] - u[s, i]
        if room == math.inf:
            room = 1.0 + abs(u[s, i])
        gap += abs(slope) * room
    return gap
