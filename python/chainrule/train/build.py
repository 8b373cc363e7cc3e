"""Data, normaliser, model and optimizer from the names in the settings: one registry for each kind.

A new data set, normalisation or model is an entry here and its name in `settings`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from chainrule import models, optim
from chainrule.data import (
    Dataset,
    Identity,
    Normaliser,
    Scale,
    Standardise,
    Whiten,
    load_cifar10,
    load_digits,
    load_mnist,
    load_npz,
)
from chainrule.models.classifier import Classifier
from chainrule.train.errors import TrainError
from chainrule.train.settings import TrainSettings

Range = tuple[float, float]


@dataclass(frozen=True)
class ModelKind:
    """How a model is made, what its loss is called, and whether a softmax of its scores gives probabilities."""

    title: str
    loss: str
    build: Callable[[TrainSettings, int, int], Classifier]
    probabilities: bool


DATA: dict[str, Callable[[TrainSettings], Dataset]] = {
    "digits": lambda s: load_digits(),
    "mnist": lambda s: load_mnist(s.root),
    "cifar10": lambda s: load_cifar10(s.root),
}

MODELS = {
    "svm": ModelKind(
        "linear SVM",
        "multiclass hinge loss",
        lambda s, features, classes: models.LinearSVM(
            features, classes, delta=s.delta, squared=s.squared_hinge, seed=s.seed
        ),
        probabilities=False,
    ),
    "softmax": ModelKind(
        "softmax classifier",
        "softmax cross-entropy",
        lambda s, features, classes: models.SoftmaxRegression(features, classes, seed=s.seed),
        probabilities=True,
    ),
    "mlp": ModelKind(
        "multi-layer perceptron",
        "softmax cross-entropy",
        lambda s, features, classes: models.MLP(features, s.hidden, classes, seed=s.seed),
        probabilities=True,
    ),
}

NORMALISERS: dict[str, Callable[[Range], Normaliser]] = {
    "none": lambda value_range: Identity(),
    "scale": lambda value_range: Scale(value_range[0], 1 / (value_range[1] - value_range[0])),
    "standard": lambda value_range: Standardise(),
    # Directions that vary by less than a thirtieth of the range are mostly noise: the default epsilon is for
    # inputs of unit size and would blow them up to the size of the others.
    "whiten": lambda value_range: Whiten(epsilon=1e-3 * (value_range[1] - value_range[0]) ** 2),
}


def load_data(settings: TrainSettings) -> tuple[Dataset, Range]:
    """The data set, and the values of black and white in it, which differ. Errors: DataError."""
    load = DATA.get(settings.data, lambda s: load_npz(s.data))
    data = load(settings)
    low, high = data.value_range
    # All inputs alike: any other white will do. A float32's least step is above a 2^24th of it.
    return data, (low, high if high > low else low + max(1.0, abs(low)))


def fit_normaliser(settings: TrainSettings, data: Dataset, value_range: Range) -> Normaliser:
    """The normaliser that the settings name, fitted on the training set alone."""
    try:
        return NORMALISERS[settings.normalize](value_range).fit(data.train.images)
    except ValueError as error:
        raise TrainError(f"normalize {settings.normalize}: {error}") from None


def build_model(settings: TrainSettings, normaliser: Normaliser, classes: int) -> Classifier:
    """The model that the settings name, for what the normaliser gives."""
    features = math.prod(normaliser.input_shape)  # each normaliser keeps their number
    return MODELS[settings.model].build(settings, features, classes)


def build_optimizer(settings: TrainSettings, model: Classifier) -> optim.SGD:
    """Gradient descent on all of the model's parameters."""
    return optim.SGD(
        model.parameters(), lr=settings.lr, momentum=settings.momentum, nesterov=settings.nesterov
    )
