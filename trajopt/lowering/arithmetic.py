"""Floating-point arithmetic written as LLVM IR text, for one number or for a vector of lanes.

The text is written directly because building it with ``llvmlite.ir`` takes three times as long (0.06 s against 0.02 s
for 10,276 operations). The only fast-math flag is ``contract`` (a*b + c may round once): NaN, infinities and signed
zeros survive.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from trajopt.lowering.formats import FLOAT64, Format


@dataclass(slots=True)
class Body:
    """The lines of one LLVM function while it is being written, and what it needs from outside of itself."""

    lines: list[str] = field(default_factory=list)
    externals: dict[str, int] = field(default_factory=dict)  # libm function -> number of arguments
    laned: dict[str, int] = field(default_factory=dict)  # libm functions called lane by lane
    declarations: set[str] = field(default_factory=set)
    count: int = 0

    def define(self, text: str) -> str:
        """Append ``%v = text`` and return the new name."""
        name = f"%v{self.count}"
        self.count += 1
        self.lines.append(f"{name} = {text}")
        return name


A = TypeVar("A", bound="ScalarArithmetic")


class Value(Generic[A]):
    """A number, a truth value or an integer pattern in the function being written; operators append instructions."""

    __slots__ = ("arithmetic", "text")

    def __init__(self, arithmetic: A, text: str) -> None:
        self.arithmetic = arithmetic
        self.text = text

    def __add__(self, other: Value | float) -> Value:
        return self.arithmetic.binary("fadd", self, other)

    def __radd__(self, other: float) -> Value:
        return self.arithmetic.binary("fadd", other, self)

    def __sub__(self, other: Value | float) -> Value:
        return self.arithmetic.binary("fsub", self, other)

    def __rsub__(self, other: float) -> Value:
        return self.arithmetic.binary("fsub", other, self)

    def __mul__(self, other: Value | float) -> Value:
        return self.arithmetic.binary("fmul", self, other)

    def __rmul__(self, other: float) -> Value:
        return self.arithmetic.binary("fmul", other, self)

    def __truediv__(self, other: Value | float) -> Value:
        return self.arithmetic.binary("fdiv", self, other)

    def __rtruediv__(self, other: float) -> Value:
        return self.arithmetic.binary("fdiv", other, self)

    def __neg__(self) -> Value:
        return self.arithmetic.negate(self)


class ScalarArithmetic(ABC):
    """What a target must be able to write for `operations` to write every operation.

    Arguments are `Value` objects or Python floats; comparisons return truth values for `select`. Names of instructions
    and predicates are LLVM's.
    """

    @abstractmethod
    def constant(self, value: float) -> Value:
        """Return a constant."""

    @abstractmethod
    def binary(self, instruction: str, a: Value | float, b: Value | float) -> Value:
        """fadd, fsub, fmul or fdiv."""

    @abstractmethod
    def negate(self, a: Value) -> Value:
        """Return the number with the other sign."""

    @abstractmethod
    def compare(self, predicate: str, a: Value | float, b: Value | float) -> Value:
        """LLVM's ordered (oeq, olt, ole, ogt, oge) or unordered (une) comparison."""

    @abstractmethod
    def select(self, condition: Value, yes: Value | float, no: Value | float) -> Value:
        """Return ``yes`` where the condition holds, else ``no``."""

    @abstractmethod
    def truth(self, operation: str, a: Value, b: Value) -> Value:
        """``and`` or ``or`` of two truth values."""

    @abstractmethod
    def invert(self, a: Value) -> Value:
        """Return the opposite truth value."""

    @abstractmethod
    def intrinsic(self, name: str, *operands: Value | float) -> Value:
        """sqrt, fabs, floor, ceil, copysign, minimum or maximum; the last two keep a NaN."""

    @abstractmethod
    def library(self, name: str, *operands: Value) -> Value:
        """Call a function of the C mathematical library."""


def hexadecimal(value: float, number: Format) -> str:
    """Return the number nearest to `value` as LLVM writes it: by the pattern of a double, whatever its format."""
    with np.errstate(over="ignore", invalid="ignore"):
        return "0x" + struct.pack(">d", float(number.dtype(value))).hex().upper()


class Arithmetic(ScalarArithmetic):
    """LLVM instructions on ``double`` or ``float`` (lanes = 1), or vectors such as ``<lanes x double>``."""

    def __init__(self, body: Body, lanes: int, number: Format = FLOAT64) -> None:
        self.body = body
        self.lanes = lanes
        self.format = number
        self.type = self._typed(number.llvm)
        self.integer_type = self._typed(f"i{number.bits}")
        self.truth_type = self._typed("i1")
        self.suffix = f"v{lanes}{number.short}" if lanes > 1 else number.short

    def _typed(self, element: str) -> str:
        return f"<{self.lanes} x {element}>" if self.lanes > 1 else element

    def define(self, text: str) -> Value:
        """Append one instruction."""
        return Value(self, self.body.define(text))

    def text(self, value: Value | float) -> str:
        """Operand text of a value or constant."""
        if isinstance(value, Value):
            return value.text
        pattern = hexadecimal(value, self.format)
        return f"splat ({self.format.llvm} {pattern})" if self.lanes > 1 else pattern

    def constant(self, value: float) -> Value:
        """Return a constant of this type."""
        return Value(self, self.text(value))

    def broadcast(self, scalar: Value) -> Value:
        """Return a value of ``Arithmetic(body, 1)`` in every lane."""
        first = self.body.define(f"insertelement {self.type} poison, {self.format.llvm} {scalar.text}, i64 0")
        zeros = f"<{self.lanes} x i32> zeroinitializer"
        return self.define(f"shufflevector {self.type} {first}, {self.type} poison, {zeros}")

    def binary(self, instruction: str, a: Value | float, b: Value | float) -> Value:
        """fadd, fsub, fmul or fdiv."""
        return self.define(f"{instruction} contract {self.type} {self.text(a)}, {self.text(b)}")

    def negate(self, a: Value) -> Value:
        """Return the number with the other sign."""
        return self.define(f"fneg contract {self.type} {a.text}")

    def compare(self, predicate: str, a: Value | float, b: Value | float) -> Value:
        """LLVM's ordered (oeq, olt, ole, ogt, oge) or unordered (une) comparison."""
        return self.define(f"fcmp {predicate} {self.type} {self.text(a)}, {self.text(b)}")

    def select(self, condition: Value, yes: Value | float, no: Value | float) -> Value:
        """Return ``yes`` where the condition holds, else ``no``."""
        operands = f"{self.type} {self.text(yes)}, {self.type} {self.text(no)}"
        return self.define(f"select {self.truth_type} {condition.text}, {operands}")

    def truth(self, operation: str, a: Value, b: Value) -> Value:
        """``and`` or ``or`` of two truth values."""
        return self.define(f"{operation} {self.truth_type} {a.text}, {b.text}")

    def invert(self, a: Value) -> Value:
        """Return the opposite truth value."""
        ones = "splat (i1 true)" if self.lanes > 1 else "true"
        return self.define(f"xor {self.truth_type} {a.text}, {ones}")

    def intrinsic(self, name: str, *operands: Value | float) -> Value:
        """Call what LLVM turns into instructions: sqrt, fabs, floor, ceil, copysign, minnum, maxnum."""
        symbol = f"@llvm.{name}.{self.suffix}"
        self.body.declarations.add(f"declare {self.type} {symbol}({', '.join([self.type] * len(operands))})")
        arguments = ", ".join(f"{self.type} {self.text(a)}" for a in operands)
        return self.define(f"call contract {self.type} {symbol}({arguments})")

    def library(self, name: str, *operands: Value) -> Value:
        """Call the C mathematical library, once for each lane."""
        name += self.format.library
        self.body.externals[name] = len(operands)
        symbol = f"@{name}"
        if self.lanes > 1:
            self.body.laned[name] = len(operands)
            symbol = f"@lanes.{name}"
        arguments = ", ".join(f"{self.type} {a.text}" for a in operands)
        return self.define(f"call {self.type} {symbol}({arguments})")

    def to_bits(self, a: Value) -> Value:
        """Return the bit patterns of numbers."""
        return self.define(f"bitcast {self.type} {a.text} to {self.integer_type}")

    def from_bits(self, a: Value) -> Value:
        """Return the numbers of bit patterns."""
        return self.define(f"bitcast {self.integer_type} {a.text} to {self.type}")

    def integer(self, operation: str, a: Value, pattern: Value | int) -> Value:
        """Add, and, or, xor, shl or lshr on bit patterns."""
        other = pattern.text if isinstance(pattern, Value) else self._pattern(pattern)
        return self.define(f"{operation} {self.integer_type} {a.text}, {other}")

    def bit_set(self, a: Value, mask: int) -> Value:
        """Truth value: any bit of the mask is set."""
        masked = self.integer("and", a, mask)
        return self.define(f"icmp ne {self.integer_type} {masked.text}, {self._pattern(0)}")

    def _pattern(self, pattern: int) -> str:
        return f"splat (i{self.format.bits} {pattern})" if self.lanes > 1 else str(pattern)


def lane_by_lane(name: str, arguments: int, lanes: int, number: str) -> str:
    """Return an LLVM function that applies a function of the C library to each lane; `number` is LLVM's type."""
    vector = f"<{lanes} x {number}>"
    parameters = ", ".join(f"{vector} %x{k}" for k in range(arguments))
    lines = [f"define internal {vector} @lanes.{name}({parameters}) noinline nounwind {{"]
    result = "poison"
    for lane in range(lanes):
        for k in range(arguments):
            lines.append(f"%e{k}.{lane} = extractelement {vector} %x{k}, i64 {lane}")
        call = ", ".join(f"{number} %e{k}.{lane}" for k in range(arguments))
        lines.append(f"%y{lane} = call {number} @{name}({call})")
        lines.append(f"%r{lane} = insertelement {vector} {result}, {number} %y{lane}, i64 {lane}")
        result = f"%r{lane}"
    lines.append(f"ret {vector} {result}\n}}")
    return "\n".join(lines)
