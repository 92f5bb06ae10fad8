"""Gradients along a rollout: one sweep backwards from the end, with the models of the stages on the way.

The merit's gradient by the controls is g_u + F_u' lambda_{k+1} with lambda_k = g_x + F_x' lambda_{k+1}, where g holds
the constraint rows as in `trajopt.solvers.kernels.shooting`, so that lambda is the costate of the augmented Lagrangian.
"""

from __future__ import annotations

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.shooting import expand_end, expand_stage


@kernel
def pull_back(functions, data, rollout, penalty, expansion, work, second_order, costate, gradient):
    """Expand all stages and write the merit's gradient (N, nu); ``costate`` (nx) ends as that of the initial state.

    The costates weigh the curvature of the dynamics, so with ``second_order`` the models' Hessians, condensed, are that
    of the merit.
    """
    steps, nu = rollout.u.shape
    nx = rollout.x.shape[1]
    expand_end(functions, data, rollout, penalty, expansion, work, second_order)
    for i in range(nx):
        costate[i] = expansion.end_gradient[i]
    for s in range(steps - 1, -1, -1):
        expand_stage(s, functions, data, rollout, costate, penalty, expansion, work, second_order)
        for i in range(nu):
            gradient[s, i] = expansion.g[s, nx + i]
            for j in range(nx):
                gradient[s, i] += expansion.F[s, j, nx + i] * costate[j]
        for i in range(nx):
            work.slope[i] = expansion.g[s, i]
            for j in range(nx):
                work.slope[i] += expansion.F[s, j, i] * costate[j]
        for i in range(nx):
            costate[i] = work.slope[i]


@kernel
def expand_models(functions, data, rollout, penalty, expansion, work, second_order, none):
    """Expand costs and rows alone, for dynamics that are not traced; ``none`` (nx) are zeros."""
    expand_end(functions, data, rollout, penalty, expansion, work, second_order)
    for s in range(rollout.u.shape[0] - 1, -1, -1):
        expand_stage(s, functions, data, rollout, none, penalty, expansion, work, second_order)
