"""A run's state as one safetensors file: arrays, and everything else as JSON in the file's metadata.

One file is one consistent whole: weights, optimizer, schedule, averages, random generator, normaliser, settings and
history belong to the same step.
`chainrule.serialise` checks the file's structure, this module what it means. Building a model from a
checkpoint is left to `job`; writing files safely to `run_folder`.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import serialise
from chainrule.train.config import settings_from_file_values, settings_to_file_values
from chainrule.train.errors import CheckpointError, TrainError
from chainrule.train.fit import EpochRecord, Progress
from chainrule.train.settings import TrainSettings

FORMAT = 3
KEY = "chainrule"  # the metadata entry that holds the JSON
CHECKSUM = "crc32"  # the JSON's entry for the checksum of all the rest: safetensors itself has none
PARTS = ("model", "optimizer", "schedule", "average", "early_stopping", "normaliser")
# A model's weights are finite or it has diverged. These hold figures that may be infinite by right: the best loss
# before there is one, the deviation of what never varies.
MAY_BE_INFINITE = ("schedule", "early_stopping", "normaliser")


@dataclass(frozen=True)
class Checkpoint:
    """A run after some epochs, or in the middle of one.

    The order of the examples, and augmentation, follow from the settings' seed, the epoch, and the batch.

    Attributes:
        settings: all of the run's settings.
        history: a record for each epoch that is done, 1, 2, ...
        progress: how far the next epoch has come; None between epochs.
        step: how many steps the optimizer has made in all.
        generator: the state of the library's random generator, from which dropout draws.
        classes: the classes' names.
        image_shape: of one input, (H, W, C), or (features,) for vector data.
        value_range: the values of black and white in the data set.
        normaliser: the kind of normaliser.
        data_checksum: of the training set; tells whether a resumed run sees the same data.
        arrays: for each of PARTS its arrays by name; none for what the run does not have.
    """

    settings: TrainSettings
    history: tuple[EpochRecord, ...]
    progress: Progress | None
    step: int
    generator: Mapping[str, Any]
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    value_range: tuple[float, float]
    normaliser: str
    data_checksum: int
    arrays: Mapping[str, Mapping[str, np.ndarray]]

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return len(self.history)


def not_finite(arrays: Mapping[str, Mapping[str, np.ndarray]]) -> tuple[str, float] | None:
    """An array that must be finite and is not, as ('model.weight', inf); None where there is none."""
    for part, named in arrays.items():
        for name, array in named.items() if part not in MAY_BE_INFINITE else ():
            if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
                return f"{part}.{name}", float(array[~finite].flat[0])
    return None


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """The checkpoint as the content of a safetensors file. The same checkpoint gives the same bytes."""
    state = {
        "format": FORMAT,
        "settings": settings_to_file_values(checkpoint.settings),
        "history": [asdict(record) for record in checkpoint.history],
        "progress": None if checkpoint.progress is None else asdict(checkpoint.progress),
        "step": checkpoint.step,
        "generator": checkpoint.generator,
        "classes": checkpoint.classes,
        "image_shape": checkpoint.image_shape,
        "value_range": checkpoint.value_range,
        "normaliser": checkpoint.normaliser,
        "data_checksum": checkpoint.data_checksum,
    }
    tensors = {f"{part}.{name}": array for part in PARTS for name, array in checkpoint.arrays[part].items()}
    # One entry alone: the package writes several in an order that changes.
    return serialise.to_bytes(tensors, {KEY: json.dumps(state | {CHECKSUM: checksum(state, tensors)})})


def checksum(state: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """The CRC-32 of a checkpoint's state and of its arrays' names, types, shapes and values, as 8 hex digits."""
    crc = zlib.crc32(json.dumps(state).encode())
    for name in sorted(tensors):
        array = tensors[name]
        crc = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), crc)
        crc = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8), crc)
    return f"{crc:08x}"


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file, checked.

    Errors: CheckpointError naming the file and what is wrong with it.
    """
    try:
        tensors, metadata = serialise.read(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    except serialise.DamagedFileError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if KEY not in metadata:
        raise CheckpointError(f"{path}: a safetensors file, but no checkpoint of chainrule")
    try:
        return _checkpoint(json.loads(metadata[KEY]), tensors)
    except RecursionError:
        raise CheckpointError(f"{path}: damaged: its state is nested too deeply") from None
    except (CheckpointError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged: {error}") from None


def _checkpoint(state: Any, tensors: dict[str, np.ndarray]) -> Checkpoint:
    if not isinstance(state, dict):
        raise CheckpointError("its state is no JSON object")
    if state.get("format") != FORMAT:
        raise CheckpointError(
            f"its format is {state.get('format')!r}, this version of chainrule reads {FORMAT}"
        )
    if state.pop(CHECKSUM, None) != checksum(state, tensors):
        raise CheckpointError("its checksum fails")
    values = _entry(state, "settings", dict)
    try:
        settings = TrainSettings(**settings_from_file_values(values, "settings"))
    except (TrainError, TypeError) as error:
        raise CheckpointError(str(error)) from None

    history = tuple(_record(entry, i) for i, entry in enumerate(_entry(state, "history", list), 1))
    progress = _progress(state.get("progress"), len(history) + 1)
    if not history and progress is None:
        raise CheckpointError("history: no epoch is done, and none has begun")
    generator = _entry(state, "generator", dict)
    try:
        np.random.PCG64().state = generator
    except (TypeError, ValueError, KeyError, OverflowError):
        raise CheckpointError("generator: no state of a PCG64 generator") from None
    classes = _entry(state, "classes", list)
    if not classes or not all(isinstance(name, str) for name in classes):
        raise CheckpointError("classes: not a list of names")
    shape = _entry(state, "image_shape", list)
    if len(shape) not in (1, 3) or not all(type(n) is int and n >= 1 for n in shape):
        raise CheckpointError(f"image_shape: {shape} is not (H, W, C) or (features,)")
    span = _entry(state, "value_range", list)
    if len(span) != 2 or not all(_finite(v) for v in span) or not span[0] < span[1]:
        raise CheckpointError(f"value_range: {span} is not two numbers in order")

    arrays: dict[str, dict[str, np.ndarray]] = {part: {} for part in PARTS}
    for name, array in tensors.items():
        part, _, rest = name.partition(".")
        if part not in arrays or not rest:
            raise CheckpointError(f"array {name!r} belongs to none of {', '.join(PARTS)}")
        arrays[part][rest] = array
    if (wrong := not_finite(arrays)) is not None:
        raise CheckpointError(f"array {wrong[0]!r} holds values that are not finite")
    return Checkpoint(
        settings=settings,
        history=history,
        progress=progress,
        step=_entry(state, "step", int),
        generator=generator,
        classes=tuple(classes),
        image_shape=tuple(shape),
        value_range=(float(span[0]), float(span[1])),
        normaliser=_entry(state, "normaliser", str),
        data_checksum=_entry(state, "data_checksum", int),
        arrays=arrays,
    )


def _entry(state: dict, name: str, kind: type) -> Any:
    if type(state.get(name)) is not kind:
        raise CheckpointError(f"{name}: missing, or not of type {kind.__name__}")
    return state[name]


def _record(entry: Any, epoch: int) -> EpochRecord:
    names = {f.name for f in fields(EpochRecord)}
    if not isinstance(entry, dict) or entry.keys() != names:
        raise CheckpointError(f"history: epoch {epoch} has not the entries {sorted(names)}")
    if not all(_finite(value) for value in entry.values()) or entry["epoch"] != epoch:
        raise CheckpointError(f"history: epoch {epoch} holds wrong values")
    return EpochRecord(**entry)


def _progress(entry: Any, epoch: int) -> Progress | None:
    if entry is None:
        return None
    names = {f.name for f in fields(Progress)}
    if not isinstance(entry, dict) or entry.keys() != names:
        raise CheckpointError(f"progress: it has not the entries {sorted(names)}")
    counts = [entry[name] for name in ("batch", "seen", "right")]
    if (
        not all(type(n) is int and n >= 0 for n in counts)
        or not (_finite(entry["loss_sum"]) and _finite(entry["seconds"]) and entry["complete"] is True)
        or entry["epoch"] != epoch
        or entry["batch"] < 1
    ):
        raise CheckpointError("progress: it holds wrong values")
    return Progress(**entry)


def _finite(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # an integer beyond a float's range
        return False
