"""NumPy's elementwise functions on CasADi scalars.

What holds beside the value:

* `where` is a sum of two CasADi ``if_else_zero``, so a NaN or infinity of the branch that is not taken never reaches
  the *value*. It does reach the *derivative*, which is condition times inner derivative, and 0 * NaN is NaN: write
  ``np.where(x > 0, np.sqrt(np.maximum(x, tiny)), 0)``, so that both branches have finite slopes everywhere.
* ``abs`` has slope sign(x), and 0 at 0; ``sign``, ``floor`` and comparisons have slope 0.
* ``maximum`` and ``minimum`` of a NaN are NaN in compiled code, as in NumPy; CasADi's own evaluation, which IPOPT sees,
  prefers the number. ``fmax`` and ``fmin`` are the same here: a NaN must not be lost on the way.
* ``hypot``, and ``sqrt`` at 0, have no finite slope at the origin.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import casadi as ca
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

_BOOLEAN = frozenset((ca.OP_LT, ca.OP_LE, ca.OP_EQ, ca.OP_NE, ca.OP_NOT, ca.OP_AND, ca.OP_OR))


def truth(sx: ca.SX) -> ca.SX:
    """Return an expression's truth, 0 or 1, as Python's ``bool`` would: anything but zero is true."""
    return sx if not sx.is_constant() and sx.op() in _BOOLEAN else sx != 0.0


def where(condition: ca.SX, chosen: ca.SX, otherwise: ca.SX) -> ca.SX:
    """``chosen`` where the condition holds, else ``otherwise``."""
    return ca.if_else(truth(condition), chosen, otherwise)


def _remainder(x: ca.SX, y: ca.SX) -> ca.SX:
    """Python's remainder, which has the sign of the divisor; C's fmod has that of the dividend."""
    rest = ca.fmod(x, y)
    return where(rest * y < 0, rest + y, rest)


def _floor_divide(x: ca.SX, y: ca.SX) -> ca.SX:
    # (x - x % y) / y is an integer up to rounding; floor(x / y) is one too many where x / y rounds up to an integer.
    return ca.floor((x - _remainder(x, y)) / y + 0.5)


def _trunc(x: ca.SX) -> ca.SX:
    return where(x < 0, ca.ceil(x), ca.floor(x))


def _logaddexp(x: ca.SX, y: ca.SX) -> ca.SX:
    return ca.fmax(x, y) + ca.log1p(ca.exp(-ca.fabs(x - y)))


def _power(x: ca.SX, y: ca.SX) -> ca.SX:
    return x**y  # CasADi turns constant integer exponents into products, and 0.5 into a square root


RULES: dict[Any, Callable[..., ca.SX]] = {
    np.add: lambda x, y: x + y,
    np.subtract: lambda x, y: x - y,
    np.multiply: lambda x, y: x * y,
    np.divide: lambda x, y: x / y,
    np.floor_divide: _floor_divide,
    np.remainder: _remainder,
    np.fmod: ca.fmod,
    np.power: _power,
    np.float_power: _power,
    np.negative: lambda x: -x,
    np.positive: lambda x: x,
    np.conjugate: lambda x: x,
    np.absolute: ca.fabs,
    np.fabs: ca.fabs,
    np.sign: ca.sign,
    np.copysign: ca.copysign,
    np.floor: ca.floor,
    np.ceil: ca.ceil,
    np.trunc: _trunc,
    np.maximum: ca.fmax,
    np.minimum: ca.fmin,
    np.fmax: ca.fmax,
    np.fmin: ca.fmin,
    np.square: lambda x: x**2,
    np.reciprocal: lambda x: 1.0 / x,
    np.sqrt: ca.sqrt,
    np.cbrt: lambda x: ca.sign(x) * ca.fabs(x) ** (1.0 / 3.0),
    np.exp: ca.exp,
    np.exp2: lambda x: ca.exp(x * math.log(2.0)),
    np.expm1: ca.expm1,
    np.log: ca.log,
    np.log2: lambda x: ca.log(x) / math.log(2.0),
    np.log10: ca.log10,
    np.log1p: ca.log1p,
    np.logaddexp: _logaddexp,
    np.hypot: ca.hypot,
    np.deg2rad: lambda x: x * (math.pi / 180.0),
    np.radians: lambda x: x * (math.pi / 180.0),
    np.rad2deg: lambda x: x * (180.0 / math.pi),
    np.degrees: lambda x: x * (180.0 / math.pi),
    np.sin: ca.sin,
    np.cos: ca.cos,
    np.tan: ca.tan,
    np.arcsin: ca.asin,
    np.arccos: ca.acos,
    np.arctan: ca.atan,
    np.arctan2: ca.atan2,
    np.sinh: ca.sinh,
    np.cosh: ca.cosh,
    np.tanh: ca.tanh,
    np.arcsinh: ca.asinh,
    np.arccosh: ca.acosh,
    np.arctanh: ca.atanh,
    np.less: lambda x, y: x < y,
    np.less_equal: lambda x, y: x <= y,
    np.greater: lambda x, y: x > y,
    np.greater_equal: lambda x, y: x >= y,
    np.equal: lambda x, y: x == y,
    np.not_equal: lambda x, y: x != y,
    np.logical_and: lambda x, y: ca.logic_and(truth(x), truth(y)),
    np.logical_or: lambda x, y: ca.logic_or(truth(x), truth(y)),
    np.logical_xor: lambda x, y: truth(x) != truth(y),
    np.logical_not: lambda x: ca.logic_not(truth(x)),
}

# What NumPy's arithmetic means where all operands are truth values: True + True is True.
LOGIC: dict[Any, Any] = {
    np.bitwise_and: np.logical_and,
    np.bitwise_or: np.logical_or,
    np.bitwise_xor: np.logical_xor,
    np.invert: np.logical_not,
    np.add: np.logical_or,
    np.multiply: np.logical_and,
    np.maximum: np.logical_or,
    np.minimum: np.logical_and,
    np.fmax: np.logical_or,
    np.fmin: np.logical_and,
}
ONLY_LOGIC = frozenset((np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert))  # errors on floats, here as in NumPy
NEVER_LOGIC = frozenset((np.subtract, np.negative, np.positive, np.sign))  # errors on truth values, here as in NumPy
PREDICATES = frozenset(
    (
        *(np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal),
        *(np.logical_and, np.logical_or, np.logical_xor, np.logical_not),
    )
)
