"""Programs as the text of Python functions, for targets that compile Python: a function of arrays that writes arrays.

The text is made of a program's operations alone. It names no types: its constants are ``real(...)``, and functions of
the mathematical library go by their C names. Who compiles it gives it ``real`` and those functions, of one precision.

Every function reads all its inputs, computes, and only then writes: outputs may overlap inputs (an update in place).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from trajopt.lowering.arithmetic import ScalarArithmetic, Value
from trajopt.lowering.operations import LIBRARY_NAMES, LibraryFunctions, OperationWriter
from trajopt.lowering.program import Program

FUNCTION_NAMES = frozenset(LIBRARY_NAMES.values()) | {"sqrt", "fabs", "floor", "ceil", "copysign"}
"""Functions of one or two numbers that a text may call."""

_NUMPY_NAMES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2",
    "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
}  # fmt: skip

_INSTRUCTIONS = {"fadd": "+", "fsub": "-", "fmul": "*", "fdiv": "/"}
_PREDICATES = {"oeq": "==", "une": "!=", "olt": "<", "ole": "<=", "ogt": ">", "oge": ">="}
_CHOICES = {"minimum": "<", "maximum": ">"}


class SourceArithmetic(ScalarArithmetic):
    """Lines of Python, each of which gives a name to one result."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, str] = {}  # text of a number -> its name

    def define(self, text: str) -> Value:
        """Append ``name = text``."""
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        return Value(self, name)

    def text(self, value: Value | float) -> str:
        """Name of a value or constant."""
        if isinstance(value, Value):
            return value.text
        number = repr(float(value)) if math.isfinite(value) else f'"{float(value)!r}"'
        return self.constants.setdefault(number, f"k{len(self.constants)}")

    def constant(self, value: float) -> Value:
        """See `ScalarArithmetic`."""
        return Value(self, self.text(value))

    def binary(self, instruction: str, a: Value | float, b: Value | float) -> Value:
        """See `ScalarArithmetic`."""
        return self.define(f"{self.text(a)} {_INSTRUCTIONS[instruction]} {self.text(b)}")

    def negate(self, a: Value) -> Value:
        """See `ScalarArithmetic`."""
        return self.define(f"-{a.text}")

    def compare(self, predicate: str, a: Value | float, b: Value | float) -> Value:
        """Python's comparisons with NaN are false but for "not equal", as LLVM's are."""
        return self.define(f"{self.text(a)} {_PREDICATES[predicate]} {self.text(b)}")

    def select(self, condition: Value, yes: Value | float, no: Value | float) -> Value:
        """See `ScalarArithmetic`."""
        return self.define(f"{self.text(yes)} if {condition.text} else {self.text(no)}")

    def truth(self, operation: str, a: Value, b: Value) -> Value:
        """See `ScalarArithmetic`."""
        return self.define(f"{a.text} {operation} {b.text}")

    def invert(self, a: Value) -> Value:
        """See `ScalarArithmetic`."""
        return self.define(f"not {a.text}")

    def intrinsic(self, name: str, *operands: Value | float) -> Value:
        """A function, or a choice between two numbers that takes the first one when that is NaN."""
        if name in _CHOICES:
            a, b = (self.text(operand) for operand in operands)
            return self.define(f"{a} if {a} {_CHOICES[name]} {b} or {a} != {a} else {b}")
        return self._call(name, *operands)

    def library(self, name: str, *operands: Value) -> Value:
        """See `ScalarArithmetic`."""
        return self._call(name, *operands)

    def _call(self, name: str, *operands: Value | float) -> Value:
        return self.define(f"{name}({', '.join(self.text(operand) for operand in operands)})")


def function_source(program: Program) -> str:
    """Text of the function ``name(i0, i1, ..., o0, o1, ...)`` of one-dimensional arrays, below its constants.

    Outputs are in C order, structural zeros included.

    Raises
    ------
    TrajoptError
        For an operation that has no machine code, by its CasADi name.
    """
    arithmetic = SourceArithmetic()
    writer = OperationWriter(arithmetic, LibraryFunctions(arithmetic))
    values: list[Value] = []
    for operation in program.operations:
        if operation.name == "INPUT":
            values.append(arithmetic.define("i{}[{}]".format(*operation.source)))
        elif operation.name == "CONST":
            values.append(arithmetic.constant(operation.value))
        else:
            last = program.operations[operation.operands[-1]]
            exponent = last.value if last.name == "CONST" else None
            values.append(writer.write(operation.name, tuple(values[k] for k in operation.operands), exponent))
    for index, output in enumerate(program.outputs):
        written = dict(output.entries)
        for place in range(output.size):
            value = values[written[place]].text if place in written else arithmetic.text(0.0)
            arithmetic.lines.append(f"o{index}[{place}] = {value}")
    constants = [f"{name} = real({number})" for number, name in arithmetic.constants.items()]
    arguments = [f"i{k}" for k in range(len(program.input_sizes))] + [f"o{k}" for k in range(len(program.outputs))]
    body = [f"    {line}" for line in arithmetic.lines or ["pass"]]
    return "\n".join([*constants, f"def {program.name}({', '.join(arguments)}):", *body, ""])


def numpy_functions() -> dict[str, Callable[..., Any]]:
    """The mathematical library of NumPy, by C names; like C's it gives infinities and NaN where ``math`` raises."""
    own = {"erf": math.erf, "remainder": _remainder, "pow": _power}
    return own | {name: getattr(np, _NUMPY_NAMES.get(name, name)) for name in FUNCTION_NAMES - own.keys()}


def _remainder(x: float, y: float) -> float:
    """What is left of x over the nearest multiple of y, which NumPy's function of this name is not."""
    return math.remainder(x, y) if math.isfinite(x) and y != 0.0 else math.nan


def _power(x: float, y: float) -> Any:
    """NumPy takes the root where y is one half, and that gives NaN at minus infinity."""
    return math.inf if x == -math.inf and y == 0.5 else np.power(x, y)
