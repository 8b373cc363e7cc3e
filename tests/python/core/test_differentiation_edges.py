"""Derivatives where values are kept, masked, empty, mixed or drawn: cases that were once wrong."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import chainrule as cr

INF = np.inf


@pytest.mark.parametrize("exponent", [np.array(3.0), np.float64(3), np.array([3.0])])
def test_a_power_of_mixed_dtypes_has_a_second_derivative(exponent):
    x = np.array(2.0, np.float32)

    def f(x):
        return (x**exponent).sum()

    assert cr.grad(cr.grad(f))(x) == 12.0
    assert cr.hvp(f, (x,), (np.array(1.0, np.float32),)) == 12.0
    base = np.array(2.0)
    slope = cr.grad(cr.grad(lambda y: base**y))(np.array(3.0, np.float32))
    np.testing.assert_allclose(slope, 8 * np.log(2) ** 2, rtol=1e-6)


def test_a_power_has_mixed_second_derivatives_at_exponent_0():
    (xx, xy), (yx, yy) = cr.hessian(cr.power, (0, 1))(np.array(2.0), np.array(0.0))
    np.testing.assert_allclose([xx, xy, yx, yy], [0, 0.5, 0.5, np.log(2) ** 2], rtol=1e-12)
    # At 0^0 the slope in the base is 0, not 0 times infinity.
    x = np.zeros(2)
    np.testing.assert_array_equal(cr.grad(lambda x: cr.sum(x ** np.array([0.0, 2.0])))(x), [0, 0])


def test_a_custom_rule_of_the_identity_is_differentiated_once():
    @cr.custom_gradient
    def f(x):
        return x, lambda g: g * x * x

    assert cr.grad(f)(np.array(3.0)) == 9.0
    assert cr.grad(cr.grad(f))(np.array(3.0)) == 6.0


class ExpByNumPy(cr.Gate):
    def forward(self, x):
        y = np.exp(x)  # of a 0-d array a NumPy scalar
        self.keep(y)
        return y

    def backward(self, gradient):
        return gradient * self.kept[0]


@pytest.mark.parametrize("of", [np.array, lambda v: cr.tensor(v, dtype="float64")])
def test_a_gate_that_keeps_a_numpy_scalar_has_higher_derivatives(of):
    f = cr.grad(cr.grad(cr.grad(lambda x: ExpByNumPy()(x))))
    np.testing.assert_allclose(np.asarray(f(of(0.5))), np.exp(0.5), rtol=1e-6)


def test_a_transform_in_another_thread_is_inside_the_one_that_waits_for_it():
    with ThreadPoolExecutor(1) as pool:

        def inner(x):
            return pool.submit(lambda: cr.grad(lambda y: x * y)(np.array(1.0))).result()

        assert cr.grad(inner)(np.array(2.0)) == 1.0
        assert cr.jvp(inner, (np.array(2.0),), (np.array(1.0),)) == (2.0, 1.0)


@pytest.mark.parametrize("squared", [False, True])
def test_the_hinge_loss_of_masked_scores_has_tangents_and_second_derivatives(squared):
    scores = np.array([[0.5, -INF, 1.0, -3.0]])

    def loss(s):
        return cr.multiclass_hinge(s, [0], squared=squared)

    gradient = cr.grad(loss)(scores)
    np.testing.assert_array_equal(gradient, [[-3, 0, 3, 0]] if squared else [[-1, 0, 1, 0]])
    basis = [np.eye(4)[i : i + 1] for i in range(4)]
    assert [cr.jvp(loss, (scores,), (e,))[1] for e in basis] == gradient[0].tolist()
    expected = [[-2, 0, 2, 0]] if squared else np.zeros((1, 4))
    np.testing.assert_array_equal(cr.hvp(loss, (scores,), (basis[2],)), expected)
    # NaN is not lost on the way.
    wrong = np.array([[1.0, np.nan, 3.0, 0.0]])
    assert np.isnan(cr.jvp(loss, (wrong,), (basis[0],))[1]) and np.isnan(cr.grad(loss)(wrong)).any()


def test_the_slope_of_a_cross_entropy_in_a_probability_of_0():
    p, q = np.array([0.0, 1.0]), np.array([0.25, 0.75])
    np.testing.assert_allclose(cr.grad(lambda p: cr.cross_entropy(p, q))(p), -np.log(q))
    np.testing.assert_allclose(
        cr.jvp(lambda p: cr.cross_entropy(p, q), (p,), (np.array([1.0, 0]),))[1], -np.log(0.25)
    )
    assert cr.cross_entropy(np.array([0.0, 1.0]), np.array([0.0, 1.0])) == 0
    assert np.isinf(cr.cross_entropy(np.array([0.5, 0.5]), np.array([0.0, 1.0])))


def test_a_custom_rule_sees_the_draws_that_its_value_was_made_with():
    @cr.custom_gradient
    def dropped(x):
        mask = cr.dropout(np.ones(64), 0.5)
        return x * mask, lambda g: g * mask

    x = cr.tensor(np.ones(64), requires_grad=True)
    for _ in range(2):
        x.grad = None
        y = dropped(x)
        y.sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), y.numpy())
    value, pullback = cr.vjp(dropped, np.ones(64))
    for _ in range(2):
        np.testing.assert_array_equal(pullback(np.ones(64))[0], value)


@pytest.mark.parametrize(
    "where", [range(-3, 3), np.array([0, 1, 2, 0, 1, 2]), memoryview(np.arange(3)[[0, 1, 2] * 2])]
)
def test_repeated_indices_of_any_sequence_add(where):
    x = cr.tensor(np.ones(3), requires_grad=True)
    x[where].sum().backward()
    assert x.grad.tolist() == [2, 2, 2]


def test_a_checkpoint_takes_numbers_integers_and_flags():
    x = np.array(1.0)
    assert cr.grad(lambda x: cr.checkpoint(lambda x, s: x * s)(x, 0.1))(x) == 0.1  # and not float32's 0.1
    labels, scores = np.array([0]), np.array([[1.0, 2.0]])
    expected = cr.grad(lambda s: cr.softmax_cross_entropy(s, labels))(scores)
    for f in (cr.grad, lambda f: lambda s: cr.value_and_grad(f)(s)[1]):
        got = f(lambda s: cr.checkpoint(lambda s, y: cr.softmax_cross_entropy(s, y))(s, labels))(scores)
        np.testing.assert_array_equal(got, expected)
    tensor = cr.tensor(np.arange(4.0), requires_grad=True)
    cr.checkpoint(lambda n, x, flag: cr.reshape(x, (n, -1)) * 3.0 if flag else x)(
        2, tensor, True
    ).sum().backward()
    assert tensor.grad.tolist() == [3, 3, 3, 3]
    # Its result beside another dtype.
    gradient = cr.grad(lambda x: cr.sum(cr.checkpoint(lambda x: x * 2)(x) * np.ones(2)))(
        np.ones(2, np.float32)
    )
    assert gradient.tolist() == [2, 2]


def test_a_checkpoint_leaves_the_graph_that_it_reads():
    w = cr.tensor(np.array([1.0, 2.0]), requires_grad=True)
    h = w * w
    one, two = (cr.checkpoint(lambda x: x * h)(w) for _ in range(2))
    (one + two + h).sum().backward(retain_graph=True)
    np.testing.assert_allclose(w.grad.numpy(), 2 * 3 * w.numpy() ** 2 + 2 * w.numpy())
    h = w * w
    with pytest.raises(
        RuntimeError, match="checkpoint: the function reads a Tensor that gates outside it made"
    ):
        (cr.checkpoint(lambda x: x * h)(w) + h).sum().backward()


def test_three_readers_in_a_nested_transform():
    def f(x):
        t = x * 1.0
        return (t * t + t * 2.0 + t * 3.0).sum()

    np.testing.assert_array_equal(cr.hvp(f, (np.ones(2),), (np.ones(2),)), [2, 2])
    np.testing.assert_array_equal(cr.hessian(f)(np.ones(2)), 2 * np.eye(2))


@pytest.mark.parametrize(("x", "w"), [((2, 3, 0), (0, 4)), ((2, 3, 4), (4, 0)), ((0, 3, 4), (4, 2))])
def test_empty_batches_of_products_have_gradients(x, w):
    for f in (cr.matmul, cr.linear):
        leaves = [cr.tensor(np.ones(shape), requires_grad=True) for shape in (x, w)]
        f(*leaves).sum().backward()
        assert [leaf.grad.shape for leaf in leaves] == [x, w]


def test_values_of_a_transform_can_be_looked_at():
    seen = []

    def f(x):
        seen.extend([repr(x), np.array(x), np.asarray(x, np.float32)])
        return x.sum()

    cr.grad(f)(cr.tensor([1.0, 2.0]))
    cr.grad(lambda y: cr.sum(cr.grad(f)(y)))(np.array([1.0, 2.0]))
    assert len(seen) == 6 and all("1." in str(s) and "2." in str(s) for s in seen)


def test_padding_a_number_has_a_tangent():
    widths = np.zeros((0, 2), int)
    assert cr.jvp(lambda x: cr.pad(x, widths), (np.array(1.0),), (np.array(2.0),)) == (1.0, 2.0)


def test_one_no_grad_entered_twice_ends_where_it_began():
    context = cr.no_grad()
    with context:
        with context:
            pass
        assert not cr.exp(cr.tensor([1.0], requires_grad=True)).requires_grad
    assert cr.exp(cr.tensor([1.0], requires_grad=True)).requires_grad


@pytest.mark.parametrize(
    ("scores", "label", "smoothing", "loss", "gradient"),
    [
        ([1.0, 2.0, -INF], 0, 0.0, np.log1p(np.e), [-np.e / (1 + np.e), np.e / (1 + np.e), 0]),
        ([1.0, 2.0, -INF], 2, 0.0, INF, [1 / (1 + np.e), np.e / (1 + np.e), -1]),
        ([0.0, -INF], 0, 0.1, INF, [0.05, -0.05]),
        ([-INF, -INF], 0, 0.0, np.nan, None),
        ([0.0, -INF], 1, 1.0, np.nan, None),
    ],
)
def test_the_cross_entropy_of_masked_scores_is_as_documented(scores, label, smoothing, loss, gradient):
    def f(x):
        return cr.softmax_cross_entropy(x, [label], label_smoothing=smoothing)

    x = np.array([scores])
    np.testing.assert_allclose(f(x), loss, rtol=1e-12)
    if gradient is not None:
        np.testing.assert_allclose(cr.grad(f)(x), [gradient], rtol=1e-12, atol=1e-15)


# ---- Whose memory it is ------------------------------------------------------------------------------------


def test_gradients_that_are_returned_have_memory_of_their_own():
    x, y, ct = np.ones(3), np.ones(3), np.ones(3)
    gx, gy = cr.grad(lambda x, y: cr.sum(x + y), (0, 1))(x, y)
    gx *= 0.5
    assert gy.tolist() == [1, 1, 1]
    _, pullback = cr.vjp(lambda x, y: x + y, x, y)
    gx, gy = pullback(ct)
    gx += 1
    assert gy.tolist() == ct.tolist() == [1, 1, 1]
    _, tangent = cr.jvp(lambda x: x, (x,), (ct,))
    tangent += 1
    assert ct.tolist() == [1, 1, 1]
    gradient = cr.grad(lambda x: cr.sum(cr.reshape(x, (3, 1)) * y.reshape(3, 1)))(x)
    gradient += 1
    assert gradient.flags.writeable and y.tolist() == [1, 1, 1]


class Twice(cr.Gate):
    def forward(self, x, y):
        return x + y

    def backward(self, gradient):
        both = gradient * 2
        return both, both


def test_one_gradient_for_two_leaves_is_two_arrays():
    for f in (lambda x, y: Twice()(x, y), lambda x, y: cr.checkpoint(lambda x, y: (x + y) * 2.0)(x, y)):
        x, y = (cr.tensor(np.ones(3), requires_grad=True) for _ in range(2))
        f(x, y).sum().backward()
        x.grad.data[...] = 7
        assert y.grad.tolist() == [2, 2, 2]


def test_labels_indices_and_conditions_are_those_of_the_forward_pass():
    x = cr.tensor(np.ones((2, 3)), requires_grad=True)
    labels, rows, chosen = (
        cr.tensor(np.array([0, 1])),
        cr.tensor(np.array([0, 0])),
        cr.tensor(np.array([True, False])),
    )
    losses = cr.softmax_cross_entropy(x, labels), x[rows].sum(), cr.where(chosen, x[:, 0], 0.0).sum()
    expected = []
    for loss in losses:
        loss.backward(retain_graph=True)
        expected.append(x.grad.numpy().copy())
        x.grad = None
    labels.data[...], rows.data[...], chosen.data[...] = 2, 1, False
    for loss, before in zip(losses, expected, strict=True):
        loss.backward()
        np.testing.assert_array_equal(x.grad.numpy(), before)
        x.grad = None


# ---- What is refused ---------------------------------------------------------------------------------------


def test_the_value_of_a_result_cannot_be_exchanged():
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2.0
    with pytest.raises(
        ValueError, match="data: a gate made this Tensor, and its graph may have kept the value"
    ):
        y.data = np.zeros(2, np.float32)
    x.data = np.zeros(2, np.float32)
    assert y.tolist() == [2, 4] and x.tolist() == [0, 0]


@pytest.mark.parametrize(("function", "name"), [(cr.leaky_relu, "slope"), (cr.elu, "alpha")])
def test_settings_of_activations_are_numbers(function, name):
    for wrong in (cr.tensor(0.1, requires_grad=True), np.ones(2), "0.1", None):
        with pytest.raises(
            TypeError, match=f"{function.__name__}: {name} is a {type(wrong).__name__}: give a number"
        ):
            function(np.ones(3), wrong)
    assert function(np.full(1, -1.0), np.float32(0.5)).shape == (1,)


def test_transpose_takes_none_as_the_function_does():
    x = cr.tensor(np.zeros((2, 3, 4)))
    assert x.transpose(None).shape == x.transpose().shape == (4, 3, 2)
    assert x.transpose((1, 0, 2)).shape == x.transpose(1, 0, 2).shape == (3, 2, 4)
