"""The example normalised_inputs, on fewer epochs and rates."""

import re

import numpy as np
import pytest

EXAMPLE = "normalised_inputs"


@pytest.fixture(autouse=True)
def short(example, monkeypatch):
    monkeypatch.setattr(example, "EPOCHS", 2)
    monkeypatch.setattr(example, "RATES", (0.03, 0.3))


def test_the_forms_are_what_they_are_called(example):
    inputs, _ = example.forms()
    raw, centred, standard, white = (x.astype(np.float64) for x, _ in inputs.values())
    assert raw.min() == 0 and raw.max() == 16
    np.testing.assert_allclose(centred.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std(axis=0)[raw.std(axis=0) > 0], 1, rtol=1e-5)
    covariance = np.cov(white.T)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-4


def test_each_form_has_its_spectrum(example):
    inputs, _ = example.forms()
    raw, centred, standard, white = (example.spectrum(x) for x, _ in inputs.values())
    assert raw[0] > 10 * centred[0] and centred[0] > 10 * standard[0]
    assert standard[0] / standard[-1] < centred[0] / centred[-1] < raw[0] / raw[-1]
    assert abs(white[0] - 1) < 0.01


def test_normalised_inputs_train_faster(example):
    inputs, labels = example.forms()
    raw = example.best(inputs["raw, 0 to 16"], labels, (0.01, 0.03), 2)[1]
    standard = example.best(inputs["and variances equal"], labels, (0.3,), 2)[1]
    assert standard[-1][0] < raw[-1][0] / 2


def test_the_table_and_the_plot(printed, tmp_path):
    import matplotlib.image

    assert len(re.findall(r"^.{19}   +\S+ +\d+ +\S+ +\d\.\d{4} +\d+\.\d %$", printed, re.MULTILINE)) == 4
    assert "lowest training loss: " in printed
    picture = matplotlib.image.imread(tmp_path / "normalised_inputs.png")
    assert picture.shape[0] > 500 and picture[..., :3].std() > 0.05
