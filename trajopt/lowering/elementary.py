"""Elementary functions on vectors, as short polynomials without branches.

Reductions and coefficients are those of Sun's fdlibm (K. C. Ng, 1993: ``k_sin.c``, ``k_cos.c``, ``e_log.c``,
``s_atan.c``), whose stated errors are below one unit in the last place; the exponential is Taylor's series. Products
such as k*pi/2 are split so that they are exact even where the processor has no fused multiply-add.

A polynomial that only holds on part of the number line reports the lanes outside of it to `out_of_range`; the caller
then discards the block and recomputes it with the C library. Infinities and NaN never give a finite result.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from trajopt.lowering.arithmetic import Arithmetic, ScalarArithmetic, Value

# Adding 1.5 * 2^52 rounds to the nearest integer and leaves that integer in the low bits of the sum.
_ROUND = 1.5 * 2.0**52
_PI_2 = (1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624879595063154e-21)  # 33 + 33 + 53 bits
_SIN = (
    -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04,
    2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10,
)  # fmt: skip
_COS = (
    4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05,
    -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11,
)  # fmt: skip
_LN2 = (6.93147180369123816490e-01, 1.90821492927058770002e-10)  # 33 + 53 bits: k * the first is exact
_LOG = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
)  # fmt: skip
_ATAN = (
    3.33333333333329318027e-01, -1.99999999998764832476e-01, 1.42857142725034663711e-01, -1.11111104054623557880e-01,
    9.09088713343650656196e-02, -7.69187620504482999495e-02, 6.66107313738753120669e-02, -5.83357013379057348645e-02,
    4.97687799461593236017e-02, -3.65315727442169155270e-02, 1.62858201153657823623e-02,
)  # fmt: skip
# exp(r) - 1 - r on |r| <= log(2)/2: the first term left out, r^14/14!, is below 2^-57.
_EXP = tuple(1.0 / math.factorial(n) for n in range(2, 14))

_SIGN_BIT = -(2**63)
_MANTISSA = 2**52 - 1
_SQRT_HALF_BITS = 0x3FE6A09E00000000
_ONE_BITS = 0x3FF0000000000000
_TWO_52_BITS = 0x4330000000000000
_TAN_PI_8 = math.sqrt(2.0) - 1.0
_PI_2_LOW = 6.12323399573676603587e-17  # pi/2 - fl(pi/2)

# k * _PI_2[0] is exact while k has at most 20 bits.
LARGEST_ANGLE = 2.0**20
# exp(c log x) multiplies the relative error 2^-53 of its exponent by at most this much: 32 * 2^-53 = 3.6e-15.
LARGEST_EXPONENT = 32.0
# Past this the sum of two components overflows.
LARGEST_COMPONENT = 2.0**1022
# Past these, exp is infinite or zero; the bounds only keep the integer part of x / log(2) small.
_EXP_RANGE = (-746.0, 710.0)
# tanh rounds to one from 19.1 on.
_TANH_ONE = 20.0
# Chains of multiplications and a root lose less than half a unit in the last place a step.
LARGEST_CHAIN = 8

OutOfRange = Callable[[Value], None]


def polynomial(x: Value, coefficients: tuple[float, ...]) -> Value:
    """c0 + c1 x + c2 x^2 + ... by Horner's rule."""
    result = x * coefficients[-1] + coefficients[-2]
    for coefficient in reversed(coefficients[:-2]):
        result = result * x + coefficient
    return result


def sine_cosine(m: Arithmetic, x: Value, out_of_range: OutOfRange) -> tuple[Value, Value]:
    """Return sin x and cos x; absolute error below 2^-52, |x| <= 2^20."""
    out_of_range(m.compare("ogt", m.intrinsic("fabs", x), LARGEST_ANGLE))
    shifted = x * (2.0 / math.pi) + _ROUND
    quadrant, k = m.to_bits(shifted), shifted - _ROUND
    r = x - k * _PI_2[0] - k * _PI_2[1] - k * _PI_2[2]
    z = r * r
    sine = r + r * z * polynomial(z, _SIN)
    cosine = 1.0 - (z * 0.5 - z * z * polynomial(z, _COS))
    swap = m.bit_set(quadrant, 1)
    sine_sign = m.integer("and", m.integer("shl", quadrant, 62), _SIGN_BIT)
    next_quadrant = m.integer("add", quadrant, 1)
    cosine_sign = m.integer("and", m.integer("shl", next_quadrant, 62), _SIGN_BIT)

    def signed(value: Value, sign: Value) -> Value:
        return m.from_bits(m.integer("xor", m.to_bits(value), sign))

    return signed(m.select(swap, cosine, sine), sine_sign), signed(m.select(swap, sine, cosine), cosine_sign)


def _reduced_exponential(m: Arithmetic, x: Value) -> tuple[Value, Value]:
    """Return (exp(r) - 1, k) with x = k log 2 + r."""
    k = x * (1.0 / math.log(2.0)) + _ROUND - _ROUND
    r = x - k * _LN2[0] - k * _LN2[1]
    return r + r * r * polynomial(r, _EXP), k


def _power_of_two(m: Arithmetic, k: Value) -> Value:
    """2^k for an integer-valued -1022 <= k <= 1023."""
    biased = m.to_bits(k + (_ROUND + 1023.0))
    return m.from_bits(m.integer("shl", biased, 52))


def exponential(m: Arithmetic, x: Value) -> Value:
    """Return exp x; relative error below 2^-51, also through underflow and overflow."""
    x = m.select(m.compare("ogt", x, _EXP_RANGE[1]), _EXP_RANGE[1], x)
    x = m.select(m.compare("olt", x, _EXP_RANGE[0]), _EXP_RANGE[0], x)
    p, k = _reduced_exponential(m, x)
    half = k * 0.5 + _ROUND - _ROUND  # in two steps, because 2^k alone would overflow or vanish at the ends
    return (p + 1.0) * _power_of_two(m, half) * _power_of_two(m, k - half)


def hyperbolic_tangent(m: Arithmetic, x: Value) -> Value:
    """Return tanh x = t / (t + 2) with t = exp(2|x|) - 1; relative error below 2^-50."""
    size = m.intrinsic("fabs", x)
    size = m.select(m.compare("ogt", size, _TANH_ONE), _TANH_ONE, size)
    p, k = _reduced_exponential(m, size + size)
    scale = _power_of_two(m, k)
    t = p * scale + (scale - 1.0)
    return m.intrinsic("copysign", t / (t + 2.0), x)


def logarithm(m: Arithmetic, x: Value) -> Value:
    """Return log x; relative error below 2^-52."""
    tiny = m.compare("olt", x, 2.0**-1022)
    scaled = m.select(tiny, x * 2.0**54, x)
    # x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2)
    bits = m.integer("add", m.to_bits(scaled), _ONE_BITS - _SQRT_HALF_BITS)
    exponent = m.from_bits(m.integer("or", m.integer("lshr", bits, 52), _TWO_52_BITS))
    k = exponent - m.select(tiny, 2.0**52 + 1023.0 + 54.0, 2.0**52 + 1023.0)
    f = m.from_bits(m.integer("add", m.integer("and", bits, _MANTISSA), _SQRT_HALF_BITS)) - 1.0
    s = f / (f + 2.0)
    z = s * s
    half_square = f * f * 0.5
    series = s * (half_square + z * polynomial(z, _LOG))
    finite = k * _LN2[0] - (half_square - (series + k * _LN2[1]) - f)
    result = m.select(m.compare("oeq", x, math.inf), math.inf, finite)
    edge = m.select(m.compare("oeq", x, 0.0), -math.inf, math.nan)
    return m.select(m.compare("ogt", x, 0.0), result, edge)


def _arc(m: Arithmetic, small: Value, large: Value) -> Value:
    """Arctangent of small / large with 0 <= small <= large; 0 for 0 / 0."""
    fold = m.compare("ogt", small, large * _TAN_PI_8)
    numerator = m.select(fold, small - large, small)
    denominator = m.select(fold, small + large, large)
    denominator = m.select(m.compare("oeq", large, 0.0), 1.0, denominator)
    q = numerator / denominator
    z = q * q
    arc = q - q * z * polynomial(z, _ATAN)
    folded = arc + _PI_2_LOW * 0.5 + math.pi / 4.0
    return m.select(fold, folded, arc)


def arctangent(m: Arithmetic, x: Value) -> Value:
    """Return arctan x; relative error below 2^-51."""
    size = m.intrinsic("fabs", x)
    swap = m.compare("ogt", size, 1.0)
    arc = _arc(m, m.select(swap, 1.0, size), m.select(swap, size, 1.0))
    arc = m.select(swap, math.pi / 2.0 - (arc - _PI_2_LOW), arc)
    return m.intrinsic("copysign", arc, x)


def arctangent2(m: Arithmetic, y: Value, x: Value, out_of_range: OutOfRange) -> Value:
    """Return the angle of the point (x, y); relative error below 2^-51."""
    height, width = m.intrinsic("fabs", y), m.intrinsic("fabs", x)
    swap = m.compare("ogt", height, width)
    large = m.select(swap, height, width)
    out_of_range(m.compare("oge", large, LARGEST_COMPONENT))
    arc = _arc(m, m.select(swap, width, height), large)
    arc = m.select(swap, math.pi / 2.0 - (arc - _PI_2_LOW), arc)
    left = m.bit_set(m.to_bits(x), _SIGN_BIT)
    arc = m.select(left, math.pi - (arc - 2.0 * _PI_2_LOW), arc)
    return m.intrinsic("copysign", arc, y)


def general_power(m: Arithmetic, x: Value, exponent: float, out_of_range: OutOfRange) -> Value:
    """x^c = exp(c log x); relative error below 5e-15 where it is used."""
    product = logarithm(m, x) * exponent
    size = m.intrinsic("fabs", product)
    far = m.truth("and", m.compare("ogt", size, LARGEST_EXPONENT), m.compare("olt", size, math.inf))
    out_of_range(m.truth("or", far, m.compare("oeq", x, -math.inf)))
    return exponential(m, product)


def short_power(m: ScalarArithmetic, x: Value, exponent: float) -> Value | None:
    """x^c by multiplications and a root for whole and half c up to `LARGEST_CHAIN`, else None."""
    size = abs(exponent)
    if size > LARGEST_CHAIN or size * 2.0 != math.floor(size * 2.0):
        return None
    whole, root = int(size), size != math.floor(size)
    result: Value | None = None
    if root:
        # C's pow gives +inf at -inf and +0 at -0, where the root gives NaN and -0.
        result = m.intrinsic("sqrt", m.select(m.compare("oeq", x, -math.inf), math.inf, x) + 0.0)
        x = m.intrinsic("fabs", x)
    square = x
    while whole:
        if whole & 1:
            result = square if result is None else result * square
        whole >>= 1
        if whole:
            square = square * square
    if result is None:
        return m.constant(1.0)
    return 1.0 / result if exponent < 0.0 else result
