"""The two things that a traced function computes with: `TracedScalar` and `TracedArray`.

A `TracedArray` is an ndarray of objects, so indexing, views, broadcasting, reshaping and assignment are NumPy's own.
Its elements are `TracedScalar`, or plain numbers where nothing symbolic is involved: constants fold in Python. CasADi's
own objects are never put into an array, because NumPy would then talk to CasADi's idea of the array protocol.
"""

from __future__ import annotations

import functools
import math
import numbers
from typing import Any, cast

import casadi as ca
import numpy as np

from trajopt.symbolic.context import tracing_error
from trajopt.symbolic.elementwise import LOGIC, NEVER_LOGIC, ONLY_LOGIC, PREDICATES, RULES
from trajopt.symbolic.registry import FUNCTIONS, public_name

_NUMBERS = (numbers.Real, np.number, np.bool_)
_PRODUCTS = frozenset((np.matmul, np.vecdot, np.matvec, np.vecmat))
_IGNORED = frozenset(("casting", "order", "subok"))  # of a ufunc's arguments; they say nothing about values

SUPPORTED = (
    "use arithmetic, comparisons, np.where, np.minimum/maximum/clip, the elementary functions, array building and"
    " reshaping, sum/prod/mean/cumsum/max/min, products (@, dot, outer, cross, einsum), np.linalg.norm/solve/inv/det"
)


def _branch(_: Any) -> bool:
    raise tracing_error(
        "branches on a symbolic value",
        "use np.where, np.maximum, np.minimum, np.logical_and or np.logical_or instead of if, while, max, min, and, or",
    )


def _number(_: Any, *_arguments: Any) -> Any:
    raise tracing_error(
        "needs the number behind a symbolic value",
        "use the np. counterpart (np.sin for math.sin, np.floor for int), index with constants, and fill float arrays"
        " that the function makes itself with np.zeros or np.array",
    )


class _Dispatching:
    """Send NumPy's functions on traced values to our versions of them."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        return _deliver(call_ufunc(ufunc, method, inputs, options), out)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        return call_function(function, arguments, options)


def _operators(ufunc: np.ufunc) -> tuple[Any, Any]:
    """Make an operator and its reflection for scalars; arrays on the other side are left to NumPy's broadcasting."""

    def forward(self: TracedScalar, other: Any) -> Any:
        return apply(ufunc, self, other) if isinstance(other, (TracedScalar, *_NUMBERS)) else NotImplemented

    def reflected(self: TracedScalar, other: Any) -> Any:
        return apply(ufunc, other, self) if isinstance(other, (TracedScalar, *_NUMBERS)) else NotImplemented

    return forward, reflected


class TracedScalar(_Dispatching):
    """One symbolic number: an opaque wrapper of a CasADi SX of size 1 x 1."""

    __slots__ = ("sx",)
    __hash__ = None  # type: ignore[assignment]  # equality is an expression, so a value cannot be a key

    def __init__(self, sx: ca.SX) -> None:
        self.sx = sx

    def __repr__(self) -> str:
        return f"TracedScalar({self.sx})"

    __add__, __radd__ = _operators(np.add)
    __sub__, __rsub__ = _operators(np.subtract)
    __mul__, __rmul__ = _operators(np.multiply)
    __truediv__, __rtruediv__ = _operators(np.divide)
    __floordiv__, __rfloordiv__ = _operators(np.floor_divide)
    __mod__, __rmod__ = _operators(np.remainder)
    __pow__, __rpow__ = _operators(np.power)
    __and__, __rand__ = _operators(np.bitwise_and)
    __or__, __ror__ = _operators(np.bitwise_or)
    __xor__, __rxor__ = _operators(np.bitwise_xor)
    __lt__, __gt__ = _operators(np.less)
    __le__, __ge__ = _operators(np.less_equal)
    __eq__, _ = _operators(np.equal)  # type: ignore[assignment]
    __ne__, _ = _operators(np.not_equal)  # type: ignore[assignment]

    def __neg__(self) -> Any:
        return apply(np.negative, self)

    def __pos__(self) -> TracedScalar:
        return self

    def __abs__(self) -> Any:
        return apply(np.absolute, self)

    def __invert__(self) -> Any:
        return apply(np.invert, self)

    __bool__ = _branch
    __float__ = __int__ = __index__ = __complex__ = __round__ = __trunc__ = _number


class TracedBoolean(TracedScalar):
    """A symbolic truth value, 0 or 1: NumPy's arithmetic on two of these is logic, and CasADi knows no types."""

    __slots__ = ()


def _unary_method(ufunc: np.ufunc) -> Any:
    return lambda self: apply(ufunc, self)


# NumPy's loops over plain object arrays (`from numpy import array, sin` bypasses our array type) call methods by name.
for _ufunc in RULES:
    if _ufunc.nin == 1:
        setattr(TracedScalar, _ufunc.__name__, _unary_method(_ufunc))


def to_sx(element: Any) -> ca.SX:
    """Return a scalar or number as SX; through ``float`` because CasADi must not meet NumPy's scalars."""
    return element.sx if isinstance(element, TracedScalar) else ca.SX(float(element))


def is_truth(element: Any) -> bool:
    """Whether an element is a truth value, symbolic or not."""
    return isinstance(element, (TracedBoolean, bool, np.bool_))


def as_number(element: Any) -> Any:
    """Return a truth value as the number 0 or 1, and a number as it is."""
    if isinstance(element, TracedBoolean):
        return TracedScalar(element.sx)
    return element if isinstance(element, TracedScalar) else float(element)


def apply(ufunc: Any, *elements: Any) -> Any:
    """Apply a NumPy ufunc to scalars and numbers; numbers alone, and expressions that turn out constant, fold."""
    if not any(isinstance(element, TracedScalar) for element in elements):
        return ufunc(*(element if is_truth(element) else float(element) for element in elements)).item()
    all_truths = all(map(is_truth, elements))
    if ufunc in (NEVER_LOGIC if all_truths else ONLY_LOGIC):
        was, wanted = ("truth values", "numbers") if all_truths else ("numbers", "truth values, such as comparisons")
        raise TypeError(f"{public_name(ufunc)} was given {was}, and needs {wanted}")
    ufunc = LOGIC.get(ufunc, ufunc) if all_truths else ufunc
    sx = RULES[ufunc](*map(to_sx, elements))
    if sx.is_constant():
        return bool(float(sx)) if ufunc in PREDICATES else float(sx)
    return TracedBoolean(sx) if ufunc in PREDICATES else TracedScalar(sx)


def elements_of(sx: ca.SX) -> np.ndarray:
    """Return a CasADi matrix as an array of scalars and numbers, of the same shape."""
    elements = [float(e) if e.is_constant() else TracedScalar(e) for e in cast(list[ca.SX], ca.densify(sx).elements())]
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(sx.shape, order="F")


def to_matrix(matrix: np.ndarray) -> ca.SX:
    """Return a plain two-dimensional array of scalars and numbers as SX, of the same shape."""
    columns = [ca.vertcat(ca.SX(0, 1), *map(to_sx, column)) for column in matrix.T]
    return ca.horzcat(ca.SX(len(matrix), 0), *columns)


class TracedArray(_Dispatching, np.ndarray):
    """An ndarray of `TracedScalar` and numbers, shape and strides as NumPy would have them."""

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(_index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        # Ellipsis makes the target an array even for a single element, which would else hold an array as its object.
        index = _index(index)
        entries = index if isinstance(index, tuple) else (index,)
        has_ellipsis = any(entry is Ellipsis for entry in entries)
        assigned = plain(to_array(value))
        if not holds_truths(self):
            assigned = _numbers(assigned)
        elif not holds_truths(assigned):
            raise TypeError("an array of truth values cannot hold numbers")
        plain(self)[index if has_ellipsis else (*entries, ...)] = assigned

    def astype(self, dtype: Any, *arguments: Any, **options: Any) -> TracedArray:
        """Copy, if the type is a float; there are no symbolic integers."""
        if np.dtype(dtype).kind not in "fO":
            raise tracing_error(f"converts a symbolic array to {np.dtype(dtype)}", "use np.floor or a comparison")
        return self.copy()

    def clip(self, *arguments: Any, **options: Any) -> Any:
        """See np.clip."""
        return np.clip(self, *arguments, **options)

    def dot(self, *arguments: Any, **options: Any) -> Any:
        """See np.dot."""
        return np.dot(self, *arguments, **options)


def plain(array: TracedArray) -> np.ndarray:
    """Return the same memory as a base-class array of objects, on which NumPy does not call back to us."""
    return array.view(np.ndarray)


def _element(value: Any) -> Any:
    """Check and convert what is to be an element: a scalar, a bool, or a real number as float."""
    if isinstance(value, (TracedScalar, bool)):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, _NUMBERS) and not isinstance(value, np.complexfloating):
        return float(value)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return _element(value.item())
    if isinstance(value, (np.ndarray, list, tuple)):
        raise ValueError(
            f"a number was expected where an array of shape {np.shape(value)} stands; write u[0] for the only entry of "
            "u"
        )
    raise TypeError(f"an array of real numbers cannot hold a {type(value).__name__}")


_elements = np.frompyfunc(_element, 1, 1)
_as_numbers = np.frompyfunc(as_number, 1, 1)


def holds_truths(array: np.ndarray) -> bool:
    """Whether an array of objects is one of truth values, which NumPy would give the type bool."""
    return array.size > 0 and all(map(is_truth, array.flat))


def _numbers(objects: np.ndarray) -> np.ndarray:
    """Return an array of objects with its truth values as numbers."""
    result = np.empty(objects.shape, dtype=object)
    result[...] = _as_numbers(objects.view(np.ndarray))
    return result


def _uniform(objects: np.ndarray) -> np.ndarray:
    """Make truth values numbers, unless all are truth values, as NumPy's promotion of types would."""
    if any(map(is_truth, objects.flat)) and not holds_truths(objects):
        return _numbers(objects)
    return objects


def to_array(value: Any) -> TracedArray:
    """Return a number, scalar, array or nested sequence as `TracedArray`; one that is such an array is not copied."""
    if isinstance(value, TracedArray):
        return value
    if isinstance(value, (list, tuple)):
        value = [plain(v) if isinstance(v, TracedArray) else v for v in value]
    objects = np.array(value, dtype=object)
    converted = np.empty(objects.shape, dtype=object)
    converted[...] = _elements(objects)
    return _uniform(converted).view(TracedArray)


def has_symbol(value: Any) -> bool:
    """Whether a traced scalar is in a value: in an array of objects, or anywhere in nested sequences."""
    if isinstance(value, np.ndarray):
        return value.dtype == object and any(isinstance(element, TracedScalar) for element in value.flat)
    if isinstance(value, (list, tuple)):
        return any(has_symbol(part) for part in value)
    return isinstance(value, TracedScalar)


def to_numbers(value: Any) -> Any:
    """Return arrays of objects that hold numbers alone, also inside sequences, as NumPy's arrays of numbers."""
    if isinstance(value, TracedArray):
        numbers_only = np.array(plain(value).tolist()).reshape(value.shape)
        return numbers_only if numbers_only.dtype == bool else numbers_only.astype(float)
    if isinstance(value, (list, tuple)) and any(isinstance(part, (TracedArray, list, tuple)) for part in value):
        return type(value)(to_numbers(part) for part in value) if type(value) in (list, tuple) else value
    return value


def from_numpy(result: Any) -> Any:
    """Make what NumPy returned traced: arrays of floats or objects become `TracedArray`, 0-d ones their element."""
    if isinstance(result, (list, tuple)):
        parts = [from_numpy(part) for part in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    if isinstance(result, TracedArray) or not isinstance(result, np.ndarray):
        return float(result) if isinstance(result, np.floating) else result
    if result.ndim == 0 and result.dtype.kind in "fO":
        return from_numpy(result.item())
    if result.dtype == object:  # a view: NumPy's reshape, squeeze, ... promise to share memory
        return _uniform(result).view(TracedArray)
    return to_array(result) if result.dtype.kind == "f" else result


def _index(index: Any) -> Any:
    """Turn constant traced arrays in an index into plain ones, and refuse symbolic ones."""
    if has_symbol(index):
        raise tracing_error(
            "indexes with a symbolic value", "use constant indices, or np.where to choose between values"
        )
    return to_numbers(index)


def _deliver(result: Any, out: tuple[Any, ...]) -> Any:
    """Write a result to the array of ``out=``, if one was given."""
    target = out[0] if out else None
    if target is None:
        return result
    if not isinstance(target, TracedArray):
        raise tracing_error(
            "writes a symbolic result into an array of numbers",
            "make the array inside the function, with np.zeros or np.array, or write a = a + b instead of a += b",
        )
    target[...] = result
    return target


def call_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Evaluate a ufunc, or its method such as ``reduce``, of which an input is traced."""
    if not any(has_symbol(value) for value in inputs):
        return from_numpy(getattr(ufunc, method)(*map(to_numbers, inputs), **options))
    name = public_name(ufunc) + ("" if method == "__call__" else f".{method}")
    options = {
        key: value for key, value in options.items() if key not in _IGNORED and not _is_default(ufunc, key, value)
    }
    axis = {"axis": options.pop("axis")} if "axis" in options else {}
    keepdims = options.pop("keepdims", False)
    if options or method not in ("__call__", "reduce", "outer", "accumulate"):
        raise unsupported(name + "".join(f" with {key}=" for key in options))
    if method == "reduce" and ufunc in RULES:
        return reduce(ufunc, to_array(inputs[0]), keepdims=keepdims, **axis)
    arrays = [plain(to_array(value)) for value in inputs]
    if (method == "accumulate" or ufunc in _PRODUCTS) and all(map(holds_truths, arrays)):
        raise unsupported(f"{name} of truth values")
    if method == "accumulate":
        if ufunc not in (np.add, np.multiply):
            raise unsupported(name)
        return from_numpy(ufunc.accumulate(arrays[0], **axis))
    if ufunc in _PRODUCTS:
        return from_numpy(ufunc(*arrays))
    if ufunc not in RULES and ufunc not in LOGIC:
        raise unsupported(name)
    if method == "outer":
        arrays[0] = arrays[0].reshape(arrays[0].shape + (1,) * arrays[1].ndim)
    return from_numpy(_loop(ufunc)(*arrays))


def _is_default(ufunc: Any, key: str, value: Any) -> bool:
    if key == "dtype" and value is not None:
        return np.dtype(value).kind in ("fOb" if ufunc in PREDICATES else "fO")  # ndarray.any and all ask for bool
    return value is None or value is np._NoValue or (key == "where" and value is True)


@functools.cache
def _loop(ufunc: Any) -> Any:
    return np.frompyfunc(functools.partial(apply, ufunc), ufunc.nin, 1)


def reduce(ufunc: Any, array: TracedArray, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Fold a binary ufunc along one axis, several, or all (None)."""
    axes = tuple(range(array.ndim)) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, array.ndim)
    kept = tuple(size for i, size in enumerate(array.shape) if i not in axes)
    count = math.prod(array.shape[i] for i in axes)
    values = _numbers(array) if ufunc in (np.add, np.multiply) else plain(array)  # NumPy's sums count truth values
    rows = np.moveaxis(values, axes, range(len(axes))).reshape((count, *kept))
    if count == 0 and ufunc.identity is None:
        raise ValueError(f"{public_name(ufunc)}.reduce of an empty array has no value")
    # Slices of one row, not rows: a bare scalar would make NumPy dispatch the loop back to us.
    slices = [rows[i : i + 1] for i in range(count)] or [np.full((1, *kept), ufunc.identity, dtype=object)]
    result = to_array(functools.reduce(_loop(ufunc), slices).reshape(kept))
    if keepdims:
        return result.reshape(tuple(1 if i in axes else size for i, size in enumerate(array.shape)))
    return from_numpy(plain(result))


def call_function(function: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Evaluate a NumPy function of which an argument is traced: ours if there is one, NumPy's if all is constant."""
    implementation = FUNCTIONS.get(function)
    is_constant = not has_symbol(arguments) and not has_symbol(list(options.values()))
    if is_constant and not getattr(implementation, "keeps_views", False):
        arguments, options = to_numbers(arguments), {key: to_numbers(value) for key, value in options.items()}
        return from_numpy(function(*arguments, **options))
    if implementation is None:
        raise unsupported(public_name(function))
    return implementation(*arguments, **options)


def unsupported(name: str) -> Exception:
    """Make the error for a NumPy function, or an argument of one, that cannot be traced."""
    return tracing_error(f"calls {name} on a symbolic value, which cannot be traced,", SUPPORTED)
