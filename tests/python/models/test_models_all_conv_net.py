"""The all-convolutional nets against the tables of their paper, and All-CNN-C against PyTorch."""

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule.models import AllConvNet

# Springenberg et al. 2015. Table 1 for the bases, table 2 for the variants of C; those of A and B follow its rules:
# (kernel, channels, filters, stride) of a convolution, and "pool" for max-pooling of 3 x 3 with stride 2.
END = [(3, 192, 192, 1), (1, 192, 192, 1), (1, 192, 10, 1)]
NETS = {
    ("A", "base"): [(5, 3, 96, 1), "pool", (5, 96, 192, 1), "pool"],
    ("A", "strided"): [(5, 3, 96, 2), (5, 96, 192, 2)],
    ("A", "convpool"): [(5, 3, 96, 1), (3, 96, 96, 1), "pool", (5, 96, 192, 1), (3, 192, 192, 1), "pool"],
    ("A", "all"): [(5, 3, 96, 1), (3, 96, 96, 2), (5, 96, 192, 1), (3, 192, 192, 2)],
    ("B", "base"): [(5, 3, 96, 1), (1, 96, 96, 1), "pool", (5, 96, 192, 1), (1, 192, 192, 1), "pool"],
    ("B", "strided"): [(5, 3, 96, 1), (1, 96, 96, 2), (5, 96, 192, 1), (1, 192, 192, 2)],
    ("B", "convpool"): [
        (5, 3, 96, 1), (1, 96, 96, 1), (3, 96, 96, 1), "pool",
        (5, 96, 192, 1), (1, 192, 192, 1), (3, 192, 192, 1), "pool",
    ],
    ("B", "all"): [
        (5, 3, 96, 1), (1, 96, 96, 1), (3, 96, 96, 2),
        (5, 96, 192, 1), (1, 192, 192, 1), (3, 192, 192, 2),
    ],
    ("C", "base"): [(3, 3, 96, 1), (3, 96, 96, 1), "pool", (3, 96, 192, 1), (3, 192, 192, 1), "pool"],
    ("C", "strided"): [(3, 3, 96, 1), (3, 96, 96, 2), (3, 96, 192, 1), (3, 192, 192, 2)],
    ("C", "convpool"): [
        (3, 3, 96, 1), (3, 96, 96, 1), (3, 96, 96, 1), "pool",
        (3, 96, 192, 1), (3, 192, 192, 1), (3, 192, 192, 1), "pool",
    ],
    ("C", "all"): [
        (3, 3, 96, 1), (3, 96, 96, 1), (3, 96, 96, 2),
        (3, 96, 192, 1), (3, 192, 192, 1), (3, 192, 192, 2),
    ],
}  # fmt: skip
# Table 3's counts in millions, which are rounded up. It gives 1.3 for C and Strided-CNN-C, whose tables make 0.95.
MILLIONS = {
    ("A", "base"): 0.9,
    ("A", "strided"): 0.9,
    ("A", "convpool"): 1.28,
    ("A", "all"): 1.28,
    ("B", "base"): 1.0,
    ("B", "strided"): 1.0,
    ("B", "convpool"): 1.35,
    ("B", "all"): 1.35,
    ("C", "convpool"): 1.4,
    ("C", "all"): 1.4,
}


@pytest.mark.parametrize("base, variant", NETS)
def test_layers_and_parameters_are_the_papers(base, variant):
    table = [*NETS[base, variant], *END]
    rows = AllConvNet(base=base, variant=variant).summary((32, 32, 3)).layers
    found = [row for row in rows if row.kind in ("Conv2d", "MaxPool2d")]
    side, expected = 32, []
    for i, entry in enumerate(table):
        if entry == "pool":
            side //= 2
            expected.append(("MaxPool2d", 0, (side, side, expected[-1][2][2])))
            continue
        kernel, channels, filters, stride = entry
        if i == len(table) - 3:
            side -= 2  # 8 x 8 to the 6 x 6 that the table averages over
        side //= stride
        expected.append(("Conv2d", kernel * kernel * channels * filters + filters, (side, side, filters)))
    assert [(row.kind, row.parameters, row.output_shape) for row in found] == expected
    total = sum(parameters for _, parameters, _ in expected)
    assert total == sum(p.size for p in AllConvNet(base=base, variant=variant).parameters())
    if (base, variant) in MILLIONS:
        assert 0.83 * MILLIONS[base, variant] < total / 1e6 < MILLIONS[base, variant] + 0.005
    assert [row.kind for row in rows].count("ReLU") == len([e for e in table if e != "pool"])
    assert rows[-1].kind == "GlobalAvgPool2d" and rows[-1].output_shape == (10,)


def test_totals_by_hand():
    totals = {
        base: [sum(p.size for p in AllConvNet(base=base, variant=v).parameters()) for v in ("base", "all")]
        for base in "ABC"
    }
    # A: 96 (75 + 1) + 192 (2400 + 1) + 192 (1728 + 1) + 192 (192 + 1) + 10 (192 + 1)
    assert totals["A"][0] == 96 * 76 + 192 * 2401 + 192 * 1729 + 192 * 193 + 10 * 193 == 839_242
    assert totals["B"][0] == 839_242 + 96 * 97 + 192 * 193 == 885_610
    assert totals["C"][0] == 96 * 28 + 96 * 865 + 192 * 865 + 2 * 192 * 1729 + 192 * 193 + 10 * 193 == 954_730
    assert {after - before for before, after in totals.values()} == {96 * 865 + 192 * 1729}  # a 3 x 3 a stage


def test_dropout_stands_on_the_image_and_at_the_end_of_each_stage():
    for variant in ("base", "strided", "convpool", "all"):
        layers = AllConvNet(variant=variant).features.layers
        places = [(i, layer.p) for i, layer in enumerate(layers) if isinstance(layer, cr.nn.Dropout)]
        assert [p for _, p in places] == [0.2, 0.5, 0.5] and places[0][0] == 0
        for i, _ in places[1:]:
            pooled = isinstance(layers[i - 1], cr.nn.MaxPool2d)
            assert pooled == (variant in ("base", "convpool"))
            assert pooled or isinstance(layers[i - 1], cr.nn.ReLU)
    changed = AllConvNet(input_dropout=0.1, dropout=0).features.layers
    assert [layer.p for layer in changed if isinstance(layer, cr.nn.Dropout)] == [0.1, 0, 0]


def test_all_cnn_c_sees_more_of_the_image_layer_by_layer():
    rows = AllConvNet().summary((32, 32, 3)).layers
    fields = [row.receptive_field[0] for row in rows if row.kind == "Conv2d"]
    assert fields == [3, 5, 7, 11, 15, 19, 27, 27, 27]


def test_options():
    kinds = [type(layer).__name__ for layer in AllConvNet(batch_norm=True).features.layers]
    assert kinds.count("BatchNorm2d") == 8 and kinds[-2:] == ["Conv2d", "ReLU"]
    assert type(AllConvNet(last_relu=False).features.layers[-1]) is cr.nn.Conv2d
    net = AllConvNet((20, 9, 1), 4, base="B", variant="strided", seed=0)
    assert net(np.zeros((2, 20, 9, 1), np.float32)).shape == (2, 4)
    assert net.first_weights().shape == (5, 5, 1, 96)


@pytest.mark.parametrize("variant", ["all", "base"])
def test_base_c_beside_pytorch(variant):
    torch = pytest.importorskip("torch")
    net = AllConvNet((16, 16, 3), variant=variant, seed=0).eval()
    parts, layers = torch.nn, []
    table = [*NETS["C", variant], *END]
    for i, entry in enumerate(table):
        if entry == "pool":
            layers.append(parts.MaxPool2d(3, 2, 1))
            continue
        kernel, channels, filters, stride = entry
        padding = 0 if i == len(table) - 3 else kernel // 2
        layers += [parts.Conv2d(channels, filters, kernel, stride, padding), parts.ReLU()]
    twin = parts.Sequential(*layers, parts.AdaptiveAvgPool2d(1), parts.Flatten())
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        value = ours.numpy()
        theirs.data[...] = torch.tensor((value.transpose(3, 2, 0, 1) if value.ndim == 4 else value).copy())
    x = np.random.default_rng(0).standard_normal((3, 16, 16, 3)).astype(np.float32)
    y = np.array([1, 0, 9])
    scores, expected = net(x), twin(torch.tensor(x.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(scores.numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-4)
    net.loss(scores, y).backward()
    torch.nn.functional.cross_entropy(expected, torch.tensor(y)).backward()
    first = next(net.parameters()).grad.numpy().transpose(3, 2, 0, 1)
    np.testing.assert_allclose(first, twin[0].weight.grad.numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"base": "D"}, "AllConvNet: base 'D': give 'A', 'B' or 'C'"),
        (
            {"variant": "pool"},
            "AllConvNet: variant 'pool': give one of ('base', 'strided', 'convpool', 'all')",
        ),
        ({"input_shape": (8, 32, 3)}, "AllConvNet: images of 8 x 32: give sides of at least 9"),
        ({"input_dropout": -0.1}, "Dropout: p = -0.1: give a number from 0 to 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        AllConvNet(**settings)
