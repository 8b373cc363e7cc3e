"""Activations by layer, and feature maps as images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chainrule import nn
from chainrule.view import activations, feature_maps


def net():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, rng=0),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(48, 2, rng=1),
    )


X = np.random.default_rng(0).standard_normal((4, 6, 6, 1)).astype(np.float32)


def test_activations_are_those_of_evaluation_and_leave_the_model_alone():
    model = net().train()
    model[4].eval()
    before = model.state_dict()
    found = activations(model, X, ["3", "1", ""])
    assert [m.training for m in model.modules()] == [True, True, True, True, True, False, True]
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    model.eval()
    y = model[1](model[0](X)).numpy()
    assert list(found) == ["1", "3", ""] and all(type(v) is np.ndarray for v in found.values())
    np.testing.assert_array_equal(found["1"], y)
    np.testing.assert_array_equal(found["3"], np.maximum(y, 0))
    np.testing.assert_array_equal(found[""], model(X).numpy())


def test_activations_refuse_what_is_not_there():
    with pytest.raises(ValueError, match="observe: the model has no layer 'x'"):
        activations(net(), X, ["x"])
    with pytest.raises(TypeError, match="activations: inputs are int64"):
        activations(net(), np.zeros((1, 6, 6, 1), int), ["0"])
    with pytest.raises(ValueError, match=r"activations: inputs \(0, 6, 6, 1\)"):
        activations(net(), X[:0], ["0"])
    with pytest.raises(TypeError, match="observe: model is a str, not a Module"):
        activations("net", X, ["0"])

    class Unused(nn.Module):
        def __init__(self):
            self.a, self.b = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return self.a(x)

    with pytest.raises(ValueError, match="activations: layer 'b' did not run by itself"):
        activations(Unused(), X, ["a", "b"])


values = arrays(np.float32, (3, 4, 2), elements=st.floats(-100, 100, width=32))


@given(values)
def test_maps_of_both_signs_are_symmetric_about_mid_gray(v):
    v[0, 0, 0] = -1
    images = feature_maps(v)
    assert images.shape == (2, 3, 4, 1) and images.dtype == np.uint8
    for k in range(2):
        scale = float(np.abs(v[..., k]).max()) or 1.0
        assert np.abs(images[k, ..., 0] - (128 + 127 * v[..., k].astype(float) / scale)).max() <= 0.5 + 1e-9


@given(values)
def test_maps_after_relu_run_from_black_to_white(v):
    v = np.maximum(v, 0)
    for k, image in enumerate(feature_maps(v)[..., 0]):
        assert (image[v[..., k] == 0] == 0).all()
        assert image.max() == (255 if v[..., k].any() else 0)
        assert (np.diff(image.ravel()[np.argsort(v[..., k], axis=None)].astype(int)) >= 0).all()


def test_maps_refuse_other_arrays():
    with pytest.raises(TypeError, match="feature_maps: values are uint8"):
        feature_maps(np.zeros((2, 2, 1), np.uint8))
    for shape in ((2, 2), (0, 2, 1), (1, 2, 2, 1)):
        with pytest.raises(ValueError, match=r"feature_maps: values .* give"):
            feature_maps(np.zeros(shape, np.float32))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or infinity"):
            feature_maps(np.full((2, 2, 1), bad))
