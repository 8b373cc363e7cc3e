"""The worked cases of the lecture notes and textbooks, each computed again here by hand or in closed form.

"CS231n" in a comment means the notes of Stanford's course at cs231n.github.io: the page's name follows.
"""

import tracemalloc
from math import e, exp, log

import numpy as np
import pytest

import chainrule as cr

DTYPES = [np.float32, np.float64]
DIGITS = {np.float32: 1e-6, np.float64: 1e-14}  # relative


def value_and_gradients(function, *values, dtype=np.float64):
    """The value of a scalar function, and its gradient in each argument, by one backward pass."""
    leaves = [cr.tensor(v, dtype=dtype, requires_grad=True) for v in values]
    output = function(*leaves)
    output.backward()
    return output.item(), [x.grad.numpy() for x in leaves]


def s(x):
    """The sigmoid, in Python's own float64."""
    return 1 / (1 + exp(-x))


# ---- Gates of one or two numbers ---------------------------------------------------------------------------


def sigmoid_in_five_gates(x):
    t = cr.multiply(x, -1.0)
    t = cr.exp(t)
    t = cr.add(t, 1.0)
    t = cr.power(t, -1.0)
    return cr.multiply(t, 1.0)


def sigmoid_by_operators(x):
    return 1.0 / (1.0 + cr.exp(-x))


# CS231n, optimization-2 ("Modularity: sigmoid example") for the gate and its parts; the number by hand:
# s(0.2) = 0.549833997, s (1 - s) = 0.247516573, which is 0.2475165 to seven digits cut off.
@pytest.mark.parametrize(
    "dtype, expected, tolerance", [(np.float32, 0.2475165, 1e-7), (np.float64, 0.24751657, 5e-9)]
)
@pytest.mark.parametrize("sigmoid", [cr.sigmoid, sigmoid_in_five_gates, sigmoid_by_operators])
def test_sigmoid_gate(sigmoid, dtype, expected, tolerance):
    value, (gradient,) = value_and_gradients(sigmoid, 0.2, dtype=dtype)
    assert gradient.dtype == dtype
    assert float(gradient) == pytest.approx(expected, abs=tolerance)
    assert float(gradient) == pytest.approx(s(0.2) * (1 - s(0.2)), rel=DIGITS[dtype])
    assert value == pytest.approx(s(0.2), rel=DIGITS[dtype])


def test_sigmoid_is_one_gate_or_five():
    x = cr.tensor(0.2, dtype="float64", requires_grad=True)
    assert [node.name for node in cr.Graph(cr.sigmoid(x)).nodes] == ["Sigmoid"]
    names = [node.name for node in cr.Graph(sigmoid_in_five_gates(x)).nodes]
    assert names == ["Multiply", "Exp", "Add", "Power", "Multiply"]


# By hand; CS231n, optimization-2 ("Patterns in backward flow"): add distributes, max routes, multiply switches.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "gate, value, gradients",
    [(cr.add, 3.2, (1, 1)), (cr.maximum, 3.0, (0, 1)), (cr.multiply, 0.6, (3, 0.2))],
)
def test_sum_max_and_product_of_two_numbers(gate, value, gradients, dtype):
    z, got = value_and_gradients(gate, 0.2, 3.0, dtype=dtype)
    assert z == pytest.approx(value, rel=DIGITS[dtype])
    assert [float(g) for g in got] == [float(dtype(g)) for g in gradients]


# CS231n, optimization-2 ("Compound expressions with chain rule").
@pytest.mark.parametrize("dtype", DTYPES)
def test_sum_times_z(dtype):
    f, gradients = value_and_gradients(lambda x, y, z: (x + y) * z, -2.0, 5.0, -4.0, dtype=dtype)
    assert f == -12
    assert [float(g) for g in gradients] == [-4, -4, 3]


# CS231n, optimization-2 ("Modularity: sigmoid example"): the notes print 0.73, dx and dw to two digits; here
# by hand s(1) = 0.7310586, s (1 - s) = 0.1966119, times w, x and 1.
@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_neuron(dtype):
    def neuron(x, w):
        return cr.sigmoid(w[0] * x[0] + w[1] * x[1] + w[2])

    f, (dx, dw) = value_and_gradients(neuron, [-1.0, -2.0], [2.0, -3.0, -3.0], dtype=dtype)
    assert f == pytest.approx(0.7310586, abs=5e-8 + DIGITS[dtype])
    np.testing.assert_allclose(dx, [0.3932239, -0.5898358], rtol=0, atol=5e-8 + DIGITS[dtype])
    np.testing.assert_allclose(dw, [-0.1966119, -0.3932239, 0.1966119], rtol=0, atol=5e-8 + DIGITS[dtype])
    slope = e / (1 + e) ** 2
    np.testing.assert_allclose(dx, [2 * slope, -3 * slope], rtol=DIGITS[dtype])
    np.testing.assert_allclose(dw, [-slope, -2 * slope, slope], rtol=DIGITS[dtype])


# CS231n, optimization-2 ("Backprop in practice: Staged computation"): the notes give the function at (3, -4);
# the numbers by the quotient rule, below.
def test_staged_computation():
    def f(x, y):
        return (x + cr.sigmoid(y)) / (cr.sigmoid(x) + (x + y) ** 2)

    value, (dx, dy) = value_and_gradients(f, 3.0, -4.0)
    assert round(value, 10) == 1.5456448841
    assert [round(float(g), 10) for g in (dx, dy)] == [2.0595697956, 1.5922327515]

    top, bottom = 3 + s(-4), s(3) + (3 - 4) ** 2
    by_hand_x = (bottom - top * (s(3) * (1 - s(3)) + 2 * (3 - 4))) / bottom**2
    by_hand_y = (s(-4) * (1 - s(-4)) * bottom - top * 2 * (3 - 4)) / bottom**2
    assert value == pytest.approx(top / bottom, rel=1e-14)
    assert dx == pytest.approx(by_hand_x, rel=1e-14)
    assert dy == pytest.approx(by_hand_y, rel=1e-14)


def test_staged_computation_in_float32():
    def f(x, y):
        return (x + cr.sigmoid(y)) / (cr.sigmoid(x) + (x + y) ** 2)

    value, (dx, dy) = value_and_gradients(f, 3.0, -4.0, dtype=np.float32)
    assert value == pytest.approx(1.5456448841, rel=1e-6)
    assert dx == pytest.approx(2.0595697956, rel=1e-6)
    assert dy == pytest.approx(1.5922327515, rel=1e-6)


# ---- Vectors and matrices ----------------------------------------------------------------------------------


# By hand: d(xw + 4)/dw = x^T.
def test_affine_map_analytic_and_numerical():
    x = np.array([[0.5, -1.5, 2.0]], np.float32)
    w = cr.tensor([[1.0], [0.25], [-0.75]], requires_grad=True)

    def y(w):
        return cr.matmul(x, w) + 4.0

    y(w).backward()
    assert w.grad.shape == (3, 1) and w.grad.dtype == np.float32
    np.testing.assert_array_equal(w.grad.numpy(), x.T)
    numerical = cr.numerical_gradient(y, w, step=1e-3)
    assert numerical.dtype == np.float32
    np.testing.assert_allclose(numerical, w.grad.numpy(), rtol=1e-4)


# CS231n, optimization-2 ("Gradients for vectorized operations"): dx = dz y^T, dy = x^T dz.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n, k, m", [(5, 10, 3), (1, 1, 1), (7, 1, 2), (17, 33, 65)])
def test_matmul_gate(n, k, m, dtype):
    rng = np.random.default_rng(0)
    x, y, dz = (rng.standard_normal(shape).astype(dtype) for shape in ((n, k), (k, m), (n, m)))
    a, b = cr.tensor(x, requires_grad=True), cr.tensor(y, requires_grad=True)
    (a @ b).backward(dz)
    dx = np.einsum("nm,km->nk", dz.astype(np.float64), y)
    dy = np.einsum("nk,nm->km", x.astype(np.float64), dz)
    assert a.grad.shape == x.shape and b.grad.shape == y.shape
    tolerance = 1e-5 if dtype is np.float32 else 1e-13
    np.testing.assert_allclose(a.grad.numpy(), dx, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(b.grad.numpy(), dy, rtol=tolerance, atol=tolerance)


# By hand: relu acts on each entry alone. (CS231n's lecture 4 has the 4096-vector.)
def test_relu_jacobian_is_diagonal():
    x = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    x[7] = 0.0
    jacobian = cr.jacobian(cr.relu)(x)
    assert jacobian.shape == (4000, 4000)
    diagonal = jacobian.diagonal().copy()
    np.testing.assert_array_equal(diagonal, x > 0)
    np.fill_diagonal(jacobian, 0)
    assert not jacobian.any(), "an entry off the diagonal is not 0"


def test_relu_backward_never_builds_the_jacobian():
    x = cr.tensor(np.random.default_rng(0).standard_normal(4000), dtype=np.float32, requires_grad=True)
    y = cr.relu(x)
    g = np.ones(4000, np.float32)
    in_use = cr._core.memory_statistics()["bytes_in_use"]
    cr._core.reset_peak_memory()
    tracemalloc.start()
    try:
        y.backward(g)
        numpy_peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    core_peak = cr._core.memory_statistics()["peak_in_use"] - in_use
    used = numpy_peak + core_peak
    assert used < 100_000, f"backward of relu on 4,000 values took {used} bytes; its Jacobian has 64,000,000"
    np.testing.assert_array_equal(x.grad.numpy(), x.numpy() > 0)


# ---- Losses ------------------------------------------------------------------------------------------------


def hinge_by_hand(row, label, delta, power=1):
    return sum(max(0.0, v - row[label] + delta) ** power for j, v in enumerate(row) if j != label)


# CS231n, linear-classify ("Multiclass Support Vector Machine loss"): max(0, -7-13+10) + max(0, 11-13+10) = 8.
@pytest.mark.parametrize("dtype", DTYPES)
def test_hinge_with_margin_ten(dtype):
    assert cr.multiclass_hinge(np.array([[13, -7, 11]], dtype), [0], delta=10.0) == 8
    assert cr.multiclass_hinge(np.array([[13, -7, 11]], dtype), [0], delta=10.0, squared=True) == 64


# CS231n, lecture 3: cat, car and frog: 2.9, 0, 12.9 (each margin by hand below).
@pytest.mark.parametrize("dtype", DTYPES)
def test_hinge_of_cat_car_and_frog(dtype):
    rows = [(3.2, 5.1, -1.7), (1.3, 4.9, 2.0), (2.2, 2.5, -3.1)]
    scores, labels = np.array(rows, dtype), [0, 1, 2]
    tolerance = 10 * DIGITS[dtype]
    losses = cr.multiclass_hinge(scores, labels, reduction="none")
    np.testing.assert_allclose(losses, [2.9, 0, 12.9], rtol=tolerance)
    assert round(float(cr.multiclass_hinge(scores, labels)), 4) == 5.2667
    assert cr.multiclass_hinge(scores, labels, reduction="sum") == pytest.approx(15.8, rel=tolerance)
    squared = cr.multiclass_hinge(scores, labels, squared=True, reduction="none")
    # 2.9^2; no violation; 6.3^2 + 6.6^2.
    np.testing.assert_allclose(squared, [8.41, 0, 39.69 + 43.56], rtol=tolerance)
    assert cr.multiclass_hinge(scores, labels, squared=True) == pytest.approx(91.66 / 3, rel=tolerance)
    for row, label, loss in zip(rows, labels, losses, strict=True):
        assert loss == pytest.approx(hinge_by_hand(row, label, 1.0), rel=tolerance)


# By hand: each violated margin pushes its class up by 1 and the label's down by 1; squared, by twice the margin.
def test_hinge_gradients_of_cat_car_and_frog():
    rows = [(3.2, 5.1, -1.7), (1.3, 4.9, 2.0), (2.2, 2.5, -3.1)]
    _, (plain,) = value_and_gradients(lambda x: cr.multiclass_hinge(x, [0, 1, 2], reduction="sum"), rows)
    np.testing.assert_array_equal(plain, [[-1, 1, 0], [0, 0, 0], [1, 1, -2]])
    _, (squared,) = value_and_gradients(
        lambda x: cr.multiclass_hinge(x, [0, 1, 2], squared=True, reduction="sum"), rows
    )
    expected = [[-5.8, 5.8, 0], [0, 0, 0], [12.6, 13.2, -25.8]]
    np.testing.assert_allclose(squared, expected, rtol=1e-13)


# CS231n, lecture 3: unnormalised 24.5, 164.0, 0.18; probabilities 0.13, 0.87, 0.00; loss -ln 0.13 = 2.04.
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_cross_entropy_of_the_cat(dtype):
    scores = np.array([[3.2, 5.1, -1.7]], dtype)
    weights = [exp(3.2), exp(5.1), exp(-1.7)]
    by_hand = np.array(weights) / sum(weights)
    p = cr.softmax(scores)[0]
    assert [round(float(v), 4) for v in p] == [0.1300, 0.8690, 0.0010]
    np.testing.assert_allclose(p, by_hand, rtol=2 * DIGITS[dtype])
    loss, (gradient,) = value_and_gradients(
        lambda x: cr.softmax_cross_entropy(x, [0]), scores.tolist(), dtype=dtype
    )
    assert round(loss, 4) == 2.0404
    assert loss == pytest.approx(-log(by_hand[0]), rel=DIGITS[dtype])
    np.testing.assert_allclose(gradient, [by_hand - [1, 0, 0]], rtol=4 * DIGITS[dtype])


# CS231n, linear-classify ("SVM vs. Softmax"): the figure's scores; hinge 1.58, softmax loss 1.04.
@pytest.mark.parametrize("dtype", DTYPES)
def test_hinge_beside_softmax(dtype):
    scores = np.array([[-2.85, 0.86, 0.28]], dtype)
    hinge = cr.multiclass_hinge(scores, [2])
    assert hinge == pytest.approx((0.86 - 0.28 + 1), rel=10 * DIGITS[dtype])
    assert round(float(hinge), 2) == 1.58
    loss = float(cr.softmax_cross_entropy(scores, [2]))
    assert round(loss, 3) == 1.040
    total = exp(-2.85) + exp(0.86) + exp(0.28)
    assert loss == pytest.approx(log(total) - 0.28, rel=10 * DIGITS[dtype])


# CS231n, linear-classify ("Practical issues: Numeric stability"): e^789 overflows when taken as it is.
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_large_scores(dtype):
    scores = np.array([123, 456, 789], dtype)
    p = cr.softmax(scores)
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p, [0, 0, 1], rtol=1e-7, atol=1e-100)
    assert p.sum() == 1
    if dtype is np.float64:  # by hand: e^-666 and e^-333, over 1
        np.testing.assert_allclose(p[:2], [exp(-666), exp(-333)], rtol=1e-13)
    np.testing.assert_array_equal(cr.log_softmax(scores), np.array([-666, -333, 0], dtype))
    assert cr.softmax_cross_entropy(scores[None], [0]) == 666


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_scores_of_ten_thousand(scale, dtype):
    # By hand: with scores (a, 0) the loss of class 1 is ln(1 + e^a), which is a to every digit for a = 1e4.
    scores = np.array([[scale, 0.0]], dtype)
    loss, (gradient,) = value_and_gradients(
        lambda x: cr.softmax_cross_entropy(x, [1]), scores.tolist(), dtype=dtype
    )
    assert loss == max(scale, 0)
    np.testing.assert_array_equal(gradient, [[1, -1]] if scale > 0 else [[0, 0]])


# CS231n, linear-classify and neural-networks-3 ("Look for correct loss at chance performance").
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_loss_at_zero_weights(classes, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((37, 20)).astype(dtype)
    labels = rng.integers(0, classes, 37)
    scores = cr.linear(x, np.zeros((20, classes), dtype))
    assert cr.softmax_cross_entropy(scores, labels) == pytest.approx(log(classes), rel=DIGITS[dtype])
    for delta in (1.0, 0.5, 10.0):
        assert cr.multiclass_hinge(scores, labels, delta=delta) == pytest.approx((classes - 1) * delta)
        squared = cr.multiclass_hinge(scores, labels, delta=delta, squared=True)
        assert squared == pytest.approx((classes - 1) * delta**2)


# CS231n, optimization-2 ("Patterns in backward flow"): inputs times 1,000 make the gradient of W 1,000 times
# larger, for W's gradient is the input times what arrives.
@pytest.mark.parametrize("loss", [cr.multiclass_hinge, cr.softmax_cross_entropy])
def test_inputs_times_a_thousand(loss):
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((8, 5)), rng.integers(0, 3, 8)
    gradients = [
        value_and_gradients(lambda w, x=inputs: loss(cr.linear(x, w), labels), np.zeros((5, 3)))[1][0]
        for inputs in (x, 1000 * x)
    ]
    np.testing.assert_allclose(gradients[1], 1000 * gradients[0], rtol=1e-12)


def test_a_product_with_inputs_times_a_thousand():
    rng = np.random.default_rng(1)
    x, w, arriving = rng.standard_normal((8, 5)), rng.standard_normal((5, 3)), rng.standard_normal((8, 3))
    got = []
    for scale in (1.0, 1000.0):
        weight = cr.tensor(w, requires_grad=True)
        cr.linear(scale * x, weight).backward(arriving)
        got.append(weight.grad.numpy())
    np.testing.assert_allclose(got[1], 1000 * got[0], rtol=1e-12)


# ---- Distributions -----------------------------------------------------------------------------------------


# By hand.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_softmax_sums_to_one_along_its_axis_alone(axis, dtype):
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(dtype)
    p = cr.softmax(x, axis=axis)
    assert p.shape == (2, 3, 4)
    for other in range(3):
        sums_to_one = np.allclose(p.sum(other), 1, rtol=4 * DIGITS[dtype])
        assert sums_to_one == (other == axis % 3), f"the sums along axis {other} are {p.sum(other)}"
    weights = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(p, weights / weights.sum(axis, keepdims=True), rtol=4 * DIGITS[dtype])


# CS231n, linear-classify ("Information theory view"): H(p, q) = H(p) + KL(p || q).
@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_is_entropy_and_divergence(dtype):
    rng = np.random.default_rng(0)
    p, q = (rng.dirichlet(np.ones(6), size=5).astype(dtype) for _ in range(2))
    p[0] = [1, 0, 0, 0, 0, 0]
    together = cr.entropy(p) + cr.kl_divergence(p, q)
    np.testing.assert_allclose(cr.cross_entropy(p, q), together, rtol=4 * DIGITS[dtype])
    with np.errstate(divide="ignore", invalid="ignore"):
        by_hand = -np.where(p > 0, p * np.log(q.astype(np.float64)), 0).sum(-1)
    np.testing.assert_allclose(cr.cross_entropy(p, q), by_hand, rtol=4 * DIGITS[dtype])
    assert (cr.kl_divergence(p, q) > 0).all()
    np.testing.assert_allclose(cr.kl_divergence(p, p), 0, atol=DIGITS[dtype])


# By hand: with the true class alone in p, H(p) = 0 and the cross-entropy is the divergence: the softmax loss.
def test_softmax_loss_is_the_cross_entropy_of_a_one_hot_distribution():
    scores = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0]])
    one_hot = np.array([[1.0, 0, 0], [0, 0, 1.0]])
    losses = cr.softmax_cross_entropy(scores, [0, 2], reduction="none")
    np.testing.assert_allclose(losses, cr.cross_entropy(one_hot, cr.softmax(scores)), rtol=1e-14)
    np.testing.assert_array_equal(cr.entropy(one_hot), [0, 0])


# By hand: a fair coin ln 2, a fair die ln 6; a certain outcome 0.
def test_entropy_of_fair_and_certain_outcomes():
    assert cr.entropy(np.full(2, 0.5)) == pytest.approx(log(2), rel=1e-15)
    assert cr.entropy(np.full(6, 1 / 6)) == pytest.approx(log(6), rel=1e-15)
    assert cr.entropy(np.array([0.0, 1.0])) == 0
    assert cr.kl_divergence(np.array([0.5, 0.5]), np.array([0.0, 1.0])) == np.inf
    assert cr.kl_divergence(np.array([0.0, 1.0]), np.array([0.5, 0.5])) == pytest.approx(log(2), rel=1e-15)


# ---- Regularisation and mean squared error -----------------------------------------------------------------


# CS231n, linear-classify ("Regularization"): x = (1,1,1,1); w1 = (1,0,0,0) costs 1, w2 = (1/4, ...) costs 1/4,
# with one and the same score.
def test_l2_prefers_spread_weights_and_l1_does_not():
    w1, w2, x = np.array([1.0, 0, 0, 0]), np.full(4, 0.25), np.ones(4)
    assert cr.matmul(x, w1) == cr.matmul(x, w2) == 1
    assert cr.elastic_net(w1, l2=1.0) == 1 and cr.elastic_net(w2, l2=1.0) == 0.25
    assert cr.elastic_net(w1, l1=1.0) == cr.elastic_net(w2, l1=1.0) == 1


# By hand: 0.5 (1 + 2 + 0 + 3) + 0.1 (1 + 4 + 0 + 9) = 3 + 1.4; gradient 0.5 sign w + 0.2 w.
def test_elastic_net_of_two_parameters():
    value, gradients = value_and_gradients(
        lambda a, b: cr.elastic_net([a, b], l1=0.5, l2=0.1), [1.0, -2.0], [[0.0], [3.0]]
    )
    assert value == pytest.approx(4.4, rel=1e-15)
    np.testing.assert_allclose(gradients[0], [0.7, -0.9], rtol=1e-15)
    np.testing.assert_allclose(gradients[1], [[0], [1.1]], rtol=1e-15)


# By hand: ((1-1)^2 + (2-4)^2) / 2 = 2; gradient 2 (p - t) / 2.
def test_mean_squared_error_of_two_predictions():
    value, (gradient,) = value_and_gradients(
        lambda p: cr.mean_squared_error(p, np.array([1.0, 4.0])), [1.0, 2.0]
    )
    assert value == 2
    np.testing.assert_array_equal(gradient, [0, -2])
