"""Gradient clipping: between `backward` and the optimizer's step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from chainrule.gates.arithmetic import square
from chainrule.gates.select import clip
from chainrule.gates.summation import sum
from chainrule.optim.schedule import check_number
from chainrule.tensor import Tensor


def _with_gradients(name: str, parameters) -> list[Tensor]:
    """The parameters that have a gradient, each once."""
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    if not isinstance(parameters, Iterable):
        raise TypeError(f"{name}: parameters is a {type(parameters).__name__}: give a list of Tensors")
    found = {}
    for i, p in enumerate(parameters):
        if not isinstance(p, Tensor):
            raise TypeError(f"{name}: parameter {i} is a {type(p).__name__}, not a Tensor")
        if p.grad is not None:
            found[id(p)] = p
    return list(found.values())


def _norm(x: np.ndarray) -> float:
    """The Euclidean norm of an array, to within rounding wherever it is a number of its dtype."""
    squares = float(sum(square(x)))
    if 1e-20 < squares < 1e30:
        return math.sqrt(squares)
    # Squares out of float32's range, or all 0: in units of the largest.
    largest = float(np.abs(x).max(initial=0.0))
    if not 0 < largest < math.inf:
        return largest
    return largest * math.sqrt(float(sum(square(x.astype(np.float64) / largest))))


def clip_grad_norm(parameters, max_norm, norm_type=2.0) -> float:
    """Where the norm of all gradients as one vector is above max_norm, scale them to it; return the norm before.

    Pascanu, Mikolov and Bengio, On the Difficulty of Training Recurrent Neural Networks, 2013, algorithm 1. A norm
    that is infinite or NaN leaves the gradients as they are: it is returned, to be looked at.

    Args:
        parameters: a Tensor or an iterable of Tensors, such as `model.parameters()`; those without a gradient do
            not count.
        max_norm: above 0.
        norm_type: 2, or infinity for the largest absolute value.

    Errors: ValueError for settings out of range, TypeError for what is no Tensor.

    >>> import chainrule as cr
    >>> w = cr.tensor([0.0, 0.0], requires_grad=True)
    >>> (w * cr.tensor([3.0, 4.0])).sum().backward()
    >>> cr.optim.clip_grad_norm([w], max_norm=1.0)
    5.0
    >>> w.grad.numpy()
    array([0.6, 0.8], dtype=float32)
    """
    check_number("clip_grad_norm", "max_norm", max_norm, lambda v: v > 0, "a finite number above 0")
    if norm_type not in (2, math.inf):
        raise ValueError(f"clip_grad_norm: norm_type = {norm_type!r}: give 2 or math.inf")
    parameters = _with_gradients("clip_grad_norm", parameters)
    with np.errstate(over="ignore"):
        if norm_type == 2:
            norm = math.hypot(*(_norm(p.grad.value) for p in parameters))
        else:
            norm = float(np.max([np.abs(p.grad.value).max(initial=0.0) for p in parameters], initial=0.0))
    if max_norm < norm < math.inf:
        for p in parameters:
            # A new array: the old one may be somebody else's too.
            p.grad = Tensor(p.grad.value * p.grad.dtype.type(max_norm / norm))
    return norm


def clip_grad_value(parameters, clip_value) -> None:
    """Clip every entry of every gradient to [-clip_value, clip_value]. NaN stays.

    Args:
        parameters: as for `clip_grad_norm`.
        clip_value: above 0.

    Errors: ValueError for a value out of range, TypeError for what is no Tensor.

    >>> import chainrule as cr
    >>> w = cr.tensor([0.0, 0.0], requires_grad=True)
    >>> (w * cr.tensor([3.0, -0.5])).sum().backward()
    >>> cr.optim.clip_grad_value([w], 1.0)
    >>> w.grad.numpy()
    array([ 1. , -0.5], dtype=float32)
    """
    check_number("clip_grad_value", "clip_value", clip_value, lambda v: v > 0, "a finite number above 0")
    for p in _with_gradients("clip_grad_value", parameters):
        p.grad = Tensor(clip(p.grad.value, -float(clip_value), float(clip_value)))
