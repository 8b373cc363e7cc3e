"""What the readers of files and the loader check alike: paths, amounts of bytes, labels, integers."""

from __future__ import annotations

import operator
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .dataset import DataError

_CHUNK = 1 << 20  # bytes asked for at once: what a lying header can make us allocate too much


def as_path(operation: str, name: str, value: str | os.PathLike[str]) -> Path:
    """The path that `value` stands for; `TypeError` if it is none."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{operation}: {name} is a {type(value).__name__}: give a path")
    return Path(value)


def existing_folder(operation: str, value: str | os.PathLike[str]) -> Path:
    """The folder that `value` names; `DataError` if there is none."""
    folder = as_path(operation, "root", value)
    try:
        found = folder.is_dir()
    except OSError as error:
        raise DataError(f"{operation}: {folder}: {one_line(error)}") from None
    if not found:
        what = "not a folder" if folder.exists() else "no such folder"
        raise DataError(
            f"{operation}: {folder}: {what}: give the folder that holds the data set's files"
        )
    return folder


def one_line(error: BaseException) -> str:
    """An error's own words on one line, without the path that an OSError repeats."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def read_at_most(stream: BinaryIO, limit: int) -> bytearray:
    """Read up to `limit` bytes, fewer where the stream ends.

    Memory grows with the bytes that are there, never with the number that a header claims.
    """
    data = bytearray()
    while len(data) < limit:
        piece = stream.read(min(_CHUNK, limit - len(data)))
        if not piece:
            break
        data += piece
    return data


def check_labels(where: str, labels: np.ndarray, num_classes: int) -> None:
    """Raise `DataError`, with the first culprit, unless all labels lie in 0..num_classes-1."""
    wrong = (labels < 0) | (labels >= num_classes)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"{where}: label {labels[first]} at index {first} is outside 0..{num_classes - 1}: "
            "the file is damaged or of another data set"
        )


def as_integer(operation: str, name: str, value: object, minimum: int) -> int:
    """`value` as an int of at least `minimum`; NumPy integers are welcome, floats and bools not."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{operation}: {name} is {value!r}: give an integer")
    number = operator.index(value)  # type: ignore[arg-type]
    if number < minimum:
        raise ValueError(f"{operation}: {name} is {number}: give at least {minimum}")
    return number
