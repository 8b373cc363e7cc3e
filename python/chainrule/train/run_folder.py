"""A run folder on disk, whose files are always whole: old or new, never half of each.

What the files hold is decided elsewhere (`job.py`, `checkpoint.py`).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from chainrule.train.errors import RunError

CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.csv"
SETTINGS = "settings.toml"
REPORT = "report.html"


class RunFolder:
    """The folder of one run. Nothing is on disk before the first `write`.

    Attributes:
        path: where it is, or will be.
        exists: whether it is on disk.
    """

    def __init__(self, path: Path, *, exists: bool, numbered: bool = False):
        self.path = path
        self.exists = exists
        self._numbered = numbered

    @classmethod
    def named(cls, path: str | Path) -> RunFolder:
        """A new folder of this name. RunError when it holds something, or cannot be made."""
        path = Path(path).expanduser()
        if path.is_dir():
            if any(path.iterdir()):
                raise RunError(
                    f"out: {path} is not empty: name a new folder, or continue it with --resume"
                )
        elif path.exists() or path.is_symlink():
            raise RunError(f"out: {path} is not a folder: name a new one")
        _check_writable(path.parent)
        return cls(path, exists=False)

    @classmethod
    def numbered(cls, parent: str | Path, name: str) -> RunFolder:
        """A new folder PARENT/NAME-<n> with the next free number. RunError when it cannot be made."""
        name = re.sub(r"[^\w.-]+", "-", name)
        path = _next_free(Path(parent), name)
        _check_writable(path.parent)
        return cls(path, exists=False, numbered=True)

    @classmethod
    def existing(cls, path: str | Path) -> RunFolder:
        """The folder of a run that was. RunError when there is none."""
        path = Path(path).expanduser()
        if not path.is_dir():
            raise RunError(f"run: {path} is not a folder: give the folder of a run")
        if not (path / CHECKPOINT).is_file():
            raise RunError(f"run: {path} holds no {CHECKPOINT}: give the folder of a run")
        return cls(path, exists=True)

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files by name, each whole or not at all; the first time, the folder with all of them at once."""
        if self.exists:
            for name, content in files.items():
                replace_file(self.path / name, content)
            return
        parent = self.path.parent
        made = _make_parents(parent)
        hidden = parent / f".{self.path.name}.{os.getpid()}.partial"
        try:
            hidden.mkdir()
            for name, content in files.items():
                _write_through(hidden / name, content)
            self._move_into_place(hidden)
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            for folder in made:
                _remove_if_empty(folder)
            raise
        self.exists = True
        _sync_folder(parent)

    def _move_into_place(self, hidden: Path) -> None:
        """Rename the hidden folder; when another run took the number meanwhile, take the next."""
        while True:
            try:
                # Renaming onto an empty folder replaces it; onto one that holds something it fails.
                os.rename(hidden, self.path)
                return
            except OSError:
                if not (self._numbered and self.path.exists()):
                    raise
                self.path = _next_free(self.path.parent, self.path.name.rpartition("-")[0])


def replace_file(path: Path, content: bytes) -> None:
    """Put a file in another's place: written beside it, flushed to the disk, then renamed over it.

    Whatever goes wrong on the way, the old file stays whole and nothing is left beside it.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        _write_through(temporary, content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _write_through(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Make a rename last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _next_free(parent: Path, name: str) -> Path:
    """PARENT/NAME-<n>, n one above the highest there is."""
    pattern = re.compile(re.escape(name) + r"-(\d{1,9})")
    try:
        taken = [int(m[1]) for entry in os.listdir(parent) if (m := pattern.fullmatch(entry))]
    except FileNotFoundError:
        taken = []
    return parent / f"{name}-{max(taken, default=0) + 1}"


def _check_writable(folder: Path) -> None:
    """RunError when the folder, or the nearest one above it that exists, takes no new entries."""
    folder = Path(os.path.abspath(folder))
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise RunError(f"out: {folder} is not a folder: name another place with --out")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RunError(f"out: {folder} cannot be written to: name another place with --out")


def _make_parents(folder: Path) -> list[Path]:
    """Make a folder and those above it. Returns what was made, deepest first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
    return missing


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        pass  # another run has moved in
