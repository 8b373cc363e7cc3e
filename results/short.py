"""Short versions of the rows, for every test run: the packaged digits, few images, few epochs.

    python results/short.py            # trains them and says how far each is from its stored curve
    python results/short.py --write    # trains them and stores their curves in results/curves

A short version has its row's settings file, with the changes below. Digits are enlarged where a net takes no images of
8 x 8. Curves differ between machines by how sums are rounded, which grows from step to step.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rows import HERE, ResultsError, read_rows

from chainrule.cli.train import add_arguments
from chainrule.data import load_digits
from chainrule.files import replace_file
from chainrule.train import Callback, EpochRecord, Job, TrainSettings
from chainrule.train.config import read_config

CURVES = HERE / "curves"
FIELDS = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


@dataclass(frozen=True)
class Short:
    """A short version.

    Attributes:
        enlarge: how many times the digits' sides are taken.
        images: how many train.
        changes: settings by name, over the row's.
        loss: how far the training loss of each epoch may be from the stored one, as a share of it.
        points: how far the test accuracy of each may be, in points.

    The two are about three times the greatest differences found between instruction sets and machines: none for the
    models without convolutions, more for deep nets with batch norm on few images, most in bfloat16. Accuracies of 355
    test images that a net has hardly learned to tell apart swing more than the loss does.
    """

    enlarge: int
    images: int
    changes: dict[str, Any]
    loss: float
    points: float


ALL_CNN = {"epochs": 2, "batch_size": 16, "lr": 0.02, "flip": "none", "precision": "float32"}
NIN = ALL_CNN | {"translate": 1}

SHORT = {
    "svm-mnist": Short(1, 1442, {"epochs": 3, "batch_size": 20}, 0.002, 0.6),
    "softmax-mnist": Short(1, 1442, {"epochs": 3, "batch_size": 20}, 0.002, 0.6),
    "two-layer-mnist": Short(1, 1442, {"epochs": 3, "batch_size": 32, "hidden": (100,)}, 0.002, 0.6),
    # At a learning rate of 0.03 a last bit decided when the loss left its first plateau.
    "lenet5-mnist": Short(2, 1442, {"epochs": 4, "batch_size": 16, "lr": 0.01, "translate": 1}, 0.01, 1),
    "nin-mnist": Short(
        1, 720, {"epochs": 2, "batch_size": 16, "lr": 0.02, "translate": 1, "dropout": 0.1}, 0.015, 9
    ),
    "fast-cifar10": Short(
        4,
        512,
        {"epochs": 2, "batch_size": 64, "lr": 0.1, "warmup": 1.0, "precision": "float32", "tta": "none"},
        0.01,
        7,
    ),
    "all-cnn-c-cifar10": Short(2, 512, ALL_CNN, 0.01, 3),
    "nin-cifar10": Short(1, 720, NIN, 0.01, 6),
    "base-c-cifar10": Short(2, 512, ALL_CNN, 0.003, 7),
    "strided-cnn-c-cifar10": Short(2, 512, ALL_CNN, 0.003, 4.5),
    "convpool-cnn-c-cifar10": Short(2, 512, ALL_CNN, 0.008, 12),
    # At higher rates the curves of instruction sets part within an epoch.
    "nin-fully-connected-cifar10": Short(1, 720, NIN | {"lr": 0.001}, 0.005, 3),
    "nin-fully-connected-dropout-cifar10": Short(1, 720, NIN | {"lr": 0.001}, 0.002, 4.5),
}


class Curve(Callback):
    """Keeps the records."""

    def __init__(self):
        self.records: list[EpochRecord] = []

    def epoch_end(self, record):
        self.records.append(record)


def train(name: str, folder: Path) -> list[dict[str, float]]:
    """Train a short version, its data in a folder that exists. Returns the figures of each epoch."""
    job, curve = Job.new(TrainSettings(**settings(name) | {"data": data(SHORT[name], folder)})), Curve()
    job.run([curve])
    return [{field: getattr(record, field) for field in FIELDS} for record in curve.records]


def settings(name: str) -> dict[str, Any]:
    """The row's settings, its flags among them, with the changes."""
    row = read_rows()[0][name]
    flags = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    add_arguments(flags)
    given = vars(flags.parse_args(row.arguments))
    del given["run"]
    return read_config(str(row.settings)) | given | SHORT[name].changes


def data(short: Short, folder: Path) -> str:
    """The digits as a file, enlarged, all test images and the first of the training images."""
    digits, side = load_digits(), np.ones((1, short.enlarge, short.enlarge, 1), np.uint8)
    path = folder / "digits.npz"
    np.savez(
        path,
        x_train=np.kron(digits.train.images[: short.images] * 15, side),
        y_train=digits.train.labels[: short.images],
        x_test=np.kron(digits.test.images * 15, side),
        y_test=digits.test.labels,
    )
    return str(path)


def stored(name: str) -> list[dict[str, float]]:
    """The stored curve. Errors: ResultsError if there is none."""
    path = CURVES / f"{name}.csv"
    if not path.exists():
        raise ResultsError(f"curves/{name}.csv: there is none: python results/short.py --write makes it")
    with open(path, newline="") as file:
        return [{field: float(value) for field, value in line.items()} for line in csv.DictReader(file)]


def store(name: str, curve: Sequence[dict[str, float]]) -> None:
    lines = [",".join(FIELDS), *(",".join(f"{record[field]:.6g}" for field in FIELDS) for record in curve)]
    CURVES.mkdir(exist_ok=True)
    replace_file(CURVES / f"{name}.csv", ("\n".join(lines) + "\n").encode())


def differences(curve: Sequence[dict], other: Sequence[dict]) -> tuple[float, float]:
    """The greatest difference of training losses, as a share, and of test accuracies, in points; infinite for other
    epochs."""
    if len(curve) != len(other):
        return float("inf"), float("inf")
    pairs = list(zip(curve, other, strict=True))
    loss = max(abs(a["train_loss"] / b["train_loss"] - 1) for a, b in pairs)
    return loss, max(100 * abs(a["test_accuracy"] - b["test_accuracy"]) for a, b in pairs)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="store the curves")
    options = parser.parse_args(argv)
    try:
        for name in SHORT:
            with tempfile.TemporaryDirectory() as folder:
                curve = train(name, Path(folder))
            if options.write:
                store(name, curve)
            loss, points = differences(curve, stored(name))
            last = curve[-1]
            print(
                f"{name:<20} loss {last['train_loss']:.4f}, test accuracy {100 * last['test_accuracy']:.1f} %; "
                f"from the stored curve: losses {100 * loss:.3f} %, test accuracies {points:.2f} points",
                flush=True,
            )
    except ResultsError as error:
        print(f"results: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
