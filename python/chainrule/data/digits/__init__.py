"""The UCI 8 x 8 handwritten digits, which ship inside the package (see SOURCE.md beside this file)."""

from __future__ import annotations

import numpy as np

from ..archive import read_npz
from ..checks import check_labels, one_line
from ..dataset import DataError, Dataset, Split
from ..split import stratified_split


def load_digits() -> Dataset:
    """Load the 1,797 handwritten digits of 8 x 8 pixels; no file of the user's is needed.

    Images are (N, 8, 8, 1) uint8 with values 0..16 (0 is background), labels (N,) int64, classes
    "0".."9". The split is fixed, 1,437 training and 360 test images: in order of class, and within a class
    in the file's order, every fifth image beginning with the first is a test image. The same people wrote
    both parts, so the test accuracy says nothing about writers never seen.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49 (CC BY 4.0).

    >>> digits = load_digits()
    >>> digits.train.images.shape, digits.test.images.shape
    ((1437, 8, 8, 1), (360, 8, 8, 1))
    >>> digits.train.images.dtype, int(digits.train.images.max())
    (dtype('uint8'), 16)
    """
    # Imported here: it pulls in more of the standard library than the rest of the package together.
    from importlib import resources  # noqa: PLC0415

    where = "load_digits: digits.npz"
    try:
        with resources.files(__name__).joinpath("digits.npz").open("rb") as stream:
            _, arrays = read_npz(stream, where, ("images", "labels"))
    except OSError as error:
        raise DataError(f"{where}: {one_line(error)}: install chainrule again") from None
    if [(a.shape, a.dtype) for a in arrays.values()] != [
        ((1797, 8, 8), np.uint8),
        ((1797,), np.uint8),
    ]:
        raise DataError(f"{where}: not the file that was packaged: install chainrule again")
    check_labels(where, arrays["labels"], 10)
    images, labels = arrays["images"][..., np.newaxis], arrays["labels"].astype(np.int64)
    train, test = stratified_split(labels)
    return Dataset(
        name="digits",
        train=Split(images[train], labels[train]),
        test=Split(images[test], labels[test]),
        classes=tuple("0123456789"),
    )
