"""The folder of a run: where it lies, and how its files are written so that they are always whole.

A new folder is filled under a hidden name beside its place and then renamed; an empty one that is there is filled in
its place; a file that is there is replaced in one step. What the files hold is left to others.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from chainrule.files import replace_file, sync_folder
from chainrule.train.errors import RunFolderError

CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.csv"
SETTINGS = "settings.toml"
REPORT = "report.html"
HIDDEN = ".chainrule-"  # how the names of folders in the making begin


class RunFolder:
    """A run's folder, which may still have to be made.

    Attributes:
        path: the folder; of a new one without a fixed name, where it will most likely be.
        exists: whether it was made.
    """

    def __init__(self, path: Path, exists: bool, series: str | None = None):
        self.path = path
        self.exists = exists
        self._series = series  # the name without its number, for a new folder without a fixed name
        self._claim: int | None = None  # the handle that holds the lock

    @classmethod
    def named(cls, name: str) -> RunFolder:
        """A new folder with this name. Errors: RunFolderError if something is there, or nothing can be made."""
        path = Path(name)
        try:
            if path.is_dir() and any(path.iterdir()):
                raise RunFolderError(f"out: {path} is not empty: name another folder")
            if os.path.lexists(path) and not path.is_dir():
                raise RunFolderError(f"out: {path} is there and no folder: name another")
        except OSError as error:
            raise RunFolderError(f"out: {path}: {error.strerror}") from None
        _check_can_be_made(path)
        return cls(path, exists=False)

    @classmethod
    def next_free(cls, data: str, model: str, parent: Path = Path("runs")) -> RunFolder:
        """A new folder parent/data-model-n, with the first n that is free when it is made."""
        series = f"{data}-{model}"
        path = _next_free(parent, series)
        _check_can_be_made(path)
        return cls(path, exists=False, series=series)

    @classmethod
    def open(cls, name: str) -> RunFolder:
        """A finished or interrupted run's folder. Errors: RunFolderError if it is none."""
        path = Path(name)
        try:
            if not path.is_dir():
                raise RunFolderError(f"run: {path} is no folder: name the folder of a run")
            if not (path / CHECKPOINT).is_file():
                raise RunFolderError(f"run: {path} holds no {CHECKPOINT}: name the folder of a run")
        except OSError as error:
            raise RunFolderError(f"run: {path}: {error.strerror}") from None
        return cls(path, exists=True)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def claim(self) -> None:
        """Keep other processes from training in the folder until `release`, or the end of this process.

        Errors: RunFolderError if another does already.
        """
        self._lock(self.path)

    def _lock(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise RunFolderError(f"run: {self.path} is being trained by another process") from None
        except OSError:  # a file system without locks
            os.close(handle)
        else:
            self._claim = handle

    def release(self) -> None:
        """Let other processes train in the folder."""
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write the files: all at once into a folder that is made for them, or one by one into one that exists.

        Each file is replaced in one step, in the order given: a failure leaves the old or the new, never a part.
        """
        if self.exists:
            for name, content in files.items():
                replace_file(self.path / name, content)
        else:
            self._create(files)

    def _create(self, files: Mapping[str, bytes]) -> None:
        if self._series is None and self.path.is_dir():
            self._fill(files)
            return
        parent = self.path.parent
        parent.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=HIDDEN, dir=parent))
        try:
            for name, content in files.items():
                replace_file(hidden / name, content)
            self._lock(hidden)
            hidden.chmod(0o777 & ~_umask())  # mkdtemp makes folders that only the user can read
            while True:
                try:
                    os.rename(hidden, self.path)
                    break
                except OSError:
                    # Another run took the name meanwhile.
                    if self._series is None or not os.path.lexists(self.path):
                        raise
                    self.path = _next_free(parent, self._series)
        finally:
            self.exists = not hidden.exists()  # an interruption can come right after the renaming
            if not self.exists:
                self.release()
                shutil.rmtree(hidden, ignore_errors=True)
        sync_folder(parent)

    def _fill(self, files: Mapping[str, bytes]) -> None:
        """Write into a folder that is there and empty: it may be a link, a mount or where this process is, which no
        renaming replaces. A failure leaves it empty."""
        self._lock(self.path)
        begun: list[str] = []
        try:
            if any(self.path.iterdir()):
                raise RunFolderError(f"out: {self.path} is not empty: name another folder")
            for name, content in files.items():
                begun.append(name)
                replace_file(self.path / name, content)
            self.exists = True
        finally:
            if not self.exists:
                for name in begun:
                    (self.path / name).unlink(missing_ok=True)
                self.release()


def _next_free(parent: Path, series: str) -> Path:
    number = 1
    while os.path.lexists(parent / f"{series}-{number}"):
        number += 1
    return parent / f"{series}-{number}"


def _check_can_be_made(path: Path) -> None:
    """Fail now rather than after the first epoch. Errors: RunFolderError."""
    try:
        above = path.absolute().parent
        while not os.path.lexists(above):
            above = above.parent
        if not above.is_dir():
            raise RunFolderError(f"out: {path} cannot be made: {above} is no folder")
        path.exists()  # fails for a name that is too long
        os.rmdir(tempfile.mkdtemp(prefix=HIDDEN, dir=above))
    except OSError as error:
        raise RunFolderError(f"out: {path} cannot be made: {error.strerror}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
