"""The training loop against one written out in NumPy, and what it does when a loss is no number."""

import numpy as np
import pytest

from chainrule.data import DataLoader
from chainrule.models import SoftmaxRegression
from chainrule.optim import SGD
from chainrule.train import Callback, DivergenceError, evaluate, fit
from chainrule.train.evaluate import Evaluation, scores_of, worst_mistakes

CLASSES = 3


def data(count, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    x[np.arange(count), y] += 2
    return x, y


class Watch(Callback):
    def __init__(self):
        self.batches, self.records = [], []

    def batch_end(self, progress):
        self.batches.append((progress.epoch, progress.seen, progress.loss, progress.accuracy))

    def epoch_end(self, record):
        self.records.append(record)


def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.01, 0.0), (0.0, 0.02), (0.01, 0.02)])
def test_fit_makes_the_steps_of_a_loop_written_out(l1, l2):
    (x, y), (x_test, y_test) = data(50, 0), data(20, 1)
    model = SoftmaxRegression(4, CLASSES, seed=2)
    w, b = (p.numpy().astype(np.float64) for p in (model.linear.weight, model.linear.bias))
    loader = DataLoader(x, y, 8, seed=3)
    watch = Watch()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    fit(model, optimizer, loader, (x_test, y_test), [1, 2], l1=l1, l2=l2, callbacks=[watch])

    velocity_w, velocity_b = np.zeros_like(w), np.zeros_like(b)
    for epoch in (1, 2):
        loss_sum = right = 0
        for xs, ys in loader.epoch(epoch):
            p = softmax(xs @ w + b)
            rows = np.arange(len(ys))
            loss = -np.log(p[rows, ys]).mean() + l1 * np.abs(w).sum() + l2 * (w**2).sum()
            loss_sum += loss * len(ys)
            right += (p.argmax(axis=1) == ys).sum()
            p[rows, ys] -= 1
            velocity_w = 0.9 * velocity_w + xs.T @ p / len(ys) + l1 * np.sign(w) + 2 * l2 * w
            velocity_b = 0.9 * velocity_b + p.mean(axis=0)
            w, b = w - 0.1 * velocity_w, b - 0.1 * velocity_b
        p = softmax(x_test @ w + b)
        record = watch.records[epoch - 1]
        assert record.epoch == epoch and record.seconds > 0
        assert record.train_loss == pytest.approx(loss_sum / 50, rel=1e-4)
        assert record.train_accuracy == right / 50
        assert record.test_loss == pytest.approx(-np.log(p[np.arange(20), y_test]).mean(), rel=1e-4)
        assert record.test_accuracy == (p.argmax(axis=1) == y_test).mean()
    np.testing.assert_allclose(model.linear.weight.numpy(), w, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.linear.bias.numpy(), b, rtol=1e-4, atol=1e-5)


def test_fit_tells_of_every_batch_and_epoch():
    watch = Watch()
    model = SoftmaxRegression(4, CLASSES, seed=0)
    fit(
        model,
        SGD(model.parameters(), 0.1),
        DataLoader(*data(10, 0), 4),
        data(5, 1),
        [3, 4],
        callbacks=[watch],
    )
    assert [(epoch, seen) for epoch, seen, _, _ in watch.batches] == [
        (3, 4), (3, 8), (3, 10), (4, 4), (4, 8), (4, 10),
    ]  # fmt: skip
    assert [record.epoch for record in watch.records] == [3, 4]
    assert watch.batches[2][2] == watch.records[0].train_loss


def test_fit_without_epochs_does_nothing():
    model = SoftmaxRegression(4, CLASSES, seed=0)
    before = model.state_dict()
    fit(model, SGD(model.parameters(), 0.1), DataLoader(*data(10, 0), 4), data(5, 1), [])
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items())


def test_fit_stops_at_a_loss_that_is_not_finite():
    x, y = data(40, 0)
    model = SoftmaxRegression(4, CLASSES, seed=0)
    watch = Watch()
    with pytest.raises(
        DivergenceError, match=r"^train: the (test )?loss became (nan|inf) in epoch \d+: .*lower --lr"
    ):
        fit(
            model, SGD(model.parameters(), 1e38), DataLoader(x, y, 4), (x, y), range(1, 50), callbacks=[watch]
        )
    assert all(np.isfinite(record.train_loss) for record in watch.records)


def test_fit_blames_the_inputs_for_a_loss_before_any_step():
    x, y = data(40, 0)
    model = SoftmaxRegression(4, CLASSES, seed=0)
    with pytest.raises(DivergenceError, match=r"^train: the loss is inf before the first step"):
        fit(model, SGD(model.parameters(), 0.1), DataLoader(x, y, 4), (x, y), [1], l2=1e39)


# Evaluation


def test_evaluation_takes_the_first_of_equal_scores():
    scores = np.array([[1, 1, 0], [0, 2, 2], [3, 3, 3]], np.float32)
    result = Evaluation(0.0, scores, np.array([0, 2, 0]))
    assert result.predictions.tolist() == [0, 1, 0]
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.class_accuracies() == [(2, 2), (0, 0), (0, 1)]


def test_evaluation_counts_by_class():
    model = SoftmaxRegression(4, CLASSES, seed=0)
    x, y = data(30, 4)
    result = evaluate(model, x, y)
    assert result.scores.shape == (30, CLASSES) and result.scores.dtype == np.float32
    assert result.accuracy == np.mean(result.scores.argmax(axis=1) == y)
    for k, (right, total) in enumerate(result.class_accuracies()):
        assert total == (y == k).sum()
        assert right == ((result.predictions == k) & (y == k)).sum()


def test_scores_do_not_depend_on_the_batches_they_are_made_in():
    model = SoftmaxRegression(4, CLASSES, seed=0)
    x, _ = data(30, 4)
    for size in (1, 7, 30, 1000):
        scores = scores_of(model, x, size)
        np.testing.assert_allclose(scores, x @ model.linear.weight.numpy(), rtol=1e-5, atol=1e-6)


def test_worst_mistakes_are_the_wrong_ones_by_falling_loss():
    model = SoftmaxRegression(4, CLASSES, seed=0)
    x, y = data(60, 5)
    result = evaluate(model, x, y)
    p = softmax(result.scores.astype(np.float64))
    wrong = [i for i in range(60) if p[i].argmax() != y[i]]
    expected = sorted(wrong, key=lambda i: p[i, y[i]])
    assert len(expected) > 10
    assert worst_mistakes(model, result, 10).tolist() == expected[:10]
    assert worst_mistakes(model, result, 1000).tolist() == expected
    right = evaluate(model, x, result.predictions)
    assert worst_mistakes(model, right, 10).tolist() == []
