"""The shapes of noise, as matrices that are made once: splines over knots, coloured noise, quasi-random points.

Coloured noise of exponent beta has the power spectrum 1 / f^beta: m white numbers are taken for the real and imaginary
parts of its m/2 + 1 frequencies, weighed by f^(-beta/2), and transformed back. All of that is linear, so it is one
matrix. The constant, f = 0, gets the weight of the lowest frequency, and each number variance 1.

References: Timmer, Koenig, On Generating Power Law Noise, 1995; Pinneri et al., Sample-efficient Cross-Entropy Method,
CoRL 2020 (iCEM); Owen, Randomly Permuted (t,m,s)-Nets, 1995.
"""

from __future__ import annotations

import functools
import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.stats import qmc

Array = NDArray[np.float64]


@functools.lru_cache(maxsize=32)
def colour_filter(size: int, exponent: float) -> Array:
    """(size, size) matrix that makes white noise coloured; its rows have length 1."""
    frequencies = np.fft.rfftfreq(size)
    if size > 1:
        frequencies[0] = frequencies[1]
    scales = np.maximum(frequencies, 0.5 / size) ** (-0.5 * exponent)
    columns = []
    for k, scale in enumerate(scales):
        alone = k == 0 or 2 * k == size  # these frequencies have no imaginary part, and their own mirror image
        for unit in (np.sqrt(2.0),) if alone else (1.0, 1.0j):
            spectrum = np.zeros(len(scales), complex)
            spectrum[k] = scale * unit
            columns.append(np.fft.irfft(spectrum, size))
    matrix = np.stack(columns, axis=1)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def spline_matrix(times: Array, knots: Array, order: int) -> Array:
    """Matrix (times, knots) from values at knots to those at ``times``.

    Order 0 holds each value until the next knot, 1 joins them by lines, 3 by the cubic spline whose third derivative
    has no jump at the second and the last but one knot.
    """
    identity = np.eye(len(knots))
    if order == 0:
        return identity[np.clip(np.searchsorted(knots, times, side="right") - 1, 0, None)]
    if order == 1:
        return np.stack([np.interp(times, knots, column) for column in identity], axis=1)
    return CubicSpline(knots, identity, axis=0)(times)


@functools.lru_cache(maxsize=32)
def make_basis(steps: int, knots: int, order: int) -> Array:
    """Matrix (steps, knots) from parameters to the controls that are held over the steps."""
    if order == 0:
        return spline_matrix(np.arange(steps) / steps, np.arange(knots) / knots, 0)
    return spline_matrix(np.linspace(0.0, 1.0, steps), np.linspace(0.0, 1.0, knots), order)


@functools.lru_cache(maxsize=8)
def quasi_points(samples: int, rows: int, lanes: int) -> Array:
    """Sobol points (blocks, rows, lanes) in [0, 1); point k is sample k. Each iteration shifts them at random."""
    blocks = -(-samples // lanes)
    with warnings.catch_warnings():
        # SciPy warns that only powers of two are balanced; the population may be of any size.
        warnings.simplefilter("ignore", UserWarning)
        points = qmc.Sobol(rows, scramble=False).random(blocks * lanes)
    return np.ascontiguousarray(points.reshape(blocks, lanes, rows).transpose(0, 2, 1))
