"""What follows from a Gaussian process's data: predictions at points, and the moments under a normal input.

With input z ~ N(m, S), v_i = z_i - m, L = diag(l^2) and a = K^-1 y, for outputs p and q (Deisenroth et al. 2015):

    E[f_p]      = a' q,  q_i = s^2 |S L^-1 + I|^-1/2 exp(-1/2 v_i' (S + L)^-1 v_i)
    Cov[z, f_p] = S (S + L)^-1 sum_i a_i q_i v_i
    E[f_p f_q]  = a_p' Q a_q,  Q_ij = k_p(z_i, m) k_q(z_j, m) |R|^-1/2 exp(1/2 w_ij' R^-1 S w_ij),
                  R = S (L_p^-1 + L_q^-1) + I,  w_ij = L_p^-1 v_i + L_q^-1 v_j
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from trajopt.learned_dynamics.data import Array


@dataclass(frozen=True)
class Posterior:
    """Gaussian processes of nx outputs over the same n inputs, at unit scale.

    Attributes
    ----------
    inputs
        (n, nz).
    lengths, signals, noises
        (nx, nz), (nx,) and (nx,) of the kernels.
    factors
        (nx, n, n) lower Cholesky factors of the kernels' matrices.
    weights
        (nx, n) a = K^-1 y.
    """

    inputs: Array
    lengths: Array
    signals: Array
    noises: Array
    factors: Array
    weights: Array

    @classmethod
    def of(cls, inputs: Array, targets: Array, parameters: Array) -> Posterior:
        """Condition on targets (n, nx), with log parameters (nx, nz + 2)."""
        lengths, signals, noises = np.exp(parameters[:, :-2]), np.exp(parameters[:, -2]), np.exp(parameters[:, -1])
        factors, weights = [], []
        for length, signal, noise, y in zip(lengths, signals, noises, targets.T, strict=True):
            matrix = kernel(inputs, inputs, length, signal) + noise**2 * np.eye(len(inputs))
            factors.append(cholesky(matrix, lower=True))
            weights.append(cho_solve((factors[-1], True), y))
        return cls(inputs, lengths, signals, noises, np.array(factors), np.array(weights))

    def predict(self, z: Array) -> tuple[Array, Array]:
        """Mean and variance with noise at points (K, nz), each (K, nx); NaN where a point is not finite."""
        mean, variance = np.empty((2, len(z), len(self.signals)))
        for p in range(len(self.signals)):
            cross = kernel(z, self.inputs, self.lengths[p], self.signals[p])
            half = solve_triangular(self.factors[p], cross.T, lower=True, check_finite=False)
            mean[:, p] = cross @ self.weights[p]
            # Rounding may take more than the signal away; what is left then is the noise.
            variance[:, p] = np.maximum(self.signals[p] ** 2 - np.sum(half**2, axis=0), 0.0) + self.noises[p] ** 2
        return mean, variance


def kernel(first: Array, second: Array, lengths: Array, signal: float) -> Array:
    """The kernel without noise, (K, n)."""
    a, b = first / lengths, second / lengths
    squared = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1) - 2.0 * a @ b.T
    with np.errstate(under="ignore", invalid="ignore"):
        return signal**2 * np.exp(-0.5 * np.maximum(squared, 0.0))


def moments(posterior: Posterior, mean: Array, covariance: Array) -> tuple[Array, Array, Array]:
    """Mean (nx,), covariance with noise (nx, nx), and covariance with the input (nz, nx), of the outputs."""
    count, size = len(posterior.signals), len(mean)
    v = posterior.inputs - mean
    means, cross = np.empty(count), np.empty((size, count))
    for p in range(count):
        square = posterior.lengths[p] ** 2
        solved = np.linalg.solve(covariance + np.diag(square), v.T).T  # (S + L)^-1 v_i
        scale = posterior.signals[p] ** 2 / np.sqrt(np.linalg.det(covariance / square + np.eye(size)))
        q = scale * np.exp(-0.5 * np.sum(v * solved, axis=1))
        means[p] = posterior.weights[p] @ q
        cross[:, p] = covariance @ solved.T @ (posterior.weights[p] * q)
    second = np.empty((count, count))
    for p in range(count):
        for other in range(p + 1):
            expected = _products(posterior, p, other, v, covariance)
            second[p, other] = posterior.weights[p] @ expected @ posterior.weights[other] - means[p] * means[other]
            if p == other:
                known = np.trace(cho_solve((posterior.factors[p], True), expected))
                second[p, p] += posterior.signals[p] ** 2 - known + posterior.noises[p] ** 2
            second[other, p] = second[p, other]
    return means, second, cross


def _products(posterior: Posterior, p: int, q: int, v: Array, covariance: Array) -> Array:
    """E[k_p(z, z_i) k_q(z, z_j)] under the input's distribution, (n, n)."""
    first, second = posterior.lengths[p] ** -2.0, posterior.lengths[q] ** -2.0
    matrix = covariance * (first + second) + np.eye(len(first))  # R = S (L_p^-1 + L_q^-1) + I
    inner = np.linalg.solve(matrix, covariance)  # symmetric: (S^-1 + L_p^-1 + L_q^-1)^-1
    a, b = v * first, v * second
    w = 0.5 * np.sum(a @ inner * a, axis=1)[:, None] + 0.5 * np.sum(b @ inner * b, axis=1) + a @ inner @ b.T
    log_first = 2.0 * np.log(posterior.signals[p]) - 0.5 * np.sum(v * a, axis=1)
    log_second = 2.0 * np.log(posterior.signals[q]) - 0.5 * np.sum(v * b, axis=1)
    return np.exp(log_first[:, None] + log_second + w) / np.sqrt(np.linalg.det(matrix))
