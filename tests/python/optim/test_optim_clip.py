"""Clipping beside PyTorch's and in closed form."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule import optim

torch = pytest.importorskip("torch")


def parameters(gradients):
    made = []
    for g in gradients:
        p = cr.tensor(np.zeros_like(g), dtype=g.dtype, requires_grad=True)
        p.grad = cr.tensor(g, dtype=g.dtype)
        made.append(p)
    return made


def gradients_of(params):
    return [p.grad.numpy() for p in params]


numbers = st.floats(-100, 100, width=32)
lists = st.lists(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0), elements=numbers), max_size=4
)


@settings(deadline=None)
@given(lists, st.floats(1e-3, 1e3), st.sampled_from([2.0, math.inf]))
def test_clip_grad_norm_is_pytorchs(gradients, max_norm, kind):
    mine = parameters(gradients)
    theirs = [torch.zeros(g.shape, requires_grad=True) for g in gradients]
    for p, g in zip(theirs, gradients, strict=True):
        p.grad = torch.tensor(g)
    norm = optim.clip_grad_norm(mine, max_norm, kind)
    if kind == 2 or any(g.size for g in gradients):  # PyTorch has no largest value of nothing
        keep = [p for p in theirs if kind == 2 or p.numel()]
        assert norm == pytest.approx(
            float(torch.nn.utils.clip_grad_norm_(keep, max_norm, kind)), rel=1e-5, abs=1e-12
        )
    for found, p in zip(gradients_of(mine), theirs, strict=True):
        # PyTorch divides by the norm + 1e-6.
        np.testing.assert_allclose(found, p.grad.numpy(), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1.0, 1e15, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clip_grad_norm_keeps_its_digits_where_squares_would_not(scale, dtype):
    g = np.random.default_rng(0).normal(size=100).astype(dtype) * dtype(scale)
    (p,) = parameters([g])
    expected = scale * np.linalg.norm((g / dtype(scale)).astype(np.float64))
    assert optim.clip_grad_norm(p, expected / 2) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(p.grad.numpy(), g / 2, rtol=1e-5)


def test_clip_grad_norm_leaves_what_is_within_and_what_is_not_finite():
    for g, norm in (([3.0, 4.0], 5.0), ([np.inf, 1.0], np.inf), ([np.nan, 1.0], np.nan)):
        g = np.array(g, np.float32)
        (p,) = parameters([g])
        for kind in (2, math.inf):
            found = optim.clip_grad_norm([p], 5.0, kind)
            assert found == pytest.approx(norm if kind == 2 or norm != 5 else 4.0, nan_ok=True)
            assert p.grad.numpy().tobytes() == g.tobytes()


def test_clip_counts_a_parameter_once_and_passes_over_those_without_a_gradient():
    (p,) = parameters([np.array([3.0, 4.0], np.float32)])
    other = cr.tensor([1.0], requires_grad=True)
    assert optim.clip_grad_norm([p, other, p], 1.0) == 5.0
    assert other.grad is None
    np.testing.assert_allclose(p.grad.numpy(), [0.6, 0.8], rtol=1e-6)
    assert optim.clip_grad_norm([], 1.0) == 0.0
    optim.clip_grad_value(p, 0.7)
    np.testing.assert_allclose(p.grad.numpy(), [0.6, 0.7], rtol=1e-6)


def test_clip_does_not_change_an_array_that_somebody_else_holds():
    g = cr.tensor([3.0, 4.0])
    p, q = (cr.tensor([0.0, 0.0], requires_grad=True) for _ in range(2))
    p.grad = q.grad = g
    assert optim.clip_grad_norm([p, q], math.sqrt(50) / 2) == pytest.approx(math.sqrt(50))
    for found in gradients_of([p, q]):
        np.testing.assert_allclose(found, [1.5, 2.0], rtol=1e-6)
    assert g.tolist() == [3.0, 4.0]


@given(lists, st.floats(1e-3, 200))
def test_clip_grad_value_is_numpys_clip(gradients, most):
    params = parameters(gradients)
    optim.clip_grad_value(iter(params), most)
    for found, g in zip(gradients_of(params), gradients, strict=True):
        np.testing.assert_allclose(found, np.clip(g, -most, most), rtol=1e-6)


@pytest.mark.parametrize("clip", [optim.clip_grad_norm, optim.clip_grad_value])
def test_clip_refuses_wrong_arguments(clip):
    name = clip.__name__
    for value in (0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"{name}: .* = {value}: give a finite number above 0"):
            clip([], value)
    with pytest.raises(TypeError, match=f"{name}: .* is not a number"):
        clip([], "1")
    with pytest.raises(TypeError, match=f"{name}: parameter 0 is a ndarray, not a Tensor"):
        clip([np.zeros(2)], 1.0)
    with pytest.raises(TypeError, match=f"{name}: parameters is a int: give a list of Tensors"):
        clip(3, 1.0)
    with pytest.raises(ValueError, match=r"clip_grad_norm: norm_type = 3: give 2 or math\.inf"):
        optim.clip_grad_norm([], 1.0, 3)
