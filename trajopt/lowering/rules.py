"""The rules of a decision process as functions on arrays, and as addresses that search kernels call.

Rules are ordinary Python. Numba compiles them, with bounds checks: they are a user's, and must not crash. Everything
that kernels call has one form, an *entry* ``f(state, numbers, weights, mask)`` on four pieces of memory: the state,
`NUMBERS` numbers in and out, one weight for each action or outcome, and one bool for each action. Called by address
(`trajopt.lowering.call.call_entry`), it returns zero, or something else where the rule raised.

Machine code is kept in the cache folder of `kernel`, found by a hash of the rules' bytecode and of everything that they
refer to: constants, arrays, and the functions that they call. Rules that refer to anything else are compiled in every
process. Rules that are not to be compiled become C callbacks into the interpreter: slow, with the same results.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import sys
import types as python_types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import types

from trajopt.lowering.call import NUMBERS
from trajopt.lowering.kernel import KernelCache

carray: Any = numba.carray  # type: ignore[attr-defined]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)


@dataclass(frozen=True, eq=False)
class Entry:
    """A function that kernels call by ``address``, and whatever keeps it alive."""

    address: int
    alive: Any
    fault: list[BaseException]


def compile_rule(function: Callable[..., Any]) -> Callable[..., Any]:
    """Numba's dispatcher of a rule, with its machine code on disk where all that it is made of can be told."""
    identity = identify(function)
    # Symbols are named after functions, and counted within a process: those of another process, from the disk, could
    # have the names of others here.
    copy = python_types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__qualname__ = f"{function.__qualname__}_{identity or 'of_this_process'}"
    copy.__module__ = function.__module__
    dispatcher: Any = numba.njit(nogil=True, error_model="numpy", boundscheck=True)(copy)
    if dispatcher is copy:  # with NUMBA_DISABLE_JIT the function itself comes back
        return function
    if identity is not None:
        dispatcher._cache = RuleCache(copy, identity)
    return dispatcher


def make_entry(function: Callable[..., None], state: np.ndarray, weights: int, mask: int) -> Entry:
    """Entry of a compiled ``function(state, numbers, weights, mask)`` for states like ``state`` and those sizes."""
    shape, dtype = state.shape, state.dtype

    def entry(state_pointer, numbers_pointer, weights_pointer, mask_pointer):
        function(
            carray(state_pointer, shape, dtype),
            carray(numbers_pointer, (NUMBERS,), np.float64),
            carray(weights_pointer, (weights,), np.float64),
            carray(mask_pointer, (mask,), np.bool_),
        )

    dispatcher: Any = compile_rule(entry)
    dispatcher.compile(types.none(*[types.voidptr] * 4))
    (result,) = dispatcher.overloads.values()
    address = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
    return Entry(address, dispatcher, [])


def make_callback(function: Callable[..., None], state: np.ndarray, weights: int, mask: int) -> Entry:
    """Entry that calls back into the interpreter."""
    fault: list[BaseException] = []
    layout = (
        (state.dtype, state.shape),
        (np.dtype(np.float64), (NUMBERS,)),
        (np.dtype(np.float64), (weights,)),
        (np.dtype(np.bool_), (mask,)),
    )

    def entry(_result, _exception, *pointers) -> int:
        try:
            function(*(_view(pointer, *kind) for pointer, kind in zip(pointers, layout, strict=True)))
        except BaseException as error:  # must not cross the kernel; whoever reads the return value raises it
            fault[:] = [error]
            return 1
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * (2 + len(layout)))(entry)
    address = ctypes.cast(callback, ctypes.c_void_p).value
    assert address is not None
    return Entry(address, callback, fault)


def _view(pointer: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Memory at an address as an array."""
    size = dtype.itemsize * math.prod(shape)
    memory: Any = (ctypes.c_char * size).from_address(pointer) if size else bytearray()
    return np.frombuffer(memory, dtype).reshape(shape)


class RuleCache(KernelCache):
    """Machine code of rules on disk, by what they are made of."""

    def __init__(self, function: Callable[..., Any], identity: str) -> None:
        super().__init__(function, [])
        self._rule = identity

    def _key(self, signature: Any, codegen: Any) -> str:
        versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)
        parts = (self._rule, versions, str(signature), codegen.magic_tuple())
        return f"rule-{hashlib.sha256(repr(parts).encode()).hexdigest()}"


def identify(thing: Any) -> str | None:
    """Hash of all that a rule is made of, or None where it refers to something that cannot be told."""
    digest = hashlib.sha256()
    try:
        for part in _parts(thing, set()):
            digest.update(part.encode() + b"\0")
    except _Untold:
        return None
    return digest.hexdigest()


class _Untold(Exception):
    """Something whose content no hash can follow."""


def _parts(thing: Any, seen: set[int]) -> list[str]:
    """Texts that together tell what ``thing`` is."""
    thing = getattr(thing, "py_func", thing)  # Numba's dispatchers
    parts = _plain_parts(thing)
    if parts:
        return parts
    if isinstance(thing, tuple):
        return [f"tuple {len(thing)}", *[part for item in thing for part in _parts(item, seen)]]
    if isinstance(thing, python_types.ModuleType):
        return _module_parts(thing)
    if not isinstance(thing, python_types.FunctionType):
        raise _Untold
    if id(thing) in seen:
        return ["again"]
    seen.add(id(thing))
    return _function_parts(thing, seen)


def _plain_parts(thing: Any) -> list[str]:
    """Texts that tell what a thing without parts is; none where it has some."""
    if isinstance(thing, np.ndarray) and not thing.dtype.hasobject:
        return [f"array {thing.dtype} {thing.shape}", hashlib.sha256(thing.tobytes()).hexdigest()]
    if isinstance(thing, (np.dtype, *_PLAIN)):
        return [f"{type(thing).__name__} {thing!r}"]
    if isinstance(thing, type | np.ufunc | python_types.BuiltinFunctionType):
        return [f"{getattr(thing, '__module__', '')} {thing.__name__}"]
    return [repr(type(thing))] if getattr(type(thing), "__module__", "").startswith("numba.") else []


def _function_parts(function: python_types.FunctionType, seen: set[int]) -> list[str]:
    parts = [f"function {function.__name__}"]
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        parts.append(code.co_code.hex())
        codes += [constant for constant in code.co_consts if isinstance(constant, python_types.CodeType)]
        for constant in code.co_consts:
            if not isinstance(constant, python_types.CodeType):
                parts.append(repr(constant))
        for name in code.co_names:
            parts.append(name)
            if name in function.__globals__:
                parts += _parts(function.__globals__[name], seen)
    for cell in (*(function.__closure__ or ()),):
        parts += _parts(cell.cell_contents, seen)
    for default in function.__defaults__ or ():
        parts += _parts(default, seen)
    return parts


def _module_parts(module: python_types.ModuleType) -> list[str]:
    """Name and version of a module, or the content of its file: rules may call its functions."""
    name = module.__name__
    root = sys.modules.get(name.partition(".")[0])
    if name.partition(".")[0] in sys.stdlib_module_names:
        return [f"module {name}"]
    release = getattr(root, "__version__", None)
    if release is not None and not name.startswith("trajopt"):
        return [f"module {name} {release}"]
    path = getattr(module, "__file__", None)
    if path is None:
        raise _Untold
    return [f"module {name}", hashlib.sha256(Path(path).read_bytes()).hexdigest()]
