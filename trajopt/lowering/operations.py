"""Each of CasADi's scalar operations, as instructions of a target (`ScalarArithmetic`): LLVM, or Python source.

They mean what CasADi's own evaluation gives them, but for FMIN and FMAX, which are NumPy's minimum and maximum here: a
NaN stays a NaN. C's fmin would let a clipped state hide that a rollout diverged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol

from trajopt.errors import TrajoptError
from trajopt.lowering import elementary
from trajopt.lowering.arithmetic import A, Arithmetic, ScalarArithmetic, Value

# Operations that are one function of C's mathematical library.
LIBRARY_NAMES = {
    "SIN": "sin", "COS": "cos", "TAN": "tan", "ASIN": "asin", "ACOS": "acos", "ATAN": "atan", "ATAN2": "atan2",
    "SINH": "sinh", "COSH": "cosh", "TANH": "tanh", "ASINH": "asinh", "ACOSH": "acosh", "ATANH": "atanh",
    "EXP": "exp", "EXPM1": "expm1", "LOG": "log", "LOG1P": "log1p", "POW": "pow", "HYPOT": "hypot",
    "FMOD": "fmod", "REMAINDER": "remainder", "ERF": "erf", "CONSTPOW": "pow",
}  # fmt: skip
_COMPARISONS = {"LT": "olt", "LE": "ole", "EQ": "oeq", "NE": "une"}
_INTRINSICS = {
    "SQRT": "sqrt", "FABS": "fabs", "FLOOR": "floor", "CEIL": "ceil", "COPYSIGN": "copysign",
    "FMIN": "minimum", "FMAX": "maximum",
}  # fmt: skip
_ARITHMETIC: dict[str, Callable[..., Value]] = {
    "ASSIGN": lambda a: a,
    "LIFT": lambda a: a,
    "ADD": lambda a, b: a + b,
    "SUB": lambda a, b: a - b,
    "MUL": lambda a, b: a * b,
    "DIV": lambda a, b: a / b,
    "NEG": lambda a: -a,
    "SQ": lambda a: a * a,
    "TWICE": lambda a: a + a,
    "INV": lambda a: 1.0 / a,
}
_POLYNOMIALS: dict[str, Callable[..., Value]] = {
    "exp": elementary.exponential,
    "log": elementary.logarithm,
    "tanh": elementary.hyperbolic_tangent,
    "atan": elementary.arctangent,
}


class ElementaryFunctions(Protocol):
    """How sin, exp, pow and their like are computed."""

    def call(self, name: str, operands: tuple[Value, ...]) -> Value:
        """Return the function of that C name."""
        ...

    def power(self, x: Value, exponent: float) -> Value:
        """Return x to a constant power that is not a short chain of multiplications."""
        ...


class LibraryFunctions:
    """The C library: correctly rounded or nearly so, one number at a time."""

    def __init__(self, arithmetic: ScalarArithmetic) -> None:
        self._arithmetic = arithmetic

    def call(self, name: str, operands: tuple[Value, ...]) -> Value:
        """Call the function of that C name."""
        return self._arithmetic.library(name, *operands)

    def power(self, x: Value, exponent: float) -> Value:
        """Call ``pow``."""
        return self._arithmetic.library("pow", x, self._arithmetic.constant(exponent))


class PolynomialFunctions:
    """Polynomials on all lanes at once where `elementary` has one, else the C library lane by lane.

    `out_of_range` collects the truth values of lanes for which a polynomial does not hold; empty when none can fail.
    """

    def __init__(self, arithmetic: Arithmetic) -> None:
        self._arithmetic = arithmetic
        self._rotations: dict[str, tuple[Value, Value]] = {}
        self.out_of_range: list[Value] = []

    def call(self, name: str, operands: tuple[Value, ...]) -> Value:
        """Return the function of that C name."""
        m = self._arithmetic
        if name in ("sin", "cos", "tan"):
            sine, cosine = self._sine_cosine(operands[0])
            return {"sin": lambda: sine, "cos": lambda: cosine, "tan": lambda: sine / cosine}[name]()
        if name in _POLYNOMIALS:
            return _POLYNOMIALS[name](m, *operands)
        if name == "atan2":
            return elementary.arctangent2(m, operands[0], operands[1], self.out_of_range.append)
        return m.library(name, *operands)

    def power(self, x: Value, exponent: float) -> Value:
        """exp(c log x)."""
        return elementary.general_power(self._arithmetic, x, exponent, self.out_of_range.append)

    def _sine_cosine(self, angle: Value) -> tuple[Value, Value]:
        """One reduction serves the sine and the cosine of the same angle."""
        if angle.text not in self._rotations:
            pair = elementary.sine_cosine(self._arithmetic, angle, self.out_of_range.append)
            self._rotations[angle.text] = pair
        return self._rotations[angle.text]


class OperationWriter(Generic[A]):
    """Writes operations of one type (one number, or a vector of lanes) into a function body."""

    def __init__(self, arithmetic: A, functions: ElementaryFunctions) -> None:
        self.arithmetic = arithmetic
        self._functions = functions
        self._truths: dict[str, Value] = {}

    def write(self, name: str, operands: tuple[Value, ...], exponent: float | None) -> Value:
        """Append the operation; `exponent` is the number behind a constant second operand, if it has one.

        Raises
        ------
        TrajoptError
            For an operation that has no machine code here, by its CasADi name.
        """
        m = self.arithmetic
        if name in _ARITHMETIC:
            return _ARITHMETIC[name](*operands)
        if name in _INTRINSICS:
            return m.intrinsic(_INTRINSICS[name], *operands)
        if name in ("POW", "CONSTPOW") and exponent is not None:
            short = elementary.short_power(m, operands[0], exponent)
            return self._functions.power(operands[0], exponent) if short is None else short
        if name in LIBRARY_NAMES:
            return self._functions.call(LIBRARY_NAMES[name], operands)
        return self._logical(name, operands)

    def _logical(self, name: str, operands: tuple[Value, ...]) -> Value:
        m = self.arithmetic
        if name in _COMPARISONS:
            return self._number(m.compare(_COMPARISONS[name], *operands))
        if name == "NOT":
            return self._number(m.invert(self._truth(operands[0])))
        if name in ("AND", "OR"):
            return self._number(m.truth(name.lower(), self._truth(operands[0]), self._truth(operands[1])))
        if name == "SIGN":
            x = operands[0]
            positive = m.select(m.compare("ogt", x, 0.0), 1.0, x)
            return m.select(m.compare("olt", x, 0.0), -1.0, positive)
        if name == "IF_ELSE_ZERO":
            return m.select(self._truth(operands[0]), operands[1], 0.0)
        raise TrajoptError(
            f"The expression uses the CasADi operation {name}, which has no machine code here; "
            "write it with elementary functions, or declare the function as black box."
        )

    def _number(self, truth: Value) -> Value:
        number = self.arithmetic.select(truth, 1.0, 0.0)
        self._truths[number.text] = truth  # a later test of this number then needs no second comparison
        return number

    def _truth(self, number: Value) -> Value:
        known = self._truths.get(number.text)
        return known if known is not None else self.arithmetic.compare("une", number, 0.0)
