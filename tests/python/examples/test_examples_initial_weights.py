"""The example initial_weights, on fewer epochs and rates."""

import re

import numpy as np
import pytest

EXAMPLE = "initial_weights"


@pytest.fixture(autouse=True)
def short(example, monkeypatch):
    monkeypatch.setattr(example, "EPOCHS", 2)
    monkeypatch.setattr(example, "RATES", (0.1,))


def test_weights_have_the_deviation_they_are_said_to_have(example):
    for gain in (0.1, 3.0):
        for weight, bias in example.layers(gain, 4):
            deviation = weight.numpy().std() * np.sqrt(weight.shape[0]) / gain
            assert abs(deviation - 1) < 5 / np.sqrt(2 * weight.size)
            assert (bias.numpy() == 0).all()


def test_small_weights_shrink_signal_and_gradient_and_1_keeps_them(example):
    x, labels = example.digits()
    deviations, slopes = example.signals(x, labels, 0.1, 5)
    assert all(np.diff(deviations) < 0) and deviations[-1] < 1e-3 * deviations[0]
    assert slopes[0] < 1e-3 * slopes[-1]
    deviations, slopes = example.signals(x, labels, 1.0, 5)
    assert min(deviations) > 0.5 and max(slopes) < 2 * min(slopes)
    deviations, slopes = example.signals(x, labels, 10.0, 5)
    assert min(deviations) > 1.5 and slopes[0] > 10 * slopes[-1]  # close to the ends at +-1.7159


def test_gradients_of_hidden_values_are_right(example):
    x, labels = example.digits()
    _, slopes = example.signals(x[:50], labels[:50], 1.0, 1)
    (w1, b1), (w2, b2) = ((w.numpy(), b.numpy()) for w, b in example.layers(1.0, 1))
    h = 1.7159 * np.tanh(2 / 3 * (x[:50] @ w1 + b1))
    scores = h @ w2 + b2
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(50), labels[:50]] -= 1
    assert slopes[0] == pytest.approx(np.sqrt(np.square(p @ w2.T).mean()), rel=1e-4)


def test_1_trains_where_a_tenth_and_ten_do_not(example):
    x, labels = example.digits()
    ends = {gain: example.best(x, labels, gain, (0.1, 0.3), 3, 5)[1][-1] for gain in (0.1, 1.0, 10.0)}
    assert ends[1.0] < 0.3 and ends[0.1] > 2 and ends[10.0] > 2


def test_the_table_and_the_plot(printed, tmp_path):
    import matplotlib.image

    rows = re.findall(r"^ *(\S+) +\S+ +\S+ +\S+ +\S+ +\S+ +\d+\.\d{4}$", printed, re.MULTILINE)
    assert [float(gain) for gain in rows] == [0.1, 0.3, 1, 3, 10]
    picture = matplotlib.image.imread(tmp_path / "initial_weights.png")
    assert picture.shape[0] > 500 and picture[..., :3].std() > 0.05
