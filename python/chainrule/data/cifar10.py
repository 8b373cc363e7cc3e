"""CIFAR-10 from its standard binary files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from chainrule.data.dataset import DataError, Dataset, Split, check_labels, one_line

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_RECORD = 1 + 3 * 32 * 32  # a label byte, then the red, green and blue planes
_FOLDER = "cifar-10-batches-bin"


def load_cifar10(root) -> Dataset:
    """CIFAR-10: 50,000 training and 10,000 test photographs of 32 x 32 in ten classes.

    Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Args:
        root: the folder that holds data_batch_1.bin to data_batch_5.bin and test_batch.bin, or the one that
            holds cifar-10-batches-bin with them.

    Returns images (N, 32, 32, 3) uint8, channels red, green, blue, and labels (N,) int64.

    Errors: DataError for a file that is missing, of a size that is no whole number of records, or with a label
    over 9.
    """
    root = Path(root)
    if not os.path.isdir(root):  # also of names that no file can have, where Path.is_dir raises
        raise DataError(f"CIFAR-10: {one_line(root)} is not a folder")
    folder = root / _FOLDER if (root / _FOLDER).is_dir() else root
    parts = [_read(folder / f"data_batch_{i}.bin") for i in range(1, 6)]
    train = Split(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))
    return Dataset("CIFAR-10", train, _read(folder / "test_batch.bin"), CLASSES)


def _read(path: Path) -> Split:
    try:
        content = np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise DataError(f"{one_line(path)}: the file is not there") from None
    except OSError as error:
        raise DataError(f"{one_line(path)}: cannot be read: {error.strerror or error}") from None
    if content.size == 0 or content.size % _RECORD:
        raise DataError(
            f"{one_line(path)}: {content.size} bytes are no whole number of {_RECORD}-byte records: the file is damaged"
        )
    records = content.reshape(-1, _RECORD)
    labels = records[:, 0].astype(np.int64)
    check_labels(one_line(path), labels, 10)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Split(np.ascontiguousarray(images), labels)
