"""Frozen models against the models themselves: every step, every packaged net, any batch."""

import threading

import numpy as np
import pytest

import chainrule as cr
from chainrule import models, nn

rng = np.random.default_rng(20261128)


def images(n, size=8, channels=3, dtype=np.float32):
    return rng.standard_normal((n, size, size, channels)).astype(dtype)


def eager(model, x):
    if isinstance(model, nn.Module):
        model.eval()
    with cr.no_grad():
        return model(cr.tensor(x)).numpy()


def assert_same(model, x, tolerance=2e-6):
    """Frozen on one sample, run on none, one and all of x."""
    frozen = nn.freeze(model, x[:1])
    expected = eager(model, x)
    for batch in (x, x[:1], x[:0]):
        y = frozen(batch)
        assert type(y) is np.ndarray and y.dtype == x.dtype
        assert y.shape == (len(batch), *expected.shape[1:]) == (len(batch), *frozen.output_shape)
        scale = max(np.abs(expected).max(), 1.0)
        np.testing.assert_allclose(y, expected[: len(batch)], rtol=0, atol=tolerance * scale)
    return frozen


def with_statistics(norm):
    """The batch norm with weights and running values that show."""
    norm.running_mean[...] = rng.standard_normal(norm.channels)
    norm.running_var[...] = rng.uniform(0.5, 2.0, norm.channels)
    for parameter in norm.parameters():
        parameter.value[...] = rng.standard_normal(norm.channels)
    return norm


LAYERS = {
    "conv2d": lambda: nn.Conv2d(3, 5, 3, stride=2, padding="same"),
    "conv2d without a bias": lambda: nn.Conv2d(3, 5, (3, 2), bias=False),
    "conv2d in groups": lambda: nn.Conv2d(3, 6, 3, groups=3, dilation=2),
    "conv2d, relu": lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()),
    "conv2d, pooling": lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.MaxPool2d(2)),
    "transposed convolution": lambda: nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1, output_padding=1),
    "linear on the last axis": lambda: nn.Linear(3, 4),
    "linear, relu": lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU()),
    "max pooling": lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "pooling by wide windows": lambda: nn.Sequential(nn.ConvTranspose2d(3, 2, 3, stride=3), nn.MaxPool2d(17)),
    "average pooling": lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "global average": nn.GlobalAvgPool2d,
    "global maximum": nn.GlobalMaxPool2d,
    "batch norm": lambda: with_statistics(nn.BatchNorm2d(3)),
    "batch norm, relu": lambda: nn.Sequential(with_statistics(nn.BatchNorm2d(3)), nn.ReLU()),
    "batch norm, gelu": lambda: nn.Sequential(with_statistics(nn.BatchNorm2d(3)), nn.GELU()),
    "layer norm": lambda: nn.LayerNorm((8, 3)),
    "dropout": lambda: nn.Sequential(nn.Dropout(0.5), nn.ReLU(), nn.Dropout(0.5)),
    "nothing but dropout": lambda: nn.Dropout(0.5),
    "residual": lambda: nn.Residual(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())),
    "softmax": nn.Softmax,
    **{c.__name__: c for c in (nn.ReLU, nn.Sigmoid, nn.Tanh, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU)},
    "Softplus": nn.Softplus,
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    assert_same(LAYERS[name](), images(5))


FUNCTIONS = {
    "nothing": lambda x: x,
    "negative": lambda x: -x,
    "abs": cr.abs,
    "exp": cr.exp,
    "log": lambda x: cr.log(cr.abs(x) + 1.0),
    "sqrt": lambda x: cr.sqrt(cr.abs(x)),
    "sine and cosine": lambda x: cr.sin(x) * cr.cos(x),
    "number first": lambda x: 2.0 - x,
    "number divided": lambda x: 3.0 / (cr.abs(x) + 1.0),
    "power": lambda x: (cr.abs(x) + 0.1) ** 1.5,
    "extremes of two": lambda x: cr.maximum(x, 0.5) + cr.minimum(x, cr.tanh(x)),
    "value with itself": lambda x: x * x,
    "constant of channels": lambda x: x * np.arange(3.0, dtype=np.float32),
    "constant of a batch": lambda x: x + np.ones((1, 8, 8, 3), np.float32),
    "kept axes": lambda x: cr.sum(x, axis=(1, 2), keepdims=True),
    "sum of an inner axis": lambda x: cr.sum(x, axis=2),
    "largest and smallest": lambda x: cr.max(x, axis=3) - cr.min(x, axis=3),
    "softmax over pixels": lambda x: cr.softmax(x, axis=(1, 2)),
    "log-softmax": lambda x: cr.log_softmax(x, axis=-1),
    "reshape": lambda x: cr.reshape(x, (-1, 4, 48)),
    "reshape read twice": lambda x: cr.reshape(x, (-1, 192)) * cr.reshape(cr.tanh(x), (-1, 192)),
    "product with a matrix": lambda x: cr.matmul(x, np.ones((3, 2), np.float32)),
    "parameters computed": lambda x: x * cr.exp(cr.tensor(np.ones(3, np.float32), requires_grad=True)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    assert_same(FUNCTIONS[name], images(5))


def test_in_float64():
    w = rng.standard_normal((3, 3, 3, 4))
    assert_same(lambda x: cr.softmax(cr.conv2d(x, w, padding="same")), images(4, dtype=np.float64), 1e-14)


@pytest.mark.parametrize(
    "model",
    [
        models.LeNet5(seed=0),
        models.LeNet5(form="paper", seed=0),
        models.NetworkInNetwork(seed=0),
        models.NetworkInNetwork(classifier="fully_connected", seed=0),
        models.AllConvNet(seed=0),
        models.AllConvNet(base="B", variant="convpool", batch_norm=True, seed=0),
        models.FastCifarNet(seed=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_packaged_nets(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var[...] = rng.uniform(0.5, 2.0, module.channels)
    assert_same(model, rng.standard_normal((3, *model.input_shape)).astype(np.float32), 1e-5)


@pytest.mark.parametrize("activation", [(), (nn.ReLU,), (nn.GELU,)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_batch_norm_behind_a_convolution_is_merged(activation, bias):
    norm = with_statistics(nn.BatchNorm2d(4))
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias), norm, *(kind() for kind in activation))
    frozen = assert_same(model, images(3))
    assert frozen.steps == (("conv2d", "gelu") if activation == (nn.GELU,) else ("conv2d",))


def test_a_batch_norm_of_computed_weights_is_merged():
    conv, g = nn.Conv2d(3, 4, 3), nn.Parameter(rng.standard_normal(4).astype(np.float32))
    mean, var = np.ones(4, np.float32), np.full(4, 2, np.float32)

    def model(x):
        return cr.batch_norm(conv(x), cr.exp(g), -g, mean, var, training=False)

    assert assert_same(model, images(3)).steps == ("conv2d",)


def test_a_batch_norm_that_gives_infinities_is_not_merged():
    norm = nn.BatchNorm2d(4, epsilon=0)
    norm.running_var[...] = 0
    model = nn.Sequential(nn.Conv2d(3, 4, 3), norm)
    x = images(3)
    frozen = nn.freeze(model, x)
    assert frozen.steps == ("conv2d", "standardise")
    with np.errstate(all="ignore"):
        assert np.array_equal(frozen(x), eager(model, x)) and np.isinf(frozen(x)).all()


def test_a_convolution_that_is_read_elsewhere_too_is_not_merged():
    conv, norm = nn.Conv2d(3, 3, 1), with_statistics(nn.BatchNorm2d(3))

    def model(x):
        y = conv(x)
        return norm(y) + y

    norm.eval()
    assert assert_same(model, images(3)).steps == ("conv2d", "standardise", "add")


def test_in_bfloat16():
    model = nn.Sequential(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(288, 16))
    x = images(4, 8, 16)
    with cr.autocast("bfloat16"):
        frozen, expected = nn.freeze(model, x), eager(model, x)
    assert np.abs(frozen(x) - expected).max() < 1e-2 * np.abs(expected).max()


def test_weights_are_copied():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    x = images(2)
    frozen = nn.freeze(model, x)
    before = frozen(x)
    for parameter in model.parameters():
        parameter.value[...] = 0
    assert np.array_equal(frozen(x), before)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    model[2].eval()
    state = model.state_dict()
    with cr.no_grad():
        nn.freeze(model, images(2))
        assert not cr.tensor([1.0], requires_grad=True).exp().requires_grad
    assert [m.training for m in model.modules()] == [True, True, True, False]
    assert all(np.array_equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_same_bits_for_any_number_of_threads_and_in_several_at_once():
    model = models.LeNet5(seed=0)
    x = images(33, 28, 1)
    frozen = nn.freeze(model, x[:1])
    threads = cr.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3):
            cr.set_num_threads(count)
            results.append(frozen(x))
    finally:
        cr.set_num_threads(threads)
    callers = [threading.Thread(target=lambda: results.append(frozen(x))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 7 and all(np.array_equal(y, results[0]) for y in results)


def test_inputs_of_other_layouts_are_read():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    x = images(3)
    frozen = nn.freeze(model, cr.tensor(x))
    expected = frozen(x)
    strided = np.asfortranarray(x)
    assert np.array_equal(frozen(strided), expected)
    assert np.array_equal(frozen(cr.tensor(x)), expected)
    x.flags.writeable = False
    assert np.array_equal(frozen(x), expected)


# ---- What is refused ---------------------------------------------------------------------------------------------


class Cube(cr.Gate):
    def forward(self, x):
        return x**3

    def backward(self, gradient):
        return gradient


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda x: Cube()(x), "Cube has no step"),
        (lambda x: cr.transpose(x, (0, 3, 1, 2)), "Transpose has no step"),
        (lambda x: cr.sum(x, axis=0), "mixes the samples"),
        (lambda x: x - cr.sum(x, axis=0, keepdims=True), "mixes the samples"),
        (lambda x: cr.sum(x), "mixes the samples"),
        (lambda x: cr.sum(x, axis=(1, 3)), r"over axes \(1, 3\)"),
        (lambda x: cr.softmax(x, axis=0), r"over axes \(0,\)"),
        (lambda x: cr.reshape(x, (-1,)), "mixes the samples"),
        (lambda x: x + np.ones((2, 8, 8, 3), np.float32), r"with an array of \(2, 8, 8, 3\)"),
        (lambda x: x * cr.sum(x, axis=3, keepdims=True), "repeats values"),
        (lambda x: cr.matmul(x, cr.reshape(x, (2, 8, 3, 8))), "depend on the input"),
        (lambda x: cr.conv2d(np.ones((2, 9, 9, 8), np.float32), x), "depend on the input"),
        (lambda x: cr.linear(np.ones((2, 2), np.float32), cr.reshape(x, (2, 192))), "of a constant"),
    ],
)
def test_models_without_a_step(model, message):
    with pytest.raises(TypeError, match=f"^freeze: .*{message}"):
        nn.freeze(model, images(2))


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, lambda channels: nn.Dropout(0.5)])
def test_a_function_of_modules_in_training_mode(kind):
    module = kind(3)
    with pytest.raises(TypeError, match=r"^freeze: \w+ is in training mode: call eval\(\) of its module"):
        nn.freeze(lambda x: module(x), images(2))
    module.eval()
    assert_same(lambda x: module(x), images(2))


@pytest.mark.parametrize(
    ("model", "step"),
    [
        (lambda x: x * 2.0 if len(x) == 1 else x * 3.0, "multiply"),
        (lambda x: x * (1.0 / len(x)), "multiply"),
        (lambda x: cr.tanh(x) if len(x) == 1 else cr.sin(x), "tanh"),
        (lambda x: x / cr.max(x[:1, :1]).item(), "divide"),
        (lambda x: x + (x.numpy()[0, 0, 0] > 0.1), "add"),
        (lambda x: cr.exp(x) if len(x) == 1 else -cr.exp(x), "the number of steps"),
    ],
)
def test_models_that_do_other_things_with_another_batch(model, step):
    x = images(1)
    x[0, 0, 0] = [0.0, 0.5, 0.25]
    x[0, -1, -1, -1] = 9.0
    with pytest.raises(TypeError, match=f"does other things with another batch: {step} is not the same"):
        nn.freeze(model, x)


def test_a_model_of_one_batch_size():
    with pytest.raises(
        TypeError, match=r"^freeze: the model takes the example and not a batch of 2: reshape: "
    ):
        nn.freeze(lambda x: cr.reshape(x, (1, 192)), images(1))


@pytest.mark.parametrize(
    ("model", "kind"), [(lambda x: (x, -x), "tuple"), (lambda x: [-x], "list"), (lambda x: {"y": -x}, "dict")]
)
def test_several_results(model, kind):
    with pytest.raises(TypeError, match=f"^freeze: the model gives a {kind}: give one of a single Tensor"):
        nn.freeze(model, images(1))


def test_the_users_own_graph_is_left_as_it_was():
    w = cr.tensor([1.0, 2.0, 3.0], requires_grad=True)
    s = cr.exp(w)
    loss = cr.sum(s * 2.0)
    expected = 2 * np.exp([1.0, 2.0, 3.0], dtype=np.float32)
    w.data *= 2.0  # exp has kept its value alone
    frozen = nn.freeze(lambda x: x * s, np.ones((1, 3), np.float32))
    np.testing.assert_allclose(frozen(np.ones((1, 3), np.float32))[0], np.exp([2.0, 4.0, 6.0]), rtol=1e-6)
    loss.backward()
    np.testing.assert_allclose(w.grad.numpy(), expected, rtol=1e-6)


def test_lists_and_large_integers():
    for dtype in (np.float32, np.float64):
        frozen = nn.freeze(lambda x: x * 2**64, np.ones((1, 2), dtype))
        y = frozen([[1.0, 0.5]])
        assert y.dtype == dtype and y.tolist() == [[2.0**64, 2.0**63]]


@pytest.mark.parametrize(
    "model",
    [
        lambda x: x * (x > 0),
        lambda x: x + (cr.sign(x) - x).detach(),
        lambda x: x + cr.tanh(x).numpy(),
    ],
)
def test_values_that_are_computed_from_the_example_off_the_graph(model):
    with pytest.raises(TypeError, match=r"with an array of \(2, 8, 8, 3\)"):
        nn.freeze(model, images(1))


@pytest.mark.parametrize(
    ("example", "error", "message"),
    [
        ([[1.0]], TypeError, "a list"),
        (np.zeros((1, 8, 8, 3), np.int64), TypeError, "an array of int64"),
        (np.float32(1.0), TypeError, "a float32"),
        (np.zeros((), np.float32), ValueError, "no samples"),
        (np.zeros((0, 8, 8, 3), np.float32), ValueError, "no samples"),
    ],
)
def test_examples_that_are_none(example, error, message):
    with pytest.raises(error, match=f"^freeze: the example .*{message}"):
        nn.freeze(nn.ReLU(), example)


def under_no_grad(x):
    with cr.no_grad():
        return -x


@pytest.mark.parametrize(
    "model",
    [
        under_no_grad,
        lambda x: cr.tanh(x).detach(),
        lambda x: 1.0,
        lambda x: cr.tensor(np.ones(2, np.float32)),
    ],
)
def test_results_that_do_not_depend_on_the_input(model):
    with pytest.raises(ValueError, match=r"^freeze: the model's result does not depend on its input"):
        nn.freeze(model, images(1))


def test_a_result_of_parameters_alone():
    w = nn.Parameter(np.ones((1, 2), np.float32))
    with pytest.raises(ValueError, match=r"^freeze: the model's result does not depend on its input"):
        nn.freeze(lambda x: cr.exp(w), images(1))


def test_a_model_of_another_dtype():
    with pytest.raises(TypeError, match=r"^freeze: the model gives float64 for an example of float32"):
        nn.freeze(lambda x: x * np.ones(3), images(1))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((2, 8, 8, 1), np.float32), ValueError, r"x \(2, 8, 8, 1\) is not \(N, 8, 8, 3\)"),
        (np.zeros((8, 8, 3), np.float32), ValueError, r"x \(8, 8, 3\) is not \(N, 8, 8, 3\)"),
        (np.zeros((1, 8, 8, 3)), TypeError, "x is float64, the model's values are float32"),
        (np.zeros((1, 8, 8, 3), np.int32), TypeError, "integer array"),
        ("images", TypeError, "x is"),
        (1.0, ValueError, r"x \(\) is not"),
    ],
)
def test_inputs_that_do_not_fit(x, error, message):
    frozen = nn.freeze(nn.ReLU(), images(1))
    with pytest.raises(error, match=f"^frozen model: .*{message}"):
        frozen(x)


def test_nan_and_infinity_go_through():
    x = images(2)
    x[0, 0, 0, 0], x[1, 1, 1, 1] = np.nan, np.inf
    y = nn.freeze(nn.MaxPool2d(2), x)(x)
    assert np.isnan(y[0, 0, 0, 0]) and np.isinf(y[1, 0, 0, 1])
