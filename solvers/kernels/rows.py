"""`combine_rows`: the one inner loop of small dense linear algebra, in vector registers.

Loops over four or thirteen elements that Numba compiles spend most of their time on finding out whether arrays overlap
and whether the loop is long enough for vectors. Every product of the Riccati recursion is a combination of matrix rows,
so one intrinsic does them all; a row is one or a few vectors, the last of them masked.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from trajopt.lowering.object_code import host_processor

_FEATURES = frozenset(host_processor()[1].split(","))
# One register; without masked loads and stores, which LLVM would replace by a branch for each element, one number.
WIDTH = 8 if "+avx512f" in _FEATURES else 4 if "+avx" in _FEATURES else 1
_FLAGS = ("contract", "nsz")  # as in `trajopt.lowering.kernel`
_INDEX, _LANE = ir.IntType(64), ir.IntType(32)
_VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)
_MASK = ir.VectorType(ir.IntType(1), WIDTH)
_ZERO = ir.Constant(_VECTOR, [0.0] * WIDTH)


@intrinsic
def combine_rows(
    typing_context, out, at, alpha, start, start_at, beta, weights, weights_at, weights_step, rows, rows_at, rows_step,
    count, width,
):  # fmt: skip
    """Set out[j] = alpha start[j] + beta sum_k weights[k weights_step] rows[k rows_step + j] for j < width, k < count.

    Each array is C-contiguous float64 of any dimension, read from element ``at``, ``start_at``, ``weights_at`` or
    ``rows_at`` on; steps are counted in elements. ``out`` may be ``start``, but none of the rows used. Nothing is
    checked: the kernel vouches for the sizes.
    """
    for array in (out, start, weights, rows):
        if not (isinstance(array, types.Array) and array.dtype == types.float64 and array.layout == "C"):
            raise TypingError(f"An operand of combine_rows is {array}; give a C-contiguous float64 array.")
    number, index = types.float64, types.intp
    return types.void(
        out, index, number, start, index, number, weights, index, index, rows, index, index, index, index
    ), _generate


def _generate(context, builder, signature, arguments):
    """Emit a loop over the vectors of a row, and in it the loop over the rows."""
    out, start, weights, rows = (
        builder.gep(context.make_array(signature.args[k])(context, builder, arguments[k]).data, [arguments[k + 1]])
        for k in (0, 3, 6, 9)
    )
    alpha, beta = (_spread(builder, arguments[k]) for k in (2, 5))
    weights_step, rows_step, count, width = (arguments[k] for k in (8, 11, 12, 13))
    total = cgutils.alloca_once(builder, _VECTOR)
    lanes = ir.Constant(ir.VectorType(_INDEX, WIDTH), list(range(WIDTH)))
    with cgutils.for_range_slice(builder, _INDEX(0), width, _INDEX(WIDTH)) as (j, _):
        mask = builder.icmp_signed("<", lanes, _spread(builder, builder.sub(width, j)))
        builder.store(_ZERO, total)
        with cgutils.for_range(builder, count) as loop:
            weight = _spread(builder, builder.load(builder.gep(weights, [builder.mul(loop.index, weights_step)])))
            row = _load(builder, rows, builder.add(builder.mul(loop.index, rows_step), j), mask)
            builder.store(_multiply_add(builder, weight, row, builder.load(total)), total)
        scaled = builder.fmul(beta, builder.load(total), flags=_FLAGS)
        value = _multiply_add(builder, alpha, _load(builder, start, j, mask), scaled)
        _store(builder, value, out, j, mask)
    return context.get_dummy_value()


def _spread(builder, value):
    """Repeat a number in every lane."""
    undefined = ir.Constant(ir.VectorType(value.type, WIDTH), ir.Undefined)
    single = builder.insert_element(undefined, value, _LANE(0))
    return builder.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(_LANE, WIDTH), [0] * WIDTH))


def _multiply_add(builder, a, b, c):
    return builder.fadd(builder.fmul(a, b, flags=_FLAGS), c, flags=_FLAGS)


def _load(builder, base, index, mask):
    """Elements where the mask holds, and zero elsewhere, without touching the memory there."""
    pointer = builder.bitcast(builder.gep(base, [index]), _VECTOR.as_pointer())
    kind = ir.FunctionType(_VECTOR, [pointer.type, _LANE, _MASK, _VECTOR])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.v{WIDTH}f64.p0")
    return builder.call(function, [pointer, _LANE(8), mask, _ZERO])


def _store(builder, value, base, index, mask):
    """Write the elements where the mask holds."""
    pointer = builder.bitcast(builder.gep(base, [index]), _VECTOR.as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [_VECTOR, pointer.type, _LANE, _MASK])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.v{WIDTH}f64.p0")
    builder.call(function, [value, pointer, _LANE(8), mask])
