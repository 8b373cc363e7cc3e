"""The settings of a run: their names, kinds, defaults and ranges.

`TrainSettings` is what decides a run's result; `RunOptions` is what does not. A new setting is a new field:
the flags of the command line, the configuration file and the checkpoint follow from it. What a data set's or
model's name stands for is left to `build`, files to `config`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from chainrule.train.errors import SettingsError
from chainrule.train.kinds import (
    BatchSize,
    Integer,
    Integers,
    Interval,
    Kind,
    Number,
    Switch,
    Text,
    shown,
)


def setting(
    default: Any, kind: Kind, text: str, metavar: str | None = None, by: tuple[str, dict] | None = None
) -> Any:
    """A dataclass field that knows its kind and its line of help.

    `by` names another setting, and for each of its values that reads this one the default. For its other values this
    one would be ignored: giving it then is an error.
    """
    return field(default=default, metadata={"kind": kind, "help": text, "metavar": metavar, "by": by})


NORMALISERS = ("none", "scale", "standard", "channel", "whiten", "zca", "gcn", "gcn+zca")
ALL_CNNS = ("all-cnn-a", "all-cnn-b", "all-cnn-c")
MODEL_NAMES = ("svm", "softmax", "mlp", "two-layer", "lenet5", "nin", *ALL_CNNS, "fast-cifar")
DATA_NAMES = ("digits", "mnist", "cifar10")
NEED_ROOT = ("mnist", "cifar10")
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adagrad")
SCHEDULES = ("constant", "step", "multi-step", "exponential", "cosine", "linear", "one-cycle", "plateau")
PRECISIONS = ("float32", "bfloat16")
FORMS = ("modern", "paper")
VARIANTS = ("base", "strided", "convpool", "all")
CLASSIFIERS = ("global-average", "fully-connected")
FLIPS = ("none", "random", "alternate")
PADDINGS = ("zero", "reflect")
TTA = ("none", "mirror", "mirror-shift")

# Bounds that no run reaches; beyond them sizes overflow.
MOST_EPOCHS = 10**9
MOST_EXAMPLES = 10**12
MOST_UNITS = 10**6
MOST_PIXELS = 10**4
MOST_RATE = 1e307
MOST_TITLE = 60  # characters, that headings have room for


def for_model(default: Any, *names: str) -> tuple[str, dict]:
    return "model", dict.fromkeys(names, default)


def for_schedule(default: Any, *names: str) -> tuple[str, dict]:
    return "schedule", dict.fromkeys(names, default)


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides a run's result. All is checked at construction.

    A setting that the model, optimizer or schedule does not read is None.

    Errors: SettingsError naming the setting, its value and its range.

    >>> TrainSettings(model="softmax", lr=0.5).lr
    0.5
    >>> TrainSettings(optimizer="adam").lr
    0.001
    >>> TrainSettings(epochs=0)
    Traceback (most recent call last):
    ...
    chainrule.train.errors.SettingsError: epochs: 0 is not in 1 to 1000000000
    """

    data: str = setting("digits", Text(), "digits, mnist, cifar10 or PATH.npz", "DATA")
    root: str | None = setting(None, Text(), "the folder with the standard files of mnist or cifar10", "DIR")
    data_title: str | None = setting(
        None, Text(), "what reports and pictures call the data (default: its name)", "TEXT"
    )
    normalize: str = setting(
        "scale",
        Text(),
        "inputs: none, scale (to [0, 1]), standard (each place), channel, whiten, zca, gcn or gcn+zca",
        "HOW",
    )
    flip: str = setting("none", Text(), "exchange left and right of images: none, random or alternate", "HOW")
    translate: int = setting(0, Integer(), "move images by up to so many pixels", "N")
    padding: str = setting("zero", Text(), "what moves in: zero or reflect", "WHAT")
    cutout: int = setting(0, Integer(), "side of a square that becomes 0 in images", "N")

    model: str = setting("mlp", Text(), ", ".join(MODEL_NAMES[:-1]) + f" or {MODEL_NAMES[-1]}", "MODEL")
    hidden: tuple[int, ...] | None = setting(
        None, Integers(), "widths of the hidden layers", "N,N", for_model((100,), "mlp", "two-layer")
    )
    form: str | None = setting(None, Text(), "modern or paper", "FORM", for_model("modern", "lenet5"))
    variant: str | None = setting(
        None, Text(), "how sides are halved: base (pooling), strided, convpool or all", "HOW",
        for_model("all", *ALL_CNNS),
    )  # fmt: skip
    classifier: str | None = setting(
        None, Text(), "global-average or fully-connected", "KIND", for_model("global-average", "nin")
    )
    batch_norm: bool | None = setting(
        None,
        Switch(),
        "normalise after each convolution but the last",
        None,
        for_model(False, "nin", *ALL_CNNS),
    )
    dropout: float | None = setting(
        None, Number(), "probability between stages", "P", for_model(0.5, "nin", *ALL_CNNS)
    )
    input_dropout: float | None = setting(
        None, Number(), "probability on the image", "P", for_model(0.2, *ALL_CNNS)
    )
    classifier_dropout: float | None = setting(
        None, Number(), "probability before the fully connected layer", "P",
        ("classifier", {"fully-connected": 0.0}),
    )  # fmt: skip
    delta: float | None = setting(None, Number(), "margin of the hinge loss", "X", for_model(1.0, "svm"))
    squared_hinge: bool | None = setting(
        None, Switch(), "square each violation of the margin", None, for_model(False, "svm")
    )

    epochs: int = setting(30, Integer(), "passes over the training set", "N")
    batch_size: int | None = setting(
        32, BatchSize(), "examples a batch: 1 is stochastic, 'full' the whole training set", "N"
    )
    accumulate: int = setting(1, Integer(), "batches whose gradients make one step", "N")
    optimizer: str = setting("sgd", Text(), "sgd, adam, adamw, rmsprop or adagrad", "NAME")
    lr: float | None = setting(
        None, Number(), "learning rate", "X",
        ("optimizer", {"sgd": 0.05, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.001, "adagrad": 0.01}),
    )  # fmt: skip
    momentum: float | None = setting(
        None, Number(), "momentum, in [0, 1)", "X", ("optimizer", {"sgd": 0.9, "rmsprop": 0.0})
    )
    nesterov: bool | None = setting(
        None, Switch(), "Nesterov's momentum", None, ("optimizer", {"sgd": False})
    )
    weight_decay: float | None = setting(
        None, Number(), "the optimizer's own, on weights and not on biases", "X",
        ("optimizer", {"sgd": 0.0, "adam": 0.0, "adamw": 0.01, "rmsprop": 0.0, "adagrad": 0.0}),
    )  # fmt: skip
    l1: float = setting(0.0, Number(), "weight of the penalty sum |w|", "X")
    l2: float = setting(0.0, Number(), "weight of the penalty sum w^2", "X")
    bias_lr: float = setting(1.0, Number(), "factor on the learning rate of biases", "X")
    bias_weight_decay: float = setting(0.0, Number(), "the optimizer's own weight decay, on biases", "X")
    label_smoothing: float | None = setting(
        None, Number(), "share of each label that goes to all classes, in [0, 1)", "X",
        for_model(0.0, *(name for name in MODEL_NAMES if name != "svm")),
    )  # fmt: skip
    clip: float | None = setting(None, Number(), "the most that the norm of the gradients may be", "X")

    schedule: str = setting("constant", Text(), ", ".join(SCHEDULES[:-1]) + f" or {SCHEDULES[-1]}", "NAME")
    gamma: float | None = setting(
        None, Number(), "factor on the learning rate: at each step, milestone or plateau, or an epoch", "X",
        ("schedule", {"step": 0.1, "multi-step": 0.1, "exponential": 0.95, "plateau": 0.1}),
    )  # fmt: skip
    step_size: int | None = setting(
        None, Integer(), "epochs from one step to the next", "N", for_schedule(10, "step")
    )
    milestones: tuple[int, ...] | None = setting(
        None,
        Integers(),
        "epochs after which the learning rate falls",
        "N,N",
        for_schedule(None, "multi-step"),
    )
    patience: int | None = setting(
        None,
        Integer(),
        "epochs without a lower test loss that make a plateau",
        "N",
        for_schedule(5, "plateau"),
    )
    final_lr: float | None = setting(
        None, Number(), "where the learning rate ends, as a share of it", "X",
        for_schedule(0.0, "cosine", "linear"),
    )  # fmt: skip
    warmup: float | None = setting(
        None, Number(), "epochs in which the learning rate rises first", "N",
        for_schedule(0.0, *(name for name in SCHEDULES if name != "one-cycle")),
    )  # fmt: skip

    warmup_from: float | None = setting(
        None,
        Number(),
        "where it rises from, as a share of it",
        "X",
        for_schedule(0.1, *(name for name in SCHEDULES if name != "one-cycle")),
    )

    ema: float = setting(0.0, Number(), "decay of the average of the weights that is tested; 0: none", "X")
    lookahead: int = setting(0, Integer(), "steps after which weights return to their average; 0: none", "N")
    early_stop: int | None = setting(
        None, Integer(), "stop after so many epochs without a lower test loss", "N"
    )
    precision: str = setting("float32", Text(), "of the model's passes: float32 or bfloat16", "TYPE")
    tta: str = setting(
        "none", Text(), "views of each test image: none, mirror, or mirror-shift (and moved a pixel)", "HOW"
    )
    seed: int = setting(
        0, Integer(), "of the initial weights, the order of the examples, dropout and augmentation", "N"
    )

    def __post_init__(self) -> None:
        self._check_data()
        one_of("model", self.model, MODEL_NAMES)
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("schedule", self.schedule, SCHEDULES)
        self._settle()
        self._check_model()
        self._check_steps()
        self._check_schedule()

    def _settle(self) -> None:
        """Give each setting that goes by another its default, and refuse it where nothing reads it."""
        for f in fields(self):
            if f.metadata["by"] is None:
                continue
            decider, defaults = f.metadata["by"]
            chosen = getattr(self, decider)
            if chosen in defaults:
                if getattr(self, f.name) is None:
                    object.__setattr__(self, f.name, defaults[chosen])
            elif getattr(self, f.name) is not None:
                readers = listed(list(defaults), "and")
                whose = f", not {chosen}" if chosen is not None else f" as {hyphened(decider)}"
                raise SettingsError(
                    f"{hyphened(f.name)}: only {readers} {'read' if len(defaults) > 1 else 'reads'} it{whose}: "
                    "leave it out"
                )

    def _check_data(self) -> None:
        if self.data not in DATA_NAMES and not self.data.endswith(".npz"):
            raise SettingsError(f"data: {self.data!r} is not one of {', '.join(DATA_NAMES)} or a PATH.npz")
        if self.data in NEED_ROOT and self.root is None:
            raise SettingsError(f"root: {self.data} needs the folder with its files: give --root DIR")
        if self.data not in NEED_ROOT and self.root is not None:
            raise SettingsError(
                f"root: {self.data} reads no folder: leave it out (it is for {' and '.join(NEED_ROOT)})"
            )
        title = self.data_title
        if title is not None and not (title.isprintable() and 1 <= len(title.strip()) <= MOST_TITLE):
            raise SettingsError(f"data-title: {shown(title)}: give 1 to {MOST_TITLE} characters in one line")
        one_of("normalize", self.normalize, NORMALISERS)
        one_of("flip", self.flip, FLIPS)
        one_of("padding", self.padding, PADDINGS)
        for name in ("translate", "cutout"):
            value = getattr(self, name)
            within(name, value, 0 <= value <= MOST_PIXELS, f"in 0 to {MOST_PIXELS}")
        if self.padding != "zero" and self.translate == 0:
            raise SettingsError(f"padding: {self.padding} without --translate pads nothing: leave it out")

    def _check_model(self) -> None:
        for name, choices in (("form", FORMS), ("variant", VARIANTS), ("classifier", CLASSIFIERS)):
            if getattr(self, name) is not None:
                one_of(name, getattr(self, name), choices)
        if self.hidden is not None:
            if not self.hidden:
                raise SettingsError("hidden: give at least one width (a linear model is softmax)")
            if self.model == "two-layer" and len(self.hidden) != 1:
                raise SettingsError(
                    f"hidden: {len(self.hidden)} widths for two-layer: give one (or --model mlp)"
                )
            for width in self.hidden:
                count("hidden", width, MOST_UNITS)
        for name in ("dropout", "input_dropout", "classifier_dropout"):
            share = getattr(self, name)
            if share is not None:
                within(hyphened(name), share, 0 <= share <= 1, "in [0, 1]")
        if self.delta is not None:
            within("delta", self.delta, self.delta > 0, "above 0")

    def _check_steps(self) -> None:
        count("epochs", self.epochs, MOST_EPOCHS)
        if self.batch_size is not None:
            count("batch-size", self.batch_size, MOST_EXAMPLES)
        count("accumulate", self.accumulate, MOST_EXAMPLES)
        within("lr", self.lr, self.lr > 0, "above 0")
        if self.momentum is not None:
            within("momentum", self.momentum, 0 <= self.momentum < 1, "in [0, 1)")
        for name in ("weight_decay", "bias_weight_decay", "l1", "l2"):
            within(hyphened(name), getattr(self, name), getattr(self, name) >= 0, "at least 0")
        if self.label_smoothing is not None:
            within("label-smoothing", self.label_smoothing, 0 <= self.label_smoothing < 1, "in [0, 1)")
        if self.clip is not None:
            within("clip", self.clip, self.clip > 0, "above 0")
        within("bias-lr", self.bias_lr, self.bias_lr > 0, "above 0")
        within("ema", self.ema, 0 <= self.ema < 1, "in [0, 1)")
        within("lookahead", self.lookahead, 0 <= self.lookahead <= MOST_EXAMPLES, f"in 0 to {MOST_EXAMPLES}")
        if self.ema and self.lookahead:
            raise SettingsError("lookahead: the run has an average of weights, ema: give one of the two")
        if self.early_stop is not None:
            count("early-stop", self.early_stop, MOST_EPOCHS)
        one_of("precision", self.precision, PRECISIONS)
        one_of("tta", self.tta, TTA)
        within("seed", self.seed, 0 <= self.seed < 2**63, "in [0, 2^63)")
        if self.nesterov and self.momentum == 0:
            raise SettingsError("nesterov: momentum is 0: give a momentum above 0")

    def _check_schedule(self) -> None:
        for name in ("gamma", "final_lr", "warmup"):
            value = getattr(self, name)
            if value is not None:
                within(hyphened(name), value, value >= 0, "at least 0")
        if self.schedule == "plateau":
            within("gamma", self.gamma, self.gamma < 1, "in [0, 1)")
            within("patience", self.patience, 0 <= self.patience <= MOST_EPOCHS, f"in 0 to {MOST_EPOCHS}")
            if self.warmup % 1:
                raise SettingsError(
                    f"warmup: {self.warmup}: plateau goes by epochs: give a whole number of them"
                )
        if self.step_size is not None:
            count("step-size", self.step_size, MOST_EPOCHS)
        if self.schedule == "multi-step":
            if not self.milestones:
                raise SettingsError("milestones: multi-step needs epochs: give them as --milestones 60,80")
            for epoch in self.milestones:
                count("milestones", epoch, MOST_EPOCHS)
                if epoch <= self.warmup:
                    raise SettingsError(
                        f"milestones: {epoch} is within the {self.warmup:g} epochs of warm-up"
                    )
        if self.warmup_from is not None:
            within("warmup-from", self.warmup_from, 0 <= self.warmup_from <= 1, "in [0, 1]")
        if self.warmup:
            within(
                "warmup", self.warmup, self.warmup < self.epochs, f"below the {self.epochs} epochs of the run"
            )
        self._check_rates()
        if self.schedule == "one-cycle" and self.optimizer in ("sgd", "rmsprop") and self.momentum == 0:
            raise SettingsError("schedule: one-cycle moves momentum, which is 0: give a momentum above 0")

    def _check_rates(self) -> None:
        """No learning rate of the run is beyond what a number holds."""
        growths = {
            "step": lambda: (self.epochs // self.step_size) * _log(self.gamma),
            "multi-step": lambda: len(self.milestones) * _log(self.gamma),
            "exponential": lambda: self.epochs * _log(self.gamma),
            "cosine": lambda: _log(self.final_lr),
            "linear": lambda: _log(self.final_lr),
        }
        growth = growths[self.schedule]() if self.schedule in growths else 0.0
        base = _log(self.lr) + max(0.0, _log(self.bias_lr))
        if base > _log(MOST_RATE):
            raise SettingsError(f"lr: {self.lr:g} makes a learning rate beyond {MOST_RATE:g}, with bias-lr")
        if base + growth > _log(MOST_RATE):
            name = "gamma" if self.final_lr is None else "final_lr"
            value = getattr(self, name)
            raise SettingsError(
                f"{hyphened(name)}: {value:g} makes a learning rate beyond {MOST_RATE:g} in the end"
            )

    @property
    def data_name(self) -> str:
        """The data set's name: for a file, its name without folder and ending."""
        return Path(self.data).stem if self.data.endswith(".npz") else self.data

    @property
    def shown_data(self) -> str:
        """What reports and pictures call the data."""
        return self.data_title or self.data_name


@dataclass(frozen=True)
class RunOptions:
    """What a run does beside training: where it writes, what it goes on from, how it runs."""

    out: str | None = setting(
        None, Text(), "the run folder (default: runs/DATA-MODEL-<next free number>)", "DIR"
    )
    resume: str | None = setting(None, Text(), "go on with this run, in place, up to --epochs", "RUN")
    checkpoint_every: tuple[float, str] | None = setting(
        None, Interval(), "save within an epoch too: every so many steps, 500, or seconds, 60s", "N|Ns"
    )
    threads: int | None = setting(None, Integer(), "threads; results do not depend on it", "N")
    quiet: bool = setting(False, Switch(), "no progress, only the outcome")

    def __post_init__(self) -> None:
        if self.threads is not None:
            count("threads", self.threads, 1024)
        if self.checkpoint_every is not None:
            number, unit = self.checkpoint_every
            within("checkpoint-every", number, number > 0, f"above 0 {unit}")
        if self.resume is not None and self.out is not None:
            raise SettingsError("out: a resumed run stays where it is: leave out --out")


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


# What may be given anew for a resumed run. Data that were moved are still the same: their checksum is compared.
MAY_CHANGE = ("epochs", "lr", "root", "data_title")


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


def hyphened(name: str) -> str:
    """A setting's name as flags and files write it."""
    return name.replace("_", "-")


def field_of(name: str) -> Field:
    """The field of TrainSettings with this name."""
    return next(f for f in fields(TrainSettings) if f.name == name)


def written(name: str, value: Any) -> Any:
    """A setting's value as a file holds it."""
    return field_of(name).metadata["kind"].to_file(value)


def listed(names: list[str], last: str) -> str:
    """'a, b and c'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{name}: {value!r} is not one of {', '.join(choices)}")


def count(name: str, value: int, most: int) -> None:
    within(name, value, 1 <= value <= most, f"in 1 to {most}")


def within(name: str, value: float, holds: bool, range_text: str) -> None:
    # An integer may be beyond a float's range, and beyond what a line of text should hold.
    if not (holds and (isinstance(value, int) or math.isfinite(value))):
        raise SettingsError(f"{name}: {shown(value)} is not {range_text}")
