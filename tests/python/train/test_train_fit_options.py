"""What `fit` can be asked for beside a plain run, against loops written out."""

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.data import Augment, DataLoader
from chainrule.models import MLP, LeNet5, LinearSVM
from chainrule.models.classifier import Classifier
from chainrule.train import Callback, evaluate, fit
from chainrule.train.evaluate import scores_of
from chainrule.train.fit import Progress

CLASSES = 3


def data(count, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    x = rng.normal(size=(count, 6)).astype(np.float32)
    x[np.arange(count), y] += 2
    return x, y


class Net(Classifier):
    """One with all that tells training from testing."""

    def __init__(self):
        self.layers = nn.Sequential(
            nn.Linear(6, 8, rng=0),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(8, CLASSES, rng=1),
        )

    def scores(self, x):
        return self.layers(x)


class Watch(Callback):
    def __init__(self, look=lambda: None):
        self.look, self.begun, self.batches, self.records = look, [], [], []

    def epoch_begin(self, epoch):
        self.begun.append(epoch)

    def batch_end(self, progress):
        self.batches.append((progress.epoch, progress.batch, progress.complete, self.look()))

    def epoch_end(self, record):
        self.records.append(record)


def bits(model):
    return {name: value.tobytes() for name, value in model.state_dict().items()}


def close(one, other, tolerance=1e-5):
    for name, value in one.state_dict().items():
        np.testing.assert_allclose(
            value, other.state_dict()[name], rtol=tolerance, atol=tolerance, err_msg=name
        )


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
        lambda p: optim.Adam(p, lr=0.01),
        lambda p: optim.AdamW(p, lr=0.01),
        lambda p: optim.RMSprop(p, lr=0.01),
        lambda p: optim.Adagrad(p, lr=0.1),
    ],
    ids=["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"],
)
def test_fit_is_the_loop_written_out(make):
    (x, y), test = data(50, 0), data(20, 1)
    models, results = [], []
    for by_fit in (False, True):
        cr.manual_seed(5)
        model = Net()
        optimizer, loader = make(model.parameters()), DataLoader(x, y, 8, seed=3)
        schedule = optim.WarmUp(optim.CosineAnnealingLR(optimizer, 10), 3)
        average = optim.ExponentialMovingAverage(model, 0.9)
        if by_fit:
            watch = Watch()
            fit(
                model, optimizer, loader, test, [1, 2], schedule=schedule, label_smoothing=0.1, l2=1e-3,
                clip_value=0.5, clip_norm=0.7, average=average, callbacks=[watch],
            )  # fmt: skip
            results.append([(r.test_loss, r.test_accuracy, r.lr) for r in watch.records])
        else:
            figures = []
            for epoch in (1, 2):
                for inputs, labels in loader.epoch(epoch):
                    loss = cr.softmax_cross_entropy(model(inputs), labels, label_smoothing=0.1)
                    loss = loss + cr.elastic_net([p for p in model.parameters() if p.ndim > 1], 0.0, 1e-3)
                    optimizer.zero_grad()
                    loss.backward()
                    optim.clip_grad_value(model.parameters(), 0.5)
                    optim.clip_grad_norm(model.parameters(), 0.7)
                    optimizer.step()
                    schedule.step()
                    average.update()
                with average.applied(), cr.no_grad():
                    model.eval()
                    scores = model(test[0])
                    figures.append((
                        cr.softmax_cross_entropy(scores, test[1]).item(),
                        (scores.numpy().argmax(axis=1) == test[1]).mean(),
                        optimizer.lr,
                    ))  # fmt: skip
                    model.train()
            results.append(figures)
        models.append((bits(model), {k: v.tobytes() for k, v in average.averages.items()}))
    assert models[0] == models[1]
    assert results[0] == results[1]


# ---- Accumulation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "accumulate"), [(8, 2), (8, 3), (5, 4), (16, 100)])
def test_accumulated_batches_make_the_step_of_one_large_batch(batch, accumulate):
    (x, y), test = data(50, 0), data(20, 1)
    settings = {"l1": 1e-3, "l2": 1e-2, "clip_norm": 0.5, "label_smoothing": 0.1}
    models = []
    for size, together in ((batch, accumulate), (batch * accumulate, 1)):
        model = MLP(6, (8,), CLASSES, seed=0)
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        schedule = optim.ExponentialLR(optimizer, 0.9)
        fit(
            model, optimizer, DataLoader(x, y, size, shuffle=False), test, [1, 2],
            accumulate=together, schedule=schedule, **settings,
        )  # fmt: skip
        models.append((model, schedule.count))
    close(models[0][0], models[1][0])
    assert models[0][1] == models[1][1] == 2 * math.ceil(50 / (batch * accumulate))


def test_accumulation_tells_which_batches_a_step_follows():
    model = MLP(6, (8,), CLASSES, seed=0)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    watch = Watch(lambda: model.layers[0].weight.value[0, 0].item())
    fit(model, optimizer, DataLoader(*data(50, 0), 8), data(9, 1), [1], accumulate=3, callbacks=[watch])
    assert [complete for _, _, complete, _ in watch.batches] == [False, False, True, False, False, True, True]
    values = [value for *_, value in watch.batches]
    assert values[0] == values[1] != values[2] == values[3] == values[4] != values[5] != values[6]


# ---- Schedules and stopping --------------------------------------------------------------------------------


def test_schedule_goes_by_steps_or_by_epochs():
    for per, expected in (("step", 0.5**14), ("epoch", 0.5**2)):
        model = MLP(6, (8,), CLASSES, seed=0)
        optimizer = optim.SGD(model.parameters(), lr=1.0)
        watch = Watch(lambda optimizer=optimizer: optimizer.lr)
        schedule = optim.StepLR(optimizer, 1, 0.5)
        fit(
            model, optimizer, DataLoader(*data(50, 0), 8), data(9, 1), [1, 2],
            schedule=schedule, schedule_per=per, callbacks=[watch],
        )  # fmt: skip
        assert optimizer.lr == watch.records[-1].lr == expected
        assert [rate for *_, rate in watch.batches[:3]] == (
            [0.5, 0.25, 0.125] if per == "step" else [1.0] * 3
        )


@pytest.mark.parametrize("warm", [False, True])
def test_plateau_and_early_stopping_hear_the_test_loss(warm):
    x, y = data(40, 0)
    model = MLP(6, (8,), CLASSES, seed=0)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    plateau = optim.ReduceLROnPlateau(optimizer, patience=2, factor=0.5)
    schedule = optim.WarmUp(plateau, 2) if warm else plateau
    stopping, watch = optim.EarlyStopping(7), Watch()
    fit(
        model, optimizer, DataLoader(x, y, 8), (x, (y + 1) % CLASSES), range(1, 100),
        schedule=schedule, schedule_per="epoch", early_stopping=stopping, callbacks=[watch],
    )  # fmt: skip
    losses = [record.test_loss for record in watch.records]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 7 and stopping.best == losses[best]
    assert plateau.best == min(losses[2 if warm else 0 :])
    assert optimizer.lr < 0.5


# ---- Averages, modes, precision, views ---------------------------------------------------------------------


def test_averages_are_tested_and_the_models_own_values_go_on():
    (x, y), test = data(50, 0), data(40, 1)
    cr.manual_seed(0)
    model = Net()
    average = optim.ExponentialMovingAverage(model, 0.99)
    watch = Watch()
    fit(
        model, optim.SGD(model.parameters(), lr=0.1), DataLoader(x, y, 8), test, [1, 2],
        average=average, callbacks=[watch],
    )  # fmt: skip
    own = evaluate(model, *test).loss
    with average.applied():
        averaged = evaluate(model, *test).loss
    assert watch.records[-1].test_loss == averaged != own
    cr.manual_seed(0)
    plain = Net()
    fit(plain, optim.SGD(plain.parameters(), lr=0.1), DataLoader(x, y, 8), test, [1, 2])
    assert bits(plain) == bits(model)


def test_model_trains_in_training_mode_and_is_tested_in_evaluation_mode():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(self.training)
            return x

    model = Net()
    model.layers = nn.Sequential(Spy(), *model.layers.layers)
    model.eval()
    fit(model, optim.SGD(model.parameters(), lr=0.1), DataLoader(*data(20, 0), 10), data(9, 1), [1, 2])
    assert seen == [True, True, False, True, True, False]
    model.layers[2].training = False  # one part by itself
    scores_of(model, data(9, 1)[0])
    assert [m.training for m in model.modules()].count(False) == 1


def test_images_are_seen_from_several_sides():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(7, 12, 12, 1)).astype(np.float32)
    model = LeNet5((12, 12, 1), CLASSES, seed=0)

    def scores(x):
        return scores_of(model, np.ascontiguousarray(x), batch_size=3)

    mirrored = (scores(images) + scores(images[:, :, ::-1])) / 2
    np.testing.assert_allclose(scores_of(model, images, tta="mirror"), mirrored, rtol=1e-5, atol=1e-6)
    wide = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    moved = [wide[:, :12, :12], wide[:, 2:, 2:]]
    expected = mirrored / 2 + sum(scores(x) + scores(x[:, :, ::-1]) for x in moved) / 8
    np.testing.assert_allclose(scores_of(model, images, tta="mirror-shift"), expected, rtol=1e-5, atol=1e-6)


# ---- Going on in the middle of an epoch --------------------------------------------------------------------


@pytest.mark.parametrize(("stop", "accumulate"), [(1, 1), (4, 1), (7, 1), (2, 2), (6, 3)])
def test_an_epoch_that_is_resumed_has_the_same_bits(stop, accumulate):
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(50, 12, 12, 1)).astype(np.float32), rng.integers(0, CLASSES, 50)

    class Stop(Exception):
        pass

    class StopAt(Callback):
        def __init__(self):
            self.records = []

        def batch_end(self, progress):
            if progress.epoch == 2 and progress.batch == stop and not resumed:
                assert progress.complete
                self.progress = progress
                raise Stop

        def epoch_end(self, record):
            self.records.append(record)

    records, ends = [], []
    for stopped in (False, True):
        cr.manual_seed(0)
        resumed = not stopped
        model = LeNet5((12, 12, 1), CLASSES, seed=0)
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        loader = DataLoader(images, labels, 8, seed=1, augment=Augment(flip="random", translate=2, seed=4))
        watch = StopAt()
        arguments = (model, optimizer, loader, (images, labels))
        try:
            fit(*arguments, [1, 2, 3], accumulate=accumulate, callbacks=[watch])
        except Stop:
            resumed = True
            fit(*arguments, [2, 3], accumulate=accumulate, callbacks=[watch], resume=watch.progress)
        ends.append(bits(model))
        records.append([(r.epoch, r.train_loss, r.train_accuracy, r.test_loss) for r in watch.records])
    assert ends[0] == ends[1] and records[0] == records[1]


# ---- What is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accumulate": 0}, "fit: accumulate = 0: give 1 or more"),
        ({"precision": "float16"}, "fit: precision = 'float16': give one of float32, bfloat16"),
        ({"schedule_per": "batch"}, "fit: schedule_per = 'batch': give 'step' or 'epoch'"),
        ({"clip_norm": 0.0}, r"clip_grad_norm: max_norm = 0\.0: give a finite number above 0"),
        ({"clip_value": -1.0}, r"clip_grad_value: clip_value = -1\.0: give a finite number above 0"),
        ({"label_smoothing": 1.5}, "softmax_cross_entropy: label_smoothing"),
        ({"accumulate": 2, "resume": Progress(1, 3)}, "fit: resume after batch 3 with accumulate = 2"),
        ({"resume": Progress(1, 9)}, "DataLoader: start 9 is not in 0 to 7"),
    ],
)
def test_fit_refuses_settings_out_of_range(settings, message):
    model = MLP(6, (8,), CLASSES, seed=0)
    with pytest.raises(ValueError, match=message):
        fit(
            model,
            optim.SGD(model.parameters(), lr=0.1),
            DataLoader(*data(50, 0), 8),
            data(9, 1),
            [1],
            **settings,
        )


def test_fit_refuses_what_does_not_go_together():
    model = LinearSVM(6, CLASSES)
    optimizer, loader = optim.SGD(model.parameters(), lr=0.1), DataLoader(*data(50, 0), 8)
    with pytest.raises(TypeError, match=r"fit: accumulate = 1\.5 is not an integer"):
        fit(model, optimizer, loader, data(9, 1), [1], accumulate=1.5)
    with pytest.raises(ValueError, match="the loss of LinearSVM has none: leave it out"):
        fit(model, optimizer, loader, data(9, 1), [1], label_smoothing=0.1)
    for schedule in (
        optim.ReduceLROnPlateau(optimizer),
        optim.WarmUp(optim.ReduceLROnPlateau(optimizer), 2),
    ):
        with pytest.raises(ValueError, match="the schedule follows the test loss: give schedule_per='epoch'"):
            fit(model, optimizer, loader, data(9, 1), [1], schedule=schedule)


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        (
            (4, 28, 28, 1),
            [0, 9, 10, 1],
            "label 10 in row 2 is not one of the 10 classes: labels run from 0 to 9",
        ),
        ((4, 28, 28, 1), [0, -1, 2, 1], "label -1 in row 1 is not one of the 10 classes"),
        ((4, 28, 27, 1), [0, 1, 2, 3], r"LeNet5: x \(4, 28, 27, 1\) is not \(N, 28, 28, 1\)"),
        ((4, 28, 28, 3), [0, 1, 2, 3], r"LeNet5: x \(4, 28, 28, 3\) is not \(N, 28, 28, 1\)"),
        ((4, 28, 28), [0, 1, 2, 3], r"LeNet5: x \(4, 28, 28\) is not \(N, 28, 28, 1\)"),
    ],
)
def test_fit_names_images_and_labels_that_do_not_fit_the_model(shape, labels, message):
    model = LeNet5(seed=0)
    before = bits(model)
    images, labels = np.zeros(shape, np.float32), np.array(labels)
    with pytest.raises(ValueError, match=message):
        fit(
            model,
            optim.SGD(model.parameters(), lr=0.1),
            DataLoader(images, labels, 4, shuffle=False),
            (images, labels),
            [1],
        )
    assert bits(model) == before


def test_fit_names_a_batch_of_one_under_batch_norm():
    model = Net()
    loader = DataLoader(*data(17, 0), 8)  # 8, 8 and 1
    with pytest.raises(
        ValueError, match=r"batch_norm: x \(1, 8\) has 1 values a channel: training needs two"
    ):
        fit(model, optim.SGD(model.parameters(), lr=0.1), loader, data(9, 1), [1])
    fit(
        model,
        optim.SGD(model.parameters(), lr=0.1),
        DataLoader(*data(17, 0), 8, drop_last=True),
        data(1, 1),
        [1],
    )


def test_fit_trains_where_a_class_is_absent():
    x, y = data(50, 0)
    x, y = x[y != 1], y[y != 1]
    model = MLP(6, (8,), CLASSES, seed=0)
    watch = Watch()
    fit(
        model,
        optim.SGD(model.parameters(), lr=0.1),
        DataLoader(x, y, 8),
        (x, y),
        range(1, 6),
        callbacks=[watch],
    )
    result = evaluate(model, x, y)
    assert watch.records[-1].test_accuracy > 0.9 and result.class_accuracies()[1] == (0, 0)
