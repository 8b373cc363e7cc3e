"""Short versions of the rows, each against the curve that a real run left."""

import pytest
import short
from rows import ResultsError

LINEAR = ("svm-mnist", "softmax-mnist", "two-layer-mnist")


@pytest.mark.parametrize("name", short.SHORT)
def test_a_short_version_follows_its_stored_curve(name, tmp_path):
    loss, points = short.differences(short.train(name, tmp_path), short.stored(name))
    assert loss <= short.SHORT[name].loss
    assert points <= short.SHORT[name].points


@pytest.mark.parametrize(
    "name", [*LINEAR, "lenet5-mnist", "nin-mnist", "nin-cifar10", "nin-fully-connected-cifar10"]
)
def test_another_learning_rate_leaves_the_curve(name, tmp_path, monkeypatch):
    """The tolerance is not so wide that a slip in the steps would pass."""
    entry = short.SHORT[name]
    changes = entry.changes | {"lr": 0.8 * short.settings(name)["lr"]}
    monkeypatch.setitem(
        short.SHORT, name, short.Short(entry.enlarge, entry.images, changes, entry.loss, entry.points)
    )
    loss, points = short.differences(short.train(name, tmp_path), short.stored(name))
    assert loss > entry.loss or points > entry.points


def test_a_curve_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(short, "CURVES", tmp_path)
    with pytest.raises(
        ResultsError, match=r"svm-mnist\.csv: there is none: python results/short\.py --write"
    ):
        short.stored("svm-mnist")


def test_a_stored_curve_is_read_back(monkeypatch, tmp_path):
    monkeypatch.setattr(short, "CURVES", tmp_path / "curves")
    curve = [
        {"epoch": 1.0, "train_loss": 2.5, "train_accuracy": 0.25, "test_loss": 2.25, "test_accuracy": 0.5}
    ]
    short.store("some", curve)
    assert short.stored("some") == curve
    assert short.differences(curve, short.stored("some")) == (0, 0)


def test_curves_of_other_lengths_differ():
    assert short.differences([], [{"epoch": 1}]) == (float("inf"), float("inf"))
