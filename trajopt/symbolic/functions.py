"""NumPy's array functions on traced values.

Most need nothing from us: on a base-class array of objects NumPy moves the elements (`MOVING`) or combines them with
Python's + - * (`ALGEBRAIC`), and the elements answer. The others are written out below.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from trajopt.symbolic import elementwise
from trajopt.symbolic.registry import FUNCTIONS, implements, public_name
from trajopt.symbolic.traced import (
    TracedArray,
    TracedBoolean,
    TracedScalar,
    from_numpy,
    holds_truths,
    is_truth,
    plain,
    reduce,
    to_array,
    to_sx,
    unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Callable

JOINING = (
    np.stack,
    np.vstack,
    np.hstack,
    np.dstack,
    np.column_stack,
    np.concatenate,
    np.block,
)  # take a list of arrays
MOVING = (
    *JOINING,
    *(np.append, np.insert, np.delete, np.roll, np.flip, np.fliplr, np.flipud, np.rot90, np.tile, np.repeat, np.resize),
    *(np.ravel, np.reshape, np.squeeze, np.expand_dims, np.transpose, np.matrix_transpose, np.swapaxes, np.moveaxis),
    *(np.atleast_1d, np.atleast_2d, np.atleast_3d, np.broadcast_to, np.broadcast_arrays, np.take, np.diagonal, np.diag),
    *(np.diagflat, np.tril, np.triu, np.split, np.array_split, np.hsplit, np.vsplit, np.meshgrid, np.copy, np.copyto),
    *(np.fill_diagonal, np.shape, np.ndim, np.size),
)
ALGEBRAIC = (
    *(np.dot, np.inner, np.outer, np.cross, np.tensordot, np.kron, np.einsum, np.trace, np.convolve, np.polyval),
    *(np.cumsum, np.cumprod, np.diff, np.trapezoid, np.linalg.outer, np.linalg.cross, np.linalg.matmul),
    *(np.linalg.multi_dot, np.linalg.trace),
)


def _bare(value: Any) -> Any:
    """Strip our types from a value and from sequences, so that NumPy does not dispatch back to us."""
    if isinstance(value, TracedArray):
        return plain(value)
    if isinstance(value, TracedScalar):
        return np.array(value, dtype=object)
    if type(value) in (list, tuple):
        return type(value)(_bare(part) for part in value)
    return value


def _on_objects(function: Any) -> Callable[..., Any]:
    def implementation(*arguments: Any, **options: Any) -> Any:
        bare = {key: _bare(value) for key, value in options.items()}
        return from_numpy(function(*_bare(arguments), **bare))

    return implementation


def _on_numbers(function: Any) -> Callable[..., Any]:
    evaluate = _on_objects(function)

    def implementation(*arguments: Any, **options: Any) -> Any:
        arrays = [value for value in arguments if isinstance(value, (TracedArray, TracedScalar))]
        if all(holds_truths(to_array(value)) for value in arrays):  # some of these count them, some reason with them
            raise unsupported(f"{public_name(function)} of truth values")
        return evaluate(*arguments, **options)

    return implementation


for _function in ALGEBRAIC:
    FUNCTIONS[_function] = _on_numbers(_function)
for _function in MOVING:
    FUNCTIONS[_function] = _on_objects(_function)
    FUNCTIONS[_function].keeps_views = True  # type: ignore[attr-defined]  # even where all elements are constant


def _reduction(function: Any, ufunc: Any) -> None:
    """Register a reduction over an axis, several, or all by default."""

    def implementation(a: Any, axis: Any = None, *, keepdims: Any = False, **options: Any) -> Any:
        given = [key for key, value in options.items() if value is not None and value is not np._NoValue]
        if given:
            raise unsupported(f"{public_name(function)} with {given[0]}=")
        return reduce(ufunc, to_array(a), axis, keepdims=keepdims is True)

    FUNCTIONS[function] = implementation


_reduction(np.sum, np.add)
_reduction(np.prod, np.multiply)
_reduction(np.max, np.maximum)
_reduction(np.min, np.minimum)
_reduction(np.amax, np.maximum)
_reduction(np.amin, np.minimum)
_reduction(np.any, np.logical_or)
_reduction(np.all, np.logical_and)


@implements(np.mean)
def _mean(a: Any, axis: Any = None, **options: Any) -> Any:
    array = to_array(a)
    total = FUNCTIONS[np.sum](array, axis, **options)
    return total / (array.size / max(1, math.prod(np.shape(total))))


@implements(np.vdot)
def _vdot(a: Any, b: Any) -> Any:
    return np.dot(to_array(a).ravel(), to_array(b).ravel())


def _choose(condition: Any, chosen: Any, otherwise: Any) -> Any:
    if not isinstance(condition, TracedScalar):
        return chosen if condition else otherwise
    kind = TracedBoolean if is_truth(chosen) and is_truth(otherwise) else TracedScalar
    return kind(elementwise.where(*map(to_sx, (condition, chosen, otherwise))))


_choose_each = np.frompyfunc(_choose, 3, 1)


@implements(np.where)
def _where(condition: Any, *branches: Any) -> Any:
    if not branches:
        raise unsupported("np.where with one argument")
    return from_numpy(_choose_each(*(plain(to_array(value)) for value in (condition, *branches))))


@implements(np.select)
def _select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    pairs = list(zip(condlist, choicelist, strict=True))
    return functools.reduce(lambda rest, pair: _where(pair[0], pair[1], rest), reversed(pairs), default)


@implements(np.clip)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, **options: Any) -> Any:
    lower, upper = options.pop("min", a_min), options.pop("max", a_max)
    if out is not None or options:
        raise unsupported("np.clip with out= or other options")
    raised = a if lower is None or lower is np._NoValue else np.maximum(to_array(a), to_array(lower))
    return raised if upper is None or upper is np._NoValue else np.minimum(to_array(raised), to_array(upper))


@implements(np.interp)
def _interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """Sum the ramps of a table: each segment adds its slope times how far x has come in it."""
    if not all(option is None for option in (left, right, period)):
        raise unsupported("np.interp with left=, right= or period=")
    places = np.asarray(_bare(xp))
    if places.dtype == object:
        raise unsupported("np.interp at symbolic places xp")
    widths, values = np.diff(places), to_array(fp)
    if not (widths > 0).all():
        raise ValueError("np.interp needs increasing xp")
    ramps = np.clip(to_array(x)[..., np.newaxis] - places[:-1], 0.0, widths)
    return values[0] + np.sum(ramps * (np.diff(values) / widths), axis=-1)


def _like(function: Any, value: float) -> None:
    @implements(function)
    def implementation(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None) -> Any:
        size = np.shape(_bare(a)) if shape is None else shape
        kind = float if dtype is None or np.dtype(dtype) == object else dtype
        return from_numpy(np.full(size, value, dtype=kind))


_like(np.zeros_like, 0.0)
_like(np.ones_like, 1.0)
_like(np.empty_like, math.nan)  # so that an entry that is never assigned shows up as NaN


@implements(np.full_like)
def _full_like(a: Any, fill_value: Any) -> Any:
    return from_numpy(np.full(np.shape(_bare(a)), _bare(fill_value), dtype=object))
