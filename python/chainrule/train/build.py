"""Data sets and models by name: one table each, with the defaults that suit them.

Whoever adds a data set or a model adds a row here; the command line, the settings and the report follow. What a
setting means and how it is checked is in `settings.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule import data, models
from chainrule.train.errors import RunError

if TYPE_CHECKING:
    from chainrule.train.settings import TrainSettings


@dataclass(frozen=True)
class DataKind:
    """A data set that has a name.

    Attributes:
        load: the data set from the folder of its files, or from None when it ships inside the package.
        rooted: whether it needs that folder.
        defaults: of settings, over those of the model.
    """

    load: Callable[[str | None], Any]
    rooted: bool
    defaults: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelKind:
    """A model that has a name.

    Attributes:
        make: the model from settings, the values of one input and the number of classes.
        row_losses: the loss of each row of scores (N, classes), (N,).
        probabilistic: whether softmax of the scores is its probability of each class.
        labelled_units: whether the first layer has one unit a class.
        uses: the settings that only some models have, with their defaults.
        defaults: of other settings.
    """

    make: Callable[[TrainSettings, int, int], Any]
    row_losses: Callable[[TrainSettings, np.ndarray, np.ndarray], np.ndarray]
    probabilistic: bool
    labelled_units: bool
    uses: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)


def _softmax_losses(settings: TrainSettings, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return cr.softmax_cross_entropy(scores, labels, reduction="none")


def _hinge_losses(settings: TrainSettings, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return cr.multiclass_hinge(
        scores, labels, delta=settings.delta, squared=settings.squared_hinge, reduction="none"
    )


DATA: dict[str, DataKind] = {
    "digits": DataKind(
        load=lambda root: data.load_digits(),
        rooted=False,
        defaults={"epochs": 30, "batch_size": 32},
    ),
    "mnist": DataKind(load=lambda root: data.load_mnist(root), rooted=True),
    "cifar10": DataKind(load=lambda root: data.load_cifar10(root), rooted=True),
}

NPZ = ".npz"  # a data set without a name: any file of this ending

MODELS: dict[str, ModelKind] = {
    "svm": ModelKind(
        make=lambda settings, features, classes: models.LinearSVM(
            features,
            classes,
            delta=settings.delta,
            squared=settings.squared_hinge,
            seed=settings.seed,
        ),
        row_losses=_hinge_losses,
        probabilistic=False,
        labelled_units=True,
        uses={"delta": 1.0, "squared_hinge": False},
        defaults={"lr": 0.001},
    ),
    "softmax": ModelKind(
        make=lambda settings, features, classes: models.SoftmaxRegression(
            features, classes, seed=settings.seed
        ),
        row_losses=_softmax_losses,
        probabilistic=True,
        labelled_units=True,
        defaults={"lr": 0.01},
    ),
    "mlp": ModelKind(
        make=lambda settings, features, classes: models.MLP(
            features, settings.hidden, classes, seed=settings.seed
        ),
        row_losses=_softmax_losses,
        probabilistic=True,
        labelled_units=False,
        uses={"hidden": (100,)},
        defaults={"lr": 0.02},
    ),
}

# Where neither the model nor the data set says otherwise.
DEFAULTS: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 64,
    "lr": 0.01,
    "momentum": 0.9,
    "nesterov": False,
    "l1": 0.0,
    "l2": 1e-4,
    "normalize": "standard",
}


def defaults_of(model: str, data_name: str) -> dict[str, Any]:
    """Every setting that has a default for this model and data set, with it."""
    kind = DATA.get(data_name)
    own = MODELS[model]
    return {**DEFAULTS, **own.uses, **own.defaults, **(kind.defaults if kind else {})}


def build_data(settings: TrainSettings) -> Any:
    """The data set that the settings name.

    Errors: DataError and OSError of the loader; RunError when a part of it holds nothing.
    """
    kind = DATA.get(settings.data)
    if kind is None:
        dataset = data.load_npz(settings.data)
    else:
        dataset = kind.load(settings.root)
    for part, split in (("training", dataset.train), ("test", dataset.test)):
        if len(split.labels) == 0:
            raise RunError(f"data: {settings.data} has no {part} examples: a run needs both")
    return dataset


def build_model(settings: TrainSettings, features: int, classes: int) -> Any:
    """The model that the settings name, for inputs of this many values.

    Errors: RunError when it cannot be built, as for widths that no memory holds.
    """
    try:
        return MODELS[settings.model].make(settings, features, classes)
    except (ValueError, MemoryError, OverflowError) as error:
        raise RunError(f"model: {settings.model} cannot be built: {error}") from error


def build_optimizer(settings: TrainSettings, model: Any) -> Any:
    """Gradient descent over all parameters of the model, as the settings say."""
    return cr.optim.SGD(
        model.parameters(), settings.lr, momentum=settings.momentum, nesterov=settings.nesterov
    )


def run_name(settings: TrainSettings) -> str:
    """DATA-MODEL, which names run folders and reports; a file goes by its stem."""
    return f"{data_name(settings)}-{settings.model}"


def data_name(settings: TrainSettings) -> str:
    """The data set's name, or the stem of its file."""
    return settings.data if settings.data in DATA else Path(settings.data).stem
