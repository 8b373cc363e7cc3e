"""Classifiers: scores and losses against NumPy and PyTorch, seeds, and what they refuse."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.models import MLP, LinearSVM, SoftmaxRegression, TwoLayerNet
from chainrule.models.classifier import Classifier

MAKERS = {
    "svm": lambda seed=0: LinearSVM(12, 4, seed=seed),
    "softmax": lambda seed=0: SoftmaxRegression(12, 4, seed=seed),
    "mlp": lambda seed=0: MLP(12, (7, 5), 4, seed=seed),
    "two layers": lambda seed=0: TwoLayerNet(12, 9, 4, seed=seed),
}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 2, 2, 3)).astype(np.float32)
Y = RNG.integers(0, 4, 6)


def written_out(model, x):
    """Scores in float64, by the formula."""
    state = {name: value.astype(np.float64) for name, value in model.state_dict().items()}
    layers = sorted({name.rpartition(".")[0] for name in state})
    for i, layer in enumerate(layers):
        x = (np.maximum(x, 0) if i else x) @ state[f"{layer}.weight"] + state[f"{layer}.bias"]
    return x


@pytest.mark.parametrize("name", MAKERS)
def test_model_scores_are_those_of_the_formula(name):
    model = MAKERS[name]()
    scores = model(X)
    assert scores.shape == (6, 4) and scores.dtype == np.float32
    np.testing.assert_allclose(scores.numpy(), written_out(model, X.reshape(6, 12)), rtol=1e-4, atol=1e-5)
    flat = model(X.reshape(6, 12)).numpy()
    assert np.array_equal(flat, scores.numpy())
    strided = model(np.asfortranarray(X)).numpy()
    assert np.array_equal(strided, scores.numpy())


@pytest.mark.parametrize("name", MAKERS)
def test_model_is_the_same_for_the_same_seed(name):
    one, same, other = MAKERS[name](3), MAKERS[name](3), MAKERS[name](4)
    assert one.state_dict().keys() == same.state_dict().keys()
    assert all(np.array_equal(v, same.state_dict()[k]) for k, v in one.state_dict().items())
    assert not np.array_equal(one.first_weights(), other.first_weights())


@pytest.mark.parametrize("name", MAKERS)
def test_model_state_goes_into_another(name):
    one, other = MAKERS[name](3), MAKERS[name](4)
    other.load_state_dict(one.state_dict())
    assert np.array_equal(one(X).numpy(), other(X).numpy())


@pytest.mark.parametrize("name", MAKERS)
def test_model_gradients_agree_with_pytorch(name):
    torch = pytest.importorskip("torch")
    model = MAKERS[name]()
    loss = model.loss(model(X), Y)
    loss.backward()
    state = {k: torch.tensor(v, requires_grad=True) for k, v in model.state_dict().items()}
    x = torch.tensor(X.reshape(6, 12))
    for i, layer in enumerate(sorted({k.rpartition(".")[0] for k in state})):
        x = (torch.relu(x) if i else x) @ state[f"{layer}.weight"] + state[f"{layer}.bias"]
    y = torch.tensor(Y)
    if name == "svm":  # torch's own divides by the number of classes
        expected = torch.nn.functional.multi_margin_loss(x, y) * 4
    else:
        expected = torch.nn.functional.cross_entropy(x, y)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for key, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), state[key].grad.numpy(), rtol=1e-4, atol=1e-6)


def test_svm_loss_has_a_margin_and_may_be_squared():
    scores = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    labels = np.array([0, 1, 2])
    # CS231n, linear classification: losses 2.9, 0 and 12.9.
    assert LinearSVM(5, 3, seed=0).loss(scores, labels) == pytest.approx(15.8 / 3)
    violations = [2.9, 0.0, 6.3, 6.6]
    squared = LinearSVM(5, 3, squared=True, seed=0).loss(scores, labels)
    assert squared == pytest.approx(sum(v * v for v in violations) / 3)
    assert LinearSVM(5, 3, delta=10, seed=0).loss(np.array([[13.0, -7.0, 11.0]]), np.array([0])) == 8


def test_losses_at_zero_weights():
    # Softmax: ln C. Hinge: (C - 1) delta.
    zeros, labels = np.zeros((5, 4), np.float32), np.arange(5) % 4
    assert SoftmaxRegression(3, 4, seed=0).loss(zeros, labels) == pytest.approx(np.log(4))
    assert LinearSVM(3, 4, delta=2.5, seed=0).loss(zeros, labels) == pytest.approx(3 * 2.5)


def test_mlp_takes_any_number_of_layers():
    assert len(list(MLP(12, (), 4, seed=0).parameters())) == 2
    deep = MLP(12, [8] * 20, 4, seed=0)
    assert len(list(deep.parameters())) == 42 and deep(X).shape == (6, 4)
    for width in (7, np.int64(7)):
        assert MLP(12, width, 4, seed=0).first_weights().shape == (12, 7)


def test_mlp_starts_with_the_variance_of_he_and_no_bias():
    # He et al., Delving Deep into Rectifiers, 2015: variance 2 / fan-in before relu.
    net = MLP(400, (300,), 10, seed=0)
    assert net.first_weights().var() == pytest.approx(2 / 400, rel=0.05)
    for name, value in net.state_dict().items():
        assert name.endswith("weight") or not value.any()


@pytest.mark.parametrize("name", MAKERS)
def test_first_weights_are_columns_of_templates(name):
    model = MAKERS[name]()
    weights = model.first_weights()
    assert isinstance(weights, np.ndarray) and weights.shape[0] == 12
    assert np.array_equal(weights, next(v for k, v in model.state_dict().items() if k.endswith("weight")))


@pytest.mark.parametrize("name", MAKERS)
def test_model_takes_no_examples_and_one(name):
    model = MAKERS[name]()
    assert model(X[:0]).shape == (0, 4)
    np.testing.assert_allclose(model(X[:1]).numpy(), model(X).numpy()[:1], rtol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(12, np.float32), r"x has shape \(12,\): give \(N, \.\.\.\), one row an example"),
        (np.float32(3), r"x has shape \(\): give"),
        (np.zeros((3, 11), np.float32), "11|features"),
        (np.zeros((3, 2, 2, 2), np.float32), "8|features"),
    ],
)
def test_model_refuses_inputs_of_another_shape(name, x, message):
    with pytest.raises(ValueError, match=message):
        MAKERS[name]()(x)


@pytest.mark.parametrize(
    "make", [SoftmaxRegression, LinearSVM, lambda i, c: MLP(i, 3, c), lambda i, c: MLP(5, i, c)]
)
@pytest.mark.parametrize(("features", "classes"), [(0, 3), (-1, 3), (3, 0)])
def test_model_refuses_sizes_below_1(make, features, classes):
    with pytest.raises(ValueError, match="must be at least 1"):
        make(features, classes)


def test_classifier_of_ones_own_needs_its_scores_alone():
    class Mean(Classifier):
        def scores(self, x):
            return cr.stack([cr.mean(x, axis=1), -cr.mean(x, axis=1)], axis=1)

    model = Mean()
    scores = model(X)
    np.testing.assert_allclose(scores[:, 0], X.reshape(6, 12).mean(axis=1), rtol=1e-5, atol=1e-7)
    assert float(model.loss(scores, Y % 2)) > 0
    with pytest.raises(TypeError, match=r"^Mean\.first_weights is not defined"):
        model.first_weights()
    with pytest.raises(TypeError, match=r"^Classifier\.scores is not defined"):
        Classifier()(X)
