"""autocast: bfloat16 products are those of rounded operands, in forward and backward, and nothing else changes."""

import threading

import numpy as np
import pytest

import chainrule as cr


def rounded(x):
    """x rounded to bfloat16, ties to even, by integer arithmetic."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def close_products(actual, expected, magnitude):
    """Sums of float32 products of the same operands."""
    assert actual.dtype == np.float32
    assert np.abs(actual - expected).max() <= 2e-6 * np.abs(magnitude).max()


SIZES = [(16, 16, 16), (17, 33, 65), (64, 96, 40), (200, 31, 513), (130, 1100, 48)]


@pytest.mark.parametrize("m, k, n", SIZES)
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)])
def test_matmul_is_the_product_of_rounded_operands(m, k, n, transposed):
    a = normal(k, m).T if transposed[0] else normal(m, k)
    b = normal(n, k, seed=1).T if transposed[1] else normal(k, n, seed=1)
    with cr.autocast("bfloat16"):
        c = cr.matmul(a, b)
    ra, rb = rounded(a).astype(float), rounded(b).astype(float)
    close_products(c, ra @ rb, np.abs(ra) @ np.abs(rb))


def test_linear_adds_its_bias_and_relu_in_float32():
    x, w, b = normal(40, 30), normal(30, 20, seed=1), normal(20, seed=2)
    with cr.autocast("bfloat16"):
        y = cr.linear(x, w, b)
        z = cr.linear_relu(x, w, b)
    product = rounded(x).astype(float) @ rounded(w)
    close_products(y, product + b, np.abs(rounded(x)) @ np.abs(rounded(w)))
    np.testing.assert_array_equal(z, np.maximum(y, 0))


def as_float64(*arrays):
    return [rounded(a).astype(np.float64) for a in arrays]


def winograd_may_stand_in():
    """Where the processor has mere dot products, some convolutions stay float32: exact operands then."""
    return cr._core.active_isa() == "avx512_bf16"


@pytest.mark.parametrize(
    "size, channels, filters, kernel, settings",
    [
        (9, 16, 24, 3, dict(padding=1)),
        (13, 20, 37, 3, dict(stride=2, padding=1)),
        (8, 32, 16, 5, dict(padding=2)),
        (7, 48, 40, 1, {}),
        (9, 17, 33, 1, dict(stride=2)),
        (12, 16, 16, 3, dict(dilation=2, padding=((2, 1), (0, 3)))),
        (6, 16, 18, 6, {}),
        (11, 18, 16, 2, dict(stride=3)),
        (34, 16, 16, 3, dict(padding="same")),
    ],
)
def test_convolution_and_its_gradients_are_those_of_rounded_operands(
    size, channels, filters, kernel, settings
):
    x, w = normal(3, size, size, channels), normal(kernel, kernel, channels, filters, seed=1)
    bias = normal(filters, seed=2)

    def gradients(x, w, context):
        x, w = cr.tensor(x, requires_grad=True), cr.tensor(w, requires_grad=True)
        b = cr.tensor(bias.astype(x.dtype), requires_grad=True)
        with context:
            y = cr.conv2d(x, w, b, **settings)
        dy = normal(*y.shape, seed=3)
        y.backward(dy if y.dtype == np.float32 else rounded(dy).astype(y.dtype))
        return [y.numpy(), x.grad, w.grad]

    actual = gradients(x, w, cr.autocast("bfloat16"))
    expected = gradients(*as_float64(x, w), cr.autocast("float32"))
    tolerance = 2**-7 if winograd_may_stand_in() else 2e-6
    for a, e in zip(actual, expected, strict=True):
        a, e = np.asarray(a), np.asarray(e)
        assert np.abs(a - e).max() <= tolerance * 10 * np.abs(e).max()


def test_backward_outside_has_the_precision_of_forward():
    x, w = normal(32, 32), cr.tensor(normal(32, 32, seed=1), requires_grad=True)
    with cr.autocast("bfloat16"):
        y = cr.matmul(x, w)
    y.backward(np.ones((32, 32), np.float32))
    np.testing.assert_allclose(w.grad, rounded(x).T @ np.ones((32, 32), np.float32), rtol=1e-6, atol=1e-5)


def test_float64_and_small_products_stay_exact():
    a, b = normal(32, 32).astype(float), normal(32, 32, seed=1).astype(float)
    v = normal(15)
    m = normal(15, 64, seed=1)
    with cr.autocast("bfloat16"):
        np.testing.assert_allclose(cr.matmul(a, b), a @ b, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(cr.matmul(v, m), v @ m, rtol=1e-5, atol=1e-5)


def test_not_a_number_and_infinity_stay():
    a = normal(16, 16)
    a[3, 4], a[5, 6] = np.nan, np.inf
    with cr.autocast("bfloat16"):
        c = cr.matmul(a, np.eye(16, dtype=np.float32))
    assert np.isnan(c[3]).all()
    assert np.isinf(c[5, 6])


def test_contexts_nest_and_belong_to_a_thread():
    a = np.full((16, 16), 1.001, np.float32)
    eye = np.eye(16, dtype=np.float32)

    def value():
        return float(cr.matmul(a, eye)[0, 0])

    exact = float(np.float32(1.001))
    seen = []
    with cr.autocast("bfloat16"):
        assert value() == 1.0
        with cr.autocast("float32"):
            assert value() == exact
        assert value() == 1.0
        thread = threading.Thread(target=lambda: seen.append(value()))
        thread.start()
        thread.join()
    assert seen == [exact]
    assert value() == exact
    assert cr.autocast("bfloat16")(value)() == 1.0
    assert value() == exact


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_bits_do_not_depend_on_the_number_of_threads(threads):
    x, w = normal(5, 17, 17, 32), normal(3, 3, 32, 48, seed=1)
    window = (1, 1, 1, 1, 1, 1, 1, 1, 1)

    def results():
        y = cr._core.conv2d(x, w, None, window, False, True)
        return [
            y,
            cr._core.conv2d_input_gradient(y, w, None, 17, 17, window, False, True),
            cr._core.conv2d_weight_gradient(x, y, 3, 3, window, True),
            cr._core.matmul(x.reshape(-1, 32), w.reshape(-1, 32).T, None, False, True),
        ]

    before = cr.get_num_threads()
    try:
        cr.set_num_threads(1)
        expected = results()
        cr.set_num_threads(threads)
        for a, e in zip(results(), expected, strict=True):
            np.testing.assert_array_equal(a, e)
    finally:
        cr.set_num_threads(before)


def test_training_in_bfloat16_follows_float32():
    def losses(context):
        rng = np.random.default_rng(0)
        model = cr.nn.Sequential(
            cr.nn.Conv2d(16, 32, 3, padding=1, rng=0),
            cr.nn.ReLU(),
            cr.nn.Flatten(),
            cr.nn.Linear(32 * 64, 10, rng=1),
        )
        optimizer = cr.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        x, labels = rng.standard_normal((32, 8, 8, 16), dtype=np.float32), rng.integers(0, 10, 32)
        seen = []
        for _ in range(20):
            optimizer.zero_grad()
            with context:
                loss = cr.softmax_cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
        return np.array(seen)

    low, full = losses(cr.autocast("bfloat16")), losses(cr.autocast("float32"))
    assert full[-1] < 0.1 * full[0]
    np.testing.assert_allclose(low, full, rtol=0.05, atol=0.02)
    assert (low != full).any()
