"""Compiled code on disk: found again by what it was compiled from, rebuilt when anything about the file is wrong.

A file is ``trajopt-code-1``, the SHA-256 of its key and payload, and the payload: neither a damaged file nor one under
another's name is ever loaded, which LLVM would not survive. It is written under another name and moved
into place, so that two processes can write at once and a reader never sees half a file. A folder that cannot be made,
read or written only costs the time to compile again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
from pathlib import Path

from trajopt.files import write_atomically

_LOG = logging.getLogger(__name__)
_MAGIC = b"trajopt-code-1\n"
_DIGEST_SIZE = hashlib.sha256().digest_size
_SUFFIX = ".code"
# A function of 1,000 operations takes about 10 kB, so this keeps tens of thousands of them.
LARGEST_FOLDER = 512 * 2**20
# Half-written files of processes that died are removed after an hour.
_ABANDONED_AFTER = 3600.0


def cache_folder() -> Path:
    """Return the cache folder: TRAJOPT_CACHE_DIR, or ``trajopt`` where the platform keeps the user's caches."""
    chosen = os.environ.get("TRAJOPT_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(base)) / "trajopt"


def private_folder(folder: Path) -> Path | None:
    """Make a folder that only the user can read; None when it cannot be made or belongs to someone else."""
    try:
        for part in (folder.parent, folder):  # mkdir gives the mode to the last folder alone
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder if folder.is_dir() and is_trusted(folder) else None
    except OSError as error:
        _LOG.debug("no cache folder at %s: %s", folder, error)
        return None


def is_trusted(path: Path) -> bool:
    """Whether a file or folder is the user's own, and nobody else may write to it: what is loaded from it gets run."""
    if sys.platform == "win32":
        return True  # the folder is inside the user's profile, whose access list says so
    status = path.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def read(key: str) -> bytes | None:
    """Return the payload stored under `key`, or None when there is no sound file of the user's own."""
    path = _path(key)
    try:
        if not (is_trusted(path.parent) and is_trusted(path)):
            _LOG.debug("ignored %s, which others own or may write", path)
            return None
        content = path.read_bytes()
    except OSError as error:
        _LOG.debug("nothing cached at %s: %s", path, error)
        return None
    start = len(_MAGIC) + _DIGEST_SIZE
    digest, payload = content[len(_MAGIC) : start], content[start:]
    if not content.startswith(_MAGIC) or _digest(key, payload) != digest:
        _LOG.debug("ignored the damaged file %s", path)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # pruning removes what was not used for longest
    return payload


def write(key: str, payload: bytes) -> None:
    """Store a payload under `key` if the folder allows it."""
    path = _path(key)
    if private_folder(path.parent) is None:
        return
    try:
        write_atomically(path, lambda file: file.write(_MAGIC + _digest(key, payload) + payload))
        prune(path.parent)
    except OSError as error:
        _LOG.debug("could not write %s: %s", path, error)


def prune(folder: Path, largest: int | None = None) -> None:
    """Remove the files that were not used for longest until the folder holds at most `largest` bytes."""
    largest = LARGEST_FOLDER if largest is None else largest
    files = []
    newest = 0.0
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # another process may remove it first
                status = entry.stat(follow_symlinks=False)
                newest = max(newest, status.st_mtime)
                files.append((status.st_mtime, status.st_size, entry.path))
    total = sum(size for _, size, _ in files)
    for modified, size, path in sorted(files):
        abandoned = not path.endswith(_SUFFIX) and newest - modified > _ABANDONED_AFTER
        if total > largest or abandoned:
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size


def _digest(key: str, payload: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + payload).digest()


def _path(key: str) -> Path:
    return cache_folder() / "code" / f"{key}{_SUFFIX}"
