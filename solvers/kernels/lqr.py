"""The backward pass of LQR: the Riccati recursion over stages with gaps, which stops where the control has no cost.

With deviations dz from a reference (x_k, u_k) that need not obey the dynamics, dx_{k+1} = F_k dz_k + c_k with the gap
c_k = F_k(x_k, u_k) - x_{k+1}. The value function v'dx + 1/2 dx'V dx at k + 1 then acts on stage k through the slope
v + V c_k (`trajopt.solvers.kernels.riccati`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajopt.lowering.call import call6
from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.riccati import action_value, minimise_action, pull_gap, update_value

Array = NDArray[np.float64]

ROUNDING = 10.0 * float(np.finfo(np.float64).eps)
"""Of each operation in a sum of products, with a margin."""


class Values(NamedTuple):
    """Hessians V (N+1, nx, nx) of the value function at every knot, and ``decrement`` (1), the sum of -q_u'k."""

    V: Array
    decrement: Array


@kernel
def measure_gaps(functions, data, reference, costs):
    """Gaps of the reference, and the cost (N) of each stage."""
    steps, nu = reference.u.shape
    nx = reference.x.shape[1]
    for s in range(steps):
        call6(functions.step, reference.x, s * nx, reference.u, s * nu, data.times, 2 * s, data.parameters, 0,
              reference.gap, s * nx, costs, s)  # fmt: skip
        for i in range(nx):
            reference.gap[s, i] -= reference.x[s + 1, i]


@kernel
def start_sweep(expansion, gains, values, work):
    """The value function at the end."""
    steps, nx = gains.k.shape[0], gains.costate.shape[1]
    values.decrement[0] = 0.0
    for i in range(nx):
        work.v[i] = gains.costate[steps, i] = expansion.end_gradient[i]
        for j in range(nx):
            work.V[i, j] = values.V[steps, i, j] = expansion.end_hessian[i, j]


@kernel
def sweep(last, data, reference, expansion, scale, gains, values, work):
    """Sweep from stage ``last`` down; returns the stage whose Q_uu is not safely positive definite, or -1.

    At such a stage ``work`` holds q and Q; when k and K of it are found by other means, `finish_stage` goes on.
    """
    for s in range(last, -1, -1):
        pull_gap(s, reference.gap, work.v, work.V, work.T)
        action_value(s, expansion.F, expansion.g, expansion.H, work.v, work.V, work.q, work.Q, work.T, work.Quu)
        if not minimise_action(s, work.q, work.Q, work.Quu, 0.0, scale, data.lower, data.upper, reference.u, gains.k,
                               gains.K, work.box):  # fmt: skip
            return s
        if not well_above_rounding(s, expansion.H, work):
            return s
        finish_stage(s, gains, values, work)
    return -1


@kernel
def well_above_rounding(s, H, work):
    """Whether every squared pivot of the factor of Q_uu exceeds the rounding of the terms that were summed to it."""
    nx, nz = work.T.shape
    for i in range(nz - nx):
        own = H[s, nx + i, nx + i]
        terms = abs(own) + abs(work.Quu[i, i] - own)
        if not work.box.L[i, i] ** 2 * ROUNDING * nz * terms < 1.0:
            return False
    return True


@kernel
def finish_stage(s, gains, values, work):
    """The value function before stage ``s`` for the gains k[s] and K[s]."""
    nx = work.v.shape[0]
    linear, _ = update_value(s, work.q, work.Q, work.Quu, gains.k, gains.K, work.v, work.V, work.Tu, work.box.trial)
    values.decrement[0] -= linear
    for i in range(nx):
        gains.costate[s, i] = work.v[i]
        for j in range(nx):
            values.V[s, i, j] = work.V[i, j]
