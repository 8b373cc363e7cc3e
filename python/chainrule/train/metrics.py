"""The figures of one epoch, and their table as a CSV file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch came to.

    Losses are means over the examples and include the penalty on the weights. Those of training are measured
    during the epoch, while the weights move; those of the test set after it.

    Attributes:
        epoch: 1 for the first.
        train_loss, train_accuracy, test_loss, test_accuracy: accuracies are from 0 to 1.
        seconds: of the training pass.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float

    @classmethod
    def from_dict(cls, values: Any) -> EpochMetrics:
        """From what `dataclasses.asdict` gave. ValueError for anything else."""
        names = [f.name for f in fields(cls)]
        if not isinstance(values, dict) or set(values) != set(names):
            raise ValueError(f"an epoch's figures must be {', '.join(names)}")
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"{name} must be a number")
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{name} must be finite and at least 0")
        return cls(int(values["epoch"]), *(float(values[name]) for name in names[1:]))


def to_csv(history: Sequence[EpochMetrics]) -> str:
    """A header and one line an epoch. Numbers are written so that they read back to the same bits.

    >>> print(to_csv([EpochMetrics(1, 0.5, 0.75, 0.25, 1.0, 2.0)]), end="")
    epoch,train_loss,train_accuracy,test_loss,test_accuracy,seconds
    1,0.5,0.75,0.25,1.0,2.0
    """
    lines = [",".join(f.name for f in fields(EpochMetrics))]
    lines += [",".join(repr(value) for value in astuple(row)) for row in history]
    return "\n".join(lines) + "\n"
