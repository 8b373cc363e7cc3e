"""Data sets of one's own, as NumPy .npz files."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from chainrule.data.dataset import DataError, Dataset, Split, check_labels, every_fifth


def load_npz(path) -> Dataset:
    """A data set from a .npz file.

    Args:
        path: a file with the arrays x_train, y_train, x_test, y_test; or x and y, of which every fifth example
            of each class becomes the test split. `classes` may hold the class names.

    x is (N, H, W, C), (N, H, W) for gray images, or (N, features); uint8 as it is, other numbers become
    float32. y is (N,) integers from 0. Nothing is unpickled.

    Errors: DataError for a file that is missing, damaged, or without these arrays; shapes that do not fit;
    labels that are not classes; NaN or infinite inputs.
    """
    path = Path(path)
    arrays = _read(path)
    if {"x_train", "y_train", "x_test", "y_test"} <= arrays.keys():
        train = _split(path, arrays, "x_train", "y_train")
        test = _split(path, arrays, "x_test", "y_test")
    elif {"x", "y"} <= arrays.keys():
        whole = _split(path, arrays, "x", "y")
        chosen = every_fifth(whole.labels)
        train = Split(whole.images[~chosen], whole.labels[~chosen])
        test = Split(whole.images[chosen], whole.labels[chosen])
        if not len(test.labels):
            raise DataError(f"{path}: no class has five examples, so there is nothing to test on")
    else:
        raise DataError(
            f"{path}: needs x_train, y_train, x_test, y_test, or x and y; "
            f"it has {', '.join(sorted(arrays)) or 'nothing'}"
        )
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"{path}: training inputs are {train.images.shape[1:]}, test inputs {test.images.shape[1:]}"
        )
    highest = int(max(train.labels.max(), test.labels.max()))
    if "classes" in arrays:
        classes = tuple(str(name) for name in arrays["classes"].ravel())
    else:
        classes = tuple(str(i) for i in range(highest + 1))
    for labels in (train.labels, test.labels):
        check_labels(str(path), labels, len(classes))
    if len(classes) < 2:
        raise DataError(f"{path}: there is only one class: a classifier needs two or more")
    if train.images.dtype == np.uint8:
        value_range = (0.0, 255.0)
    else:
        value_range = (float(train.images.min()), float(train.images.max()))
    return Dataset(path.stem, train, test, classes, value_range)


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DataError(f"{path}: the file is not there")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise DataError(f"{path}: {damaged} fails its checksum: the file is damaged")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except DataError:
        raise
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: not a whole .npz file ({error})") from None
    except ValueError as error:
        # NumPy's word for object arrays runs over several sentences; the first says it.
        raise DataError(f"{path}: {str(error).splitlines()[0].split('. ')[0]}") from None
    except (OSError, EOFError, zlib.error, NotImplementedError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _split(path: Path, arrays: dict[str, np.ndarray], x_name: str, y_name: str) -> Split:
    x, y = arrays[x_name], arrays[y_name]
    where = f"{path}: {x_name}"
    if x.dtype.kind not in "buif":
        raise DataError(f"{where} holds {x.dtype}, not numbers")
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim not in (2, 4):
        raise DataError(
            f"{where} has shape {x.shape}: give (N, H, W, C), (N, H, W) or (N, features)"
        )
    if x.size == 0:
        raise DataError(f"{where} has shape {x.shape}: it is empty")
    if y.ndim != 1 or len(y) != len(x):
        raise DataError(
            f"{path}: {y_name} has shape {y.shape} for {len(x)} inputs: give one label each"
        )
    if y.dtype.kind == "f" and np.all(y == np.floor(y)):
        y = y.astype(np.int64)
    if y.dtype.kind not in "iu":
        raise DataError(f"{path}: {y_name} holds {y.dtype}, not whole class numbers")
    if x.dtype != np.uint8:
        x = x.astype(np.float32)
        if not np.isfinite(x).all():
            raise DataError(f"{where} holds NaN or infinite values")
    return Split(np.ascontiguousarray(x), y.astype(np.int64))
