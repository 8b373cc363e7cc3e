"""Normalisation and dropout layers."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import shape_of
from chainrule.gates.convolution import integer
from chainrule.gates.dropout import dropout
from chainrule.gates.normalise import batch_norm, check_number, layer_norm
from chainrule.gates.shape import as_array, as_sizes
from chainrule.nn.module import Module, Parameter


class BatchNorm2d(Module):
    """Each channel, the last axis, to mean 0 and variance 1 over the batch, then scaled and shifted.

    In training by the batch's own mean and variance, which move the running ones; in evaluation by those.

    Args:
        channels: at least 1.
        momentum: how far the running values move each time, in [0, 1].
        epsilon: added to the variance.
        affine: whether weight and bias are learned; else they are 1 and 0.
        scale: whether the weight is learned, where affine is True; else it is 1.
        dtype: float32 or float64.

    Attributes: weight, bias (channels,) or None; the buffers running_mean, running_var (channels,).

    Errors: ValueError for settings out of range; at the call, for x of other channels.
    """

    def __init__(self, channels, momentum=0.1, epsilon=1e-5, affine=True, scale=True, dtype=np.float32):
        channels = integer("BatchNorm2d", "channels", channels)
        if channels < 1:
            raise ValueError(f"BatchNorm2d: channels {channels}: give 1 or more")
        check_number("BatchNorm2d", "momentum", momentum, 1)
        check_number("BatchNorm2d", "epsilon", epsilon)
        self.channels = channels
        self.momentum = momentum
        self.epsilon = epsilon
        self.weight = Parameter(np.ones(channels, dtype)) if affine and scale else None
        self.bias = Parameter(np.zeros(channels, dtype)) if affine else None
        self.running_mean = np.zeros(channels, dtype)
        self.running_var = np.ones(channels, dtype)

    def forward(self, x, activation=None):
        x = as_array(x, "BatchNorm2d")
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
            activation,
        )

    def forward_relu(self, x):
        """relu(forward(x)) in one pass."""
        return self.forward(x, "relu")

    def forward_gelu(self, x):
        """gelu(forward(x)) in one pass."""
        return self.forward(x, "gelu")

    def describe(self):
        if self.bias is None:
            return f"{self.channels}, affine=False"
        return f"{self.channels}" + ("" if self.weight is not None else ", scale=False")


class LayerNorm(Module):
    """Each sample to mean 0 and variance 1 over its last axes, then scaled and shifted.

    Args:
        shape: of the last axes, an int or a tuple.
        epsilon: added to the variance.
        dtype: float32 or float64.

    Attributes: weight, bias of that shape.

    Errors: ValueError for sizes below 1; at the call, for x that does not end in the shape.
    """

    def __init__(self, shape, epsilon=1e-5, dtype=np.float32):
        self.shape = as_sizes("LayerNorm", shape)
        if not self.shape or min(self.shape) < 1:
            raise ValueError(f"LayerNorm: shape {shape}: give sizes of 1 or more")
        check_number("LayerNorm", "epsilon", epsilon)
        self.epsilon = epsilon
        self.weight = Parameter(np.ones(self.shape, dtype))
        self.bias = Parameter(np.zeros(self.shape, dtype))

    def forward(self, x):
        x = as_array(x, "LayerNorm")
        if shape_of(x)[-len(self.shape) :] != self.shape:
            raise ValueError(f"LayerNorm: x {shape_of(x)} does not end in {self.shape}")
        return layer_norm(x, self.weight, self.bias, len(self.shape), self.epsilon)

    def describe(self):
        return ", ".join(map(str, self.shape))


class Dropout(Module):
    """In training each value is set to 0 with probability p, the others divided by 1 - p; else x itself.

    Args:
        p: from 0 to 1.

    Errors: ValueError for another p.
    """

    def __init__(self, p=0.5):
        check_number("Dropout", "p", p, 1)
        self.p = p

    def forward(self, x):
        return dropout(x, self.p, self.training)

    def describe(self):
        return f"p={self.p}"
