"""Machine code that carries rows of states through an ensemble member, over a whole horizon at once.

A tile of L rows is kept as columns: number c of row r is at [c][r], so that every operation acts on vectors of rows.
One step of a tile is

    z = ((sines, cosines, others) - mean) / deviation,         in float64, then rounded to float32,
    z <- activation(W z + b)                                   layer by layer,
    variance = min(e^lower + e^upper sigmoid(r - upper), e^max(lower, upper)),   the softly bounded exp(v) of `losses`,
    change = target mean + target deviation (m + sqrt(variance) noise),

and the states are summed up in float64. A layer is computed for V T rows (T vectors) and 4 outputs at a time: 4 T sums
stay in registers, and a weight that is loaded once serves T vectors. The code is written for one shape of network, and
kept in the cache folder; weights are data.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import llvmlite
from llvmlite import ir

from trajopt.lowering import cache as code_cache
from trajopt.lowering.object_code import CODE_GENERATION_LEVEL, Engine, compile_object, host_processor

_VERSION = 1
"""Raise it with every change to the code that is written: cached code is found by it."""

OUTPUTS = 4
"""Outputs of a layer that are computed together; layers are padded to multiples of it."""

_FLOAT, _DOUBLE, _INT, _INDEX = ir.FloatType(), ir.DoubleType(), ir.IntType(32), ir.IntType(64)
_EXPONENT_RANGE = 87.0
"""Beyond it exp leaves float32's normal numbers; a sigmoid is 0 or 1 to float32 long before."""
_ROUND = 1.5 * 2.0**23
"""Adding it to a float32 rounds to the nearest integer and leaves that in the low bits."""
_LN2 = (0.693145751953125, 1.428606765330187e-06)
"""ln 2 in two parts; a multiple of the first by at most 128 is exact."""
_EXP = (1.0, 1.0, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040)
"""Taylor's series on |r| <= ln(2)/2: the first term left out, r^8/8!, is below 2^-27."""


@dataclass(frozen=True)
class Shape:
    """What the code depends on.

    Attributes
    ----------
    sizes
        Widths of the network: inputs (with sines and cosines), hidden layers, outputs.
    activation
        "silu", "tanh" or "relu".
    observed, controls
        Numbers of states and of controls.
    gaussians
        Outputs with a normal: the states, and a reward if there is one.
    termination
        Whether the last output is the logit of an end.
    angles
        States that the network sees as sines and cosines.
    vectors
        T, vectors of rows in a tile.
    """

    sizes: tuple[int, ...]
    activation: str
    observed: int
    controls: int
    gaussians: int
    termination: bool
    angles: tuple[int, ...]
    vectors: int

    @property
    def rows(self) -> int:
        """L, rows of a tile."""
        return self.vectors * vector_width()

    @property
    def columns(self) -> int:
        """What a step writes: next states, the reward, the probability of an end."""
        return self.gaussians + self.termination

    @property
    def padded(self) -> tuple[int, ...]:
        """Outputs of the layers as they are computed."""
        return tuple(-(-size // OUTPUTS) * OUTPUTS for size in self.sizes[1:])

    @property
    def work(self) -> int:
        """float32 numbers of scratch memory."""
        return 2 * max(self.sizes[0], *self.padded) * self.rows


@cache
def vector_width() -> int:
    """float32 numbers in a vector register of this processor."""
    features = set(host_processor()[1].split(","))
    return 16 if "+avx512f" in features else 8 if "+avx" in features else 4


@cache
def compiled(shape: Shape) -> Any:
    """The function ``roll(states, controls, noise, weights, scales, heads, work, steps)`` for a shape, for ctypes.

    states
        (N+1, columns, L) float64: the first states are given, the others are written.
    controls, noise
        (N, nu, L) float64 and (N, gaussians, L) float32.
    weights
        For each layer (in, padded out) and (padded out,), float32, one after the other.
    scales
        float64: means and reciprocal deviations of the inputs, means and deviations of the targets.
    heads
        (4, gaussians) float32: upper, e^lower, e^upper, e^max(lower, upper).
    work
        float32 scratch.
    """
    parts = (_VERSION, CODE_GENERATION_LEVEL, astuple(shape), vector_width(), host_processor(), llvmlite.__version__)
    key = f"rollout-{hashlib.sha256(repr(parts).encode()).hexdigest()}"
    code = code_cache.read(key)
    if code is None:
        code = compile_object(str(_Writer(shape).module()))
        code_cache.write(key, code)
    engine = Engine(code)
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 7, ctypes.c_int64)(engine.address("roll"))
    function.engine = engine  # whose memory the code lies in
    return function


class _Writer:
    """Writes the function of one shape."""

    def __init__(self, shape: Shape) -> None:
        self.shape, self.width = shape, vector_width()
        self.singles, self.doubles = (ir.VectorType(kind, self.width) for kind in (_FLOAT, _DOUBLE))
        self._module = ir.Module("rollout")
        self._module.triple = ""
        pointers = [kind.as_pointer() for kind in (_DOUBLE, _DOUBLE, _FLOAT, _FLOAT, _DOUBLE, _FLOAT, _FLOAT)]
        self._function = ir.Function(self._module, ir.FunctionType(ir.VoidType(), [*pointers, _INDEX]), "roll")
        self.b = ir.IRBuilder(self._function.append_basic_block("entry"))

    def module(self) -> ir.Module:
        """The whole function: a loop over the steps."""
        states, controls, noise, weights, scales, heads, work, steps = self._function.args
        shape, rows = self.shape, self.shape.rows
        other = self._at(work, shape.work // 2)
        with self._loop(steps) as k:
            now = self._at(states, self.b.mul(k, _index(shape.columns * rows)))
            following = self._at(now, shape.columns * rows)
            acting = self._at(controls, self.b.mul(k, _index(shape.controls * rows)))
            drawn = self._at(noise, self.b.mul(k, _index(shape.gaussians * rows)))
            self._inputs(now, acting, scales, work)
            source, target = work, other
            for layer, (inputs, _) in enumerate(pairwise(shape.sizes)):
                outputs, last = shape.padded[layer], layer == len(shape.sizes) - 2
                self._layer(source, target, weights, inputs, outputs, "" if last else shape.activation)
                weights = self._at(weights, (inputs + 1) * outputs)
                source, target = target, source
            self._heads(source, now, following, drawn, scales, heads)
        self.b.ret_void()
        return self._module

    def _inputs(self, now: ir.Value, acting: ir.Value, scales: ir.Value, z: ir.Value) -> None:
        """States and controls at unit scale, angles as sines and cosines."""
        shape = self.shape
        plain = [(now, i) for i in range(shape.observed)] + [(acting, i) for i in range(shape.controls)]
        turned = [plain[i] for i in shape.angles]
        others = [entry for i, entry in enumerate(plain) if i not in shape.angles]
        columns = [(e, "llvm.sin") for e in turned] + [(e, "llvm.cos") for e in turned] + [(e, "") for e in others]
        for number, ((source, place), function) in enumerate(columns):
            mean = self._splat(self._load_one(scales, number), self.doubles)
            rate = self._splat(self._load_one(scales, shape.sizes[0] + number), self.doubles)
            for t in range(shape.vectors):
                value = self._load(source, place * shape.rows + t * self.width, self.doubles)
                if function:
                    value = self._call(function, value)
                value = self.b.fmul(self.b.fsub(value, mean), rate)
                self._store(self.b.fptrunc(value, self.singles), z, number * shape.rows + t * self.width)

    def _layer(self, z: ir.Value, out: ir.Value, weights: ir.Value, inputs: int, outputs: int, activation: str) -> None:
        """out = activation(W z + b), four outputs at a time."""
        b, rows, vectors = self.b, self.shape.rows, self.shape.vectors
        biases = self._at(weights, inputs * outputs)
        with self._loop(_index(outputs // OUTPUTS)) as block:
            first = b.mul(block, _index(OUTPUTS))
            begin = [self._splat(self._load_one(biases, b.add(first, _index(j))), self.singles) for j in range(OUTPUTS)]
            sums = [begin[j] for j in range(OUTPUTS) for _ in range(vectors)]
            with self._loop(_index(inputs), sums) as (i, running):
                row, column = b.mul(i, _index(rows)), b.add(b.mul(i, _index(outputs)), first)
                loaded = [self._load(z, b.add(row, _index(t * self.width)), self.singles) for t in range(vectors)]
                for j in range(OUTPUTS):
                    weight = self._splat(self._load_one(weights, b.add(column, _index(j))), self.singles)
                    for t in range(vectors):
                        place = j * vectors + t
                        running[place] = self._call("llvm.fmuladd", weight, loaded[t], running[place])
            for j in range(OUTPUTS):
                row = b.mul(b.add(first, _index(j)), _index(rows))
                for t in range(vectors):
                    value = self._activate(running[j * vectors + t], activation)
                    self._store(value, out, b.add(row, _index(t * self.width)))

    def _activate(self, x: ir.Value, activation: str) -> ir.Value:
        one = self._single(1.0)
        if activation == "silu":
            return self.b.fdiv(x, self.b.fadd(one, self._exp(self.b.fneg(x))))
        if activation == "tanh":
            grown = self._exp(self.b.fmul(x, self._single(2.0)))
            return self.b.fsub(one, self.b.fdiv(self._single(2.0), self.b.fadd(one, grown)))
        if activation == "relu":
            return self.b.select(self.b.fcmp_ordered("<", x, self._single(0.0)), self._single(0.0), x)  # keeps NaN
        return x

    def _heads(
        self, out: ir.Value, now: ir.Value, following: ir.Value, drawn: ir.Value, scales: ir.Value, heads: ir.Value
    ) -> None:
        """Draw the changes, and write the states that follow."""
        b, shape, count = self.b, self.shape, self.shape.gaussians
        for c in range(count):
            upper, low, high, most = (
                self._splat(self._load_one(heads, row * count + c), self.singles) for row in range(4)
            )
            mean, deviation = (
                self._splat(self._load_one(scales, 2 * shape.sizes[0] + part * count + c), self.doubles)
                for part in range(2)
            )
            for t in range(shape.vectors):
                place = c * shape.rows + t * self.width
                raw = self._load(out, count * shape.rows + place, self.singles)
                variance = b.fadd(low, b.fmul(high, self._sigmoid(b.fsub(raw, upper))))
                variance = b.select(b.fcmp_ordered(">", variance, most), most, variance)
                normal = b.fmul(self._call("llvm.sqrt", variance), self._load(drawn, place, self.singles))
                value = b.fpext(b.fadd(self._load(out, place, self.singles), normal), self.doubles)
                value = b.fadd(mean, b.fmul(deviation, value))
                if c < shape.observed:
                    value = b.fadd(self._load(now, place, self.doubles), value)
                self._store(value, following, place)
        for t in range(shape.vectors if shape.termination else 0):
            logit = self._load(out, 2 * count * shape.rows + t * self.width, self.singles)
            ended = b.fpext(self._sigmoid(logit), self.doubles)
            self._store(ended, following, count * shape.rows + t * self.width)

    def _sigmoid(self, x: ir.Value) -> ir.Value:
        one = self._single(1.0)
        return self.b.fdiv(one, self.b.fadd(one, self._exp(self.b.fneg(x))))

    def _exp(self, x: ir.Value) -> ir.Value:
        """exp x to a unit in the last place, NaN for NaN; beyond float32's range the nearest value within."""
        b = self.b
        for limit, beyond in ((_EXPONENT_RANGE, ">"), (-_EXPONENT_RANGE, "<")):
            x = b.select(b.fcmp_ordered(beyond, x, self._single(limit)), self._single(limit), x)
        shifted = b.fadd(b.fmul(x, self._single(1.4426950408889634)), self._single(_ROUND))
        k = b.fsub(shifted, self._single(_ROUND))
        r = b.fsub(b.fsub(x, b.fmul(k, self._single(_LN2[0]))), b.fmul(k, self._single(_LN2[1])))
        total = self._single(_EXP[-1])
        for coefficient in reversed(_EXP[:-1]):
            total = self._call("llvm.fmuladd", total, r, self._single(coefficient))
        integers = ir.VectorType(_INT, self.width)
        biased = b.add(b.bitcast(shifted, integers), ir.Constant(integers, [127] * self.width))
        power = b.shl(biased, ir.Constant(integers, [23] * self.width))  # what is above the exponent falls off
        return b.fmul(total, b.bitcast(power, self.singles))

    def _single(self, number: float) -> ir.Constant:
        return ir.Constant(self.singles, [ctypes.c_float(number).value] * self.width)

    def _call(self, name: str, *arguments: ir.Value) -> ir.Value:
        kind = arguments[0].type
        function = self._module.declare_intrinsic(
            f"{name}.v{self.width}f{32 if kind.element == _FLOAT else 64}",
            (),
            ir.FunctionType(kind, [kind] * len(arguments)),
        )
        return self.b.call(function, arguments)

    def _splat(self, number: ir.Value, kind: ir.VectorType) -> ir.Value:
        first = self.b.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(_INT, 0))
        return self.b.shuffle_vector(
            first, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(_INT, self.width), [0] * self.width)
        )

    def _at(self, pointer: ir.Value, offset: ir.Value | int) -> ir.Value:
        return self.b.gep(pointer, [_index(offset) if isinstance(offset, int) else offset])

    def _load_one(self, pointer: ir.Value, offset: ir.Value | int) -> ir.Value:
        return self.b.load(self._at(pointer, offset))

    def _load(self, pointer: ir.Value, offset: ir.Value | int, kind: ir.VectorType) -> ir.Value:
        return self.b.load(self.b.bitcast(self._at(pointer, offset), kind.as_pointer()), align=4)

    def _store(self, value: ir.Value, pointer: ir.Value, offset: ir.Value | int) -> None:
        self.b.store(value, self.b.bitcast(self._at(pointer, offset), value.type.as_pointer()), align=4)

    @contextmanager
    def _loop(self, count: ir.Value, carried: Sequence[ir.Value] = ()) -> Iterator[Any]:
        """A loop that runs once at least; with ``carried`` it yields the values too, as a list to be overwritten."""
        b, before = self.b, self.b.block
        body, after = self._function.append_basic_block(), self._function.append_basic_block()
        b.branch(body)
        b.position_at_end(body)
        index = b.phi(_INDEX)
        index.add_incoming(_index(0), before)
        entered = [b.phi(value.type) for value in carried]
        for phi, value in zip(entered, carried, strict=True):
            phi.add_incoming(value, before)
        values: list[ir.Value] = list(entered)
        yield (index, values) if carried else index
        following = b.add(index, _index(1))
        index.add_incoming(following, b.block)
        for phi, value in zip(entered, values, strict=True):
            phi.add_incoming(value, b.block)
        b.cbranch(b.icmp_signed("<", following, count), body, after)
        b.position_at_end(after)


def _index(number: int) -> ir.Constant:
    return ir.Constant(_INDEX, number)
