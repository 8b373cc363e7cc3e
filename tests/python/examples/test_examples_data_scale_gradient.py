"""The example data_scale_gradient, on fewer scales, rates and steps."""

import re

import numpy as np
import pytest

EXAMPLE = "data_scale_gradient"


@pytest.fixture(autouse=True)
def short(example, monkeypatch):
    monkeypatch.setattr(example, "SCALES", (0.1, 1.0, 10.0))
    monkeypatch.setattr(example, "RATES", tuple(10.0 ** np.arange(-1, 4)))
    monkeypatch.setattr(example, "STEPS", 10)


def test_the_gradient_at_0_is_proportional_to_the_scale(example):
    x, labels = example.digits()
    y = np.eye(10)[labels]
    expected = np.linalg.norm(x.T.astype(np.float64) @ (0.1 - y) / len(x))
    for scale in (0.01, 1.0, 30.0):
        assert example.gradient_norm(x, labels, scale) == pytest.approx(scale * expected, rel=1e-4)


@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_data_scaled_by_c_train_alike_at_a_rate_of_c_to_the_minus_2(example, scale):
    x, labels = example.digits()
    # Powers of two: the same steps to the bit.
    assert example.train(np.float32(scale) * x, labels, 2.0 / scale**2, 10) == example.train(
        x, labels, 2.0, 10
    )


def test_slope_is_the_exponent(example):
    x = np.array([1.0, 3.0, 20.0])
    assert example.slope(x, 5 * x**-2) == pytest.approx(-2)


def test_the_table_and_the_plot(printed, tmp_path):
    import matplotlib.image

    assert len(re.findall(r"^ +\S+ +\S+ +\S+ +\d+\.\d{4} +\S+$", printed, re.MULTILINE)) == 3
    assert "gradient 1.000, best learning rate -2.000" in printed
    picture = matplotlib.image.imread(tmp_path / "data_scale_gradient.png")
    assert picture.shape[0] > 500 and picture[..., :3].std() > 0.05
