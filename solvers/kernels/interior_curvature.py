"""Minimum, saddle or maximum: the inertia of the Newton system at a stationary point, and the way on from a bad one.

The conditions of first order hold at a maximum as well. At a minimum the system has the right inertia without
regularisation, up to rounding. Elsewhere the point is disturbed: regularised Newton steps lead downhill along negative
curvature as soon as the gradient has a part in that direction.
"""

from __future__ import annotations

import math

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.interior_functions import evaluate
from trajopt.solvers.kernels.interior_iterate import SOFTNESS, measure
from trajopt.solvers.kernels.interior_refinement import norm
from trajopt.solvers.kernels.interior_riccati import factorise
from trajopt.solvers.kernels.interior_system import barrier_value, condense

FLAT = 1.5e-8
"""Square root of rounding: curvature below it, relative to the largest entry of the Hessian, counts as none."""

DISTURBANCE = 1e-3
"""Of controls, relative to max(1, size): far beyond the tolerance, so that there is a way on."""

GOLDEN = 0.6180339887498949
"""Multiples of it, without their whole part, fill the unit interval evenly and without period."""


@kernel
def is_minimum(data, point, expansion, system, factor, work, progress):
    """Whether the Lagrangian does not curve downwards along the constraints."""
    condense(data, point, system, progress[0].mu, SOFTNESS)
    if factorise(data, expansion, system, factor, work, 0.0):
        return True
    return factorise(data, expansion, system, factor, work, FLAT * max(1.0, norm(expansion.H, expansion.H)))


@kernel
def disturb(data, point, expansion, system, work, progress):
    """Move all free controls a little, at most half-way to a bound; False unless the new point is finite."""
    steps, nx, nu = data.times.shape[0], data.group.shape[0], data.held.shape[0]
    for k in range(steps * nu):
        i = (k // nu) * (nx + nu) + nx + k % nu
        if data.held[k % nu] == 0:
            now, part = point.v[i], k * GOLDEN
            moved = now + 2.0 * DISTURBANCE * max(1.0, abs(now)) * (part - math.floor(part) - 0.5)
            point.v[i] = min(max(moved, 0.5 * (now + data.lower[i])), 0.5 * (now + data.upper[i]))
    progress[0].cost = evaluate(data, point.v, point.r, work)
    if not measure(data, point, expansion, system, work, progress):
        return False
    progress[0].barrier = progress[0].cost + barrier_value(data, point.v, progress[0].mu)
    progress[0].theta_most = 1e4 * max(1.0, progress[0].theta)
    progress[0].filter_count = 0
    return math.isfinite(progress[0].barrier)
