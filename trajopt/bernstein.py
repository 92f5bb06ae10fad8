"""Polynomials on [0, 1] by their Bernstein coefficients.

p(s) = sum_j c_j B_j(s),    B_j(s) = binomial(d, j) s^j (1 - s)^(d-j),    c_0 = p(0), c_d = p(1).

The basis is non-negative and sums to one, so that p lies in the convex hull of its coefficients: limits on these hold
for p at every s.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def _binomials(n: int) -> Array:
    return np.array([math.comb(n, j) for j in range(n + 1)], dtype=float)


def basis(degree: int, s: ArrayLike) -> Array:
    """Values of the basis polynomials at places ``s``, (..., degree + 1)."""
    s = np.asarray(s, float)[..., None]
    j = np.arange(degree + 1)
    return _binomials(degree) * s**j * (1.0 - s) ** (degree - j)


def evaluate(coefficients: Array, s: ArrayLike) -> Array:
    """Polynomials with coefficients (..., degree + 1, n) at places ``s`` (...,): (..., n)."""
    return np.einsum("...j,...jn->...n", basis(coefficients.shape[-2] - 1, s), coefficients)


def elevate(coefficients: Array, degree: int) -> Array:
    """The same polynomials with the coefficients of a higher degree: (..., d + 1, n) to (..., degree + 1, n)."""
    while coefficients.shape[-2] <= degree:
        d = coefficients.shape[-2]
        share = (np.arange(1, d) / d)[:, None]
        inner = share * coefficients[..., :-1, :] + (1.0 - share) * coefficients[..., 1:, :]
        coefficients = np.concatenate([coefficients[..., :1, :], inner, coefficients[..., -1:, :]], axis=-2)
    return coefficients


def nodes(degree: int) -> Array:
    """Good places for interpolation, (degree + 1,): Chebyshev's, ends included; the middle for degree zero."""
    return np.array([0.5]) if degree == 0 else 0.5 - 0.5 * np.cos(np.pi * np.arange(degree + 1) / degree)


def interpolate(values: Array) -> Array:
    """Coefficients (..., degree + 1, n) of the polynomials through values at `nodes`, of the same shape."""
    degree = values.shape[-2] - 1
    return np.einsum("ij,...jn->...in", np.linalg.inv(basis(degree, nodes(degree))), values)


def powers(degree: int) -> Array:
    """(degree + 1, degree + 1) matrix whose column j holds the coefficients of B_j in powers of s."""
    rows = [
        [math.comb(degree, i) * math.comb(i, j) * (-1) ** (i - j) for j in range(degree + 1)] for i in range(degree + 1)
    ]
    return np.tril(np.array(rows, dtype=float))


def antiderivative(coefficients: Array) -> Array:
    """The integral from 0 to s of polynomials (..., d + 1, n), as coefficients (..., d + 2, n)."""
    d = coefficients.shape[-2]
    total = np.cumsum(coefficients, axis=-2) / d
    return np.concatenate([np.zeros_like(total[..., :1, :]), total], axis=-2)
