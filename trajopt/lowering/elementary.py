"""Elementary functions on vectors, as short polynomials without branches.

Reductions are those of Sun's fdlibm (K. C. Ng, 1993), coefficients those of `trajopt.lowering.formats`. Products such
as k*pi/2 are split so that they are exact even where the processor has no fused multiply-add. Errors below are those
of double precision; in single precision 2^-53 reads 2^-24.

A polynomial that only holds on part of the number line reports the lanes outside of it to `out_of_range`; the caller
then discards the block and recomputes it with the C library. Infinities and NaN never give a finite result.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from trajopt.lowering.arithmetic import Arithmetic, ScalarArithmetic, Value

_TAN_PI_8 = math.sqrt(2.0) - 1.0
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
    """Return sin x and cos x; absolute error below 2^-52, |x| up to the format's largest angle."""
    f = m.format
    out_of_range(m.compare("ogt", m.intrinsic("fabs", x), f.largest_angle))
    shifted = x * (2.0 / math.pi) + f.round
    quadrant, k = m.to_bits(shifted), shifted - f.round
    r = x - k * f.half_pi[0] - k * f.half_pi[1] - k * f.half_pi[2]
    z = r * r
    sine = r + r * z * polynomial(z, f.sine)
    cosine = 1.0 - (z * 0.5 - z * z * polynomial(z, f.cosine))
    swap = m.bit_set(quadrant, 1)
    sine_sign = m.integer("and", m.integer("shl", quadrant, f.bits - 2), f.sign_bit)
    next_quadrant = m.integer("add", quadrant, 1)
    cosine_sign = m.integer("and", m.integer("shl", next_quadrant, f.bits - 2), f.sign_bit)

    def signed(value: Value, sign: Value) -> Value:
        return m.from_bits(m.integer("xor", m.to_bits(value), sign))

    return signed(m.select(swap, cosine, sine), sine_sign), signed(m.select(swap, sine, cosine), cosine_sign)


def _reduced_exponential(m: Arithmetic, x: Value) -> tuple[Value, Value]:
    """Return (exp(r) - 1, k) with x = k log 2 + r."""
    f = m.format
    k = x * (1.0 / math.log(2.0)) + f.round - f.round
    r = x - k * f.log_2[0] - k * f.log_2[1]
    return r + r * r * polynomial(r, f.exponential), k


def _power_of_two(m: Arithmetic, k: Value) -> Value:
    """2^k for an integer-valued k between the exponents of the least and the largest normal number."""
    f = m.format
    biased = m.to_bits(k + (f.round + f.bias))
    return m.from_bits(m.integer("shl", biased, f.mantissa))


def exponential(m: Arithmetic, x: Value) -> Value:
    """Return exp x; relative error below 2^-51, also through underflow and overflow."""
    least, largest = m.format.exponential_range
    x = m.select(m.compare("ogt", x, largest), largest, x)
    x = m.select(m.compare("olt", x, least), least, x)
    p, k = _reduced_exponential(m, x)
    half = (
        k * 0.5 + m.format.round - m.format.round
    )  # in two steps, because 2^k alone would overflow or vanish at the ends
    return (p + 1.0) * _power_of_two(m, half) * _power_of_two(m, k - half)


def hyperbolic_tangent(m: Arithmetic, x: Value) -> Value:
    """Return tanh x = t / (t + 2) with t = exp(2|x|) - 1; relative error below 2^-50."""
    size = m.intrinsic("fabs", x)
    one = m.format.tanh_one
    size = m.select(m.compare("ogt", size, one), one, size)
    p, k = _reduced_exponential(m, size + size)
    scale = _power_of_two(m, k)
    t = p * scale + (scale - 1.0)
    return m.intrinsic("copysign", t / (t + 2.0), x)


def logarithm(m: Arithmetic, x: Value) -> Value:
    """Return log x; relative error below 2^-52."""
    c, width = m.format, m.format.mantissa
    tiny, lift = m.compare("olt", x, c.least_normal), width + 2
    scaled = m.select(tiny, x * 2.0**lift, x)
    # x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2)
    bits = m.integer("add", m.to_bits(scaled), c.one - c.sqrt_half)
    # The exponent as the last bits of 2^mantissa, whose own last place is one.
    exponent = m.from_bits(m.integer("or", m.integer("lshr", bits, width), (c.bias + width) << width))
    k = exponent - m.select(tiny, 2.0**width + c.bias + lift, 2.0**width + c.bias)
    f = m.from_bits(m.integer("add", m.integer("and", bits, 2**width - 1), c.sqrt_half)) - 1.0
    s = f / (f + 2.0)
    z = s * s
    half_square = f * f * 0.5
    series = s * (half_square + z * polynomial(z, c.logarithm))
    finite = k * c.log_2[0] - (half_square - (series + k * c.log_2[1]) - f)
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
    arc = q - q * z * polynomial(z, m.format.arctangent)
    folded = arc + m.format.half_pi_low * 0.5 + math.pi / 4.0
    return m.select(fold, folded, arc)


def arctangent(m: Arithmetic, x: Value) -> Value:
    """Return arctan x; relative error below 2^-51."""
    size = m.intrinsic("fabs", x)
    swap = m.compare("ogt", size, 1.0)
    arc = _arc(m, m.select(swap, 1.0, size), m.select(swap, size, 1.0))
    arc = m.select(swap, math.pi / 2.0 - (arc - m.format.half_pi_low), arc)
    return m.intrinsic("copysign", arc, x)


def arctangent2(m: Arithmetic, y: Value, x: Value, out_of_range: OutOfRange) -> Value:
    """Return the angle of the point (x, y); relative error below 2^-51."""
    height, width = m.intrinsic("fabs", y), m.intrinsic("fabs", x)
    swap = m.compare("ogt", height, width)
    large = m.select(swap, height, width)
    out_of_range(m.compare("oge", large, m.format.largest_component))
    arc = _arc(m, m.select(swap, width, height), large)
    arc = m.select(swap, math.pi / 2.0 - (arc - m.format.half_pi_low), arc)
    left = m.bit_set(m.to_bits(x), m.format.sign_bit)
    arc = m.select(left, math.pi - (arc - 2.0 * m.format.half_pi_low), arc)
    return m.intrinsic("copysign", arc, y)


def general_power(m: Arithmetic, x: Value, exponent: float, out_of_range: OutOfRange) -> Value:
    """x^c = exp(c log x); relative error below 34 * 2^-52 where it is used."""
    product = logarithm(m, x) * exponent
    size = m.intrinsic("fabs", product)
    far = m.truth("and", m.compare("ogt", size, m.format.largest_exponent), m.compare("olt", size, math.inf))
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
