"""MNIST from its four standard IDX files, gzipped or not."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

from chainrule.data.dataset import DataError, Dataset, Split, check_labels, one_line

# The first bytes of an IDX file: two zeros, the type (8: unsigned byte), the number of dimensions.
_MAGIC = {"images": 0x00000803, "labels": 0x00000801}


def load_mnist(root) -> Dataset:
    """MNIST: 60,000 training and 10,000 test images of handwritten digits, 28 x 28.

    LeCun, Bottou, Bengio and Haffner, Gradient-Based Learning Applied to Document Recognition, 1998. Works for
    other data in the same files, such as Fashion-MNIST.

    Args:
        root: the folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
            t10k-labels-idx1-ubyte, each as it is or with .gz.

    Returns images (N, 28, 28, 1) uint8 and labels (N,) int64.

    Errors: DataError for a file that is missing, truncated, too long, of another format, or whose gzip
    checksum fails; for labels over 9; and where images and labels differ in number.
    """
    root = Path(root)
    if not os.path.isdir(root):  # also of names that no file can have, where Path.is_dir raises
        raise DataError(f"MNIST: {one_line(root)} is not a folder")
    splits = []
    for prefix in ("train", "t10k"):
        images_path = _find(root, prefix, "images", 3)
        labels_path = _find(root, prefix, "labels", 1)
        images = _read_idx(images_path, "images")
        labels = _read_idx(labels_path, "labels").astype(np.int64)
        if len(images) != len(labels):
            raise DataError(
                f"{one_line(labels_path)}: {len(labels)} labels for the {len(images)} images of {images_path.name}"
            )
        check_labels(one_line(labels_path), labels, 10)
        splits.append(Split(images[..., None], labels))
    if splits[0].images.shape[1:] != splits[1].images.shape[1:]:
        train, test = (split.images.shape[1:3] for split in splits)
        raise DataError(f"{one_line(root)}: training images are {train}, test images {test}")
    return Dataset("MNIST", *splits, tuple(str(i) for i in range(10)))


def _find(root: Path, prefix: str, what: str, dimensions: int) -> Path:
    names = [
        f"{prefix}-{what}{separator}idx{dimensions}-ubyte{ending}"
        for ending in ("", ".gz")
        for separator in "-."
    ]
    for name in names:
        if (root / name).is_file():
            return root / name
    raise DataError(f"{one_line(root)}: none of {', '.join(names)} is there")


def _read_idx(path: Path, what: str) -> np.ndarray:
    """The array of an IDX file, every way that it can be damaged turned into one line."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            return _parse_idx(one_line(path), what, stream)
    except EOFError:
        raise DataError(f"{one_line(path)}: the gzip data end early: the file is truncated") from None
    except gzip.BadGzipFile as error:
        problem = str(error).lower()
        raise DataError(f"{one_line(path)}: {problem}: the file is damaged or not gzip") from None
    except zlib.error as error:
        raise DataError(f"{one_line(path)}: the gzip data are damaged ({error})") from None
    except OSError as error:
        raise DataError(f"{one_line(path)}: cannot be read: {error.strerror or error}") from None


def _parse_idx(path: str, what: str, stream) -> np.ndarray:
    dimensions = _MAGIC[what] & 0xFF
    header = stream.read(4 + 4 * dimensions)
    if len(header) < 4 + 4 * dimensions:
        raise DataError(f"{path}: {len(header)} bytes are too few for an IDX header: the file is truncated")
    magic, *sizes = (int(n) for n in np.frombuffer(header, ">u4", 1 + dimensions))
    if magic != _MAGIC[what]:
        raise DataError(f"{path}: wrong magic number {magic:#010x}, IDX {what} have {_MAGIC[what]:#010x}")
    expected = math.prod(sizes)
    # No more than the header announces is read, in pieces: neither a wrong header nor a packed file that
    # unpacks without end can ask for more memory than the file has data.
    pieces, got = [], 0
    while got <= expected and (piece := stream.read(min(1 << 24, expected + 1 - got))):
        pieces.append(piece)
        got += len(piece)
    if got != expected:
        problem = f"{got} bytes of data" if got < expected else "more data"
        end = "truncated" if got < expected else "too long"
        raise DataError(
            f"{path}: {problem}, the header's sizes {tuple(sizes)} make {expected}: the file is {end}"
        )
    if expected == 0:
        raise DataError(f"{path}: the file holds no {what}")
    return np.frombuffer(b"".join(pieces), np.uint8).reshape(sizes).copy()
