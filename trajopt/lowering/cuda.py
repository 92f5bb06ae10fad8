"""CUDA: the only module that knows which package compiles Python for a GPU. Today that is ``numba.cuda``.

``numba.cuda`` is part of Numba, and the package numba-cuda, which takes its place when it is installed, is in
maintenance. For a successor this file changes, and what it offers stays: `available`, `check_device`, `kernel`,
`device_function`, `compile_expression`, `mathematical_function`, `Launch`, `to_device`, `make_array`, and `cuda`, of
which kernels use grid, threadIdx, blockIdx, blockDim, syncthreads, local.array and shared.array under this very name.

With NUMBA_ENABLE_CUDASIM=1 in the environment before Numba is imported, kernels run as Python threads on the processor:
slow, without type checks, but the same source. Then mathematical functions are NumPy's, which like CUDA's give
infinities and NaN where those of Python's ``math`` raise.
"""

from __future__ import annotations

import functools
import hashlib
import linecache
import warnings
from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np
from numba.core import config
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem, MissingExtra, TrajoptError
from trajopt.lowering.program import check_function, read_program
from trajopt.lowering.source import FUNCTION_NAMES, function_source, numpy_functions

cuda: Any = None
try:
    from numba import cuda
except ImportError as error:  # a Numba whose CUDA part has moved out, without the package that it moved to
    _IMPORT_ERROR = str(error)

SIMULATED: bool = bool(vars(config)["ENABLE_CUDASIM"])
"""Whether kernels run in Numba's simulator."""

PRECISIONS = {"float64": np.float64, "float32": np.float32}

LARGEST_EXPRESSION = 10_000
"""Operations of one function: 7,000 take 11 s to compile, because Numba reads them as Python."""


def available() -> bool:
    """Whether kernels can run: there is a GPU with driver and compiler, or the simulator is on."""
    return cuda is not None and bool(cuda.is_available())


def check_device() -> None:
    """Do nothing where kernels can run.

    Raises
    ------
    MissingExtra
        When the package that compiles for the GPU, or a part of it, is missing.
    InvalidProblem
        When there is no GPU.
    """
    if cuda is None:
        raise MissingExtra(
            f'device="cuda" was given, but numba.cuda cannot be imported ({_IMPORT_ERROR}); '
            'write pip install "trajopt[cuda]".'
        )
    if available():
        return
    if cuda.cudadrv.driver.driver.is_available:
        raise MissingExtra(
            'device="cuda" was given, and there is a GPU, but NVIDIA\'s compiler library NVVM is missing; '
            'write pip install "trajopt[cuda]".'
        )
    raise InvalidProblem(
        'device="cuda" was given, but no NVIDIA GPU with a driver was found; give device="cpu", '
        "or set NUMBA_ENABLE_CUDASIM=1 before Python starts to try it in the slow simulator."
    )


def kernel(function: Callable[..., Any]) -> Any:
    """Make a function one that the host launches; compiled at its first launch, for the types that it is given."""
    return cuda.jit(_settle(function))


def device_function(function: Callable[..., Any]) -> Any:
    """Make a function one that kernels call. No fast-math: NaN and infinities survive."""
    return cuda.jit(device=True)(_settle(function))


def _settle(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep a function's globals from growing: the simulator's threads iterate over them, and a warning adds one."""
    if SIMULATED:
        function.__globals__.setdefault("__warningregistry__", {})
    return function


def to_device(array: NDArray[Any]) -> Any:
    """A copy on the device, which offers ``copy_to_device(array)`` and ``copy_to_host(array)``."""
    return cuda.to_device(array)


def make_array(shape: tuple[int, ...], dtype: type) -> Any:
    """An array on the device, of undefined content; no dimension may be zero."""
    return cuda.device_array(shape, dtype)


class Launch:
    """A kernel for one grid, compiled for the types of its arguments.

    Parameters
    ----------
    function
        From `kernel`.
    blocks, threads
        Size of the grid, and of a block of it.
    shared
        Bytes of shared memory that a block has.
    arguments
        Arguments of the types that it will be called with; their types are looked at once, here, and not at each call.
    """

    def __init__(self, function: Any, blocks: int, threads: int, shared: int, arguments: tuple[Any, ...]) -> None:
        self._kernel = function.specialize(*arguments)
        self._configuration = (blocks, threads, 0, shared)
        with warnings.catch_warnings():
            # That a grid is small, as a reduction's or a small problem's has to be, is no news to the user.
            warnings.simplefilter("ignore")
            _ = self._kernel[self._configuration]

    def __call__(self, *arguments: Any) -> None:
        """Launch it; this does not wait for the end."""
        self._kernel[self._configuration](*arguments)


def compile_expression(name: str, function: ca.Function, precision: str) -> Any:
    """A CasADi function as a device function ``(inputs..., outputs...)`` of one-dimensional arrays.

    Parameters
    ----------
    name
        An identifier, for error messages.
    function
        SX function of dense columns.
    precision
        "float64" or "float32", of all arrays.

    Raises
    ------
    TrajoptError
        When it is too large, or not a function that has machine code.
    """
    check_function(name, function)
    if function.n_instructions() > LARGEST_EXPRESSION:
        raise TrajoptError(
            f"The function {name!r} has {function.n_instructions()} operations, but a GPU function can have "
            f'{LARGEST_EXPRESSION}; give device="cpu", or dynamics that expand to less.'
        )
    return _compile_source(name, function_source(read_program(name, function)), precision)


def mathematical_function(name: str, precision: str) -> Any:
    """A function of C's mathematical library, by its C name, for kernels that are written by hand."""
    return _functions(precision)[name]


@functools.cache  # by content: equal expressions of two problems are one function, compiled once
def _compile_source(name: str, source: str, precision: str) -> Any:
    digest = hashlib.sha256(source.encode()).hexdigest()
    file = f"<trajopt {name} {precision} {digest}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)  # for errors that show lines
    namespace: dict[str, Any] = {"real": PRECISIONS[precision], **_functions(precision)}
    exec(compile(source, file, "exec"), namespace)  # made by function_source just now: never read from anywhere
    return device_function(namespace[name])


def _functions(precision: str) -> dict[str, Any]:
    """The mathematical library for numbers of one precision."""
    if SIMULATED:
        return numpy_functions()
    from numba.cuda import libdevice  # noqa: PLC0415 - the simulator has none

    suffix = "f" if precision == "float32" else ""  # otherwise libdevice has C's names
    return {name: getattr(libdevice, name + suffix) for name in FUNCTION_NAMES}
