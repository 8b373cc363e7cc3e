"""The example shuffled_or_sorted, on fewer epochs."""

import re

import numpy as np
import pytest

EXAMPLE = "shuffled_or_sorted"


@pytest.fixture(autouse=True)
def short(example, monkeypatch):
    monkeypatch.setattr(example, "EPOCHS", 2)
    monkeypatch.setattr(example, "WATCHED", 1)


def test_each_order_gives_all_examples_and_sorted_is_sorted(example):
    (x, labels), _ = example.digits()
    for order in example.ORDERS:
        batches = list(example.loader(x, labels, order).epoch(0))
        seen = np.concatenate([targets for _, targets in batches])
        assert np.array_equal(np.bincount(seen), np.bincount(labels))
        assert (np.diff(seen) >= 0).all() == (order == "sorted by class")


def test_sorted_examples_are_forgotten(example):
    train_set, test_set = example.digits()
    errors, looks = example.train(train_set, test_set, "sorted by class", 2, 1)
    shuffled, others = example.train(train_set, test_set, "shuffled anew each epoch", 2, 1)
    assert errors[-1] > 0.3 > 0.1 > shuffled[-1]
    assert len(looks) == len(others) == example.LOOKS and looks[-1][0] == 1
    middle = [shares for share, shares in looks if 0.5 < share < 0.6]
    assert np.min(middle) < 0.2  # some class is unknown in the middle of the epoch


def test_accuracies_are_shares_of_each_class(example):
    _, (x, labels) = example.digits()
    shares = example.accuracies(lambda x: example.cr.tensor(np.eye(10)[labels]), x, labels)
    assert np.array_equal(shares, np.ones(10))


def test_the_lines_and_the_plot(printed, tmp_path):
    import matplotlib.image

    assert len(re.findall(r": +\d+\.\d +\d+\.\d$", printed, re.MULTILINE)) == 3
    assert printed.count("within epoch 2 the worst class is recognised in") == 3
    picture = matplotlib.image.imread(tmp_path / "shuffled_or_sorted.png")
    assert picture.shape[0] > 500 and picture[..., :3].std() > 0.05
