"""What the names in the settings stand for: models, optimizers, schedules, averages, batches."""

from itertools import pairwise

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.data import Scale, Split, Whiten
from chainrule.train import Job, TrainError, TrainSettings
from chainrule.train.build import (
    MODELS,
    NORMALISERS,
    OPTIMIZERS,
    SCHEDULES,
    build_average,
    build_loader,
    build_model,
    build_optimizer,
    build_schedule,
    check_batches,
    model_title,
)
from chainrule.train.settings import MODEL_NAMES, VARIANTS
from chainrule.train.settings import (
    NORMALISERS as NORMALISER_NAMES,
)
from chainrule.train.settings import (
    OPTIMIZERS as OPTIMIZER_NAMES,
)
from chainrule.train.settings import (
    SCHEDULES as SCHEDULE_NAMES,
)


def fitted(shape=(32, 32, 3)):
    return Scale(0, 1 / 255).fit(np.zeros((2, *shape), np.uint8))


def model_of(shape=(32, 32, 3), **settings):
    return build_model(TrainSettings(**settings), fitted(shape), 10)


def test_every_name_has_an_entry_and_every_entry_a_name():
    assert tuple(MODELS) == MODEL_NAMES
    assert tuple(NORMALISERS) == NORMALISER_NAMES
    assert tuple(OPTIMIZERS) == OPTIMIZER_NAMES
    assert tuple(SCHEDULES) == SCHEDULE_NAMES


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_model_is_made_from_its_seed_and_scores_its_images(name):
    one, same, other = (model_of(model=name, seed=seed) for seed in (3, 3, 4))
    x = np.random.default_rng(0).random((2, 32, 32, 3), dtype=np.float32)
    for model in (one, same, other):
        model.eval()
    assert one(x).shape == (2, 10)
    assert np.array_equal(one(x).numpy(), same(x).numpy())
    assert not np.array_equal(one(x).numpy(), other(x).numpy())


def dropouts(model):
    return [m.p for m in model.modules() if isinstance(m, nn.Dropout)]


def norms(model):
    return sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def test_settings_reach_the_models():
    strided, pooled = (model_of(model="all-cnn-c", variant=v) for v in ("strided", "base"))
    assert sum(isinstance(m, nn.MaxPool2d) for m in strided.modules()) == 0
    assert sum(isinstance(m, nn.MaxPool2d) for m in pooled.modules()) == 2
    assert dropouts(model_of(model="all-cnn-a")) == [0.2, 0.5, 0.5]
    assert dropouts(model_of(model="all-cnn-b", input_dropout=0.0, dropout=0.3)) == [0.0, 0.3, 0.3]
    assert norms(model_of(model="all-cnn-c")) == 0 < norms(model_of(model="all-cnn-c", batch_norm=True))
    assert norms(model_of(model="nin")) == 0 < norms(model_of(model="nin", batch_norm=True))
    linear = model_of(model="nin", classifier="fully-connected", classifier_dropout=0.25)
    assert dropouts(linear) == [0.5, 0.5, 0.25]
    assert model_of(model="lenet5", form="paper").layers[0].weight.shape == (5, 5, 3, 6)
    assert model_of(model="two-layer", hidden=(7,)).first_weights().shape == (3072, 7)
    svm = model_of(model="svm", delta=2.0, squared_hinge=True)
    assert (svm.delta, svm.squared) == (2.0, True)


def test_models_go_by_the_names_of_their_papers():
    titles = [model_title(TrainSettings(model="all-cnn-b", variant=v)) for v in VARIANTS]
    assert titles == ["base B of the All-CNN", "Strided-CNN-B", "ConvPool-CNN-B", "All-CNN-B"]
    assert model_title(TrainSettings(model="nin")) == "Network in Network"
    assert all(model_title(TrainSettings(model=name)) for name in MODEL_NAMES)


@pytest.mark.parametrize(
    ("settings", "shape", "message"),
    [
        ({"model": "lenet5"}, (10,), "model: lenet5 takes images, the inputs are vectors of 10: use mlp"),
        ({"model": "lenet5"}, (8, 8, 1), "model lenet5: LeNet5: images of 8 x 8: give sides of at least 12"),
        (
            {"model": "fast-cifar"},
            (24, 24, 3),
            "model fast-cifar: FastCifarNet: images of 24 x 24: give sides",
        ),
        ({"model": "all-cnn-a"}, (8, 8, 3), "model all-cnn-a: AllConvNet: images of 8 x 8: give sides of"),
    ],
)
def test_inputs_that_a_model_does_not_take_are_one_line(settings, shape, message):
    with pytest.raises(TrainError, match=f"^{message}"):
        model_of(shape, **settings)


def test_whitened_images_are_vectors():
    whiten = Whiten().fit(np.random.default_rng(0).random((9, 12, 12, 1)))
    with pytest.raises(TrainError, match=r"^normalize: whiten makes vectors of images, lenet5 takes images"):
        build_model(TrainSettings(model="lenet5"), whiten, 10)
    assert build_model(TrainSettings(model="mlp"), whiten, 10).first_weights().shape == (144, 100)


# ---- Optimizers, schedules, averages -----------------------------------------------------------------------


def test_biases_have_a_learning_rate_and_a_weight_decay_of_their_own():
    model = model_of((2, 2, 1), hidden=(3,))
    (group,) = build_optimizer(TrainSettings(), model).param_groups
    assert (len(group["params"]), group["weight_decay"], group["lr"]) == (4, 0.0, 0.05)
    weights, biases = build_optimizer(TrainSettings(weight_decay=0.1, bias_lr=8, lr=0.5), model).param_groups
    assert [p.shape for p in weights["params"]] == [(4, 3), (3, 10)]
    assert [p.shape for p in biases["params"]] == [(3,), (10,)]
    assert (weights["weight_decay"], weights["lr"]) == (0.1, 0.5)
    assert (biases["weight_decay"], biases["lr"]) == (0.0, 4.0)
    settings = TrainSettings(weight_decay=0.1, bias_weight_decay=0.01)
    assert [g["weight_decay"] for g in build_optimizer(settings, model).param_groups] == [0.1, 0.01]
    (group,) = build_optimizer(TrainSettings(weight_decay=0.1, bias_weight_decay=0.1), model).param_groups
    assert (len(group["params"]), group["weight_decay"]) == (4, 0.1)


@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_optimizers_have_the_settings(name):
    more = {"momentum": 0.7} if name in ("sgd", "rmsprop") else {}
    optimizer = build_optimizer(TrainSettings(optimizer=name, lr=0.3, weight_decay=0.2, **more), model_of())
    assert type(optimizer).__name__.lower() == name
    weights = optimizer.param_groups[0]
    assert (weights["lr"], weights["weight_decay"]) == (0.3, 0.2)
    assert weights.get("momentum") == more.get("momentum")


def rates(epochs=4, steps=5, **settings):
    """The rate of each step of a run with a learning rate of 1."""
    settings = TrainSettings(epochs=epochs, lr=1.0, **settings)
    optimizer = build_optimizer(settings, model_of((2, 2, 1)))
    schedule, per = build_schedule(settings, optimizer, steps)
    seen = []
    for _ in range(epochs):
        for _ in range(steps):
            seen.append(optimizer.lr)
            if per == "step":
                schedule.step()
        if per == "epoch":
            schedule.step(1.0)
    return np.array(seen)


EPOCH = np.repeat(np.arange(4), 5)
STEP = np.arange(20)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, np.ones(20)),
        ({"warmup": 1.0, "warmup_from": 0.0}, np.minimum(STEP / 5, 1)),
        ({"warmup": 0.5}, np.minimum(0.1 + 0.9 * STEP / 2, 1)),
        ({"schedule": "step", "step_size": 2}, 0.1 ** (EPOCH // 2)),
        ({"schedule": "multi-step", "milestones": (1, 3), "gamma": 0.5}, 0.5 ** np.digitize(EPOCH, [1, 3])),
        (
            {"schedule": "multi-step", "milestones": (3,), "warmup": 2.0, "warmup_from": 0.0},
            np.minimum(STEP / 10, 1) * 0.1 ** (EPOCH >= 3),
        ),
        ({"schedule": "exponential", "gamma": 0.5}, 0.5 ** (STEP / 5)),
        ({"schedule": "cosine", "final_lr": 0.2}, 0.2 + 0.8 * (1 + np.cos(np.pi * STEP / 20)) / 2),
        ({"schedule": "linear"}, 1 - STEP / 20),
        (
            {"schedule": "linear", "warmup": 1.0, "warmup_from": 0.2, "final_lr": 0.07},
            np.interp(STEP, [0, 5, 20], [0.2, 1, 0.07]),
        ),
        ({"schedule": "plateau", "patience": 0, "gamma": 0.5}, 0.5 ** np.maximum(EPOCH - 1, 0)),
        ({"schedule": "plateau", "warmup": 2.0, "warmup_from": 0.0}, np.minimum(EPOCH / 2, 1)),
    ],
)  # fmt: skip
def test_schedules_in_epochs(settings, expected):
    np.testing.assert_allclose(rates(**settings), expected, rtol=1e-12)


SCHEDULE_SETTINGS = {
    "step": {"step_size": 2},
    "multi-step": {"milestones": (2, 3)},
    "cosine": {"final_lr": 0.25},
    "linear": {"final_lr": 0.25},
}


@pytest.mark.parametrize("schedule", SCHEDULE_NAMES)
@pytest.mark.parametrize("optimizer", OPTIMIZER_NAMES)
def test_every_optimizer_takes_every_schedule_and_biases_keep_their_share(optimizer, schedule):
    more = SCHEDULE_SETTINGS.get(schedule, {})
    if optimizer in ("sgd", "rmsprop"):
        more = more | {"momentum": 0.9}
    settings = TrainSettings(epochs=4, optimizer=optimizer, schedule=schedule, bias_lr=0.1, **more)
    made = build_optimizer(settings, model_of((2, 2, 1), hidden=(3,)))
    found, per = build_schedule(settings, made, 5)
    rates = []
    for _ in range(20 if per == "step" else 4):
        rates.append([group["lr"] for group in made.param_groups])
        found.step(*([1.0] if per == "epoch" else []))
    rates = np.array(rates)
    np.testing.assert_allclose(rates[:, 1], 0.1 * rates[:, 0], rtol=1e-12)
    if "final_lr" in more:
        np.testing.assert_allclose(
            [g["lr"] for g in made.param_groups], settings.lr * np.array([0.25, 0.025])
        )


def test_a_milestone_that_rounding_puts_within_the_warm_up_is_one_line():
    settings = TrainSettings(epochs=4, schedule="multi-step", milestones=(2, 3), warmup=1.6)
    optimizer = build_optimizer(settings, model_of((2, 2, 1), hidden=(3,)))
    build_schedule(settings, optimizer, 5)
    message = r"^milestones: 2 is within the 1\.6 epochs of warm-up, which are 2 steps of 1 an epoch$"
    with pytest.raises(TrainError, match=message):
        build_schedule(settings, optimizer, 1)


@pytest.mark.parametrize(
    ("settings", "examples", "refused"),
    [
        ({"batch_size": 8}, 17, True),
        ({"batch_size": 1}, 16, True),
        ({"batch_size": 17}, 17, False),
        ({"batch_size": None}, 1, True),
        ({"batch_size": 8, "batch_norm": False}, 17, False),
        ({"batch_size": 8, "model": "nin"}, 17, False),  # its smallest maps have several pixels
    ],
)
def test_a_batch_of_one_under_batch_norm_is_one_line(settings, examples, refused):
    given = {"model": "all-cnn-c", "batch_norm": True} | settings
    settings = TrainSettings(**given)
    arguments = settings, model_of((12, 12, 3), **given), (12, 12, 3), examples
    if not refused:
        check_batches(*arguments)
        return
    size = settings.batch_size or examples
    with pytest.raises(
        TrainError, match=rf"^batch-size: {size}: the last of {examples} training images would be"
    ):
        check_batches(*arguments)


def test_one_cycle_spans_the_run():
    seen = rates(schedule="one-cycle")
    assert seen.argmax() == 5 and seen[0] == pytest.approx(1 / 25) and seen[-1] < 1e-4


def test_averages_by_name():
    model = model_of((2, 2, 1))
    assert build_average(TrainSettings(), model, 10) is None
    assert build_average(TrainSettings(ema=0.9), model, 10).decay == 0.9
    lookahead = build_average(TrainSettings(lookahead=5, epochs=2), model, 10)
    assert lookahead.every == 5
    assert [lookahead.alpha(step) for step in (0, 20)] == pytest.approx([1, 1 - 0.95**5])


# ---- Batches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", ["scale", "channel", "standard"])
@pytest.mark.parametrize("augment", [{}, {"flip": "random", "translate": 1}])
def test_batches_are_normalised_and_augmented_the_same_from_bytes_and_from_floats(normalize, augment):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (12, 5, 5, 3), dtype=np.uint8), np.arange(12) % 3
    normaliser = NORMALISERS[normalize]((0.0, 255.0)).fit(images)
    settings = TrainSettings(normalize=normalize, batch_size=4, **augment)
    loader = build_loader(settings, normaliser, Split(images, labels))
    floats = build_loader(settings, normaliser, Split(images.astype(np.float32), labels))
    assert loader.images.dtype == (np.uint8 if augment and normalize != "standard" else np.float32)
    for (a, i), (b, j) in zip(loader.epoch(1), floats.epoch(1), strict=True):
        if not augment:
            order = [int(np.flatnonzero((normaliser(images) == x).all(axis=(1, 2, 3)))[0]) for x in a]
            assert labels[order].tolist() == i.tolist()
        assert i.tolist() == j.tolist() and a.dtype == b.dtype == np.float32
        if normalize != "standard":  # whose zeros come before or after normalising
            np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"flip": "random"}, (10,)),
        ({"cutout": 3}, (10,)),
        ({"translate": 5, "padding": "reflect"}, (4, 4, 1)),
    ],
)
def test_augmentations_that_do_not_fit_are_one_line(settings, shape):
    images = np.zeros((6, *shape), np.uint8)
    with pytest.raises(TrainError, match=r"^flip, translate, cutout: "):
        build_loader(TrainSettings(**settings), fitted(shape), Split(images, np.zeros(6, int)))


# ---- FastCifarNet ------------------------------------------------------------------------------------------


def test_fast_cifar_is_whitened_first_and_its_whitening_bias_rests_after_three_epochs(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.integers(0, 256, (20, 25, 25, 3), dtype=np.uint8), y=np.arange(20) % 2)
    settings = {"data": str(tmp_path / "x.npz"), "model": "fast-cifar", "batch_size": 8, "lr": 0.01}
    job = Job.new(TrainSettings(epochs=5, **settings))
    plain = cr.models.FastCifarNet((25, 25, 3), 2, seed=0)
    assert not np.array_equal(job.model.whitening.weight, plain.whitening.weight)
    biases = []

    class Look(cr.train.Callback):
        def epoch_end(self, record):
            biases.append(job.model.whitening.bias.numpy().copy())

    job.run([Look()])
    moved = [not np.array_equal(a, b) for a, b in pairwise(biases)]
    assert moved == [True, True, False, False]
