"""Data sets of one's own, as NumPy .npz files."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import numpy as np

from chainrule.data.dataset import DataError, Dataset, Split, check_labels, every_fifth, one_line

# More classes than this is a damaged label, not a classifier's task.
_MOST_CLASSES = 1_000_000


def load_npz(path) -> Dataset:
    """A data set from a .npz file.

    Args:
        path: a file with the arrays x_train, y_train, x_test, y_test; or x and y, of which every fifth example
            of each class becomes the test split. `classes` may hold the class names. Other arrays are not read.

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
    else:
        whole = _split(path, arrays, "x", "y")
        chosen = every_fifth(whole.labels)
        train = Split(whole.images[~chosen], whole.labels[~chosen])
        test = Split(whole.images[chosen], whole.labels[chosen])
        if not len(test.labels):
            raise _error(path, "no class has five examples, so there is nothing to test on")
    if train.images.shape[1:] != test.images.shape[1:] or train.images.dtype != test.images.dtype:
        raise _error(
            path,
            f"training inputs are {train.images.dtype} {train.images.shape[1:]}, "
            f"test inputs {test.images.dtype} {test.images.shape[1:]}",
        )
    classes = _classes(path, arrays, train, test)
    for labels in (train.labels, test.labels):
        check_labels(one_line(path), labels, len(classes))
    if len(classes) < 2:
        raise _error(path, "there is only one class: a classifier needs two or more")
    if train.images.dtype == np.uint8:
        value_range = (0.0, 255.0)
    else:
        value_range = (float(train.images.min()), float(train.images.max()))
    return Dataset(path.stem, train, test, classes, value_range)


def _error(path: Path, problem: str) -> DataError:
    return DataError(f"{one_line(path)}: {one_line(problem)}")


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a data set that the file holds."""
    four, two = {"x_train", "y_train", "x_test", "y_test"}, {"x", "y"}
    try:
        if not path.is_file():
            raise _error(path, "the file is not there")
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise _error(path, f"{damaged} fails its checksum: the file is damaged")
        with warnings.catch_warnings(), np.load(path, allow_pickle=False) as arrays:
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote, or somebody made up
            names = set(arrays.files)
            wanted = four if four <= names else two
            if not wanted <= names:
                has = ", ".join(sorted(names)) or "nothing"
                raise _error(path, f"needs x_train, y_train, x_test, y_test, or x and y; it has {has}")
            read = {name: arrays[name] for name in sorted(wanted | (names & {"classes"}))}
    except DataError:
        raise
    except zipfile.BadZipFile as error:
        raise _error(path, f"not a whole .npz file ({error})") from None
    except ValueError as error:
        # NumPy's word for object arrays runs over several sentences; the first says it.
        raise _error(path, str(error).splitlines()[0].split(". ")[0]) from None
    except (MemoryError, OverflowError):
        raise _error(
            path, "an array's header asks for more memory than there is: the file is damaged"
        ) from None
    except Exception as error:  # headers and packed data that are damaged raise errors of many types
        raise _error(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for name, array in read.items():
        if not isinstance(array, np.ndarray):
            raise _error(path, f"{name} is no NumPy array: the file is damaged")
    return read


def _classes(path: Path, arrays: dict[str, np.ndarray], train: Split, test: Split) -> tuple[str, ...]:
    if "classes" not in arrays:
        highest = int(max(train.labels.max(), test.labels.max()))
        if highest >= _MOST_CLASSES:
            raise _error(path, f"label {highest} would make {highest + 1} classes: labels count from 0")
        return tuple(str(i) for i in range(highest + 1))
    names = arrays["classes"]
    if names.ndim != 1 or names.dtype.kind not in "USiu":
        raise _error(path, f"classes is {names.dtype} of shape {names.shape}: give one name each, as text")
    if names.dtype.kind == "S":
        names = np.char.decode(names, "utf-8", errors="replace")
    # Halves of surrogate pairs are no characters: neither a report nor a checkpoint can hold them.
    classes = tuple(one_line(str(name).encode(errors="replace").decode()) for name in names)
    if len(set(classes)) != len(classes):
        raise _error(path, "classes names one class twice")
    return classes


def _split(path: Path, arrays: dict[str, np.ndarray], x_name: str, y_name: str) -> Split:
    x, y = arrays[x_name], arrays[y_name]
    if x.dtype.kind not in "buif":
        raise _error(path, f"{x_name} holds {x.dtype}, not numbers")
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim not in (2, 4):
        raise _error(path, f"{x_name} has shape {x.shape}: give (N, H, W, C), (N, H, W) or (N, features)")
    if x.size == 0:
        raise _error(path, f"{x_name} has shape {x.shape}: it is empty")
    if y.ndim != 1 or len(y) != len(x):
        raise _error(path, f"{y_name} has shape {y.shape} for {len(x)} inputs: give one label each")
    if (
        y.dtype.kind == "f"
        and np.isfinite(y).all()
        and (np.abs(y) < 2**53).all()
        and (y == np.floor(y)).all()
    ):
        y = y.astype(np.int64)
    if y.dtype.kind not in "iu":
        raise _error(path, f"{y_name} holds {y.dtype}, not whole class numbers")
    if x.dtype != np.uint8:
        if x.dtype.kind == "f" and not (np.abs(x) <= np.finfo(np.float32).max).all():  # NaN fails too
            raise _error(path, f"{x_name} holds NaN, infinite values, or values beyond float32")
        x = x.astype(np.float32)
    return Split(np.ascontiguousarray(x), y.astype(np.int64))
