"""Summaries: parameters, multiply-adds and shapes beside PyTorch, memory, and that nothing is left behind."""

import copy
import re
import threading

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import chainrule as cr
from chainrule import nn


def net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, padding=2, rng=0),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.5),
        nn.Conv2d(8, 12, (3, 1), stride=(2, 1), groups=4, bias=False, rng=1),
        nn.ConvTranspose2d(12, 6, 4, stride=2, padding=1, rng=2),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(6 * 6 * 16, 10, rng=3),
    )


def test_parameters_work_and_shapes_are_pytorchs():
    parts = torch.nn
    twin = parts.Sequential(
        parts.Conv2d(3, 8, 5, padding=2),
        parts.BatchNorm2d(8),
        parts.ReLU(),
        parts.MaxPool2d(2),
        parts.Dropout(0.5),
        parts.Conv2d(8, 12, (3, 1), stride=(2, 1), groups=4, bias=False),
        parts.ConvTranspose2d(12, 6, 4, stride=2, padding=1),
        parts.GELU(),
        parts.Flatten(),
        parts.Linear(6 * 6 * 16, 10),
    ).eval()
    summary = net().summary((16, 16, 3))
    x = torch.zeros(1, 3, 16, 16)
    for layer, row in zip(twin, summary.layers, strict=True):
        with FlopCounterMode(display=False) as flops:
            x = layer(x)
        shape = tuple(x.shape[1:])
        assert row.output_shape == (shape if len(shape) == 1 else (*shape[1:], shape[0]))
        assert row.parameters == sum(p.numel() for p in layer.parameters())
        assert 2 * row.multiply_adds == flops.get_total_flops(), row  # a multiplication and an addition each
        assert row.kind == type(layer).__name__
    assert summary.parameters == sum(p.numel() for p in twin.parameters())
    assert summary.multiply_adds == sum(row.multiply_adds for row in summary.layers)


def test_work_by_hand():
    # 14 x 14 outputs of 8 filters over 5 x 5 x 3; 100 inputs times 10.
    rows = nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.Linear(8, 10)).summary((31, 31, 3)).layers
    assert rows[0].multiply_adds == 14 * 14 * 8 * 75
    assert rows[1].multiply_adds == 14 * 14 * 80  # a linear layer on each pixel
    assert nn.Linear(100, 10).summary(100).layers[0].multiply_adds == 1000


def test_memory_is_that_of_outputs_that_have_their_own():
    rows = net().summary((16, 16, 3)).layers
    expected = [8192, 8192, 8192, 2048, 2048, 4 * 12 * 24, 4 * 6 * 96, 4 * 6 * 96, 0, 40]
    assert [row.memory for row in rows] == expected
    assert net().summary((16, 16, 3)).memory == sum(expected)
    wide = nn.Linear(4, 3, dtype=np.float64).summary((4,))
    assert wide.memory == 24


def test_the_table():
    summary = net().summary((16, 16, 3))
    lines = str(summary).splitlines()
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines]
    assert rows[0] == [
        "layer",
        "kind",
        "output",
        "parameters",
        "multiply-adds",
        "field",
        "its stride",
        "memory",
    ]
    assert rows[1] == ["input", "16 x 16 x 3"]
    assert rows[2] == ["0", "Conv2d", "16 x 16 x 8", "608", "153,600", "5 x 5", "1 x 1", "8.0 KiB"]
    # Each pixel of the transposed convolution reads 2 x 2 of those before, which lie 4 and 2 apart.
    assert rows[8][5:7] == [f"{5 + 1 + 2 * 2 + 4} x {5 + 1 + 2}", "2 x 1"]
    assert rows[10][2:] == ["576", "0", "0", "14 x 8", "-", "0 B"]
    parameters = 608 + 16 + 3 * 2 * 12 + (4 * 4 * 6 * 12 + 6) + 5770
    work = 153_600 + 3 * 8 * 12 * 6 + 3 * 8 * 12 * 96 + 5760
    assert rows[12][:3] == ["total", f"{parameters:,}", f"{work:,}"]
    assert len({len(line) for line in lines if line.endswith("B")}) == 1
    assert repr(summary) == str(summary)


# ---- Modules of one's own -----------------------------------------------------------------------------------


class Branches(nn.Module):
    """Functions before, beside and after modules."""

    def __init__(self):
        self.kernel = nn.Parameter(np.ones((3, 3, 2, 4), np.float32))
        self.head = nn.Linear(4, 5)
        self.side = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Tanh())

    def forward(self, x):
        h = cr.conv2d(x, self.kernel, padding=1)  # before
        h = cr.relu(h) + self.side(x)  # beside
        return cr.matmul(self.head(cr.mean(h, axis=(1, 2))), np.ones((5, 7), np.float32))  # after


def test_gates_belong_to_the_module_that_made_them():
    rows = {row.name: row for row in Branches().summary((6, 5, 2)).layers}
    assert list(rows) == ["side.0", "side.1", "head", ""]
    assert rows["side.0"].multiply_adds == 30 * 2 * 4
    assert rows["side.1"].multiply_adds == 0
    assert rows["head"].multiply_adds == 20
    assert rows[""].multiply_adds == 30 * 9 * 2 * 4 + 35
    assert rows[""].parameters == 72 and rows[""].output_shape == (7,)
    assert rows[""].kind == "Branches"


def test_a_module_that_is_called_twice_has_two_lines_and_one_set_of_parameters():
    shared = nn.Linear(4, 4)
    rows = nn.Sequential(shared, nn.ReLU(), shared).summary((4,)).layers
    assert [row.name for row in rows] == ["0", "1", "0"]
    assert [row.parameters for row in rows] == [20, 0, 0]
    assert [row.multiply_adds for row in rows] == [16, 0, 16]


class Unused(nn.Module):
    def __init__(self):
        self.used = nn.Linear(3, 2)
        self.spare = nn.Sequential(nn.Linear(2, 2, bias=False))

    def forward(self, x):
        return self.used(x)


def test_modules_that_are_not_called_are_counted_too():
    summary = Unused().summary(3)
    assert [(row.name, row.parameters, row.output_shape) for row in summary.layers] == [
        ("used", 8, (2,)),
        ("spare.0", 4, None),
    ]
    assert summary.parameters == 12
    assert "spare.0  Linear       -" in str(summary)


class Two(nn.Module):
    def __init__(self):
        self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 4)

    def forward(self, x):
        return {"a": self.a(x), "parts": [self.b(x), 3]}


def test_several_outputs():
    rows = Two().summary(3).layers
    assert [(row.name, row.output_shape, row.multiply_adds) for row in rows] == [
        ("a", (2,), 6),
        ("b", (4,), 12),
    ]


class Cut(nn.Module):
    """Leaves the graph in the middle."""

    def __init__(self):
        self.a, self.b = nn.Linear(3, 2), nn.Linear(2, 4)

    def forward(self, x):
        return self.b(np.tanh(self.a(x).numpy()))


def test_work_on_values_that_left_the_graph_is_seen_by_its_parameters():
    rows = Cut().summary(3).layers
    assert [row.output_shape for row in rows] == [(2,), (4,)]
    assert rows[0].multiply_adds == 6


def test_work_on_weights_alone_is_not_counted():
    class Low(nn.Module):
        def __init__(self):
            self.u, self.v = nn.Parameter(np.ones((50, 2))), nn.Parameter(np.ones((2, 30)))

        def forward(self, x):
            return cr.matmul(x, cr.matmul(self.u, self.v))

    (row,) = Low().summary(50).layers
    assert row.multiply_adds == 1500 and row.parameters == 160


def test_frozen_parameters_and_no_grad_change_nothing():
    model = net()
    expected = model.summary((16, 16, 3))
    for parameter in model.parameters():
        parameter.requires_grad = False
    with cr.no_grad():
        assert model.summary((16, 16, 3)) == expected
        assert not cr.relu(cr.tensor([1.0], requires_grad=True)).requires_grad
    assert not any(p.requires_grad for p in model.parameters())


# ---- Nothing is left behind ---------------------------------------------------------------------------------


class Noisy(nn.Module):
    """Keeps count, writes its buffer, and draws from the library's generator and its own, in every mode."""

    def __init__(self):
        self.calls = 0
        self.seen = np.zeros(3, np.float32)
        self.own = np.random.default_rng(5)
        self.history = []

    def forward(self, x):
        self.calls += 1
        self.seen += 1
        self.history.append(self.calls)
        return x + cr.random.generator().standard_normal() + self.own.standard_normal()


def test_nothing_is_left_behind():
    model = nn.Sequential(net(), Noisy())
    x = np.random.default_rng(0).standard_normal((4, 16, 16, 3)).astype(np.float32)
    cr.sum(model(x)).backward()
    model[0][1].eval()  # one layer alone
    before = copy.deepcopy(model)
    grads = [p.grad.numpy().copy() for p in model.parameters()]
    parameters = list(model.parameters())
    keys = [set(vars(m)) for m in model.modules()]
    modes = [m.training for m in model.modules()]
    library = cr.random.generator().bit_generator.state
    model.summary((16, 16, 3))
    assert cr.random.generator().bit_generator.state == library
    assert model[1].own.bit_generator.state == before[1].own.bit_generator.state
    assert (model[1].calls, model[1].history) == (before[1].calls, before[1].history) == (1, [1])
    for name, value in before.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], value)
    assert [m.training for m in model.modules()] == modes
    assert [set(vars(m)) for m in model.modules()] == keys
    for p, q, grad in zip(model.parameters(), parameters, grads, strict=True):
        assert p is q and p.gate is None
        np.testing.assert_array_equal(p.grad.numpy(), grad)
    assert "forward" not in vars(model)


def test_nothing_is_left_behind_after_an_error():
    model = net()
    library = cr.random.generator().bit_generator.state
    with pytest.raises(ValueError, match=re.escape("Conv2d: x (1, 16, 16, 4) is not (N, height, width, 3)")):
        model.summary((16, 16, 4))
    assert cr.random.generator().bit_generator.state == library
    assert cr.relu(cr.tensor([1.0], requires_grad=True)).requires_grad
    assert model.training and model.summary((16, 16, 3)).parameters == 7624


def test_it_is_the_same_each_time():
    model = nn.Sequential(net(), nn.Tanh())
    assert model.summary((16, 16, 3)) == model.summary((16, 16, 3)) == model.eval().summary((16, 16, 3))


@pytest.mark.parametrize(
    "shape, error, message",
    [
        ((), ValueError, "summary: input_shape (): give sizes of 1 or more, without the batch"),
        ((16, 0, 3), ValueError, "summary: input_shape (16, 0, 3): give sizes"),
        (-1, ValueError, "summary: input_shape (-1,): give sizes"),
        ((16.0, 16, 3), TypeError, "summary: shape (16.0, 16, 3) must hold integers"),
        ("16", TypeError, "summary: shape '16' must hold integers"),
    ],
)
def test_wrong_shapes_are_refused(shape, error, message):
    with pytest.raises(error, match=re.escape(message)):
        net().summary(shape)


def test_a_model_that_cannot_be_copied_is_refused():
    model = net()
    model.lock = threading.Lock()
    with pytest.raises(
        TypeError, match="summary: Sequential cannot be copied, and its state is not to be touched"
    ):
        model.summary((16, 16, 3))
