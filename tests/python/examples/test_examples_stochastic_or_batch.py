"""The example stochastic_or_batch, on fewer passes and rates."""

import re

import numpy as np
import pytest

EXAMPLE = "stochastic_or_batch"


@pytest.fixture(autouse=True)
def short(example, monkeypatch):
    monkeypatch.setattr(example, "PASSES", 2)
    monkeypatch.setattr(example, "RATES", (0.1, 1.0))


def test_stochastic_learning_is_ahead_after_two_passes(example):
    x, labels = example.digits()
    small = example.best(x, labels, 8, (0.1,), 2)[1]
    whole = example.best(x, labels, None, (0.1, 1.0), 2)[1]
    assert small[-1][1] < whole[-1][1] / 3
    assert small[0][0] < small[1][0]  # seconds add up


def test_the_best_rate_is_the_one_with_the_lowest_last_loss(example):
    x, labels = example.digits()
    rate, curve = example.best(x, labels, 64, (0.01, 0.1), 1)
    assert rate == 0.1 and curve[-1][1] < example.train(x, labels, 64, 0.01, 1)[-1][1]


def test_more_examples_agree_better_with_all(example):
    x, labels = example.digits()
    few, many, all_of_them = (example.agreement(x, labels, count, trials=10) for count in (8, 256, len(x)))
    assert 0 < few < many < 1 and all_of_them == pytest.approx(1, abs=1e-5)


def test_first_below_finds_the_pass_or_none(example):
    curve = [(0.5, 3.0), (1.0, 2.0), (1.5, 1.0)]
    assert example.first_below(curve, 2.0) == (2, 1.0)
    assert example.first_below(curve, 0.5) is None


def test_the_table_and_the_plot(printed, tmp_path):
    import matplotlib.image

    rows = re.findall(r"^ +(\d+) +\S+ +\S+ +(\S+) +\S+$", printed, re.MULTILINE)
    assert [int(batch) for batch, _ in rows] == [1, 8, 64, 1442]
    assert all(np.isfinite(float(loss)) for _, loss in rows)
    picture = matplotlib.image.imread(tmp_path / "stochastic_or_batch.png")
    assert picture.shape[0] > 500 and picture[..., :3].std() > 0.05
