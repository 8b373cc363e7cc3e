"""Arrays by name in safetensors files: no pickle, nothing that is run when a file is read.

The format is https://huggingface.co/docs/safetensors; its package checks a file's structure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from chainrule.autodiff.box import unbox
from chainrule.files import replace_file

_DTYPES = "?bhilqBHILQefd"  # NumPy's characters for what the format and NumPy both know


def save(state: Mapping[str, object], path) -> None:
    """Write arrays by name, such as a `state_dict`, as a safetensors file.

    A file that is there is replaced in one step: whatever happens, it is whole, the old one or the new.

    Args:
        state: arrays, Tensors or numbers by name, of booleans, integers or floats of 16 to 64 bits.
        path: of the file.

    Errors: TypeError for what is no mapping of such values; OSError naming the file where it cannot be written;
    ModuleNotFoundError without the package safetensors.

    >>> import chainrule as cr, tempfile
    >>> model, other = cr.nn.Linear(3, 2), cr.nn.Linear(3, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cr.save(model.state_dict(), f"{folder}/linear.safetensors")
    ...     other.load_state_dict(cr.load(f"{folder}/linear.safetensors"))
    >>> bool((other.weight.numpy() == model.weight.numpy()).all())
    True
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"save: state is a {type(state).__name__}: give arrays by name, as state_dict() does")
    arrays = {}
    for name, value in state.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise TypeError(f"save: {name!r} is no name for an array: give another text")
        array = np.asarray(unbox(value))
        if array.dtype.char not in _DTYPES:
            raise TypeError(
                f"save: {name!r} is a {type(value).__name__} of {array.dtype}: give an array of numbers"
            )
        arrays[name] = array
    replace_file(Path(path), to_bytes(arrays))


def load(path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name, as `save` or another program wrote them.

    Errors: ValueError naming the file and what is wrong with it; OSError where it cannot be read;
    ModuleNotFoundError without the package safetensors.
    """
    try:
        return read(path)[0]
    except DamagedFileError as error:
        raise ValueError(f"load: {os.fspath(path)}: {error}") from None


class DamagedFileError(ValueError):
    """A file that is no whole safetensors file."""


def to_bytes(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> bytes:
    """The content of a safetensors file."""
    _require_package("save")
    from safetensors.numpy import save as serialised

    whole = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in arrays.items()}
    return serialised(whole, None if metadata is None else dict(metadata))


def read(path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """A file's arrays, each a copy of its own, and its metadata.

    Errors: DamagedFileError, OSError.
    """
    _require_package("load")
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            # Copies: the file may be replaced while the arrays are in use.
            arrays = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        _check_names(path)
    except OSError:
        raise
    except DamagedFileError:
        raise
    except (
        Exception
    ) as error:  # the package's own error type, and KeyError or TypeError for dtypes NumPy lacks
        what = f"dtype {error} is none of NumPy's" if isinstance(error, KeyError) else error
        raise DamagedFileError(f"damaged, or no safetensors file: {what}") from None
    for name, array in arrays.items():
        if array.dtype == np.bool_ and (array.view(np.uint8) > 1).any():
            raise DamagedFileError(f"damaged: {name!r} holds bytes that are neither true nor false")
    return arrays, metadata


def _check_names(path) -> None:
    """Refuse names that are there twice, of which the package takes the last."""
    with open(path, "rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))

    def pairs(entries):
        found = {}
        for name, value in entries:
            if name in found:
                raise DamagedFileError(f"damaged: its header has {name!r} twice")
            found[name] = value
        return found

    json.loads(header, object_pairs_hook=pairs)


def _require_package(operation: str) -> None:
    import importlib.util

    if importlib.util.find_spec("safetensors") is None:
        raise ModuleNotFoundError(f"{operation}: the package safetensors is missing: pip install safetensors")
