"""What a data set is: two splits of inputs and labels, and the names of the classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class DataError(ValueError):
    """A data file that is missing, damaged or not of its format. The message is one line and names the file."""


def one_line(text) -> str:
    """Text on one line: a path may hold a line break, a message must not."""
    return " ".join(str(text).splitlines())


class Split(NamedTuple):
    """Inputs (N, H, W, C) or (N, features), uint8 or float32, and labels (N,) int64."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """A training and a test split. Iterating gives the two:
    ``(x_train, y_train), (x_test, y_test) = load_digits()``.

    Attributes:
        name: what it is called in reports.
        train, test: the splits.
        classes: the name of each class, by label.
        value_range: the least and greatest value that an input can have, (0, 255) for photographs.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    value_range: tuple[float, float] = (0.0, 255.0)

    def __iter__(self) -> Iterator[Split]:
        return iter((self.train, self.test))

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.train.images.shape[1:]

    @property
    def num_classes(self) -> int:
        return len(self.classes)


def every_fifth(labels: np.ndarray) -> np.ndarray:
    """Which examples are test: of each class every fifth in file order, starting with its fifth.

    The choice depends on the file alone, keeps the classes' shares, and needs no random generator whose
    stream could change.
    """
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        test[np.flatnonzero(labels == label)[4::5]] = True
    return test


def check_labels(where: str, labels: np.ndarray, classes: int) -> None:
    """DataError for the first label that is no class."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise DataError(
            f"{where}: label {labels[wrong[0]]} at position {wrong[0]} is not one of the {classes} classes"
        )
