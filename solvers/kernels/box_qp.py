"""Small convex quadratic programs in a box, by projected Newton steps.

    minimise 1/2 d'Qd + q'd   subject to   lower <= d <= upper

Bounds at which the gradient pushes outwards are clamped; the free entries take a Newton step, which is projected and
backtracked (Armijo). For positive definite Q the clamped set settles after finitely many steps and one more Newton step
is exact. The Cholesky factor of the free block is left behind: feedback gains need it.

Reference: Tassa, Mansard, Todorov, Control-limited differential dynamic programming, ICRA 2014; Bertsekas 1982.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajopt.lowering.kernel import kernel

Array = NDArray[np.float64]

STEPS = 100
"""Projected Newton steps at most; the paper's limit. Two or three are usual."""


class Box(NamedTuple):
    """A program and its work.

    ``Q`` (m, m), ``q`` (m), ``lower``, ``upper`` (m), infinite where free; ``free`` (m), whose first entries become the
    indices of the entries off their bounds; ``L`` (m, m), which becomes the Cholesky factor of their block of Q; and
    ``gradient``, ``trial`` (m).
    """

    Q: Array
    q: Array
    lower: Array
    upper: Array
    free: NDArray[np.int64]
    L: Array
    gradient: Array
    trial: Array


def make_box(m: int) -> Box:
    """Room for a program of m variables."""
    vectors = [np.zeros(m) for _ in range(5)]
    return Box(np.zeros((m, m)), *vectors[:3], np.zeros(m, np.int64), np.zeros((m, m)), *vectors[3:])


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


@kernel(forceinline=True)
def objective(Q, q, d):
    """1/2 d'Qd + q'd."""
    total = 0.0
    for i in range(d.shape[0]):
        row = 0.0
        for j in range(d.shape[0]):
            row += Q[i, j] * d[j]
        total += d[i] * (0.5 * row + q[i])
    return total


@kernel(forceinline=True)
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
def solve_box_qp(row, solution, box):
    """Minimise in the box, starting from ``solution[row]`` (any numbers), which becomes the answer.

    Returns the number of free entries, or -1 when their block of Q is not positive definite.
    """
    Q, q, free, gradient, trial = box.Q, box.q, box.free, box.gradient, box.trial
    d = solution[row]
    m = d.shape[0]
    for i in range(m):
        d[i] = min(max(d[i], box.lower[i]), box.upper[i])
    solved = False
    for _ in range(STEPS):
        count = find_free(Q, q, box.lower, box.upper, d, free, gradient)
        if not factor_free(Q, free, count, box.L):
            return -1
        # A full step is the exact minimum over the entries that were free (marked in trial), unless a clamp lets go.
        settled = solved
        for a in range(count):
            settled = settled and trial[free[a]] == 1.0
        if count == 0 or settled:
            return count
        for a in range(count):
            trial[a] = -gradient[free[a]]
        solve_factored(box.L, count, trial)
        slope = 0.0
        solved = True
        for a in range(count):
            i = free[a]
            slope += trial[a] * gradient[i]
            gradient[i] = trial[a]  # from here on the Newton direction
            solved = solved and box.lower[i] <= d[i] + trial[a] <= box.upper[i]
        if solved:
            for i in range(m):
                trial[i] = 0.0
            for a in range(count):
                d[free[a]] += gradient[free[a]]
                trial[free[a]] = 1.0
        elif not project_step(d, count, slope, box):
            return count  # the decrease is below rounding
    count = find_free(Q, q, box.lower, box.upper, d, free, gradient)
    return count if factor_free(Q, free, count, box.L) else -1


@kernel
def project_step(d, count, slope, box):
    """Projected Armijo backtracking along the direction in ``gradient``; moves d and returns True on decrease."""
    direction, trial = box.gradient, box.trial
    value = objective(box.Q, box.q, d)
    length = 1.0
    while length > 1e-10:  # a shorter step changes d by less than its rounding
        for i in range(d.shape[0]):
            trial[i] = d[i]
        for a in range(count):
            i = box.free[a]
            trial[i] = min(max(d[i] + length * direction[i], box.lower[i]), box.upper[i])
        if objective(box.Q, box.q, trial) <= value + 0.1 * length * slope:
            changed = False
            for i in range(d.shape[0]):
                changed = changed or trial[i] != d[i]
                d[i] = trial[i]
            return changed
        length *= 0.6  # the paper's factor
    return False
