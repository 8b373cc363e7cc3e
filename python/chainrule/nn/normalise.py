"""Normalisation and dropout layers."""

from __future__ import annotations

import math

import numpy as np

from chainrule.autodiff.box import shape_of
from chainrule.gates.dropout import dropout
from chainrule.gates.normalise import batch_norm, layer_norm
from chainrule.nn.module import Module, Parameter


class BatchNorm2d(Module):
    """Each channel, the last axis, to mean 0 and variance 1 over the batch, then scaled and shifted.

    In training by the batch's own mean and variance, which move the running ones; in evaluation by those.

    Args:
        channels: at least 1.
        momentum: how far the running values move each time, in [0, 1].
        epsilon: added to the variance.
        affine: whether weight and bias are learned.
        dtype: float32 or float64.

    Attributes: weight, bias (channels,) or None; the buffers running_mean, running_var (channels,).

    Errors: ValueError at the call for x of other channels.
    """

    def __init__(self, channels, momentum=0.1, epsilon=1e-5, affine=True, dtype=np.float32):
        if channels < 1:
            raise ValueError(f"BatchNorm2d: channels {channels}: give 1 or more")
        self.channels = channels
        self.momentum = momentum
        self.epsilon = epsilon
        self.weight = Parameter(np.ones(channels, dtype)) if affine else None
        self.bias = Parameter(np.zeros(channels, dtype)) if affine else None
        self.running_mean = np.zeros(channels, dtype)
        self.running_var = np.ones(channels, dtype)

    def forward(self, x, relu=False):
        if len(shape_of(x)) < 2 or shape_of(x)[-1] != self.channels:
            raise ValueError(f"BatchNorm2d: x {shape_of(x)} is not (N, ..., {self.channels})")
        return batch_norm(
            x,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            self.training,
            self.momentum,
            self.epsilon,
            relu,
        )

    def forward_relu(self, x):
        return self.forward(x, relu=True)

    def describe(self):
        return f"{self.channels}" + ("" if self.weight is not None else ", affine=False")


class LayerNorm(Module):
    """Each sample to mean 0 and variance 1 over its last axes, then scaled and shifted.

    Args:
        shape: of the last axes, an int or a tuple.
        epsilon: added to the variance.
        dtype: float32 or float64.

    Attributes: weight, bias of that shape.
    """

    def __init__(self, shape, epsilon=1e-5, dtype=np.float32):
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if not self.shape or math.prod(self.shape) < 1:
            raise ValueError(f"LayerNorm: shape {shape}: give sizes of 1 or more")
        self.epsilon = epsilon
        self.weight = Parameter(np.ones(self.shape, dtype))
        self.bias = Parameter(np.zeros(self.shape, dtype))

    def forward(self, x):
        if shape_of(x)[-len(self.shape) :] != self.shape:
            raise ValueError(f"LayerNorm: x {shape_of(x)} does not end in {self.shape}")
        return layer_norm(x, self.weight, self.bias, len(self.shape), self.epsilon)

    def describe(self):
        return ", ".join(map(str, self.shape))


class Dropout(Module):
    """In training each value is set to 0 with probability p, the others divided by 1 - p; else x itself.

    Args:
        p: from 0 to 1.
    """

    def __init__(self, p=0.5):
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p = {p}: give a probability from 0 to 1")
        self.p = p

    def forward(self, x):
        return dropout(x, self.p, self.training)

    def describe(self):
        return f"p={self.p}"
