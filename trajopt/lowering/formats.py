"""The two formats of floating-point numbers, and what polynomials need in each of them.

Coefficients are those of Sun's fdlibm (K. C. Ng, 1993: ``k_sin.c``, ``k_cos.c``, ``e_log.c``, ``s_atan.c``) and, in
single precision, of its port by Ian Lance Taylor (``e_logf.c``, ``s_atanf.c``) and of Moshier's Cephes (``sinf.c``,
``expf.c``); all state errors below one unit in the last place. The exponential of double precision is Taylor's series.
Constants in several parts are split so that a whole number times all but the last of them is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Format:
    """Numbers of one precision.

    Attributes
    ----------
    name, llvm, short, library
        For users, for LLVM, in LLVM's intrinsics, and behind the names of the C library's functions.
    dtype
        NumPy's type.
    bits, mantissa, bias
        Of the pattern: all of them, those of the mantissa, and what is added to the exponent.
    sine, cosine
        sin r = r + r^3 (c0 + c1 r^2 + ...) and cos r = 1 - r^2/2 + r^4 (c0 + c1 r^2 + ...) for |r| <= pi/4.
    half_pi, log_2
        Parts of pi/2 and of log 2.
    half_pi_low
        pi/2 less its nearest number.
    logarithm
        log (1 + f) = f - f^2/2 + s (f^2/2 + s^2 (c0 + c1 s^2 + ...)) with s = f / (2 + f).
    sqrt_half
        Pattern of a number near sqrt(1/2), where logarithms begin an octave.
    arctangent
        arctan q = q - q^3 (c0 + c1 q^2 + ...) for |q| <= tan(pi/8).
    exponential
        exp r = 1 + r + r^2 (c0 + c1 r + ...) for |r| <= log(2)/2.
    exponential_range
        Past these, exp is infinite or zero; the bounds only keep the integer part of x / log(2) small.
    tanh_one
        tanh rounds to one from here on.
    largest_angle
        Up to which k times the parts of pi/2 are exact.
    largest_exponent
        exp(c log x) multiplies the relative rounding error of its exponent by at most this much.
    largest_component
        Past this the sum of two components overflows.
    """

    name: str
    llvm: str
    short: str
    library: str
    dtype: Any
    bits: int
    mantissa: int
    bias: int
    sine: tuple[float, ...]
    cosine: tuple[float, ...]
    half_pi: tuple[float, float, float]
    half_pi_low: float
    log_2: tuple[float, float]
    logarithm: tuple[float, ...]
    sqrt_half: int
    arctangent: tuple[float, ...]
    exponential: tuple[float, ...]
    exponential_range: tuple[float, float]
    tanh_one: float
    largest_angle: float
    largest_exponent: float
    largest_component: float

    @property
    def size(self) -> int:
        """Bytes of a number."""
        return self.bits // 8

    @property
    def round(self) -> float:
        """Adding it rounds to the nearest integer and leaves that integer in the low bits of the sum."""
        return 1.5 * 2.0**self.mantissa

    @property
    def sign_bit(self) -> int:
        """The pattern of -0."""
        return -(2 ** (self.bits - 1))

    @property
    def one(self) -> int:
        """The pattern of 1."""
        return self.bias << self.mantissa

    @property
    def least_normal(self) -> float:
        """The least number of full precision."""
        return 2.0 ** (1 - self.bias)


FLOAT64 = Format(
    name="float64",
    llvm="double",
    short="f64",
    library="",
    dtype=np.float64,
    bits=64,
    mantissa=52,
    bias=1023,
    sine=(
        -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04,
        2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10,
    ),
    cosine=(
        4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05,
        -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11,
    ),
    half_pi=(1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624879595063154e-21),  # 33 + 33 + 53 bits
    half_pi_low=6.12323399573676603587e-17,
    log_2=(6.93147180369123816490e-01, 1.90821492927058770002e-10),  # 33 + 53 bits
    logarithm=(
        6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
        1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
    ),
    sqrt_half=0x3FE6A09E00000000,
    arctangent=(
        3.33333333333329318027e-01, -1.99999999998764832476e-01, 1.42857142725034663711e-01,
        -1.11111104054623557880e-01, 9.09088713343650656196e-02, -7.69187620504482999495e-02,
        6.66107313738753120669e-02, -5.83357013379057348645e-02, 4.97687799461593236017e-02,
        -3.65315727442169155270e-02, 1.62858201153657823623e-02,
    ),
    exponential=tuple(1.0 / math.factorial(n) for n in range(2, 14)),  # r^14/14! is below 2^-57
    exponential_range=(-746.0, 710.0),
    tanh_one=20.0,
    largest_angle=2.0**20,  # k has at most 20 bits
    largest_exponent=32.0,  # 32 * 2^-53 = 3.6e-15
    largest_component=2.0**1022,
)  # fmt: skip

FLOAT32 = Format(
    name="float32",
    llvm="float",
    short="f32",
    library="f",
    dtype=np.float32,
    bits=32,
    mantissa=23,
    bias=127,
    sine=(-1.6666654611e-1, 8.3321608736e-3, -1.9515295891e-4),
    cosine=(4.166664568298827e-2, -1.388731625493765e-3, 2.443315711809948e-5),
    half_pi=(1.5703125, 4.837512969970703125e-4, 7.549789948768648e-8),  # 8 + 11 + 24 bits
    half_pi_low=-4.37113882867379e-8,
    log_2=(6.9314575195e-1, 1.4286067653e-6),  # 15 + 24 bits
    logarithm=(0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841),
    sqrt_half=0x3F3504F3,
    arctangent=(3.3333328366e-1, -1.9999158382e-1, 1.4253635705e-1, -1.0648017377e-1, 6.1687607318e-2),
    exponential=(
        5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3, 1.9875691500e-4,
    ),
    exponential_range=(-104.0, 89.0),
    tanh_one=10.0,
    largest_angle=2.0**13,  # k has at most 13 bits
    largest_exponent=32.0,  # 32 * 2^-24 = 1.9e-6
    largest_component=2.0**126,
)  # fmt: skip

FORMATS = {chosen.name: chosen for chosen in (FLOAT64, FLOAT32)}
