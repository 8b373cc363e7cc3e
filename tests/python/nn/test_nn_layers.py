"""Linear, activations, Sequential and initialisation, beside PyTorch and closed forms."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn
from chainrule.nn import initialise

DTYPES = [np.float32, np.float64]


# ---- Linear ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (0,), (1,)])
def test_linear_is_torchs(leading, bias, dtype):
    layer = nn.Linear(4, 3, bias=bias, rng=0, dtype=dtype)
    other = torch.nn.Linear(4, 3, bias=bias, dtype=torch.float32 if dtype is np.float32 else torch.float64)
    with torch.no_grad():
        other.weight.copy_(torch.tensor(layer.weight.numpy().T))
        if bias:
            layer.bias.data[...] = [0.5, -1.0, 2.0]
            other.bias.copy_(torch.tensor(layer.bias.numpy()))
    values = np.random.default_rng(1).standard_normal((*leading, 4)).astype(dtype)
    x, y = cr.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    got, expected = layer(x), other(y)
    weights = np.random.default_rng(2).standard_normal(got.shape).astype(dtype)
    got.backward(weights)
    expected.backward(torch.tensor(weights))
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype is np.float32 else {"rtol": 1e-12, "atol": 1e-13}
    assert got.dtype == dtype and got.shape == (*leading, 3)
    np.testing.assert_allclose(got.numpy(), expected.detach().numpy(), **tolerance)
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), **tolerance)
    np.testing.assert_allclose(layer.weight.grad.numpy(), other.weight.grad.numpy().T, **tolerance)
    if bias:
        np.testing.assert_allclose(layer.bias.grad.numpy(), other.bias.grad.numpy(), **tolerance)
    else:
        assert layer.bias is None and list(layer.state_dict()) == ["weight"]


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((0, 3), ValueError, "Linear: 0 in, 3 out: both must be at least 1"),
        ((3, -1), ValueError, "Linear: 3 in, -1 out: both must be at least 1"),
        ((2.5, 3), TypeError, "Linear: in_features 2.5 is not an integer"),
        ((3, "ten"), TypeError, "Linear: out_features 'ten' is not an integer"),
        ((3, None), TypeError, "Linear: out_features None is not an integer"),
        ((3, 2, True, "xavier"), ValueError, "Linear: initialise 'xavier' is not one of ['glorot'"),
    ],
)
def test_settings_of_linear_that_are_none(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        nn.Linear(*arguments)


@pytest.mark.parametrize(
    "x", [np.ones((5, 4)), np.ones(2), np.ones((3, 0)), np.array(1.0), 2.0, [[1.0, 2.0]]]
)
def test_linear_refuses_another_width(x):
    message = f"Linear: x {np.shape(x)} has not the 3 features that the weight (3, 2) takes"
    with pytest.raises(ValueError, match=re.escape(message)):
        nn.Linear(3, 2)(x)


def test_linear_takes_lists_and_refuses_what_is_no_array():
    layer = nn.Linear(3, 2, rng=0)
    np.testing.assert_array_equal(
        layer([[1, 2, 3]]).numpy(), layer(np.array([[1, 2, 3]], np.float32)).numpy()
    )
    for wrong in (None, "abc", np.ones((2, 3), complex)):
        with pytest.raises(TypeError, match="Linear: x is a"):
            layer(wrong)


def test_linear_of_float64_inputs_and_float32_weights_is_float64():
    layer = nn.Linear(3, 2, rng=0)
    assert layer(np.ones((4, 3))).dtype == np.float64
    cr.sum(layer(np.ones((4, 3)))).backward()
    assert layer.weight.grad.dtype == np.float32


# ---- Activations -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "module, reference",
    [
        (nn.ReLU(), torch.nn.ReLU()),
        (nn.Sigmoid(), torch.nn.Sigmoid()),
        (nn.Tanh(), torch.nn.Tanh()),
        (nn.Softmax(), torch.nn.Softmax(-1)),
        (nn.Softmax(axis=0), torch.nn.Softmax(0)),
        (nn.Flatten(), torch.nn.Flatten()),
    ],
    ids=repr,
)
def test_activations_are_torchs(module, reference, dtype):
    values = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(dtype)
    x, y = cr.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    got, expected = module(x), reference(y)
    weights = np.random.default_rng(1).standard_normal(got.shape).astype(dtype)
    got.backward(weights)
    expected.backward(torch.tensor(weights))
    tolerance = 1e-5 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(got.numpy(), expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=tolerance, atol=tolerance)
    assert list(module.parameters()) == []


def test_flatten_of_no_rows_and_of_numbers():
    assert nn.Flatten()(np.ones((0, 2, 3))).shape == (0, 6)
    assert nn.Flatten()(np.ones(4)).shape == (4, 1)
    with pytest.raises(ValueError, match=r"Flatten: x is a number: give \(N, \.\.\.\)"):
        nn.Flatten()(1.0)


# ---- Sequential --------------------------------------------------------------------------------------------


def test_sequential_is_composition():
    f, g = nn.Linear(3, 4, rng=0), nn.Linear(4, 2, rng=1)
    net = nn.Sequential(f, nn.ReLU(), g)
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    np.testing.assert_array_equal(net(x).numpy(), g(cr.relu(f(x))).numpy())
    assert len(net) == 3 and net[0] is f and net[-1] is g
    assert nn.Sequential()(x) is x
    nested = nn.Sequential(nn.Sequential(f, nn.ReLU()), g)
    np.testing.assert_array_equal(nested(x).numpy(), net(x).numpy())
    assert list(nested.state_dict()) == ["0.0.weight", "0.0.bias", "1.weight", "1.bias"]


@pytest.mark.parametrize("wrong", [cr.relu, None, nn.ReLU, [nn.ReLU()]])
def test_sequential_takes_modules_alone(wrong):
    with pytest.raises(TypeError, match=f"Sequential: entry 1 is a {type(wrong).__name__}, not a Module"):
        nn.Sequential(nn.ReLU(), wrong)


# ---- Initialisation ----------------------------------------------------------------------------------------

# By hand: a uniform on +-a has variance a^2 / 3.
VARIANCES = {
    "he": lambda fan_in, fan_out: 2 / fan_in,
    "he_uniform": lambda fan_in, fan_out: 2 / fan_in,
    "glorot": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "glorot_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
}


@pytest.mark.parametrize("name", VARIANCES)
@pytest.mark.parametrize("shape, fan_in, fan_out", [((300, 400), 300, 400), ((3, 5, 60, 120), 900, 1800)])
def test_mean_variance_and_bounds(name, shape, fan_in, fan_out):
    assert initialise.fans(shape) == (fan_in, fan_out)
    w = initialise.by_name[name](shape, rng=0, dtype=np.float64)
    variance = VARIANCES[name](fan_in, fan_out)
    # Of n values the mean is within 4 sd/sqrt(n), and the variance within 4 sqrt(2/n) of itself.
    assert abs(w.mean()) < 4 * np.sqrt(variance / w.size)
    assert w.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / w.size))
    if name.endswith("uniform"):
        limit = np.sqrt(3 * variance)
        assert 0.99 * limit < np.abs(w).max() <= limit
    else:
        assert np.abs(w).max() > 3.5 * np.sqrt(variance), "no tails: not a normal distribution"
        assert (np.abs(w) < np.sqrt(variance)).mean() == pytest.approx(0.6827, abs=0.01)


@pytest.mark.parametrize("name", [*VARIANCES, "zeros"])
def test_the_same_seed_gives_the_same_bits(name):
    def weights(rng):
        return nn.Linear(20, 30, initialise=name, rng=rng).weight.numpy()

    first = weights(5)
    np.testing.assert_array_equal(weights(5), first)
    np.testing.assert_array_equal(weights(np.random.default_rng(5)), first)
    if name == "zeros":
        assert not first.any()
        return
    assert (weights(6) != first).any()
    generator = np.random.default_rng(5)
    np.testing.assert_array_equal(weights(generator), first)
    assert (weights(generator) != first).any(), "a generator goes on"


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**64), st.integers(0, 7))
def test_the_generators_state_goes_through_an_array(seed, draws):
    cr.manual_seed(seed)
    generator = cr.random.generator()
    generator.random(draws, np.float32)  # of 32 bits: half a number may be left over
    state = cr.get_rng_state()
    assert state.dtype == np.uint64 and state.shape == (6,)
    expected = generator.bit_generator.state
    wanted = [generator.integers(2**63), *generator.random(5, np.float32)]
    cr.manual_seed(0)
    cr.set_rng_state(state.copy())
    assert cr.random.generator().bit_generator.state == expected
    generator = cr.random.generator()
    assert [generator.integers(2**63), *generator.random(5, np.float32)] == wanted


def test_manual_seed_restarts_the_librarys_generator():
    def net():
        return nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6))

    cr.manual_seed(3)
    one, two = net().state_dict(), net().state_dict()
    cr.manual_seed(3)
    again = net().state_dict()
    cr.manual_seed(4)
    other = net().state_dict()
    for name in one:
        np.testing.assert_array_equal(one[name], again[name])
    assert (one["0.weight"] != two["0.weight"]).any() and (one["0.weight"] != other["0.weight"]).any()


def test_float32_and_float64_draw_the_same_numbers():
    w, v = (nn.Linear(20, 30, rng=0, dtype=dtype).weight.numpy() for dtype in DTYPES)
    assert w.dtype == np.float32 and v.dtype == np.float64
    np.testing.assert_array_equal(w, v.astype(np.float32))


def test_biases_start_at_zero():
    assert not nn.Linear(3, 4, rng=0).bias.numpy().any()


def test_a_shape_without_inputs_and_outputs_is_refused():
    for name in VARIANCES:
        with pytest.raises(ValueError, match=r"initialise: shape \(3,\) has no input and output axes"):
            initialise.by_name[name]((3,))
