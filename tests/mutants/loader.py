"""Import `trajopt` with a mistake in it and with its kernels as plain Python, in a process that has not done so yet.

Nothing on disk changes. Kernels run as the Python that they are (``NUMBA_DISABLE_JIT``), so that a mutant compiles
nothing and no cache of machine code ever sees it; functions that they call by address are called through ctypes. Tree
kernels, whose nodes and edges are records, are compiled, into a cache of their own.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

from numba.core.extending import _Intrinsic

from .mutant import Mutant


class _Mutated(SourceFileLoader):
    """Loads a module with one passage replaced, and never from its bytecode."""

    def __init__(self, mutant: Mutant, path: str) -> None:
        super().__init__(mutant.module, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path).decode()
        return compile(self._mutant.mutate(source), self.path, "exec", dont_inherit=True)


class _Plain(SourceFileLoader):
    """Loads a module of intrinsics, and puts plain Python in their place."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        for name, function in vars(module).items():
            if isinstance(function, _Intrinsic):
                setattr(module, name, _PLAIN[module.__name__])


class Finder(MetaPathFinder):
    """Stands before Python's own finder; to be put into ``sys.meta_path`` before anything of `trajopt` is imported.

    Parameters
    ----------
    mutant
        None for the library as it is.
    compiled
        Whether kernels are compiled all the same.
    """

    def __init__(self, mutant: Mutant | None, compiled: bool) -> None:
        loaded = [name for name in sys.modules if name == "trajopt" or name.startswith("trajopt.")]
        if loaded:
            raise RuntimeError(f"{loaded[0]} was imported before the mutant.")
        self._mutant, self._plain = mutant, {} if compiled else _PLAIN

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own specification with another loader, or None: not ours."""
        make: Callable[[str], Loader] | None = None
        if self._mutant is not None and fullname == self._mutant.module:
            make = functools.partial(_Mutated, self._mutant)
        elif fullname in self._plain:
            make = functools.partial(_Plain, fullname)
        if make is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = make(spec.origin)
        return spec


@functools.cache
def _function(address: int, pointers: int) -> Callable[..., None]:
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * pointers)(address)


def _call(address: int, *operands: Any) -> None:
    """As `trajopt.lowering.call`: arrays and offsets in turn."""
    pointers = [
        array.__array_interface__["data"][0] + array.itemsize * int(offset)
        for array, offset in zip(operands[::2], operands[1::2], strict=True)
    ]
    _function(int(address), len(pointers))(*pointers)


def _combine_rows(
    out, at, alpha, start, start_at, beta, weights, weights_at, weights_step, rows, rows_at, rows_step, count, width
):  # fmt: skip
    """As `trajopt.solvers.kernels.rows.combine_rows`."""
    out, start, weights, rows = (array.reshape(-1) for array in (out, start, weights, rows))
    for j in range(width):
        total = 0.0
        for k in range(count):
            total += weights[weights_at + k * weights_step] * rows[rows_at + k * rows_step + j]
        out[at + j] = alpha * start[start_at + j] + beta * total


_PLAIN: dict[str, Callable[..., None]] = {
    "trajopt.lowering.call": _call,
    "trajopt.solvers.kernels.rows": _combine_rows,
}
