"""The settings of a run: their names, kinds, defaults and ranges, and how files hold them.

`TrainSettings` is what decides a run's result; `RunOptions` is what does not. A new setting is a new field:
the flags of the command line, the configuration file and the checkpoint follow from it. What a data set's or
model's name stands for is left to `build`.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from chainrule.train.errors import SettingsError
from chainrule.train.kinds import BatchSize, Integer, Kind, Number, Switch, Text, Widths, shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def setting(default: Any, kind: Kind, text: str, metavar: str | None = None) -> Any:
    """A dataclass field that knows its kind and its line of help."""
    return field(default=default, metadata={"kind": kind, "help": text, "metavar": metavar})


NORMALISERS = ("none", "scale", "standard", "whiten")
MODEL_NAMES = ("svm", "softmax", "mlp")
DATA_NAMES = ("digits", "mnist", "cifar10")
NEED_ROOT = ("mnist", "cifar10")

# Bounds that no run reaches; beyond them sizes overflow.
MOST_EPOCHS = 10**9
MOST_EXAMPLES = 10**12
MOST_UNITS = 10**6

# A setting that only some models read would be ignored by the others: giving it there is an error.
ONLY_FOR_MODEL = {"hidden": "mlp", "delta": "svm", "squared_hinge": "svm"}


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides a run's result. All is checked at construction.

    Errors: SettingsError naming the setting, its value and its range.

    >>> TrainSettings(model="softmax", lr=0.5).lr
    0.5
    >>> TrainSettings(epochs=0)
    Traceback (most recent call last):
    ...
    chainrule.train.errors.SettingsError: epochs: 0 is not in 1 to 1000000000
    """

    data: str = setting("digits", Text(), "digits, mnist, cifar10 or PATH.npz", "DATA")
    root: str | None = setting(None, Text(), "the folder with the standard files of mnist or cifar10", "DIR")
    model: str = setting("mlp", Text(), "svm, softmax or mlp", "MODEL")
    hidden: tuple[int, ...] = setting((100,), Widths(), "widths of the mlp's hidden layers", "N,N")
    epochs: int = setting(30, Integer(), "passes over the training set", "N")
    batch_size: int | None = setting(
        32, BatchSize(), "examples a step: 1 is stochastic, 'full' the whole training set", "N"
    )
    lr: float = setting(0.05, Number(), "learning rate", "X")
    momentum: float = setting(0.9, Number(), "momentum, in [0, 1)", "X")
    nesterov: bool = setting(False, Switch(), "Nesterov's momentum")
    l1: float = setting(0.0, Number(), "weight of the penalty sum |w|", "X")
    l2: float = setting(0.0, Number(), "weight of the penalty sum w^2", "X")
    normalize: str = setting(
        "scale", Text(), "inputs: none, scale (range to [0, 1]), standard or whiten", "HOW"
    )
    delta: float = setting(1.0, Number(), "margin of the svm's hinge loss", "X")
    squared_hinge: bool = setting(False, Switch(), "square each violation of the svm's margin")
    seed: int = setting(0, Integer(), "of the initial weights and the order of the examples", "N")

    def __post_init__(self) -> None:
        if self.data not in DATA_NAMES and not self.data.endswith(".npz"):
            raise SettingsError(f"data: {self.data!r} is not one of {', '.join(DATA_NAMES)} or a PATH.npz")
        if self.data in NEED_ROOT and self.root is None:
            raise SettingsError(f"root: {self.data} needs the folder with its files: give --root DIR")
        if self.data not in NEED_ROOT and self.root is not None:
            raise SettingsError(
                f"root: {self.data} reads no folder: leave it out (it is for {' and '.join(NEED_ROOT)})"
            )
        one_of("model", self.model, MODEL_NAMES)
        one_of("normalize", self.normalize, NORMALISERS)
        for name, model in ONLY_FOR_MODEL.items():
            if self.model != model and getattr(self, name) != field_of(name).default:
                raise SettingsError(
                    f"{hyphened(name)}: only {model} reads it, not {self.model}: leave it out"
                )
        if not self.hidden:
            raise SettingsError("hidden: give at least one width (a linear model is softmax)")
        for width in self.hidden:
            count("hidden", width, MOST_UNITS)
        count("epochs", self.epochs, MOST_EPOCHS)
        if self.batch_size is not None:
            count("batch-size", self.batch_size, MOST_EXAMPLES)
        within("lr", self.lr, self.lr > 0, "above 0")
        within("momentum", self.momentum, 0 <= self.momentum < 1, "in [0, 1)")
        within("l1", self.l1, self.l1 >= 0, "at least 0")
        within("l2", self.l2, self.l2 >= 0, "at least 0")
        within("delta", self.delta, self.delta > 0, "above 0")
        within("seed", self.seed, 0 <= self.seed < 2**63, "in [0, 2^63)")
        if self.nesterov and self.momentum == 0:
            raise SettingsError("nesterov: momentum is 0: give a momentum above 0")

    @property
    def data_name(self) -> str:
        """The data set's name: for a file, its name without folder and ending."""
        return Path(self.data).stem if self.data.endswith(".npz") else self.data


@dataclass(frozen=True)
class RunOptions:
    """What a run does beside training: where it writes, what it goes on from, how it runs."""

    out: str | None = setting(
        None, Text(), "the run folder (default: runs/DATA-MODEL-<next free number>)", "DIR"
    )
    resume: str | None = setting(None, Text(), "go on with this run, in place, up to --epochs", "RUN")
    threads: int | None = setting(None, Integer(), "threads; results do not depend on it", "N")
    quiet: bool = setting(False, Switch(), "no progress, only the outcome")

    def __post_init__(self) -> None:
        if self.threads is not None:
            count("threads", self.threads, 1024)
        if self.resume is not None and self.out is not None:
            raise SettingsError("out: a resumed run stays where it is: leave out --out")


# What may be given anew for a resumed run. Data that were moved are still the same: their checksum is compared.
MAY_CHANGE = ("epochs", "lr", "root")


def resumed_settings(stored: TrainSettings, given: Mapping[str, Any]) -> TrainSettings:
    """The settings of a run that goes on: the stored ones, with what is given and may change.

    Errors: SettingsError naming a given setting that contradicts the stored one.
    """
    for name, value in given.items():
        moved = name == "data" and value.endswith(".npz") and stored.data.endswith(".npz")
        if name not in MAY_CHANGE and not moved and value != getattr(stored, name):
            raise SettingsError(
                f"{hyphened(name)}: {shown(written(name, value))} contradicts the run to resume, which has "
                f"{shown(written(name, getattr(stored, name)))}: leave it out, or start a new run"
            )
    return replace(stored, **given)


def settings_from_file_values(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Settings and options by field name, from a file's names and values.

    Names may be written as the flags are (batch-size) or with underscores. Errors: SettingsError naming the
    source and the name that is unknown or whose value is of the wrong type.
    """
    known = {f.name: f.metadata["kind"] for cls in (TrainSettings, RunOptions) for f in fields(cls)}
    read: dict[str, Any] = {}
    for written_name, value in values.items():
        name = written_name.replace("-", "_")
        if name not in known:
            names = ", ".join(map(hyphened, known))
            raise SettingsError(f"{source}: unknown name {shown(written_name)}: known are {names}")
        if name in read:
            raise SettingsError(f"{source}: {written_name!r} is given twice: give it once")
        try:
            read[name] = known[name].read(written_name, value)
        except SettingsError as error:
            raise SettingsError(f"{source}: {error}") from None
    return read


def settings_to_file_values(settings: TrainSettings) -> dict[str, Any]:
    """The settings by their names in a file; None is left out. `settings_from_file_values` undoes it."""
    values = {}
    for f in fields(settings):
        value = f.metadata["kind"].to_file(getattr(settings, f.name))
        if value is not None:
            values[hyphened(f.name)] = value
    return values


def read_config(path: str) -> dict[str, Any]:
    """Settings and options by field name, from a TOML file.

    Errors: SettingsError naming the file and what is wrong in it.
    """
    try:
        content = Path(path).read_text(encoding="utf-8")
        values = tomllib.loads(content)
    except OSError as error:
        raise SettingsError(f"config: {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"config: {path}: not UTF-8 text: give a TOML file") from None
    except RecursionError:
        raise SettingsError(f"config: {path}: no valid TOML: it is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and integers of too many digits
        raise SettingsError(f"config: {path}: no valid TOML: {error}") from None
    return settings_from_file_values(values, f"config: {path}")


def to_toml(settings: TrainSettings) -> str:
    """The settings as a TOML file that --config takes."""
    return tomli_w.dumps(settings_to_file_values(settings))


def with_absolute_paths(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the paths of data made absolute, so that a run can be used from another folder."""
    resolved = dict(values)
    for name in ("data", "root"):
        value = resolved.get(name)
        if value is None or (name == "data" and not value.endswith(".npz")):
            continue
        resolved[name] = os.path.abspath(value)
    return resolved


def hyphened(name: str) -> str:
    """A setting's name as flags and files write it."""
    return name.replace("_", "-")


def field_of(name: str) -> Field:
    """The field of TrainSettings with this name."""
    return next(f for f in fields(TrainSettings) if f.name == name)


def written(name: str, value: Any) -> Any:
    """A setting's value as a file holds it."""
    return field_of(name).metadata["kind"].to_file(value)


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{name}: {value!r} is not one of {', '.join(choices)}")


def count(name: str, value: int, most: int) -> None:
    within(name, value, 1 <= value <= most, f"in 1 to {most}")


def within(name: str, value: float, holds: bool, range_text: str) -> None:
    # An integer may be beyond a float's range, and beyond what a line of text should hold.
    if not (holds and (isinstance(value, int) or math.isfinite(value))):
        raise SettingsError(f"{name}: {shown(value)} is not {range_text}")
