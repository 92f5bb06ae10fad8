"""What needs PyTorch says so in a sentence where it is missing, and computes on one thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from trajopt.errors import MissingExtra


def require_torch(what: str) -> ModuleType:
    """Import PyTorch, or name the extra that has it."""
    try:
        import torch  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise MissingExtra(
            f'{what} was asked for, but PyTorch is not installed; write pip install "trajopt[learned]".'
        ) from error
    return torch


_lock = threading.Lock()
_users = 0
_threads = 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread, and give its threads back afterwards.

    Sums over several threads depend on their number in the last bits. PyTorch's number of threads is the process's, so
    the first to enter stores it and the last to leave restores it.
    """
    import torch  # noqa: PLC0415 - whoever comes here has it

    global _users, _threads  # noqa: PLW0603 - it guards a global of PyTorch's
    with _lock:
        if _users == 0:
            _threads = torch.get_num_threads()
            torch.set_num_threads(1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                torch.set_num_threads(_threads)
