"""Files that are there whole or not at all, and the lock that keeps a second writer out."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from robomd_ros.core.errors import BusyError, StorageError

TEMPORARY = ".tmp"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; afterwards the file is on the disk under its own name, or nothing is.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    # A name of its own: two cells may train on one study and save at the same moment.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_atomic(path: Path, data: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def sync(path: Path) -> None:
    """Bring a file's content, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def storage_error(path: Path, error: OSError) -> StorageError:
    """Our error for an operating system's one, with what to do."""
    if isinstance(error, StorageError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageError(
            f"disk full while writing {path}: nothing of it was kept; free space and try again."
        )
    return StorageError(f"{path} could not be written: {error.strerror or error}.")


class WriterLock:
    """Held by the one writer of a database; the kernel frees it when the process dies, however it dies."""

    def __init__(self, database: Path) -> None:
        path = database.with_suffix(".lock")
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise storage_error(path, error) from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._handle)
            raise BusyError(
                f"{database} has a writer already: stop it (the running session?), or open it read-only."
            ) from error

    def release(self) -> None:
        """Let the next writer in; once is enough, twice is harmless."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
