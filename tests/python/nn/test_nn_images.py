"""Layers of images: shapes, settings, what Sequential runs as one, saved state, and whole nets beside PyTorch."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch

import chainrule as cr
from chainrule import nn


def values(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# ---- Shapes and settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer, x, weight, y",
    [
        (nn.Conv2d(3, 8, 3), (2, 9, 7, 3), (3, 3, 3, 8), (2, 7, 5, 8)),
        (nn.Conv2d(3, 8, (1, 5), padding=(0, 2)), (2, 9, 7, 3), (1, 5, 3, 8), (2, 9, 7, 8)),
        (nn.Conv2d(4, 6, 3, stride=2, padding="same", groups=2), (1, 9, 8, 4), (3, 3, 2, 6), (1, 5, 4, 6)),
        (nn.Conv2d(4, 8, 3, padding=((1, 0), (0, 2)), groups=4), (1, 5, 5, 4), (3, 3, 1, 8), (1, 4, 5, 8)),
        (nn.Conv2d(2, 3, 3, dilation=2, bias=False), (0, 9, 9, 2), (3, 3, 2, 3), (0, 5, 5, 3)),
        (nn.ConvTranspose2d(8, 3, 2, stride=2), (2, 5, 4, 8), (2, 2, 3, 8), (2, 10, 8, 3)),
        (
            nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
            (1, 4, 4, 4),
            (3, 3, 3, 4),
            (1, 8, 8, 6),
        ),
        (nn.BatchNorm2d(5), (2, 3, 3, 5), (5,), (2, 3, 3, 5)),
        (nn.BatchNorm2d(5), (7, 5), (5,), (7, 5)),
        (nn.LayerNorm(5), (2, 3, 5), (5,), (2, 3, 5)),
        (nn.LayerNorm((3, 5)), (2, 3, 5), (3, 5), (2, 3, 5)),
        (nn.LayerNorm(np.int64(5)), (2, 5), (5,), (2, 5)),
    ],
)
def test_shapes_of_parameters_and_outputs(layer, x, weight, y):
    assert layer.weight.shape == weight
    assert layer(values(*x)).shape == y
    bias = getattr(layer, "bias", None)
    if bias is not None:
        assert bias.shape == (weight if isinstance(layer, nn.LayerNorm) else y[-1:])
    assert isinstance(layer(values(*x)), cr.Tensor)


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
def test_float64_layers(layer):
    made = layer(2, 3, 3, dtype=np.float64)
    assert made.weight.dtype == made.bias.dtype == np.float64
    assert made(values(1, 5, 5, 2, dtype=np.float64)).dtype == np.float64


def test_repr_shows_the_settings_that_are_not_plain():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding="same", bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, (1, 3), stride=(2, 1), padding=((1, 0), (0, 1)), dilation=2, groups=8),
        nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
        nn.ConvTranspose2d(8, 4, 2, stride=2, output_padding=1),
        nn.BatchNorm2d(4, affine=False),
        nn.MaxPool2d((2, 3), ceil_mode=True),
        nn.LayerNorm((2, 4)),
        nn.Dropout(0.3),
        nn.LeakyReLU(0.2),
        nn.ELU(),
        nn.GlobalAvgPool2d(),
        nn.Softmax(),
    )
    assert repr(net).splitlines() == [
        "Sequential(",
        "  (0): Conv2d(3, 8, kernel 3x3, padding='same', bias=False)",
        "  (1): BatchNorm2d(8)",
        "  (2): ReLU()",
        "  (3): MaxPool2d(2, stride=2, padding=0)",
        "  (4): Conv2d(8, 8, kernel 1x3, stride=(2, 1), padding=((1, 0), (0, 1)), dilation=2, groups=8)",
        "  (5): AvgPool2d(3, stride=1, padding=1, count_include_pad=False)",
        "  (6): ConvTranspose2d(8, 4, kernel 2x2, stride=2, output_padding=1)",
        "  (7): BatchNorm2d(4, affine=False)",
        "  (8): MaxPool2d((2, 3), stride=(2, 3), padding=0, ceil_mode=True)",
        "  (9): LayerNorm(2, 4)",
        "  (10): Dropout(p=0.3)",
        "  (11): LeakyReLU(slope=0.2)",
        "  (12): ELU(alpha=1.0)",
        "  (13): GlobalAvgPool2d()",
        "  (14): Softmax(axis=-1)",
        ")",
    ]


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda c: c(0, 8, 3), ValueError, "in_channels 0: give 1 or more"),
        (lambda c: c(3, -1, 3), ValueError, "out_channels -1: give 1 or more"),
        (lambda c: c(3, 8, 0), ValueError, "kernel_size 0: give 1 or more"),
        (lambda c: c(3, 8, (3, 0)), ValueError, "kernel_size 0: give 1 or more"),
        (lambda c: c(3, 8, (3, 3, 3)), ValueError, "kernel_size (3, 3, 3): give a number, or a pair"),
        (lambda c: c(3.0, 8, 3), TypeError, "in_channels 3.0 is not an integer"),
        (lambda c: c("3", 8, 3), TypeError, "in_channels '3' is not an integer"),
        (lambda c: c(3, None, 3), TypeError, "out_channels None is not an integer"),
        (lambda c: c(3, 8, 2.5), TypeError, "kernel_size 2.5 is not an integer"),
        (lambda c: c(3, 8, 3, groups=2), ValueError, "2 groups do not divide 3 and 8 channels evenly"),
        (lambda c: c(4, 6, 3, groups=4), ValueError, "4 groups do not divide 4 and 6 channels evenly"),
        (lambda c: c(3, 8, 3, groups=0), ValueError, "groups 0: give 1 or more"),
        (lambda c: c(3, 8, 3, groups=1.0), TypeError, "groups 1.0 is not an integer"),
        (lambda c: c(3, 8, 3, stride=0), ValueError, "stride 0: give 1 or more"),
        (lambda c: c(3, 8, 3, stride=(1, 2, 3)), ValueError, "stride (1, 2, 3): give a number, or a pair"),
        (lambda c: c(3, 8, 3, dilation=-1), ValueError, "dilation -1: give 1 or more"),
        (lambda c: c(3, 8, 3, padding=-1), ValueError, "padding -1: give 0 or more"),
        (lambda c: c(3, 8, 3, padding="Same"), ValueError, "padding 'Same'"),
        (lambda c: c(3, 8, 3, initialise="ones"), ValueError, "initialise 'ones' is not one of ['glorot'"),
    ],
)
def test_settings_of_convolutions_are_refused_when_the_layer_is_made(make, error, message):
    for kind in (nn.Conv2d, nn.ConvTranspose2d):
        with pytest.raises(error, match=re.escape(f"{kind.__name__}: {message}")):
            make(kind)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: nn.ConvTranspose2d(3, 8, 3, padding="same"), ValueError, "ConvTranspose2d: padding 'same': give num"),
        (lambda: nn.ConvTranspose2d(3, 8, 3, output_padding=0.5), TypeError, "output_padding 0.5 is not an integer"),
        (lambda: nn.BatchNorm2d(0), ValueError, "BatchNorm2d: channels 0: give 1 or more"),
        (lambda: nn.BatchNorm2d(2.0), TypeError, "BatchNorm2d: channels 2.0 is not an integer"),
        (lambda: nn.BatchNorm2d(2, momentum=2), ValueError, "BatchNorm2d: momentum = 2: give a number from 0 to 1"),
        (lambda: nn.BatchNorm2d(2, epsilon=-1), ValueError, "BatchNorm2d: epsilon = -1: give a finite number"),
        (lambda: nn.LayerNorm(0), ValueError, "LayerNorm: shape 0: give sizes of 1 or more"),
        (lambda: nn.LayerNorm(()), ValueError, "LayerNorm: shape (): give sizes of 1 or more"),
        (lambda: nn.LayerNorm((-1, -3)), ValueError, "LayerNorm: shape (-1, -3): give sizes of 1 or more"),
        (lambda: nn.LayerNorm(2.5), TypeError, "LayerNorm: shape 2.5 must hold integers"),
        (lambda: nn.Dropout(1.5), ValueError, "Dropout: p = 1.5: give a number from 0 to 1"),
        (lambda: nn.Dropout("half"), TypeError, "Dropout: p = 'half' is not a number"),
        (lambda: nn.MaxPool2d(0), ValueError, "MaxPool2d: size 0: give 1 or more"),
        (lambda: nn.MaxPool2d((2, -1)), ValueError, "MaxPool2d: size -1: give 1 or more"),
        (lambda: nn.MaxPool2d((2, 2, 2)), ValueError, "MaxPool2d: size (2, 2, 2): give a number, or a pair"),
        (lambda: nn.AvgPool2d(2.0), TypeError, "AvgPool2d: size 2.0 is not an integer"),
        (lambda: nn.AvgPool2d(2, 0), ValueError, "AvgPool2d: stride 0: give 1 or more"),
        (lambda: nn.MaxPool2d(2, 1, 2), ValueError, "MaxPool2d: padding 2 for windows of 2: give 0 to 1"),
        (lambda: nn.AvgPool2d((3, 2), 1, (2, -1)), ValueError, "AvgPool2d: padding -1 for windows of 2: give 0"),
        (lambda: nn.LeakyReLU("a"), TypeError, "LeakyReLU: slope = 'a' is not a number"),
        (lambda: nn.LeakyReLU(float("inf")), ValueError, "LeakyReLU: slope = inf: give a finite number"),
        (lambda: nn.ELU(float("nan")), ValueError, "ELU: alpha = nan: give a finite number"),
    ],
)  # fmt: skip
def test_settings_of_other_layers_are_refused_when_the_layer_is_made(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()


def test_errors_at_the_call_say_what_was_expected_and_what_came():
    x = values(2, 4, 4, 2)
    for layer, message in [
        (
            nn.Conv2d(3, 8, 3),
            "Conv2d: x (2, 4, 4, 2) is not (N, height, width, 3), the channels that the weight",
        ),
        (
            nn.ConvTranspose2d(3, 8, 3),
            "ConvTranspose2d: x (2, 4, 4, 2) is not (N, height, width, 3), the channels",
        ),
        (
            nn.Conv2d(2, 8, 5),
            "conv2d: a kernel of 5 with dilation 1 spans 5, the padded height is 4: pad more",
        ),
        (nn.BatchNorm2d(3), "BatchNorm2d: x (2, 4, 4, 2) is not (N, ..., 3)"),
        (nn.LayerNorm(3), "LayerNorm: x (2, 4, 4, 2) does not end in (3,)"),
        (nn.LayerNorm((1, 2, 4, 4, 2)), "LayerNorm: x (2, 4, 4, 2) does not end in (1, 2, 4, 4, 2)"),
        (nn.MaxPool2d(5), "max_pool2d: a kernel of 5 with dilation 1 spans 5, the padded height is 4"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), "Conv2d: x (2, 4, 4, 2) is not (N, height, width, 3)"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            layer(x)
    with pytest.raises(ValueError, match=re.escape("Conv2d: x (4, 4, 2) is not (N, height, width, 2)")):
        nn.Conv2d(2, 8, 3)(x[0])
    with pytest.raises(TypeError, match="Conv2d: x is a NoneType: give a float32 or float64 array"):
        nn.Conv2d(2, 8, 3)(None)


# ---- Initialisation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer, reads",
    [
        (nn.Conv2d(64, 32, 3, rng=0), 64 * 9),
        (nn.Conv2d(64, 128, 3, groups=4, rng=0), 16 * 9),
        (nn.ConvTranspose2d(128, 16, 3, rng=0), 128 * 9),
        (nn.ConvTranspose2d(16, 128, 3, rng=0), 16 * 9),
        (nn.ConvTranspose2d(64, 32, 5, groups=2, rng=0), 32 * 25),
    ],
)
def test_weights_keep_the_size_of_activations_through_relu(layer, reads):
    weight = layer.weight.numpy()
    assert weight.std() == pytest.approx((2 / reads) ** 0.5, rel=0.05)
    assert not layer.bias.numpy().any()
    x = values(4, 12, 12, layer.in_channels)
    inside = layer(x).numpy()[:, 4:-4, 4:-4]
    assert inside.std() == pytest.approx(2**0.5, rel=0.25)


def test_the_same_seed_gives_the_same_layer():
    for kind in (nn.Conv2d, nn.ConvTranspose2d):
        a, b, c = (kind(3, 5, 3, rng=seed).weight.numpy() for seed in (1, 1, 2))
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
    cr.manual_seed(5)
    a = nn.Conv2d(3, 5, 3).weight.numpy()
    cr.manual_seed(5)
    np.testing.assert_array_equal(a, nn.Conv2d(3, 5, 3).weight.numpy())


# ---- What Sequential runs as one ----------------------------------------------------------------------------


class Apart(nn.Module):
    """The modules of a Sequential one by one."""

    def __init__(self, net):
        self.net = net

    def forward(self, x):
        for layer in self.net.layers:
            x = layer(x)
        return x


def all_gradients(model, x):
    leaf = cr.tensor(x, dtype=x.dtype, requires_grad=True)
    model.zero_grad()
    y = model(leaf)
    y.backward(values(*y.shape, seed=9, dtype=y.dtype))
    return [y.numpy(), leaf.grad.numpy(), *(p.grad.numpy() for p in model.parameters())]


def gates(y):
    return [type(node.gate).__name__ for node in cr.Graph(y).nodes if node.gate is not None]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("algorithm", ["direct", "winograd"])
def test_a_relu_within_a_convolution_gives_the_same_values_and_gradients(algorithm, dtype):
    before = cr.get_conv_algorithm()
    cr.set_conv_algorithm(algorithm)
    try:
        for settings in ({"padding": 1}, {"bias": False}, {"stride": 2, "groups": 2}):
            net = nn.Sequential(nn.Conv2d(4, 26, 3, rng=0, dtype=dtype, **settings), nn.ReLU())
            if net[0].bias is not None:
                net[0].bias.value[...] = values(26, seed=3)
            x = values(2, 7, 9, 4, dtype=dtype)
            assert "Relu" not in gates(net(x))
            fused, apart = all_gradients(net, x), all_gradients(Apart(net), x)
            for a, b in zip(fused[:3], apart[:3], strict=True):  # y, dx, dw
                np.testing.assert_array_equal(a, b)
            for a, b in zip(fused[3:], apart[3:], strict=True):  # db, summed in another order
                np.testing.assert_allclose(a, b, rtol=0, atol=100 * np.finfo(dtype).eps)
    finally:
        cr.set_conv_algorithm(before)


@pytest.mark.parametrize(("activation", "name"), [(nn.ReLU, "Relu"), (nn.GELU, "Gelu")])
def test_an_activation_within_a_batch_norm_gives_the_same_values_gradients_and_running_values(
    activation, name
):
    x = values(4, 5, 5, 7)
    nets = [nn.Sequential(nn.BatchNorm2d(7), activation()) for _ in range(2)]
    for net in nets:
        net[0].weight.value[...] = values(7, seed=1)
        net[0].bias.value[...] = values(7, seed=2)
    fused, apart = all_gradients(nets[0], x), all_gradients(Apart(nets[1]), x)
    assert name not in gates(nets[0](x)) and name in gates(Apart(nets[1])(x))
    np.testing.assert_allclose(fused[0], apart[0], rtol=1e-6, atol=1e-6)
    for a, b in zip(fused[1:], apart[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    for name, value in nets[0].state_dict().items():
        np.testing.assert_array_equal(value, nets[1].state_dict()[name])
    for net in nets:
        net.eval()
    np.testing.assert_allclose(nets[0](x).numpy(), Apart(nets[1])(x).numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("activations", [(), (nn.ReLU(),)])
@pytest.mark.parametrize(
    "pool", [{"size": 2}, {"size": 3, "stride": 2, "padding": 1}, {"size": 2, "ceil_mode": True}]
)
def test_a_pooling_behind_a_convolution_gives_the_same_in_bfloat16(pool, activations):
    x = values(3, 9, 8, 16)
    net = nn.Sequential(nn.Conv2d(16, 20, 3, rng=0, padding=1), *activations, nn.MaxPool2d(**pool))
    net[0].bias.value[...] = values(20, seed=1)
    with cr.autocast("bfloat16"):
        assert set(gates(net(x))) == {"Conv2dMaxPool2d"}
        fused, apart = all_gradients(net, x), all_gradients(Apart(net), x)
    assert "MaxPool2d" in gates(net(x))
    for a, b in zip(fused, apart, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)


def test_second_derivatives_through_a_pooling_behind_a_convolution():
    net = nn.Sequential(nn.Conv2d(16, 16, 2, rng=0), nn.ReLU(), nn.MaxPool2d(2))
    x, t = values(1, 5, 5, 16), values(1, 5, 5, 16, seed=1)
    with cr.autocast("bfloat16"):
        fused, apart = (cr.hvp(lambda x, f=f: (f(x) ** 3).sum(), (x,), (t,)) for f in (net, Apart(net)))
    np.testing.assert_allclose(fused, apart, rtol=1e-4, atol=1e-3)


def test_second_derivatives_through_what_runs_as_one():
    net = nn.Sequential(nn.Conv2d(1, 2, 2, rng=0, dtype=np.float64), nn.ReLU())
    x = values(2, 3, 3, 1, dtype=np.float64)
    t = values(2, 3, 3, 1, seed=1, dtype=np.float64)
    for activation in (nn.ReLU(), nn.GELU()):
        bn = nn.Sequential(nn.BatchNorm2d(2, dtype=np.float64), activation)
        fused, apart = (
            cr.hvp(lambda x, a=a, b=b: (b(a(x)) ** 3).sum(), (x,), (t,))
            for a, b in ((net, bn), (Apart(net), Apart(bn)))
        )
        np.testing.assert_allclose(fused, apart, rtol=1e-10, atol=1e-10)


class Doubled(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) * 2.0


class Shifted(nn.BatchNorm2d):
    def forward(self, x, activation=None):
        return super().forward(x, activation) - 1.0


class Reversed(nn.ReLU):
    def forward(self, x):
        return cr.minimum(x, 0.0)


def test_classes_derived_from_these_are_not_run_as_one():
    x = values(3, 6, 6, 2)
    nets = [
        nn.Sequential(Doubled(2, 4, 3, rng=0), nn.ReLU()),
        nn.Sequential(Shifted(2), nn.ReLU()),
        nn.Sequential(nn.Conv2d(2, 4, 3, rng=0), Reversed()),
        nn.Sequential(nn.Conv2d(2, 4, 3, rng=0), nn.Tanh(), nn.ReLU()),
    ]
    for net in nets:
        np.testing.assert_array_equal(net(x).numpy(), Apart(net)(x).numpy())
    assert (nets[2](x).numpy() <= 0).all()
    assert "Relu" in gates(nets[0](x)) and "Relu" in gates(nets[1](x))


def test_two_relus_a_relu_first_and_a_shared_layer():
    x = values(2, 5, 5, 2)
    conv = nn.Conv2d(2, 2, 3, padding=1, rng=0)
    for net in [
        nn.Sequential(conv, nn.ReLU(), nn.ReLU()),
        nn.Sequential(nn.ReLU(), conv),
        nn.Sequential(conv, nn.ReLU(), conv),
        nn.Sequential(conv, conv, nn.ReLU()),
        nn.Sequential(nn.Sequential(conv), nn.ReLU()),
    ]:
        np.testing.assert_array_equal(net(x).numpy(), Apart(net)(x).numpy())
        assert len(list(net.parameters())) == 2


def test_copies_run_on_their_own_parameters():
    net = nn.Sequential(nn.Conv2d(2, 3, 3, rng=0), nn.ReLU(), nn.BatchNorm2d(3), nn.ReLU())
    x = values(2, 5, 5, 2)
    expected = net(x).numpy()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(twin(x).numpy(), expected)
        twin[0].weight.value[...] = 0
        assert (twin(x).numpy() == twin(x).numpy()[0, 0, 0]).all()
        np.testing.assert_array_equal(net(x).numpy(), expected)


def test_functional_call_reaches_what_runs_as_one():
    net = nn.Sequential(nn.Conv2d(2, 3, 3, rng=0), nn.ReLU())
    x = values(2, 5, 5, 2)
    doubled = {"0.weight": net[0].weight.numpy() * 2, "0.bias": np.ones(3, np.float32)}
    expected = cr.relu(cr.conv2d(x, doubled["0.weight"], doubled["0.bias"]))
    np.testing.assert_array_equal(cr.functional_call(net, doubled, x), expected)


# ---- State, training and evaluation -------------------------------------------------------------------------


def test_running_values_are_saved_and_loaded():
    net = nn.Sequential(nn.Conv2d(2, 3, 3, rng=0), nn.BatchNorm2d(3), nn.ReLU())
    for seed in range(3):
        net(values(4, 6, 6, 2, seed=seed))
    state = net.state_dict()
    assert list(state) == [
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
    ]
    assert state["1.running_mean"].any() and (state["1.running_var"] != 1).any()
    kept = {name: value.copy() for name, value in state.items()}
    net(values(4, 6, 6, 2, seed=9))
    for name, value in state.items():  # a copy, which later steps leave alone
        np.testing.assert_array_equal(value, kept[name])

    twin = nn.Sequential(nn.Conv2d(2, 3, 3, rng=1), nn.BatchNorm2d(3), nn.ReLU())
    buffer = twin[1].running_mean
    twin.load_state_dict(state)
    assert twin[1].running_mean is buffer
    net.load_state_dict(state)
    net.eval()
    twin.eval()
    x = values(2, 6, 6, 2, seed=5)
    np.testing.assert_array_equal(net(x).numpy(), twin(x).numpy())
    with pytest.raises(ValueError, match=re.escape("missing ['1.running_mean'], not known []")):
        twin.load_state_dict({k: v for k, v in state.items() if k != "1.running_mean"})
    with pytest.raises(
        ValueError, match=re.escape("1.running_var is float32 (4,), the model's is float32 (3,)")
    ):
        twin.load_state_dict({**state, "1.running_var": np.ones(4, np.float32)})
    # Parameters are learned, buffers are not.
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert [name for name, _ in net.named_buffers()] == ["1.running_mean", "1.running_var"]
    assert list(nn.BatchNorm2d(3, affine=False).state_dict()) == ["running_mean", "running_var"]


def test_train_and_eval_reach_dropout_and_batch_norm():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Sequential(nn.Dropout(0.5)))
    x = values(50, 4, 4, 2) * 3 + 1
    assert net.training
    y = net(x).numpy()
    assert 0.3 < (y == 0).mean() < 0.7
    net.eval()
    state = net.state_dict()
    y = net(x).numpy()
    assert not (y == 0).any()
    np.testing.assert_allclose(
        y, (x - state["0.running_mean"]) / np.sqrt(state["0.running_var"] + 1e-5), rtol=1e-4, atol=1e-4
    )
    assert net(x[:1]).shape == (1, 4, 4, 2) and net(x[:0]).shape == (0, 4, 4, 2)
    np.testing.assert_array_equal(state["0.running_mean"], net.state_dict()["0.running_mean"])
    net.train()
    net(x)
    assert (state["0.running_mean"] != net.state_dict()["0.running_mean"]).all()


def test_a_dropout_layer_draws_a_new_mask_each_time():
    layer = nn.Dropout(0.5)
    x = np.ones(200, np.float32)
    cr.manual_seed(3)
    first, second = layer(x), layer(x)
    assert (first != second).any()
    cr.manual_seed(3)
    np.testing.assert_array_equal(layer(x), first)
    assert layer.eval()(x) is x


def test_pools_are_their_functions():
    x = values(2, 7, 6, 3)
    for layer, expected in [
        (nn.MaxPool2d(3, 2, 1), cr.max_pool2d(x, 3, 2, 1)),
        (nn.MaxPool2d(2, ceil_mode=True), cr.max_pool2d(x, 2, ceil_mode=True)),
        (nn.AvgPool2d((2, 3)), cr.average_pool2d(x, (2, 3))),
        (nn.AvgPool2d(3, 1, 1, False), cr.average_pool2d(x, 3, 1, 1, False)),
        (nn.GlobalAvgPool2d(), x.mean((1, 2))),
        (nn.GlobalMaxPool2d(), x.max((1, 2))),
    ]:
        np.testing.assert_allclose(layer(x), expected, rtol=1e-6, atol=1e-6)
        assert not list(layer.parameters())


# ---- Whole nets ---------------------------------------------------------------------------------------------


def net_of(rng, dtype=np.float32):
    settings = {"rng": rng, "dtype": dtype}
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False, **settings),
        nn.BatchNorm2d(8, dtype=dtype),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding="same", groups=2, **settings),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 16, 3, **settings),
        nn.SiLU(),
        nn.LayerNorm(16, dtype=dtype),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 10, **settings),
    )


def torch_net(net):
    """The same net in PyTorch, with the same values."""
    parts = torch.nn
    twin = parts.Sequential(
        parts.Conv2d(1, 8, 3, padding=1, bias=False),
        parts.BatchNorm2d(8),
        parts.ReLU(),
        parts.Conv2d(8, 12, 3, padding="same", groups=2),
        parts.ReLU(),
        parts.MaxPool2d(2),
        parts.Conv2d(12, 16, 3),
        parts.SiLU(),
        parts.GroupNorm(1, 16),  # replaced: a layer norm over channels
        parts.AvgPool2d(2),
        parts.Flatten(),
        parts.Linear(16, 10),
    ).double()

    class ChannelsLast(parts.LayerNorm):
        def forward(self, x):
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    twin[8] = ChannelsLast(16).double()
    for name, value in net.state_dict().items():
        value = torch.tensor(value)
        if value.ndim == 4:
            value = value.permute(3, 2, 0, 1)
        elif value.ndim == 2:
            value = value.T
        twin.state_dict()[name].copy_(value)
    return twin


def test_a_whole_net_gives_torchs_loss_and_gradients():
    net = net_of(0, np.float64)
    twin = torch_net(net)
    rng = np.random.default_rng(1)
    x, labels = rng.standard_normal((6, 8, 8, 1)), rng.integers(0, 10, 6)
    for _ in range(2):  # the second time with running values that moved
        net.zero_grad()
        loss = cr.softmax_cross_entropy(net(x), labels)
        loss.backward()
        twin.zero_grad()
        expected = torch.nn.functional.cross_entropy(
            twin(torch.tensor(x).permute(0, 3, 1, 2)), torch.tensor(labels)
        )
        expected.backward()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
        theirs = dict(twin.named_parameters())
        for name, parameter in net.named_parameters():
            gradient = theirs[name].grad.numpy()
            gradient = gradient.transpose(2, 3, 1, 0) if gradient.ndim == 4 else gradient.T
            np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-9, atol=1e-11, err_msg=name)
    for name, buffer in net.named_buffers():
        np.testing.assert_allclose(buffer, twin.state_dict()[name].numpy(), rtol=1e-12)
    net.eval()
    twin.eval()
    np.testing.assert_allclose(
        net(x).numpy(), twin(torch.tensor(x).permute(0, 3, 1, 2)).detach().numpy(), rtol=1e-10, atol=1e-12
    )


def test_functional_gradients_of_a_whole_net_are_backwards():
    net = net_of(0, np.float64)
    rng = np.random.default_rng(2)
    x, labels = rng.standard_normal((4, 8, 8, 1)), rng.integers(0, 10, 4)
    cr.softmax_cross_entropy(net(x), labels).backward()
    parameters = {name: p.numpy() for name, p in net.named_parameters()}
    gradient = cr.grad(lambda p: cr.softmax_cross_entropy(cr.functional_call(net, p, x), labels))(parameters)
    for name, parameter in net.named_parameters():
        np.testing.assert_allclose(
            parameter.grad.numpy(), gradient[name], rtol=1e-9, atol=1e-12, err_msg=name
        )


def test_a_small_net_learns_digits():
    digits = cr.data.load_digits()
    x, y = digits.train.images.astype(np.float32) / 16, digits.train.labels
    net = net_of(0)
    optimizer = cr.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(5):
        for batch in np.array_split(rng.permutation(len(x)), 24):
            net.zero_grad()
            loss = cr.softmax_cross_entropy(net(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert np.mean(losses[:5]) > 1.0 and np.mean(losses[-10:]) < 0.2
    net.eval()
    scores = net(digits.test.images.astype(np.float32) / 16).numpy()
    assert (scores.argmax(1) == digits.test.labels).mean() > 0.9
