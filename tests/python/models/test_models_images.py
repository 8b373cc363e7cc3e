"""What all convolutional classifiers share: sizes, seeds, state, refusals, and that they train."""

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule.models import AllConvNet, FastCifarNet, LeNet5, NetworkInNetwork

MAKERS = {
    "lenet5": lambda **s: LeNet5((16, 16, 2), 4, **s),
    "lenet5 paper": lambda **s: LeNet5((16, 16, 2), 4, form="paper", **s),
    "nin": lambda **s: NetworkInNetwork((16, 16, 2), 4, blocks=((5, 16, 12), (3, 16, 12)), dropout=0, **s),
    "nin fully connected": lambda **s: NetworkInNetwork(
        (16, 16, 2), 4, blocks=((5, 16, 12), (3, 16, 12)), classifier="fully_connected", dropout=0, **s
    ),
    "nin batch norm": lambda **s: NetworkInNetwork(
        (16, 16, 2), 4, blocks=((5, 16, 12), (3, 16, 12)), batch_norm=True, **s
    ),
    **{
        f"{variant} {base}": lambda base=base, variant=variant, **s: AllConvNet(
            (16, 16, 2), 4, base=base, variant=variant, input_dropout=0, dropout=0, **s
        )
        for base, variant in (("A", "base"), ("B", "strided"), ("C", "convpool"), ("C", "all"))
    },
    "all C batch norm": lambda **s: AllConvNet((16, 16, 2), 4, batch_norm=True, **s),
    "fast cifar": lambda **s: FastCifarNet((25, 25, 2), 4, **s),
}
RATES = {"lenet5 paper": 0.3}


def data(model, count=8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, *model.input_shape)).astype(np.float32), np.arange(
        count
    ) % model.classes


@pytest.mark.parametrize("name", MAKERS)
def test_the_loss_falls_within_30_steps(name):
    model = MAKERS[name](seed=0)
    cr.manual_seed(0)
    x, y = data(model)
    if isinstance(model, FastCifarNet):
        model.set_whitening(x)
    optimizer = cr.optim.Adam(model.parameters(), lr=0.0003 if isinstance(model, AllConvNet) else 0.003)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = model.loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None for p in model.parameters())
    assert np.mean(losses[-5:]) < 0.93 * losses[0], losses


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_seed_gives_the_same_model_and_state_goes_into_another(name):
    one, same, other = MAKERS[name](seed=3), MAKERS[name](seed=3), MAKERS[name](seed=4)
    state = one.state_dict()
    assert all(np.array_equal(value, same.state_dict()[key]) for key, value in state.items())
    x, _ = data(one)
    for model in (one, same, other):
        model.eval()
    assert not np.array_equal(one(x).numpy(), other(x).numpy())
    other.load_state_dict(state)
    np.testing.assert_array_equal(one(x).numpy(), other(x).numpy())


@pytest.mark.parametrize("name", MAKERS)
def test_batches_of_none_and_one(name):
    model = MAKERS[name](seed=0)
    x, y = data(model)
    model.loss(model(x[:1]), y[:1]).backward()  # batch norm finds several pixels in one image
    model.eval()
    assert model(x[:0]).shape == (0, 4)
    np.testing.assert_allclose(model(x[:1]).numpy(), model(x).numpy()[:1], rtol=1e-3, atol=1e-4)


def test_batch_norm_over_a_single_value_is_refused():
    net = cr.nn.Sequential(cr.nn.GlobalAvgPool2d(), cr.nn.BatchNorm2d(3))
    with pytest.raises(
        ValueError, match=re.escape("batch_norm: x (1, 3) has 1 values a channel: training needs")
    ):
        net(np.zeros((1, 4, 4, 3), np.float32))


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("change", [lambda s: (s[0] - 1, *s[1:]), lambda s: (*s[:2], 3), lambda s: s[:2]])
def test_images_of_another_shape_are_refused(name, change):
    model = MAKERS[name](seed=0)
    shape = change(model.input_shape)
    wanted = ", ".join(map(str, model.input_shape))
    message = f"{type(model).__name__}: x {(2, *shape)} is not (N, {wanted}), the images it was made for"
    with pytest.raises(ValueError, match=re.escape(message)):
        model(np.zeros((2, *shape), np.float32))


@pytest.mark.parametrize("make", [LeNet5, NetworkInNetwork, AllConvNet, FastCifarNet])
@pytest.mark.parametrize(
    "x, message",
    [
        (
            np.zeros((2, 28, 28, 1), np.uint8),
            "x is an array of uint8: give float32 or float64, such as normalised",
        ),
        (np.zeros((2, 28, 28, 1), np.float16), "x is an array of float16: give a float32 or float64 array"),
        (None, "x is a NoneType: give a float32 or float64 array"),
        ("images", "x is a str: give a float32 or float64 array"),
    ],
)
def test_what_is_no_image_of_floats_is_refused(make, x, message):
    with pytest.raises(TypeError, match=re.escape(f"{make.__name__}: {message}")):
        make((28, 28, 1))(x)


def test_float64_images_and_nan_go_through():
    net = LeNet5(seed=0)
    assert net(np.zeros((1, 28, 28, 1))).dtype == np.float64
    assert np.isnan(net(np.full((1, 28, 28, 1), np.nan, np.float32)).numpy()).all()


def test_labels_beyond_the_classes_are_refused_and_absent_classes_are_not():
    model = MAKERS["lenet5"](seed=0)
    x, _ = data(model, 3)
    for wrong in ([0, 4, 1], [0, -1, 1]):
        with pytest.raises(ValueError, match=r"labels"):
            model.loss(model(x), np.array(wrong))
    model.loss(model(x), np.array([2, 2, 2])).backward()
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters())


@pytest.mark.parametrize("make", [LeNet5, NetworkInNetwork, AllConvNet, FastCifarNet])
@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (((28, 28),), ValueError, "input_shape (28, 28): give (height, width, channels)"),
        ((784,), ValueError, "input_shape 784: give (height, width, channels)"),
        (((28, 28, 0),), ValueError, "input_shape (28, 28, 0): give sizes of 1 or more"),
        (((28, 28.0, 1),), TypeError, "input_shape 28.0 is not an integer"),
        (((28, 28, 1), 0), ValueError, "classes 0: give 1 or more"),
        (((28, 28, 1), "ten"), TypeError, "classes 'ten' is not an integer"),
    ],
)
def test_wrong_sizes_are_refused(make, arguments, error, message):
    with pytest.raises(error, match=re.escape(f"{make.__name__}: {message}")):
        make(*arguments)


def test_the_gradient_of_the_image_is_there_when_it_is_asked_for():
    model = MAKERS["all C batch norm"](seed=0).eval()
    x, y = data(model, 2)
    leaf = cr.tensor(x, requires_grad=True)
    model.loss(model(leaf), y).backward()
    assert leaf.grad.shape == x.shape and leaf.grad.numpy().any()
