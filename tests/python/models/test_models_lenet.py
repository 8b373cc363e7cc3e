"""LeNet-5 against the paper's layers, counted by hand, and against PyTorch."""

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule.models import LeNet5

X = np.random.default_rng(0).standard_normal((4, 28, 28, 1)).astype(np.float32)
Y = np.array([3, 1, 4, 1])

# LeCun et al. 1998, section II.B: (layer, trainable parameters, connections), a connection a weight or bias in use.
PAPER = [
    ("C1", 156, 122_304),
    ("S2", 12, 5_880),
    ("C3", 1_516, 151_600),
    ("S4", 32, 2_000),
    ("C5", 48_120, 48_120),
    ("F6", 10_164, 10_164),
]
# Table I: an X where a map of S2 (row) is read by a map of C3 (column).
TABLE_I = """
X . . . X X X . . X X X X . X X
X X . . . X X X . . X X X X . X
X X X . . . X X X . . X . X X X
. X X X . . X X X X . . X . X X
. . X X X . . X X X X . X X . X
. . . X X X . . X X X X . X X X
"""


def test_the_paper_form_has_the_papers_parameters():
    rows = {row.name: row for row in LeNet5(form="paper").summary((28, 28, 1)).layers}
    counts = [rows[f"layers.{i}"].parameters for i in (0, 2, 4, 6, 9, 11)]
    assert counts == [parameters for _, parameters, _ in PAPER]
    assert sum(counts) == 60_000  # "about 60,000 trainable free parameters": 60,000 exactly
    # By hand: six filters of 5 x 5 and biases; a gain and bias a map; ...
    assert counts[0] == 6 * (25 + 1) and counts[1] == 6 * 2
    assert counts[2] == 16 + 25 * (6 * 3 + 9 * 4 + 1 * 6) and counts[3] == 16 * 2
    assert counts[4] == 120 * (16 * 25 + 1) and counts[5] == 84 * (120 + 1)
    # The fixed radial basis functions, 84 x 10 numbers, are a linear layer here.
    assert sum(p.size for p in LeNet5(form="paper").parameters()) == 60_000 + 84 * 10 + 10


def test_the_paper_form_has_the_papers_connections():
    rows = {row.name: row for row in LeNet5(form="paper").summary((28, 28, 1)).layers}
    found = []
    for i in (0, 2, 4, 6, 9, 11):
        row = rows[f"layers.{i}"]
        height, width = row.output_shape[:2] if len(row.output_shape) == 3 else (1, 1)
        if i in (2, 6):  # four pixels and a bias for each value
            found.append(5 * height * width * row.output_shape[2])
        else:
            found.append(row.parameters * height * width)
    assert found == [connections for _, _, connections in PAPER]


def test_maps_read_what_table_i_says():
    reads = np.array([[mark == "X" for mark in line.split()] for line in TABLE_I.split("\n") if line])
    assert reads.shape == (6, 16) and reads.sum() == 60
    c3 = LeNet5(form="paper", seed=0).layers[4]
    x = np.random.default_rng(0).standard_normal((1, 14, 14, 6)).astype(np.float32)
    for filter in range(16):
        leaf = cr.tensor(x, requires_grad=True)
        cr.sum(c3(leaf)[..., filter]).backward()
        np.testing.assert_array_equal(leaf.grad.numpy().any(axis=(0, 1, 2)), reads[:, filter])


def test_the_parts_of_the_paper_form_are_their_formulas():
    net = LeNet5(form="paper", seed=0)
    squash, subsample, c3 = net.layers[1], net.layers[2], net.layers[4]
    x = np.linspace(-3, 3, 9).astype(np.float32)
    np.testing.assert_allclose(squash(x), 1.7159 * np.tanh(2 * x / 3), rtol=1e-6)
    np.testing.assert_allclose(squash(np.float32([1, -1])), [1, -1], atol=1e-4)  # as Efficient BackProp says
    images = np.random.default_rng(1).standard_normal((2, 4, 6, 6)).astype(np.float32)
    subsample.weight.data[...] = np.arange(6)
    subsample.bias.data[...] = -1
    mean = images.reshape(2, 2, 2, 3, 2, 6).mean(axis=(2, 4))
    np.testing.assert_allclose(subsample(images).numpy(), mean * np.arange(6) - 1, rtol=1e-5, atol=1e-5)
    full = np.zeros((5, 5, 6, 16), np.float32)
    connection = 0
    for k, channels in enumerate(c3.reads):
        for channel in channels:
            full[:, :, channel, k] = c3.weight.numpy()[:, :, connection]
            connection += 1
    images = np.random.default_rng(2).standard_normal((2, 14, 14, 6)).astype(np.float32)
    np.testing.assert_allclose(c3(images).numpy(), cr.conv2d(images, full), rtol=1e-5, atol=1e-5)


def test_the_paper_form_starts_within_its_bounds():
    net = LeNet5(form="paper", seed=0)
    for layer, fan_in in ((0, 25), (9, 400), (11, 120), (13, 84)):
        largest = np.abs(net.layers[layer].weight.numpy()).max()
        assert 0.8 * 2.4 / fan_in < largest <= 2.4 / fan_in
    weight, start = net.layers[4].weight.numpy(), 0
    for channels in net.layers[4].reads:
        part = weight[:, :, start : start + len(channels)]
        assert 0.8 * 2.4 / (25 * len(channels)) < np.abs(part).max() <= 2.4 / (25 * len(channels))
        start += len(channels)


def test_the_modern_form_has_the_usual_61706_parameters():
    rows = LeNet5().summary((28, 28, 1)).layers
    shapes = [row.output_shape for row in rows if row.kind in ("Conv2d", "MaxPool2d", "Linear")]
    assert shapes == [(28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (120,), (84,), (10,)]
    by_hand = [6 * 26, 16 * (25 * 6 + 1), 120 * 401, 84 * 121, 10 * 85]
    assert [row.parameters for row in rows if row.parameters] == by_hand
    assert sum(by_hand) == 61_706 == sum(p.size for p in LeNet5().parameters())


def test_the_modern_form_beside_pytorch():
    torch = pytest.importorskip("torch")
    net = LeNet5(seed=3)
    parts = torch.nn
    twin = parts.Sequential(
        parts.Conv2d(1, 6, 5, padding=2),
        parts.ReLU(),
        parts.MaxPool2d(2),
        parts.Conv2d(6, 16, 5),
        parts.ReLU(),
        parts.MaxPool2d(2),
        parts.Flatten(),
        parts.Linear(400, 120),
        parts.ReLU(),
        parts.Linear(120, 84),
        parts.ReLU(),
        parts.Linear(84, 10),
    )
    for (name, ours), theirs in zip(net.named_parameters(), twin.parameters(), strict=True):
        value = ours.numpy()
        if value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)
        elif name == "layers.7.weight":  # flattened channel by channel there
            value = value.reshape(5, 5, 16, 120).transpose(3, 2, 0, 1).reshape(120, 400)
        elif value.ndim == 2:
            value = value.T
        theirs.data[...] = torch.tensor(value.copy())
    scores = net(X)
    expected = twin(torch.tensor(X.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(scores.numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-4)
    loss = net.loss(scores, Y)
    loss.backward()
    torch.nn.functional.cross_entropy(expected, torch.tensor(Y)).backward()
    first = net.layers[0].weight.grad.numpy().transpose(3, 2, 0, 1)
    np.testing.assert_allclose(first, twin[0].weight.grad.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("form", ["modern", "paper"])
def test_other_images_and_classes(form):
    net = LeNet5((32, 12, 3), 7, form=form, seed=0)
    assert net(np.zeros((2, 32, 12, 3), np.float32)).shape == (2, 7)
    assert net.first_weights().shape == (5, 5, 3, 6)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: LeNet5((8, 28, 1)),
            "LeNet5: images of 8 x 28: give sides of at least 12 and divisible by 4",
        ),
        (
            lambda: LeNet5((28, 30, 1)),
            "LeNet5: images of 28 x 30: give sides of at least 12 and divisible by 4",
        ),
        (lambda: LeNet5(form="new"), "LeNet5: form 'new': give 'modern' or 'paper'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
