"""Let NumPy's module answer a traced function differently, in the tracing thread alone and while it traces.

Why this is needed: NumPy's protocols (``__array_function__``, ``__array_ufunc__``) see neither traced values inside
lists, nor functions without array arguments. So ``np.array([x[0], 1.0])`` would be an array of bare objects,
``np.maximum([x[0], 1.0], 0)`` would ask an object for its truth, and ``np.zeros(4)`` could not hold a symbol.

How: for the time of a trace the modules ``numpy`` and ``numpy.linalg`` get a class whose attribute look-up returns our
versions, if the look-up is made by the thread that traces, from code that is not a library's. No attribute is replaced:
other threads, and SciPy or NumPy themselves, find NumPy's own objects. Our versions are

* creation (``zeros ones empty full eye identity array asarray ...``): float arrays come as `TracedArray`, so that
  symbols can be assigned into them; ``empty`` is filled with NaN, so that an entry that is never assigned shows up;
* every function of the registry and every ufunc: lists that hold symbols become `TracedArray`, then NumPy dispatches;
* for libraries, ``asarray`` and its kin turn a `TracedArray` of constants back into an array of numbers.

``from numpy import array`` at the top of a user's module binds NumPy's own; then arrays of bare objects arise, which
work with operators and are converted when they meet a traced function or are returned.
"""

from __future__ import annotations

import functools
import sys
import threading
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from trajopt.symbolic import linear_algebra  # noqa: F401 - fills the registry
from trajopt.symbolic.context import in_library, is_tracing, role, tracing_error
from trajopt.symbolic.elementwise import ONLY_LOGIC, RULES
from trajopt.symbolic.functions import JOINING
from trajopt.symbolic.registry import FUNCTIONS
from trajopt.symbolic.traced import TracedArray, from_numpy, has_symbol, plain, to_array, to_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_lock = threading.RLock()  # one trace at a time: CasADi counts references to expressions without locks
_depth = 0


def _is_float(dtype: Any) -> bool:
    return dtype is None or np.dtype(dtype).kind in "fO"


def _convert(value: Any) -> Any:
    """Make lists and bare arrays that hold symbols traced; leave all else alone."""
    if isinstance(value, (list, tuple, np.ndarray)) and not isinstance(value, TracedArray) and has_symbol(value):
        return to_array(value)
    return value


def _dispatched(function: Any) -> Callable[..., Any]:
    """Wrap a function that NumPy dispatches once its lists are arrays."""

    @functools.wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        options = {key: _convert(value) for key, value in options.items()}
        if function in JOINING and arguments and isinstance(arguments[0], (list, tuple)):
            parts = arguments[0] if function is np.block else [_convert(part) for part in arguments[0]]
            return function(parts, *arguments[1:], **options)
        return function(*map(_convert, arguments), **options)

    return wrapper


class _Ufunc:
    """A ufunc with converted lists; its methods (``reduce``, ``outer``) and attributes are NumPy's."""

    def __init__(self, ufunc: np.ufunc) -> None:
        self._ufunc = ufunc

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._ufunc(*map(_convert, arguments), **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ufunc, name)


def _creation(function: Any) -> Callable[..., Any]:
    """Wrap a function that makes an array of floats from a shape."""

    @functools.wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        if has_symbol(arguments) or has_symbol(list(options.values())):  # np.full of a symbol, np.zeros_like
            options = {"dtype": object, **options} if function is np.full else options
            return from_numpy(function(*arguments, **options))
        result = from_numpy(function(*map(to_numbers, arguments), **options))
        if function in (np.empty, np.empty_like) and isinstance(result, TracedArray):
            result[...] = np.nan
        return result

    return wrapper


def _array(function: Any) -> Callable[..., Any]:
    """Wrap np.array and np.asarray."""

    @functools.wraps(function)
    def wrapper(value: Any, dtype: Any = None, **options: Any) -> Any:
        if isinstance(value, TracedArray) or has_symbol(value):
            if not _is_float(dtype):
                if not has_symbol(value):
                    return function(to_numbers(value), dtype=dtype, **options)
                raise tracing_error(f"makes a symbolic array of type {np.dtype(dtype)}", "leave the type out")
            return function(plain(to_array(value)), dtype=object, **options).view(TracedArray)
        result = function(to_numbers(value), dtype=dtype, **options)
        return result if result is value or result.dtype.kind != "f" else to_array(result)

    return wrapper


def _of_constants(function: Any) -> Callable[..., Any]:
    """Wrap a conversion for libraries, which want numbers."""

    @functools.wraps(function)
    def wrapper(value: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(value, TracedArray) and not has_symbol(value):
            value = to_numbers(value)
        return function(value, *arguments, **options)

    return wrapper


_CREATION = ("zeros", "ones", "empty", "full", "eye", "identity", "zeros_like", "ones_like", "empty_like", "full_like")
_CONVERSION = ("array", "asarray", "asanyarray", "ascontiguousarray", "asarray_chkfinite")


def _table(module: ModuleType) -> dict[str, Any]:
    """Collect our versions of a module's functions, aliases such as ``abs`` included."""
    table: dict[str, Any] = {}
    for name, value in vars(module).items():
        if isinstance(value, np.ufunc):
            if value in RULES or value in ONLY_LOGIC:
                table[name] = _Ufunc(value)
        elif callable(value) and not isinstance(value, type) and value in FUNCTIONS:
            table[name] = _dispatched(value)
    return table


_USER_TABLES: dict[str, dict[str, Any]] = {
    "numpy": {
        **_table(np),
        **{name: _creation(getattr(np, name)) for name in _CREATION},
        **{name: _array(getattr(np, name)) for name in _CONVERSION},
        "copy": _array(np.array),
    },
    "numpy.linalg": _table(np.linalg),
}
_LIBRARY_TABLE = {name: _of_constants(getattr(np, name)) for name in _CONVERSION}


class _Tracing(ModuleType):
    """The class of NumPy's modules during a trace."""

    def __getattribute__(self, name: str) -> Any:
        if is_tracing() and not name.startswith("_"):
            frame = sys._getframe(1)
            module = ModuleType.__getattribute__(self, "__name__")
            if not in_library(frame):
                found = _USER_TABLES[module].get(name)
            elif module == "numpy" and not frame.f_globals["__name__"].startswith("trajopt."):
                found = _LIBRARY_TABLE.get(name)
            else:
                found = None
            if found is not None:
                return found
        return ModuleType.__getattribute__(self, name)


@contextmanager
def tracing(name: str) -> Iterator[None]:
    """Trace the function in role ``name`` inside this context; nests, and restores NumPy's modules in any event."""
    global _depth  # noqa: PLW0603 - what it counts, the class of NumPy's modules, is global as well
    with _lock:
        _depth += 1
        try:
            for module in (np, np.linalg):
                module.__class__ = _Tracing
            with role(name):
                yield
        finally:
            _depth -= 1
            if _depth == 0:
                for module in (np, np.linalg):
                    module.__class__ = ModuleType
