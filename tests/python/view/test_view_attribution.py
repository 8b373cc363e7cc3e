"""Gradient, deconvnet and guided backpropagation against PyTorch with hooks on its ReLUs; saliency by its autograd."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn
from chainrule.view import backproject, explanations, saliency, side_by_side, signed_pixels

RULES = ("gradient", "deconvnet", "guided")


def randomise(model, seed):
    """Weights of both signs everywhere, and running values as after training."""
    rng = np.random.default_rng(seed)
    for p in model.parameters():
        p.data[...] = rng.standard_normal(p.shape) * 0.5
    for name, buffer in model.named_buffers():
        buffer[...] = (
            rng.uniform(0.5, 2, buffer.shape) if "var" in name else rng.standard_normal(buffer.shape)
        )
    return model


def net(pool, seed=0):
    return randomise(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            pool,
            nn.Conv2d(6, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(32, 10),
            nn.ReLU(),
            nn.Linear(10, 4),
        ),
        seed,
    )


class Shared(torch.autograd.Function):
    """Max-pooling whose gradient is that of the mean over the pixels of each window."""

    @staticmethod
    def forward(ctx, x, settings):
        ctx.save_for_backward(x)
        ctx.settings = settings
        return torch.nn.functional.max_pool2d(x, **settings)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = torch.nn.functional.avg_pool2d(x, count_include_pad=False, **ctx.settings)
            return torch.autograd.grad(y, x, gradient)[0], None


class SharedPool(torch.nn.Module):
    def __init__(self, **settings):
        super().__init__()
        self.settings = settings

    def forward(self, x):
        return Shared.apply(x, self.settings)


def pool_settings(pool):
    return {
        "kernel_size": pool.size,
        "stride": pool.size if pool.stride is None else pool.stride,
        "padding": pool.padding,
        "ceil_mode": pool.ceil_mode,
    }


def in_torch(model, rule="gradient", switches=True):
    """The same layers in PyTorch, in evaluation mode, with the rule hooked to each ReLU."""
    layers = []
    for layer in model.layers:
        if isinstance(layer, nn.Conv2d):
            made = torch.nn.Conv2d(
                layer.in_channels, layer.out_channels, layer.weight.shape[:2], **layer.settings
            ).double()
            made.weight.data = torch.from_numpy(layer.weight.numpy().transpose(3, 2, 0, 1).astype(float))
        elif isinstance(layer, nn.Linear):
            made = torch.nn.Linear(*layer.weight.shape).double()
            made.weight.data = torch.from_numpy(layer.weight.numpy().T.astype(float))
        elif isinstance(layer, nn.BatchNorm2d):
            made = torch.nn.BatchNorm2d(layer.channels, eps=layer.epsilon).double()
            made.weight.data = torch.from_numpy(layer.weight.numpy().astype(float))
            made.running_mean[...] = torch.from_numpy(layer.running_mean)
            made.running_var[...] = torch.from_numpy(layer.running_var)
        elif isinstance(layer, nn.MaxPool2d):
            made = (torch.nn.MaxPool2d if switches else SharedPool)(**pool_settings(layer))
        elif isinstance(layer, nn.ReLU):
            made = torch.nn.ReLU()
            if rule == "guided":
                made.register_full_backward_hook(lambda m, of_input, of_output: (of_input[0].clamp(min=0),))
            if rule == "deconvnet":
                made.register_full_backward_hook(lambda m, of_input, of_output: (of_output[0].clamp(min=0),))
        elif isinstance(layer, nn.Flatten):
            made = ChannelsLast()
        else:
            made = {nn.Dropout: torch.nn.Dropout, nn.GlobalAvgPool2d: Mean}[type(layer)]()
        if getattr(layer, "bias", None) is not None:
            made.bias.data = torch.from_numpy(layer.bias.numpy().astype(float))
        layers.append(made)
    return torch.nn.Sequential(*layers).eval()


class ChannelsLast(torch.nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


class Mean(torch.nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def torch_backproject(model, image, rule, switches, upto, index):
    """`index` is (unit,), or (unit, row, column) in maps; None the largest value."""
    x = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(float)).requires_grad_()
    y = in_torch(model, rule, switches)[: upto + 1](x)
    value = y.max() if index is None else y[0][index]
    return torch.autograd.grad(value, x)[0][0].numpy().transpose(1, 2, 0)


def image(seed=0, size=8, channels=3):
    return np.random.default_rng(seed).standard_normal((size, size, channels)).astype(np.float32)


POOLS = [
    nn.MaxPool2d(2),
    nn.MaxPool2d(3, 2, 1),
    nn.MaxPool2d(3, 2, ceil_mode=True),
    nn.MaxPool2d((2, 3), (2, 1), (0, 1)),
    nn.MaxPool2d(2, 3),
]


@pytest.mark.parametrize("switches", [True, False])
@pytest.mark.parametrize("rule", RULES)
def test_units_of_the_output_send_back_what_pytorch_says(rule, switches):
    for seed, unit in enumerate((0, 1, 2, 3)):
        model, x = net(nn.MaxPool2d(2), seed), image(seed)
        expected = torch_backproject(model, x, rule, switches, 10, (unit,))
        got = backproject(model, x, rule, switches=switches, unit=unit)
        assert got.shape == x.shape and got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("pool", POOLS, ids=repr)
@pytest.mark.parametrize("switches", [True, False])
def test_max_pooling_of_every_shape_knows_its_maxima_or_shares_out(pool, switches):
    model = randomise(nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), pool, nn.Conv2d(6, 5, 2)), 1)
    x = image(2, 9)
    expected = torch_backproject(model, x, "guided", switches, 3, (4, 1, 1))
    got = backproject(model, x, "guided", switches=switches, layer="3", unit=4, place=(1, 1))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layer", [3, 5])
def test_units_of_a_layer_inside_are_taken_where_they_are_largest(rule, layer):
    model, x = net(nn.MaxPool2d(2), 5), image(5)
    with torch.no_grad():
        y = in_torch(model)[: layer + 1](torch.from_numpy(x.transpose(2, 0, 1)[None].astype(float)))[
            0
        ].numpy()
    for unit in range(8):
        place = np.unravel_index(y[unit].argmax(), y[unit].shape)
        expected = torch_backproject(model, x, rule, True, layer, (unit, *place))
        got = backproject(model, x, rule, layer=str(layer), unit=unit)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    expected = torch_backproject(model, x, rule, True, layer, None)
    np.testing.assert_allclose(backproject(model, x, rule, layer=str(layer)), expected, rtol=1e-4, atol=1e-4)


def test_global_max_pooling_has_switches_too():
    model = randomise(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.GlobalMaxPool2d()), 3)
    x = image(3)
    for unit in range(4):
        alone = backproject(model, x, layer="2", unit=unit)
        place = backproject(model, x, layer="1", unit=unit)
        np.testing.assert_array_equal(alone, place)
        everywhere = backproject(model, x, switches=False, unit=unit)
        averaged = nn.Sequential(model[0], model[1], nn.GlobalAvgPool2d())
        np.testing.assert_allclose(everywhere, backproject(averaged, x, unit=unit), rtol=1e-4, atol=1e-6)


def test_layers_that_run_as_one_have_the_rules_too():
    """Relu within a convolution or batch norm is taken apart; in training mode it would be a gate of its own kind."""
    model, x = net(nn.MaxPool2d(2), 7).train(), image(7)
    for rule in RULES:
        expected = torch_backproject(model, x, rule, True, 10, (2,))
        np.testing.assert_allclose(backproject(model, x, rule, unit=2), expected, rtol=1e-4, atol=1e-4)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_where_nothing_is_negative_the_rules_agree(seed):
    model = net(nn.MaxPool2d(2), seed)
    for name, p in model.named_parameters():
        p.data[...] = np.abs(p.data)
        if name.endswith("bias"):
            p.data[...] += 1
    model[4].running_mean[...] = -1
    x = np.abs(image(seed))
    results = [backproject(model, x, rule, unit=1) for rule in RULES]
    assert (results[0] >= 0).all() and results[0].any()
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=25, deadline=None)
def test_guided_backpropagation_stays_where_both_others_pass(seed, switches):
    """One layer of relu: what comes through is masked by both."""
    model = randomise(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1)), seed)
    x = np.random.default_rng(seed).standard_normal(6).astype(np.float32)
    hidden, w1, w2 = model[0](x[None]).numpy()[0], model[0].weight.numpy(), model[2].weight.numpy()[:, 0]
    for rule, mask in zip(RULES, (hidden > 0, w2 > 0, (hidden > 0) & (w2 > 0)), strict=True):
        got = backproject(model, x, rule, switches=switches)
        np.testing.assert_allclose(got, w1 @ (w2 * mask), rtol=1e-5, atol=1e-5)


def test_the_model_is_left_as_it_was():
    model, x = net(nn.MaxPool2d(2)), image()
    model.train()
    model[4].eval()
    before, modes = model.state_dict(), [m.training for m in model.modules()]
    model[0].weight.grad = kept = cr.tensor(np.ones((3, 3, 3, 6)))
    for rule in RULES:
        backproject(model, x, rule, switches=False)
    saliency(model, x)
    assert [m.training for m in model.modules()] == modes
    assert model[0].weight.grad is kept and model[8].weight.grad is None
    assert all(isinstance(p, nn.Parameter) for p in (model[0].weight, model[8].bias))
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    # The rules were those of one graph: the next gradient is a gradient.
    y = model.eval()(x := cr.tensor(x[None], requires_grad=True))
    y.backward(np.eye(4)[None, 1])
    np.testing.assert_array_equal(x.grad.numpy()[0], backproject(model, x.numpy()[0], unit=1))


def test_nested_models_and_doubles():
    class Block(nn.Module):
        def __init__(self):
            self.body = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, rng=0, dtype=np.float64), nn.ReLU())

        def forward(self, x):
            return cr.relu(self.body(x) + x)

    x = image().astype(np.float64)
    model = nn.Sequential(Block(), nn.GlobalAvgPool2d())
    got = backproject(model, x, "deconvnet", layer="0.body.1", unit=0, place=(4, 4))
    assert got.dtype == np.float64
    expected = np.zeros_like(x)
    expected[3:6, 3:6] = model[0].body[0].weight.numpy()[..., 0]
    np.testing.assert_allclose(got, expected)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rule": "magic"}, "backproject: rule 'magic': give one of gradient, deconvnet, guided"),
        ({"layer": "99"}, "observe: the model has no layer '99'"),
        ({"unit": 4}, "backproject: unit 4: the layer has units 0 to 3"),
        ({"unit": -1}, "backproject: unit -1: the layer has units 0 to 3"),
        ({"layer": "5", "unit": 8}, "backproject: unit 8: the layer has units 0 to 7"),
        ({"layer": "5", "place": (2, 0)}, r"backproject: place \(2, 0\): the layer gives \(2, 2, 8\)"),
        ({"layer": "5", "place": (0, -1)}, r"backproject: place \(0, -1\): the layer gives \(2, 2, 8\)"),
        ({"place": (0, 0)}, r"backproject: place \(0, 0\): the layer gives \(4,\)"),
        (
            {"layer": "0", "rule": "guided"},
            "backproject: no relu leads to this unit, so rule 'guided' is the gradient",
        ),
    ],
)
def test_wrong_words_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        backproject(net(nn.MaxPool2d(2)), image(), **arguments)


def test_wrong_images_are_refused():
    model = net(nn.MaxPool2d(2))
    with pytest.raises(
        TypeError, match="backproject: inputs are uint8: give them as the model takes them, in floats"
    ):
        backproject(model, np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"Conv2d: x \(1, 8, 8, 2\)"):
        backproject(model, image(channels=2))
    with pytest.raises(ValueError, match=r"saliency: image \(6,\): give \(height, width, channels\)"):
        saliency(model, np.zeros(6, np.float32))


def test_relu_out_of_reach_is_refused():
    class Fused(nn.Module):
        def __init__(self):
            self.conv = nn.Conv2d(3, 4, 3, rng=0)

        def forward(self, x):
            return cr.global_average_pool2d(self.conv.forward_relu(x))

    with pytest.raises(
        ValueError, match="backproject: relu is part of a Conv2d gate, which has no guided rule"
    ):
        backproject(Fused(), image(), "guided")
    with pytest.raises(ValueError, match="backproject: layer 'conv' did not run by itself"):
        backproject(Fused(), image(), layer="conv")
    assert backproject(Fused(), image()).any()


@pytest.mark.parametrize("training", [True, False])
def test_relu_within_batch_norm_is_refused(training):
    class Fused(nn.Module):
        def __init__(self):
            self.conv, self.norm = nn.Conv2d(3, 4, 3, rng=0), nn.BatchNorm2d(4)

        def forward(self, x):
            return cr.global_average_pool2d(self.norm.forward_relu(cr.relu(self.conv(x))))

    for rule in ("guided", "deconvnet"):
        with pytest.raises(ValueError, match=f"relu is part of a \\w+ gate, which has no {rule} rule"):
            backproject(Fused().train(training), image(), rule)
    assert backproject(Fused(), image()).any()


# ---- All of them together ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        (net(nn.MaxPool2d(2)), [(rule, switches) for switches in (True, False) for rule in RULES]),
        (net(nn.AvgPool2d(2)), [(rule, True) for rule in RULES]),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3, rng=0), nn.GlobalMaxPool2d()),
            [("gradient", True), ("gradient", False)],
        ),
        (nn.Sequential(nn.Conv2d(3, 4, 3, rng=0), nn.GlobalAvgPool2d()), [("gradient", True)]),
    ],
    ids=["pooled", "averaged", "without relu", "neither"],
)
def test_explanations_are_those_that_tell_something(model, keys):
    x = image(3)
    found = explanations(model, x, unit=1)
    assert list(found) == keys
    for (rule, switches), signal in found.items():
        np.testing.assert_array_equal(signal, backproject(model, x, rule, switches=switches, unit=1))


def test_side_by_side_is_one_image_of_all():
    model, x = net(nn.MaxPool2d(2)), image(4)
    sheet = side_by_side(model, x, unit=2, zoom=3, share=1.0)
    assert sheet.shape == (2 * 24 + 1, 3 * 24 + 2, 3) and sheet.dtype == np.uint8
    for row, switches in enumerate((True, False)):
        for column, rule in enumerate(RULES):
            part = sheet[row * 25 : row * 25 + 24, column * 25 : column * 25 + 24]
            expected = signed_pixels(backproject(model, x, rule, switches=switches, unit=2))
            np.testing.assert_array_equal(part, expected.repeat(3, axis=0).repeat(3, axis=1))
    assert (sheet[24] == 255).all() and (sheet[:, 24] == 255).all()
    inner = side_by_side(model, x, layer="3", unit=5, place=(1, 1))
    assert inner.shape == (17, 26, 3)  # its path has relu and pooling too
    with pytest.raises(ValueError, match=r"side_by_side: image \(6,\): give \(height, width, channels\)"):
        side_by_side(nn.Sequential(nn.Linear(6, 2)), np.zeros(6, np.float32))
    with pytest.raises(ValueError, match="unit 9: the layer has units 0 to 3"):
        side_by_side(model, x, unit=9)


def test_an_output_without_a_path_to_the_image_is_refused():
    class Constant(nn.Module):
        def forward(self, x):
            return cr.tensor(np.ones((1, 3)))

    with pytest.raises(ValueError, match="backproject: layer '' does not depend on the image"):
        backproject(Constant(), image())


@pytest.mark.parametrize("channels", [1, 3])
def test_saliency_is_the_largest_slope_over_the_channels(channels):
    model = randomise(
        nn.Sequential(
            nn.Conv2d(channels, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3), nn.GlobalAvgPool2d()
        ),
        2,
    )
    x = image(1, 8, channels)
    leaf = torch.from_numpy(x.transpose(2, 0, 1)[None].astype(float)).requires_grad_()
    scores = in_torch(model)(leaf)[0]
    for unit in (None, 0, 3):
        score = scores.max() if unit is None else scores[unit]
        gradient = torch.autograd.grad(score, leaf, retain_graph=True)[0][0]
        got = saliency(model, x, unit)
        assert got.shape == (8, 8) and got.dtype == np.float32 and (got >= 0).all()
        np.testing.assert_allclose(got, gradient.abs().amax(0).numpy(), rtol=1e-4, atol=1e-6)


def test_saliency_of_a_linear_classifier_is_its_weights():
    model = cr.models.SoftmaxRegression(12, 3, seed=0)
    x = image(0, 2, 3)
    w = model.linear.weight.numpy().reshape(2, 2, 3, 3)
    for unit in range(3):
        np.testing.assert_allclose(saliency(model, x, unit), np.abs(w[..., unit]).max(axis=2))
