"""Writing files so that a killed process leaves either the old one or the new one, never half."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call ``write`` on a temporary file beside ``path``, then put that in its place in one step.

    A link is followed, and what is no regular file (a device, a pipe) is written to and not replaced.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        with open(path, "wb") as file:
            write(file)
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:  # unlike a file of tempfile's, with the permissions that the user wants
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
