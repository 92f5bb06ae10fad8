"""The backward pass of iLQR over quadratic models that somebody else made: a simulator's, a network's, anybody's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.riccati import action_value, linear_gap, minimise_action, update_value

Array = NDArray[np.float64]


class Models(NamedTuple):
    """Quadratic models of N stages in z = (x, u), and of the end.

    ``F`` (N, nx, nz) derivatives of the steps, ``g`` (N, nz) and ``H`` (N, nz, nz) of the stage costs, ``end_gradient``
    (nx) and ``end_hessian`` (nx, nx) of the terminal cost.
    """

    F: Array
    g: Array
    H: Array
    end_gradient: Array
    end_hessian: Array


@kernel
def sweep(models, u, lower, upper, gains, work, state):
    """Gains of all stages by the Riccati recursion, with controls u + du in their bounds.

    Returns success, the predicted linear and quadratic change, and how far the linear model can fall in the bounds.
    """
    steps, nu = u.shape
    nx = models.end_gradient.shape[0]
    linear, quadratic, gap = 0.0, 0.0, 0.0
    for i in range(nu):
        work.largest[i] = 0.0
    for i in range(nx):
        work.v[i] = models.end_gradient[i]
        for j in range(nx):
            work.V[i, j] = models.end_hessian[i, j]
    for s in range(steps - 1, -1, -1):
        action_value(s, models.F, models.g, models.H, work.v, work.V, work.q, work.Q, work.T, work.Quu)
        for i in range(nu):
            work.largest[i] = max(work.largest[i], abs(work.Quu[i, i]))
        if not minimise_action(s, work.q, work.Q, work.Quu, state.regularisation[0], state.scale, lower, upper, u,
                               gains.k, gains.K, work.box):  # fmt: skip
            return False, linear, quadratic, gap
        gap += linear_gap(s, work.box.q, lower, upper, u)
        one, other = update_value(
            s, work.q, work.Q, work.Quu, gains.k, gains.K, work.v, work.V, work.Tu, work.box.trial
        )
        linear += one
        quadratic += other
    return True, linear, quadratic, gap
