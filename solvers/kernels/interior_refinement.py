"""Solutions of the Newton system, refined until what they leave of it is rounding.

The factorisation belongs to a system with softened equality rows (`trajopt.solvers.kernels.interior_riccati`). A few
sweeps with the residuals of the true system on the right-hand side turn its solution into that of the true one.
"""

from __future__ import annotations

import math

from trajopt.solvers.kernels.interior_riccati import sweep_back, sweep_forward
from trajopt.solvers.kernels.interior_space import FIXED, inner

REFINEMENT_ACCURACY = 1e-10
"""Residual of the Newton system at which refinement ends, relative to its right-hand side; IPOPT's."""

REFINEMENTS = 10
"""At most; IPOPT's."""

ROUGHNESS = 1e-5
"""Relative residual above which a solution that cannot be refined further is poor; IPOPT's residual_ratio_singular."""


@inner
def linearise(data, expansion, r, dz, out):
    """Rows and gaps after a step to first order: r + C dz, and r + F dz - dx+."""
    steps, nx, nu = data.times.shape[0], data.group.shape[0], data.held.shape[0]
    nz, nr, ne, rows = nx + nu, data.path_rows.shape[0], data.end_rows.shape[0], data.kind.shape[0]
    F, C = expansion.F, expansion.C
    for s in range(steps + 1):
        width, x = nz if s < steps else nx, s * nz
        if s < steps:
            for i in range(nx):
                row, gap = (s * nx + i) * nz, rows + s * nx + i
                value = r[gap] - dz[x + nz + i]
                for j in range(nz):
                    value += F[row + j] * dz[x + j]
                out[gap] = value
        for j in range(nr if s < steps else ne):
            row, entry = s * nr + j, (s * nr + j) * nz if s < steps else steps * nr * nz + j * nx
            value = r[row]
            for i in range(width):
                value += C[entry + i] * dz[x + i]
            out[row] = value


@inner
def residual(data, expansion, system, b, r, dz, dm, delta, out_z, out_m):
    """What (dz, dm) leaves of the system whose right-hand side is -(b, r): its left side plus (b, r)."""
    steps, nx, nu = data.times.shape[0], data.group.shape[0], data.held.shape[0]
    nz, nr, ne, rows = nx + nu, data.path_rows.shape[0], data.end_rows.shape[0], data.kind.shape[0]
    H, F, C = expansion.H, expansion.F, expansion.C
    linearise(data, expansion, r, dz, out_m)
    for j in range(out_m.shape[0]):
        out_m[j] -= system.D[j] * dm[j]
    for s in range(steps + 1):
        width = nz if s < steps else nx
        x, gap, block = s * nz, rows + s * nx, s * nz * nz
        for i in range(width):
            value = b[x + i] + (system.sigma[x + i] + delta) * dz[x + i]
            for j in range(width):
                value += H[block + i * width + j] * dz[x + j]
            if i < nx and s > 0:
                value -= dm[gap - nx + i]
            out_z[x + i] = value
        if s < steps:
            for i in range(nx):
                for j in range(nz):
                    out_z[x + j] += F[(s * nx + i) * nz + j] * dm[gap + i]
        for j in range(nr if s < steps else ne):
            row, entry = s * nr + j, (s * nr + j) * nz if s < steps else steps * nr * nz + j * nx
            for i in range(width):
                out_z[x + i] += C[entry + i] * dm[row]
    project(data, out_z)


@inner
def project(data, gradient):
    """Take out of a gradient what fixed entries cannot follow; entries that move as one show their sum, once."""
    steps, nx, nu = data.times.shape[0], data.group.shape[0], data.held.shape[0]
    nz = nx + nu
    for i in range(nx):
        if data.group[i] == FIXED:
            gradient[i] = 0.0
        for j in range(i):
            if data.group[i] != FIXED and data.group[j] == data.group[i]:
                gradient[j] += gradient[i]
                gradient[i] = 0.0
                break
    for i in range(nu):
        if data.held[i] == 1:
            for s in range(steps):
                gradient[s * nz + nx + i] = 0.0


@inner
def norm(a, b):
    """Largest absolute entry of two vectors."""
    largest = 0.0
    for value in a:
        largest = max(largest, abs(value))
    for value in b:
        largest = max(largest, abs(value))
    return largest


@inner
def solve(data, expansion, system, factor, b, r, work, delta, dz, dm, progress):
    """Solve the system for the right-hand side -(b, r), refined; the final relative residual is left in progress.

    Returns False where the residual stopped falling while it was large.
    """
    sweep_back(data, expansion, system, factor, b, r, work)
    sweep_forward(data, expansion, system, factor, r, work, dz, dm)
    goal = norm(b, r)
    best, settled = math.inf, True
    for _ in range(REFINEMENTS):
        residual(data, expansion, system, b, r, dz, dm, delta, work.residual_z, work.residual_m)
        left = norm(work.residual_z, work.residual_m)
        if not left < best:  # the last correction made it worse: rounding, or rows that contradict each other
            for i in range(work.refined_z.shape[0]):
                dz[i] -= work.refined_z[i]
            for i in range(dm.shape[0]):
                dm[i] -= work.refined_m[i]
            settled = best <= ROUGHNESS * goal
            break
        best = left
        size = min(norm(dz[: data.reference.shape[0]], dm), 1e6 * goal)
        if left <= REFINEMENT_ACCURACY * (size + goal):
            break
        sweep_back(data, expansion, system, factor, work.residual_z, work.residual_m, work)
        sweep_forward(data, expansion, system, factor, work.residual_m, work, work.refined_z, work.refined_m)
        for i in range(work.refined_z.shape[0]):
            dz[i] += work.refined_z[i]
        for i in range(dm.shape[0]):
            dm[i] += work.refined_m[i]
        progress[0].refinements += 1
    progress[0].residual = best / max(goal, 1e-300)
    return settled
