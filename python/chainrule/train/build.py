"""Data, normaliser, model, optimizer and schedule from the names in the settings: one registry for each kind.

A new data set, normalisation, model, optimizer or schedule is an entry here and its name in `settings`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from chainrule import models, optim
from chainrule.data import (
    GCN,
    ZCA,
    Augment,
    DataLoader,
    Dataset,
    Identity,
    Normaliser,
    Pipeline,
    Scale,
    Split,
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
    """How a model is made, and what is said of it.

    Attributes:
        title: its name in reports; a function of the settings where they decide it.
        loss: what its loss is called.
        build: makes it from (settings, shape of an input, classes).
        images: whether it takes images (N, H, W, C) only; else inputs are flattened.
        probabilities: whether a softmax of its scores gives probabilities.
        prepare: called with a new model and the normalised training images, or None.
        freeze: for parameters that are trained at first only, their names and after how many epochs they rest.
    """

    title: str | Callable[[TrainSettings], str]
    loss: str
    build: Callable[[TrainSettings, tuple[int, ...], int], Classifier]
    images: bool = False
    probabilities: bool = True
    prepare: Callable[[Classifier, np.ndarray], None] | None = None
    freeze: Mapping[str, int] = field(default_factory=dict)


DATA: dict[str, Callable[[TrainSettings], Dataset]] = {
    "digits": lambda s: load_digits(),
    "mnist": lambda s: load_mnist(s.root),
    "cifar10": lambda s: load_cifar10(s.root),
}

CROSS_ENTROPY = "softmax cross-entropy"


def linear(
    title: str, loss: str, build: Callable[[TrainSettings, int, int], Classifier], **more
) -> ModelKind:
    """A model of flattened inputs, made from (settings, features, classes)."""
    return ModelKind(title, loss, lambda s, shape, classes: build(s, math.prod(shape), classes), **more)


# As Springenberg et al. call the nets of one base (table 2).
ALL_CNN_TITLES = {
    "base": "base {} of the All-CNN",
    "strided": "Strided-CNN-{}",
    "convpool": "ConvPool-CNN-{}",
    "all": "All-CNN-{}",
}


def all_conv_net(base: str) -> ModelKind:
    return ModelKind(
        lambda s: ALL_CNN_TITLES[s.variant].format(base),
        CROSS_ENTROPY,
        lambda s, shape, classes: models.AllConvNet(
            shape,
            classes,
            base=base,
            variant=s.variant,
            input_dropout=s.input_dropout,
            dropout=s.dropout,
            batch_norm=s.batch_norm,
            seed=s.seed,
        ),
        images=True,
    )


MODELS = {
    "svm": linear(
        "linear SVM",
        "multiclass hinge loss",
        lambda s, features, classes: models.LinearSVM(
            features, classes, delta=s.delta, squared=s.squared_hinge, seed=s.seed
        ),
        probabilities=False,
    ),
    "softmax": linear(
        "softmax classifier",
        CROSS_ENTROPY,
        lambda s, features, classes: models.SoftmaxRegression(features, classes, seed=s.seed),
    ),
    "mlp": linear(
        "multi-layer perceptron",
        CROSS_ENTROPY,
        lambda s, features, classes: models.MLP(features, s.hidden, classes, seed=s.seed),
    ),
    "two-layer": linear(
        "two-layer net",
        CROSS_ENTROPY,
        lambda s, features, classes: models.TwoLayerNet(features, s.hidden[0], classes, seed=s.seed),
    ),
    "lenet5": ModelKind(
        "LeNet-5",
        CROSS_ENTROPY,
        lambda s, shape, classes: models.LeNet5(shape, classes, form=s.form, seed=s.seed),
        images=True,
    ),
    "nin": ModelKind(
        "Network in Network",
        CROSS_ENTROPY,
        lambda s, shape, classes: models.NetworkInNetwork(
            shape,
            classes,
            classifier=s.classifier.replace("-", "_"),
            dropout=s.dropout,
            classifier_dropout=s.classifier_dropout or 0.0,
            batch_norm=s.batch_norm,
            seed=s.seed,
        ),
        images=True,
    ),
    "all-cnn-a": all_conv_net("A"),
    "all-cnn-b": all_conv_net("B"),
    "all-cnn-c": all_conv_net("C"),
    "fast-cifar": ModelKind(
        "FastCifarNet",
        CROSS_ENTROPY,
        lambda s, shape, classes: models.FastCifarNet(shape, classes, seed=s.seed),
        images=True,
        prepare=lambda model, images: model.set_whitening(images),
        freeze={"whitening.bias": 3},
    ),
}

NORMALISERS: dict[str, Callable[[Range], Normaliser]] = {
    "none": lambda value_range: Identity(),
    "scale": lambda value_range: Scale(value_range[0], 1 / (value_range[1] - value_range[0])),
    "standard": lambda value_range: Standardise(),
    "channel": lambda value_range: Standardise(per="channel"),
    # Directions that vary by less than a thirtieth of the range are mostly noise: the default epsilon is for
    # inputs of unit size and would blow them up to the size of the others.
    "whiten": lambda value_range: Whiten(epsilon=1e-3 * (value_range[1] - value_range[0]) ** 2),
    "zca": lambda value_range: ZCA(epsilon=1e-3 * (value_range[1] - value_range[0]) ** 2),
    "gcn": lambda value_range: GCN(),
    # What Maxout, Network in Network and the All-CNN do: GCN leaves unit variance, ZCA's own epsilon is for that.
    "gcn+zca": lambda value_range: Pipeline(GCN(), ZCA()),
}

OPTIMIZERS: dict[str, Callable[[list, TrainSettings], optim.Optimizer]] = {
    "sgd": lambda groups, s: optim.SGD(groups, lr=s.lr, momentum=s.momentum, nesterov=s.nesterov),
    "adam": lambda groups, s: optim.Adam(groups, lr=s.lr),
    "adamw": lambda groups, s: optim.AdamW(groups, lr=s.lr),
    "rmsprop": lambda groups, s: optim.RMSprop(groups, lr=s.lr, momentum=s.momentum),
    "adagrad": lambda groups, s: optim.Adagrad(groups, lr=s.lr),
}

# From (optimizer, settings, steps an epoch), as schedules that go by steps: but for plateau, which goes by epochs.
SCHEDULES: dict[str, Callable[[optim.Optimizer, TrainSettings, int], optim.Schedule]] = {
    "constant": lambda o, s, steps: optim.LambdaLR(o, lambda step: 1.0),
    "step": lambda o, s, steps: optim.StepLR(o, s.step_size * steps, s.gamma),
    "multi-step": lambda o, s, steps: optim.MultiStepLR(o, milestones(s, steps), s.gamma),
    "exponential": lambda o, s, steps: optim.ExponentialLR(o, s.gamma ** (1 / steps)),
    "cosine": lambda o, s, steps: optim.CosineAnnealingLR(
        o, annealing_steps(s, steps), [s.final_lr * group["lr"] for group in o.param_groups]
    ),
    "linear": lambda o, s, steps: optim.LinearLR(o, 1.0, s.final_lr, annealing_steps(s, steps)),
    "one-cycle": lambda o, s, steps: optim.OneCycleLR(
        o,
        [group["lr"] for group in o.param_groups],
        max(2, s.epochs * steps),
        cycle_momentum=not o.defaults.keys().isdisjoint(("momentum", "betas")),
    ),
    "plateau": lambda o, s, steps: optim.ReduceLROnPlateau(o, factor=s.gamma, patience=s.patience),
}


def model_title(settings: TrainSettings) -> str:
    """What reports and pictures call the model."""
    title = MODELS[settings.model].title
    return title if isinstance(title, str) else title(settings)


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
    """The model that the settings name, for what the normaliser gives. Errors: TrainError where it takes others."""
    shape = normaliser.input_shape
    kind = MODELS[settings.model]
    if kind.images and len(shape) != 3:
        raise TrainError(
            f"model: {settings.model} takes images, the inputs are vectors of {math.prod(shape)}: "
            "use mlp, softmax or svm"
        )
    if kind.images and isinstance(normaliser, Whiten):
        raise TrainError(
            f"normalize: whiten makes vectors of images, {settings.model} takes images: use another"
        )
    try:
        return kind.build(settings, shape, classes)
    except ValueError as error:
        raise TrainError(f"model {settings.model}: {error}") from None


def build_loader(settings: TrainSettings, normaliser: Normaliser, train: Split) -> DataLoader:
    """Batches of the training set, normalised and augmented.

    Errors: TrainError for an augmentation of vectors, or larger than the images.
    """
    images, augment = train.images, None
    if settings.flip != "none" or settings.translate or settings.cutout:
        if images.ndim != 4 or isinstance(normaliser, Whiten):
            raise TrainError("flip, translate, cutout: the inputs are vectors, not images: leave them out")
        augment = Augment(
            flip=None if settings.flip == "none" else settings.flip,
            translate=settings.translate,
            padding=settings.padding,
            cutout=settings.cutout,
            normalise=normaliser if takes_bytes(normaliser, images) else None,
            seed=settings.seed,
        )
    if augment is None or augment.normalise is None:
        images = normalised(normaliser, images)
    if augment is not None:
        try:
            augment(images, [0], 0)
        except ValueError as error:
            raise TrainError(f"flip, translate, cutout: {error}") from None
    return DataLoader(images, train.labels, settings.batch_size, seed=settings.seed, augment=augment)


def check_batches(settings: TrainSettings, model: Classifier, shape: tuple[int, ...], examples: int) -> None:
    """Errors: TrainError where a batch of one example would leave batch norm a single value a channel."""
    size = settings.batch_size or examples
    if (examples % size or size) > 1:
        return
    for layer in model.summary(shape).layers:
        if layer.kind == "BatchNorm2d" and math.prod(layer.output_shape[:-1]) == 1:
            raise TrainError(
                f"batch-size: {size}: the last of {examples} training images would be a batch alone, and {layer.name} "
                "has one value a channel for it, where batch norm needs two: use another batch size"
            )


def check_views(settings: TrainSettings, normaliser: Normaliser) -> None:
    """Errors: TrainError where vectors are to be seen from several sides in tests."""
    if settings.tta != "none" and (len(normaliser.input_shape) != 3 or isinstance(normaliser, Whiten)):
        raise TrainError("tta: the inputs are vectors, not images: leave it out")


def takes_bytes(normaliser: Normaliser, images: np.ndarray) -> bool:
    """Whether images are normalised on the way into a batch, which saves three quarters of their memory."""
    if images.dtype != np.uint8:
        return False
    try:
        normaliser.byte_table()
    except ValueError:
        return False
    return True


def normalised(normaliser: Normaliser, images: np.ndarray) -> np.ndarray:
    """The normaliser's result. Errors: TrainError for inputs far from those fitted."""
    try:
        return normaliser(images)
    except ValueError as error:
        raise TrainError(f"data: {error}") from None


def build_optimizer(settings: TrainSettings, model: Classifier) -> optim.Optimizer:
    """The optimizer of all of the model's parameters: weight_decay is for those of two or more axes, bias_lr
    and bias_weight_decay for the others; in one group where that makes no difference."""
    parameters = list(model.parameters())
    groups = [{"params": parameters, "weight_decay": settings.weight_decay}]
    decay = settings.bias_weight_decay
    if settings.weight_decay != decay or settings.bias_lr != 1:
        others = [p for p in parameters if len(p.shape) < 2]
        groups[0]["params"] = [p for p in parameters if len(p.shape) >= 2]
        groups.append({"params": others, "weight_decay": decay, "lr": settings.lr * settings.bias_lr})
    return OPTIMIZERS[settings.optimizer](groups, settings)


def build_schedule(
    settings: TrainSettings, optimizer: optim.Optimizer, steps_per_epoch: int
) -> tuple[optim.Schedule, str]:
    """The schedule, and whether it goes by 'step' or 'epoch'."""
    per = "epoch" if settings.schedule == "plateau" else "step"
    schedule = SCHEDULES[settings.schedule](optimizer, settings, steps_per_epoch)
    warmup = round((settings.warmup or 0) * (1 if per == "epoch" else steps_per_epoch))
    return (optim.WarmUp(schedule, warmup, settings.warmup_from) if warmup else schedule), per


def milestones(settings: TrainSettings, steps_per_epoch: int) -> list[int]:
    """The milestones in steps after the warm-up. Errors: TrainError for one that rounding puts within it."""
    warmup = round(settings.warmup * steps_per_epoch)
    for epoch in settings.milestones:
        if epoch * steps_per_epoch <= warmup:
            raise TrainError(
                f"milestones: {epoch} is within the {settings.warmup:g} epochs of warm-up, which are {warmup} steps of "
                f"{steps_per_epoch} an epoch"
            )
    return [epoch * steps_per_epoch - warmup for epoch in settings.milestones]


def annealing_steps(settings: TrainSettings, steps_per_epoch: int) -> int:
    """How many steps follow the warm-up."""
    return max(1, settings.epochs * steps_per_epoch - round(settings.warmup * steps_per_epoch))


def build_average(
    settings: TrainSettings, model: Classifier, steps_per_epoch: int
) -> optim.ExponentialMovingAverage | None:
    """What averages the model's weights."""
    if settings.ema:
        return optim.ExponentialMovingAverage(model, settings.ema)
    if settings.lookahead:
        total = settings.epochs * steps_per_epoch
        # The slow weights follow closely at first and hardly at the end, as in FastCifarNet's recipe.
        return optim.Lookahead(
            model, settings.lookahead, lambda step: 1 - 0.95**5 * min(1.0, step / total) ** 3
        )
    return None
