"""The example scaled_tanh, on fewer epochs, rates and seeds."""

import re

import numpy as np
import pytest

EXAMPLE = "scaled_tanh"


@pytest.fixture(autouse=True)
def short(example, monkeypatch):
    monkeypatch.setattr(example, "EPOCHS", 1)
    monkeypatch.setattr(example, "RATES", (0.3,))
    monkeypatch.setattr(example, "SEEDS", 2)


def test_derivatives_are_those_of_the_closed_forms(example):
    x = np.linspace(-3, 3, 41)
    value, first, second = example.derivatives(example.SIGMOIDS["1.7159 tanh(2x/3)"], x)
    t = np.tanh(2 * x / 3)
    np.testing.assert_allclose(value, 1.7159 * t, rtol=1e-12)
    np.testing.assert_allclose(first, 1.7159 * 2 / 3 * (1 - t**2), rtol=1e-12)
    np.testing.assert_allclose(second, -2 * 1.7159 * (2 / 3) ** 2 * t * (1 - t**2), rtol=1e-12, atol=1e-15)


def test_the_scaled_tanh_takes_1_to_1_and_bends_most_near_it(example):
    scaled = example.SIGMOIDS["1.7159 tanh(2x/3)"]
    assert abs(scaled(1.0) - 1) < 1e-4 and abs(scaled(-1.0) + 1) < 1e-4
    # tanh'' is extreme where tanh = 1 / sqrt(3).
    assert example.most_bent(example.SIGMOIDS["tanh"]) == pytest.approx(np.arctanh(1 / np.sqrt(3)), abs=1e-4)
    assert example.most_bent(scaled) == pytest.approx(1.5 * np.arctanh(1 / np.sqrt(3)), abs=1e-4)


def test_symmetric_sigmoids_keep_the_mean_at_0_and_the_scaled_one_the_spread(example):
    x, _ = example.digits()
    last = {name: example.spread(f, x, 5)[-1] for name, f in example.SIGMOIDS.items()}
    assert last["logistic"][0] > 0.3
    assert abs(last["tanh"][0]) < 0.05 and abs(last["1.7159 tanh(2x/3)"][0]) < 0.05
    assert last["logistic"][1] < last["tanh"][1] < last["1.7159 tanh(2x/3)"][1] < 1


def test_symmetric_sigmoids_learn_where_the_logistic_function_does_not(example):
    x, labels = example.digits()
    ends = [example.train(x, labels, f, 0.3, 2, 5, seed=0)[-1] for f in example.SIGMOIDS.values()]
    assert ends[0] > 2.2 and max(ends[1:]) < 0.5


def test_the_table_and_the_plot(printed, tmp_path):
    import matplotlib.image

    assert len(re.findall(r"\(\d\.\d{4} to \d\.\d{4}\)$", printed, re.MULTILINE)) == 3
    assert re.search(r"lower loss than tanh for [012] of 2 seeds", printed)
    picture = matplotlib.image.imread(tmp_path / "scaled_tanh.png")
    assert picture.shape[0] > 500 and picture[..., :3].std() > 0.05
