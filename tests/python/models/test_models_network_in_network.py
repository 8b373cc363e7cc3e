"""Network in Network against its authors' definitions, counted by hand, and against PyTorch."""

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule.models import NetworkInNetwork

# The authors' definitions: (kernel, channels, filters) of each convolution; 1 x 1 ones are the cccp layers.
CIFAR10 = [(5, 3, 192), (1, 192, 160), (1, 160, 96)]
CIFAR10 += [(5, 96, 192), (1, 192, 192), (1, 192, 192), (3, 192, 192), (1, 192, 192), (1, 192, 10)]
MNIST = [(5, 1, 96), (1, 96, 64), (1, 64, 48)]
MNIST += [(5, 48, 128), (1, 128, 96), (1, 96, 48), (5, 48, 128), (1, 128, 96), (1, 96, 10)]


@pytest.mark.parametrize(
    "shape, table, sides, total",
    [((32, 32, 3), CIFAR10, (32, 16, 8), 966_986), ((28, 28, 1), MNIST, (28, 14, 7), 349_674)],
)
def test_layers_and_parameters_are_the_papers(shape, table, sides, total):
    rows = NetworkInNetwork(shape).summary(shape).layers
    convolutions = [row for row in rows if row.kind == "Conv2d"]
    assert [row.parameters for row in convolutions] == [k * k * c * f + f for k, c, f in table]
    assert [row.output_shape for row in convolutions] == [
        (sides[i // 3], sides[i // 3], f) for i, (_, _, f) in enumerate(table)
    ]
    assert sum(k * k * c * f + f for k, c, f in table) == total == sum(row.parameters for row in rows)
    kinds = [row.kind for row in rows]
    block = ["Conv2d", "ReLU"] * 3
    between = ["MaxPool2d", "Dropout"]
    assert kinds == [*block, *between, *block, *between, *block, "GlobalAvgPool2d"]
    assert rows[-1].output_shape == (10,)


def test_maps_that_are_scores_start_alike_and_maps_that_a_classifier_reads_as_hidden_ones():
    """He et al., 2015, equation 10: a standard deviation of sqrt(2 / inputs). Only that of maps that are scores is a
    tenth, with bias 1 before relu."""
    for classifier, scale, bias in (("global_average", 0.1, 1), ("fully_connected", 1, 0)):
        *_, last, relu = NetworkInNetwork(classifier=classifier, seed=0).features.layers
        assert isinstance(relu, cr.nn.ReLU) and last.weight.shape == (1, 1, 192, 10)
        assert last.weight.numpy().std() == pytest.approx(scale * (2 / 192) ** 0.5, rel=0.05)
        assert (last.bias.numpy() == bias).all()


def test_under_dropout_the_fully_connected_classifier_leaves_chance():
    """Ten classes of one colour each, with noise: relu's maps must not die in the first steps."""
    rng = np.random.default_rng(0)
    net = NetworkInNetwork(
        (8, 8, 3),
        blocks=((3, 16, 16),),
        classifier="fully_connected",
        classifier_dropout=0.5,
        batch_norm=True,
        seed=0,
    )
    optimizer = cr.optim.SGD(list(net.parameters()), lr=0.05, momentum=0.9)
    colours = rng.standard_normal((10, 1, 1, 3)).astype(np.float32)
    losses = []
    for _ in range(60):
        labels = rng.integers(0, 10, 64)
        x = colours[labels] + 0.5 * rng.standard_normal((64, 8, 8, 3)).astype(np.float32)
        loss = cr.softmax_cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.5 * np.log(10)


def test_the_fully_connected_classifier_reads_the_same_maps():
    net = NetworkInNetwork(classifier="fully_connected", classifier_dropout=0.5, seed=0)
    plain = NetworkInNetwork(seed=0)
    assert repr(net.features) == repr(plain.features)
    rows = net.summary((32, 32, 3)).layers
    assert [row.kind for row in rows[-3:]] == ["Flatten", "Dropout", "Linear"]
    assert rows[-1].parameters == 8 * 8 * 10 * 10 + 10
    *hidden, weight, _ = net.features.parameters()
    *others, other, _ = plain.features.parameters()
    for one, two in zip(hidden, others, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())
    np.testing.assert_allclose(weight.numpy(), 10 * other.numpy(), rtol=1e-6)


def test_scores_are_the_means_of_the_maps():
    net = NetworkInNetwork((28, 28, 1), seed=0).eval()
    x = np.random.default_rng(0).standard_normal((2, 28, 28, 1)).astype(np.float32)
    maps = net.features(x).numpy()
    assert maps.shape == (2, 7, 7, 10) and (maps >= 0).all()
    np.testing.assert_allclose(net(x).numpy(), maps.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)


def test_a_block_is_a_perceptron_slid_over_the_image():
    net = NetworkInNetwork((9, 9, 2), 3, blocks=[(3, 5, 4)], seed=0).eval()
    x = np.random.default_rng(0).standard_normal((1, 9, 9, 2)).astype(np.float32)
    maps = net.features(x).numpy()
    weights = [p.numpy() for p in net.parameters()]
    patch = x[0, 3:6, 4:7].reshape(-1)  # around pixel (4, 5)
    for w, b in zip(weights[::2], weights[1::2], strict=True):
        patch = np.maximum(patch @ w.reshape(-1, w.shape[-1]) + b, 0)
    np.testing.assert_allclose(maps[0, 4, 5], patch, rtol=1e-5, atol=1e-6)


def test_beside_pytorch():
    torch = pytest.importorskip("torch")
    net = NetworkInNetwork((28, 28, 1), pooling=("max", "average"), seed=0).eval()
    parts, layers = torch.nn, []
    for i, (kernel, channels, filters) in enumerate(MNIST):
        layers += [parts.Conv2d(channels, filters, kernel, padding=kernel // 2), parts.ReLU()]
        if i == 2:
            layers.append(parts.MaxPool2d(3, 2, 1))
        if i == 5:
            layers.append(parts.AvgPool2d(3, 2, 1))
    twin = parts.Sequential(*layers, parts.AdaptiveAvgPool2d(1), parts.Flatten())
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        value = ours.numpy()
        theirs.data[...] = torch.tensor((value.transpose(3, 2, 0, 1) if value.ndim == 4 else value).copy())
    x = np.random.default_rng(0).standard_normal((3, 28, 28, 1)).astype(np.float32)
    y = np.array([1, 0, 9])
    scores, expected = net(x), twin(torch.tensor(x.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(scores.numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-4)
    net.loss(scores, y).backward()
    torch.nn.functional.cross_entropy(expected, torch.tensor(y)).backward()
    first = next(net.parameters()).grad.numpy().transpose(3, 2, 0, 1)
    np.testing.assert_allclose(first, twin[0].weight.grad.numpy(), rtol=1e-3, atol=1e-5)


def test_options():
    kinds = lambda net: [type(layer).__name__ for layer in net.features.layers]  # noqa: E731
    averaged = kinds(NetworkInNetwork(pooling="average"))
    assert averaged.count("AvgPool2d") == 2 and "MaxPool2d" not in averaged
    normalised = NetworkInNetwork(batch_norm=True)
    assert kinds(normalised).count("BatchNorm2d") == 8  # not after the last
    assert [
        layer.bias is None for layer in normalised.features.layers if isinstance(layer, cr.nn.Conv2d)
    ] == [
        *[True] * 8,
        False,
    ]
    assert kinds(NetworkInNetwork(last_relu=False))[-1] == "Conv2d"
    assert [layer.p for layer in NetworkInNetwork(dropout=0.3).features.layers if hasattr(layer, "p")] == [
        0.3
    ] * 2
    deep = NetworkInNetwork((17, 23, 4), 6, blocks=((3, 8), (3, 8), (1, 8), (5, 8, 8)), seed=0)
    assert deep(np.zeros((2, 17, 23, 4), np.float32)).shape == (2, 6)
    wide = NetworkInNetwork((17, 23, 4), 6, blocks=((3, 8), (3, 8)), classifier="fully_connected", seed=0)
    assert wide(np.zeros((2, 17, 23, 4), np.float32)).shape == (2, 6)


def test_the_last_maps_start_alive_and_alike():
    x = np.random.default_rng(0).standard_normal((8, 28, 28, 1)).astype(np.float32)
    for last_relu in (True, False):
        net = NetworkInNetwork((28, 28, 1), last_relu=last_relu, seed=0)
        scores = net.eval()(x)
        loss = float(net.loss(scores, np.arange(8)))
        assert loss == pytest.approx(np.log(10), abs=0.2)
        assert (scores.numpy() > 0).all() or not last_relu


@pytest.mark.parametrize(
    "settings, error, message",
    [
        (
            {"pooling": "mean"},
            ValueError,
            "pooling 'mean': give 'max' or 'average', or one for each of 2 gaps",
        ),
        (
            {"pooling": ("max",)},
            ValueError,
            "pooling ('max',): give 'max' or 'average', or one for each of 2 gaps",
        ),
        ({"classifier": "svm"}, ValueError, "classifier 'svm': give 'global_average' or 'fully_connected'"),
        ({"blocks": ()}, ValueError, "blocks are empty: give one or more"),
        ({"blocks": ((4, 8),)}, ValueError, "block (4, 8): give an odd kernel, then maps of 1 or more"),
        ({"blocks": ((3,),)}, ValueError, "block (3,): give an odd kernel, then maps of 1 or more"),
        ({"blocks": ((3, 0),)}, ValueError, "block (3, 0): give an odd kernel, then maps of 1 or more"),
        ({"blocks": (3, 5)}, TypeError, "blocks (3, 5): give (kernel, maps, ...) for each block"),
        ({"blocks": ((3, 2.5),)}, TypeError, "blocks 2.5 is not an integer"),
        ({"dropout": 2}, ValueError, "Dropout: p = 2: give a number from 0 to 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, error, message):
    with pytest.raises(error, match=re.escape(message)):
        NetworkInNetwork(**settings)
