"""Files that are whole at any moment: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def replace_file(path: Path, content: bytes) -> None:
    """Give a file new content in one step: whatever happens, it holds the old content or the new.

    Who writes the same file meanwhile waits, in this process or another.

    Errors: OSError that names the file.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with _claimed(temporary) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:  # a full disk is reported without a name, or with the temporary one
        raise type(error)(error.errno, error.strerror, str(path)) from None
    sync_folder(path.parent)


@contextmanager
def _claimed(path: Path) -> Iterator[BinaryIO]:
    """An empty file at the path, to be written by nobody else meanwhile."""
    while True:
        with open(path, "ab") as file:  # not emptied yet: it may be another's
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            if not _lies_at(file, path):  # the other has given it its name, or removed it
                continue
            file.truncate(0)
            yield file
            return


def _lies_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def sync_folder(path: Path) -> None:
    """Make renames in the folder last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
