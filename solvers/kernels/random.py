"""Counter-based random numbers: a number is a function of the seed and of where it is used, not of what came before.

Philox4x32-10 turns a counter of four 32-bit words and a key of two into four random words. Number (row, sample,
iteration) of a seed therefore has the same bits whichever thread draws it, and in whatever order. Words w become
u = (w + 1/2) 2^-32 in (0, 1), and pairs of these normal variates (Box, Muller):

    r = sqrt(-2 ln u_0),    z_0 = r cos(2 pi u_1),    z_1 = r sin(2 pi u_1),    |z| <= 6.77.

32 bits are plenty for a perturbation: the tail that is cut off has probability 1e-11.

References: Salmon, Moraes, Dror, Shaw, Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011; Box, Muller 1958.
"""

from __future__ import annotations

import math

import casadi as ca
import numpy as np

from trajopt.lowering.call import call2
from trajopt.lowering.kernel import kernel

WORDS = 4
"""Numbers of one counter."""

# Numba makes floats of unsigned and signed integers together, so every constant is unsigned.
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_INCREMENTS = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_ROUNDS = 10


@kernel
def philox(c0, c1, c2, c3, k0, k1):
    """Four random words of a counter and a key; all are numpy.uint64 below 2^32."""
    for _ in range(_ROUNDS):
        first, second = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c2 = (second >> _HALF) ^ c1 ^ k0, (first >> _HALF) ^ c3 ^ k1
        c1, c3 = second & _LOW, first & _LOW
        k0, k1 = (k0 + _INCREMENTS[0]) & _LOW, (k1 + _INCREMENTS[1]) & _LOW
    return c0, c1, c2, c3


def box_muller() -> ca.Function:
    """Four uniform numbers to four independent normal variates, as an expression to compile."""
    uniform = ca.SX.sym("uniform", WORDS)
    normals = []
    for pair in (uniform[:2], uniform[2:]):
        radius, angle = ca.sqrt(-2.0 * ca.log(pair[0])), 2.0 * math.pi * pair[1]
        normals += [radius * ca.cos(angle), radius * ca.sin(angle)]
    return ca.Function("normal", [uniform], [ca.vertcat(*normals)])


@kernel
def draw_uniform(row, sample, iteration, key, out):
    """Uniform numbers of rows ``row`` to ``row`` + 3, whose counter they share, of the samples from ``sample`` on.

    Parameters
    ----------
    row, sample, iteration
        Counter: rows count numbers of one sample and are a multiple of four.
    key
        numpy.uint64, the seed.
    out
        (4, W) of the samples ``sample`` to ``sample`` + W - 1.
    """
    unit = 1.0 / 4294967296.0
    low, high = key & _LOW, key >> _HALF
    for lane in range(out.shape[1]):
        w0, w1, w2, w3 = philox(np.uint64(row), np.uint64(sample + lane), np.uint64(iteration), np.uint64(0), low, high)
        out[0, lane] = (w0 + 0.5) * unit
        out[1, lane] = (w1 + 0.5) * unit
        out[2, lane] = (w2 + 0.5) * unit
        out[3, lane] = (w3 + 0.5) * unit


@kernel
def draw_normal(normal, sample, iteration, key, uniform, out):
    """Standard normal variates of the samples from ``sample`` on.

    Parameters
    ----------
    normal
        Address of `box_muller`, compiled with W lanes.
    sample, iteration, key
        As for `draw_uniform`.
    uniform
        (4, W) work, in double precision as ``normal`` is.
    out
        (rows, W), rows a multiple of four; in single precision the same variates, rounded.
    """
    for row in range(0, out.shape[0], WORDS):
        draw_uniform(row, sample, iteration, key, uniform)
        transform(normal, uniform, out, row)


@kernel
def transform(normal, uniform, out, row):
    """Rows ``row`` to ``row`` + 3 of ``out`` become the normal variates of ``uniform`` (4, W), which are lost."""
    call2(normal, uniform, 0, uniform, 0)
    for word in range(WORDS):
        for lane in range(out.shape[1]):
            out[row + word, lane] = uniform[word, lane]
