"""What the calling thread is tracing, and where in the user's code it stands: the raw material of error messages."""

from __future__ import annotations

import linecache
import sys
import threading
import traceback
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from trajopt.errors import TracingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Frames of these packages are never "the user's line", and their own NumPy calls are left alone.
LIBRARIES = ("numpy", "scipy", "casadi", "trajopt.symbolic")


class _Thread(threading.local):
    def __init__(self) -> None:
        self.roles: list[str] = []


_thread = _Thread()


def is_tracing() -> bool:
    """Whether the calling thread is inside a traced function."""
    return bool(_thread.roles)


@contextmanager
def role(name: str) -> Iterator[None]:
    """Say that the calling thread traces ``name`` ("dynamics", "stage_cost", ...)."""
    _thread.roles.append(name)
    try:
        yield
    finally:
        _thread.roles.pop()


def in_library(frame: FrameType) -> bool:
    """Whether a frame runs code of one of `LIBRARIES`."""
    module = str(frame.f_globals.get("__name__", ""))
    return any(module == library or module.startswith(library + ".") for library in LIBRARIES)


def _describe(frames: Iterable[tuple[FrameType, int]]) -> str:
    """Describe the first of ``frames`` that is the user's, as ``at file:line (`source`)``; empty if none is."""
    for frame, line in frames:
        if not in_library(frame):
            filename = frame.f_code.co_filename
            source = linecache.getline(filename, line, frame.f_globals).strip()
            return f" at {filename}:{line}" + (f" (`{source}`)" if source else "")
    return ""  # a call with the wrong number of arguments fails before the user's first line


def where_raised(trace: TracebackType | None) -> str:
    """Name the user's line that an exception came from: the innermost one of the traceback that is not a library's."""
    return _describe(reversed(list(traceback.walk_tb(trace))))


def tracing_error(deed: str, remedy: str) -> TracingError:
    """Make the error for something that the user's current line does and that cannot be traced.

    Parameters
    ----------
    deed : str
        Verb phrase, for example "branches on a symbolic value".
    remedy : str
        What to do instead, as an imperative.
    """
    subject = _thread.roles[-1] if _thread.roles else "a function outside its trace"
    line = _describe(traceback.walk_stack(sys._getframe(1)))
    return TracingError(f"{subject} {deed}{line}: {remedy}.")
