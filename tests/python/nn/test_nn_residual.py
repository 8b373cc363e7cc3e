"""Residual: a shortcut around layers, beside PyTorch and the formula."""

import re

import numpy as np
import pytest
import torch

import chainrule as cr
from chainrule import nn


def values(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def test_it_adds_the_input_to_what_the_layers_make():
    body = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, rng=0), nn.ReLU())
    x = values(2, 5, 5, 3)
    np.testing.assert_array_equal(nn.Residual(*body.layers)(x).numpy(), x + body(x).numpy())
    np.testing.assert_array_equal(nn.Residual()(x), 2 * x)


def test_a_shortcut_brings_the_input_to_the_shape():
    block = nn.Residual(nn.Conv2d(3, 4, 3, 2, 1, rng=0), shortcut=nn.Conv2d(3, 4, 1, 2, rng=1))
    x = values(2, 6, 6, 3)
    expected = block.body(x).numpy() + block.shortcut(x).numpy()
    np.testing.assert_array_equal(block(x).numpy(), expected)
    assert [name for name, _ in block.named_parameters()] == [
        "body.0.weight",
        "body.0.bias",
        "shortcut.weight",
        "shortcut.bias",
    ]


def test_gradients_add_at_the_branch_as_in_pytorch():
    block = nn.Residual(nn.Linear(4, 4, rng=0, dtype=np.float64), nn.Tanh())
    x, upstream = values(5, 4, dtype=np.float64), values(5, 4, seed=1, dtype=np.float64)
    leaf = cr.tensor(x, dtype="float64", requires_grad=True)
    block(leaf).backward(upstream)
    w, b = (torch.tensor(p.numpy(), requires_grad=True) for p in block.parameters())
    t = torch.tensor(x, requires_grad=True)
    (t + torch.tanh(t @ w + b)).backward(torch.tensor(upstream))
    for ours, theirs in zip([leaf, *block.parameters()], [t, w, b], strict=True):
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-12, atol=1e-12)


def test_with_small_weights_it_is_nearly_the_identity():
    block = nn.Residual(nn.Conv2d(2, 2, 3, padding=1, initialise="zeros"))
    x = values(1, 4, 4, 2)
    np.testing.assert_array_equal(block(x).numpy(), x)


def test_modes_reach_the_layers_inside():
    block = nn.Residual(nn.Dropout(0.5), shortcut=nn.BatchNorm2d(2))
    block.eval()
    assert not any(m.training for m in block.modules())


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: nn.Residual(nn.ReLU(), cr.relu), TypeError, "Residual: entry 1 is a function, not a Module"),
        (lambda: nn.Residual(shortcut=3), TypeError, "Residual: shortcut is a int, not a Module"),
        (
            lambda: nn.Residual(nn.Conv2d(2, 4, 3, 2, 1))(values(1, 6, 6, 2)),
            ValueError,
            "Residual: the layers make (1, 3, 3, 4) of x (1, 6, 6, 2), the shortcut (1, 6, 6, 2): give a shortcut",
        ),
        (
            lambda: nn.Residual(nn.Linear(4, 1))(values(3, 4)),  # no broadcasting
            ValueError,
            "Residual: the layers make (3, 1) of x (3, 4), the shortcut (3, 4)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make()
