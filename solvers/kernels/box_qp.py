"""Small convex quadratic programs in a box, by projected Newton steps.

    minimise 1/2 d'Qd + q'd   subject to   lower <= d <= upper

Bounds at which the gradient pushes outwards are clamped; the free entries take a Newton step, which is projected and
backtracked (Armijo). For positive definite Q the clamped set settles after finitely many steps and one more Newton step
is exact. The Cholesky factor of the free block is left behind: feedback gains need it.

Reference: Tassa, Mansard, Todorov, Control-limited differential dynamic programming, ICRA 2014; Bertsekas 1982.
"""

from __future__ import annotations

import math

from trajopt.lowering.kernel import kernel

STEPS = 100
"""Projected Newton steps at most; the paper's limit. Two or three are usual."""


@kernel(forceinline=True)
def factor_free(Q, free, count, L):
    """Cholesky factor L of the block of Q with rows and columns ``free[:count]``; False unless positive definite.

    The diagonal of L holds reciprocals, because every solve would divide by it.
    """
    for a in range(count):
        for b in range(a + 1):
            value = Q[free[a], free[b]]
            for c in range(b):
                value -= L[a, c] * L[b, c]
            if a == b:
                if not value > 0.0:  # also false for NaN
                    return False
                L[a, a] = 1.0 / math.sqrt(value)
            else:
                L[a, b] = value * L[b, b]
    return True


@kernel(forceinline=True)
def solve_factored(L, count, b):
    """Solve L L' y = b in place, for the first ``count`` entries."""
    for i in range(count):
        value = b[i]
        for j in range(i):
            value -= L[i, j] * b[j]
        b[i] = value * L[i, i]
    for i in range(count - 1, -1, -1):
        value = b[i]
        for j in range(i + 1, count):
            value -= L[j, i] * b[j]
        b[i] = value * L[i, i]


@kernel
def objective(Q, q, d):
    """1/2 d'Qd + q'd."""
    total = 0.0
    for i in range(d.shape[0]):
        row = 0.0
        for j in range(d.shape[0]):
            row += Q[i, j] * d[j]
        total += d[i] * (0.5 * row + q[i])
    return total


@kernel
def find_free(Q, q, lower, upper, d, free, gradient):
    """Gradient at d, and the entries that are not clamped; returns their number."""
    count = 0
    for i in range(d.shape[0]):
        slope = q[i]
        for j in range(d.shape[0]):
            slope += Q[i, j] * d[j]
        gradient[i] = slope
        clamped = (d[i] <= lower[i] and slope > 0.0) or (d[i] >= upper[i] and slope < 0.0)
        if not clamped:
            free[count] = i
            count += 1
    return count


@kernel
def solve_box_qp(Q, q, lower, upper, d, free, L, gradient, trial):
    """Minimise in the box, starting from d, which becomes the answer.

    Parameters
    ----------
    Q, q
        (m, m) symmetric, (m,).
    lower, upper
        (m,), infinite where free.
    d
        (m,) start, any numbers; overwritten.
    free
        (m,) integers; the first entries become the indices of the entries off their bounds.
    L
        (m, m); becomes the Cholesky factor of the free block of Q.
    gradient, trial
        (m,) work.

    Returns
    -------
    int
        Number of free entries, or -1 when the free block is not positive definite.
    """
    m = d.shape[0]
    for i in range(m):
        d[i] = min(max(d[i], lower[i]), upper[i])
    value = objective(Q, q, d)
    for _ in range(STEPS):
        count = find_free(Q, q, lower, upper, d, free, gradient)
        if not factor_free(Q, free, count, L):
            return -1
        if count == 0:
            return 0
        for a in range(count):
            trial[a] = -gradient[free[a]]
        solve_factored(L, count, trial)
        slope = 0.0
        for a in range(count):
            slope += trial[a] * gradient[free[a]]
            gradient[free[a]] = trial[a]  # from here on the Newton direction
        inside = True
        for a in range(count):
            i = free[a]
            inside = inside and lower[i] <= d[i] + gradient[i] <= upper[i]
        if inside:
            # The full step is the exact minimum over the free entries; it is the answer unless a clamp lets go.
            for a in range(count):
                d[free[a]] += gradient[free[a]]
            before = count
            count = find_free(Q, q, lower, upper, d, free, trial)
            if count <= before:
                return count if factor_free(Q, free, count, L) else -1
            value = objective(Q, q, d)
            continue
        if not project_step(Q, q, lower, upper, d, free, count, gradient, trial, value, slope):
            break  # the decrease is below rounding
        value = objective(Q, q, d)
    count = find_free(Q, q, lower, upper, d, free, gradient)
    return count if factor_free(Q, free, count, L) else -1


@kernel
def project_step(Q, q, lower, upper, d, free, count, direction, trial, value, slope):
    """Projected Armijo backtracking along the free part of ``direction``; moves d and returns True on decrease."""
    m = d.shape[0]
    length = 1.0
    while length > 1e-10:  # a shorter step changes d by less than its rounding
        for i in range(m):
            trial[i] = d[i]
        for a in range(count):
            i = free[a]
            trial[i] = min(max(d[i] + length * direction[i], lower[i]), upper[i])
        if objective(Q, q, trial) <= value + 0.1 * length * slope:
            changed = False
            for i in range(m):
                changed = changed or trial[i] != d[i]
                d[i] = trial[i]
            return changed
        length *= 0.6  # the paper's factor
    return False
