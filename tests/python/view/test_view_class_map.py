"""Class activation maps by explicit sums, and as the score's shares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn
from chainrule.view import activations, class_activation_map


def image(seed=0, channels=3):
    return np.random.default_rng(seed).standard_normal((8, 8, channels)).astype(np.float32)


def zhou(seed=0):
    return nn.Sequential(
        nn.Dropout(0.5),
        nn.Conv2d(3, 6, 3, rng=seed),
        nn.ReLU(),
        nn.GlobalAvgPool2d(),
        nn.Dropout(0.5),
        nn.Linear(6, 4, rng=seed),
    )


@pytest.mark.parametrize("unit", [0, 1, 2, 3])
def test_maps_are_weighted_by_the_classes_weights(unit):
    model, x = zhou(), image()
    maps = activations(model, x[None], ["2"])["2"][0]
    expected = np.zeros((6, 6))
    for k in range(6):
        expected += maps[..., k].astype(float) * model[5].weight.numpy()[k, unit]
    got = class_activation_map(model, x, unit)
    assert got.shape == (6, 6) and got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_the_mean_of_the_map_and_the_bias_are_the_score(seed, unit):
    model, x = zhou(seed % 1000), image(seed)
    model[5].bias.data[...] = np.arange(4)
    score = model.eval()(x[None]).numpy()[0, unit]
    np.testing.assert_allclose(
        class_activation_map(model, x, unit).mean() + unit, score, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    "model", [cr.models.NetworkInNetwork((28, 28, 1), seed=0), cr.models.AllConvNet((32, 32, 3), seed=0)]
)
def test_without_a_layer_after_the_pooling_a_class_has_a_map_of_its_own(model):
    x = np.random.default_rng(1).random(model.input_shape, np.float32)
    maps = activations(model, x[None], ["features"])["features"][0]
    best = int(maps.mean(axis=(0, 1)).argmax())
    for unit in (None, 0, 9):
        np.testing.assert_array_equal(
            class_activation_map(model, x, unit), maps[..., best if unit is None else unit]
        )


def test_with_more_layers_the_weights_are_the_gradient():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, rng=0),
        nn.GlobalAvgPool2d(),
        nn.Linear(6, 5, rng=1),
        nn.Tanh(),
        nn.Linear(5, 2, rng=2),
    )
    x = image()
    maps = activations(model, x[None], ["0"])["0"][0]
    head = cr.grad(lambda means: model[4](model[3](model[2](means)))[0, 1])
    weights = head(maps.mean(axis=(0, 1))[None])[0]
    np.testing.assert_allclose(class_activation_map(model, x, 1), maps @ weights, rtol=1e-4, atol=1e-5)


def test_the_class_with_the_highest_score_is_meant_when_none_is_named():
    model, x = zhou(), image(3)
    best = int(model.eval()(x[None]).numpy().argmax())
    np.testing.assert_array_equal(class_activation_map(model, x), class_activation_map(model, x, best))


def test_the_model_is_left_as_it_was():
    model = zhou().train()
    class_activation_map(model, image())
    assert all(m.training for m in model.modules())
    assert all(p.grad is None and isinstance(p, nn.Parameter) for p in model.parameters())


def test_models_without_one_global_average_are_refused():
    none = nn.Sequential(nn.Conv2d(3, 4, 8, rng=0), nn.Flatten())
    with pytest.raises(ValueError, match="class_activation_map: the model has 0 GlobalAvgPool2d layers"):
        class_activation_map(none, image())

    class Two(nn.Module):
        def __init__(self):
            self.one, self.other = nn.GlobalAvgPool2d(), nn.GlobalAvgPool2d()

        def forward(self, x):
            return self.one(x) + self.other(x)

    with pytest.raises(ValueError, match="class_activation_map: the model has 2 GlobalAvgPool2d layers"):
        class_activation_map(Two(), image())

    class Twice(nn.Module):
        def __init__(self):
            self.pool = nn.GlobalAvgPool2d()

        def forward(self, x):
            return self.pool(x) + self.pool(x)

    with pytest.raises(ValueError, match="class_activation_map: GlobalAvgPool2d runs 2 times"):
        class_activation_map(Twice(), image())


def test_wrong_classes_and_images_are_refused():
    for unit in (4, -1):
        with pytest.raises(
            ValueError, match=f"class_activation_map: unit {unit}: the layer has units 0 to 3"
        ):
            class_activation_map(zhou(), image(), unit)
    with pytest.raises(TypeError, match="class_activation_map: inputs are uint8"):
        class_activation_map(zhou(), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"class_activation_map: image \(8, 8\)"):
        class_activation_map(zhou(), np.zeros((8, 8), np.float32))
