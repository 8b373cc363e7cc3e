"""The example sigmoid_gradient."""

import numpy as np

EXAMPLE = "sigmoid_gradient"


def test_the_curves_are_the_closed_forms(example):
    x, value, gradient = example.curves()
    assert x[0] == -6 and x[-1] == 6
    expected = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    np.testing.assert_allclose(gradient, expected * (1 - expected), rtol=1e-13)
    assert gradient.max() == 0.25


def test_the_curves_are_drawn(printed, tmp_path):
    import matplotlib.image

    assert "  0.0   0.500000   0.250000" in printed
    picture = matplotlib.image.imread(tmp_path / "sigmoid_gradient.png")
    assert picture.shape[0] > 500 and picture[..., :3].std() > 0.05
