"""The handwritten digits that ship with the package."""

from __future__ import annotations

from importlib import resources

import numpy as np

from chainrule.data.dataset import Dataset, Split, every_fifth


def load_digits() -> Dataset:
    """1,797 handwritten digits of 8 x 8 pixels: 1,442 to train, 355 to test.

    Images (N, 8, 8, 1) uint8 from 0 to 16 (a count of inked pixels in a 4 x 4 cell), labels (N,) int64. Of each
    class every fifth image in file order is test. Alpaydin and Kaynak, Optical Recognition of Handwritten
    Digits, UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49 (CC BY 4.0).

    >>> import chainrule as cr
    >>> digits = cr.data.load_digits()
    >>> digits.train.images.shape, digits.num_classes
    ((1442, 8, 8, 1), 10)
    """
    file = resources.files("chainrule.data") / "uci_digits" / "digits.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        images, labels = arrays["images"][..., None], arrays["labels"].astype(np.int64)
    test = every_fifth(labels)
    return Dataset(
        "UCI digits",
        Split(images[~test], labels[~test]),
        Split(images[test], labels[test]),
        tuple(str(i) for i in range(10)),
        (0.0, 16.0),
    )
