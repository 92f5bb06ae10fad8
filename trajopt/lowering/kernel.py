"""`kernel`: Numba functions whose machine code is kept in this library's cache folder.

Numba's own cache looks at the file of a function, but not at the files of the functions that it calls, so a change in a
helper would go unnoticed. Here the code is found by a hash of *all* kernel sources. The files pass through `cache`:
checked against their digest, written in one step, only read when they are the user's own, and rebuilt when damaged.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import logging
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import caching, compiler, serialize

import trajopt
from trajopt.lowering import cache

_LOG = logging.getLogger(__name__)
_PACKAGE = Path(trajopt.__file__).parent
# Where kernels call functions of other files; a kernel's own folder is always included.
_SHARED_SOURCES = ("lowering/call.py", "lowering/kernel.py", "transcription/*.py", "solvers/kernels/*.py")
# Fused multiply-add and no difference between 0.0 and -0.0; never flags under which NaN and infinity may vanish.
FAST_MATH = frozenset({"contract", "nsz"})


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Callable[..., Any]:
    """Compile a function with Numba at its first call, without the interpreter lock, and keep the result on disk.

    Parameters
    ----------
    function : callable, optional
        The function; left out when options are given, as in ``@kernel(inline="always")``.
    **options
        Passed on to `numba.njit` on top of ``nogil``, NumPy's error model and no bounds checks.
    """
    if function is None:
        return functools.partial(kernel, **options)
    # Without reference counts (_nrt) nothing that allocates compiles, and handing arrays on costs nothing: counting
    # took half of the time of an iLQR iteration.
    settings = {"nogil": True, "error_model": "numpy", "boundscheck": False, "_nrt": False} | options
    settings.setdefault("fastmath", set(FAST_MATH))
    dispatcher: Any = numba.njit(**settings)(function)
    if dispatcher is not function:  # with NUMBA_DISABLE_JIT the function itself comes back
        dispatcher._cache = KernelCache(function, sorted((name, str(value)) for name, value in options.items()))
    return dispatcher


class KernelCache(caching._Cache):
    """Numba's interface to a cache, on top of `cache`: one file for each function and argument types."""

    def __init__(self, function: Callable[..., Any], options: list[tuple[str, str]]) -> None:
        self._function = function
        self._enabled = True
        # Read now, because the source may be edited between the import and the first call.
        self._identity = (
            source_hash(Path(inspect.getfile(function)).parent),
            function.__module__,
            function.__qualname__,
            function.__code__.co_firstlineno,
            options,
        )

    @property
    def cache_path(self) -> Any:
        """Folder of the files."""
        return str(cache.cache_folder())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function for these argument types, or None."""
        if not self._enabled:
            return None
        target_context.refresh()
        payload = cache.read(self._key(sig, target_context.codegen()))
        if payload is None:
            return None
        try:
            return compiler.CompileResult._rebuild(target_context, *pickle.loads(payload))
        except Exception as error:
            # Numba raises whatever the contents lead to; a kernel that cannot be restored is compiled again.
            _LOG.debug("could not restore %s: %r", self._function.__qualname__, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store a compiled function, unless it holds addresses of this process."""
        if not self._enabled:
            return
        if data.library.has_dynamic_globals or any(not lifted.can_cache for lifted in data.lifted):
            _LOG.debug("%s cannot be cached", self._function.__qualname__)
            return
        cache.write(self._key(sig, data.codegen), serialize.dumps(data._reduce()))

    def enable(self) -> None:
        """Read and write files."""
        self._enabled = True

    def disable(self) -> None:
        """Neither read nor write files."""
        self._enabled = False

    def flush(self) -> None:
        """Nothing to do: a file that is out of date is never found, and pruning removes it."""

    def _key(self, signature: Any, codegen: Any) -> str:
        closure = tuple(cell.cell_contents for cell in self._function.__closure__ or ())
        versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)
        parts = (self._identity, versions, str(signature), codegen.magic_tuple())
        digest = hashlib.sha256(repr(parts).encode())
        digest.update(hashlib.sha256(self._function.__code__.co_code).digest())
        digest.update(serialize.dumps(closure))
        return f"kernel-{digest.hexdigest()}"


@functools.cache
def source_hash(folder: Path) -> str:
    """SHA-256 of the sources that kernels of a folder can be made of: the folder's and the shared ones."""
    files = {f"own/{path.name}": path for path in folder.glob("*.py")}
    for pattern in _SHARED_SOURCES:
        files |= {path.relative_to(_PACKAGE).as_posix(): path for path in _PACKAGE.glob(pattern)}
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
