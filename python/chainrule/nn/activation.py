"""Activations and flattening as modules."""

from __future__ import annotations

import math
import numbers

from chainrule.autodiff.box import shape_of
from chainrule.gates.activations import elu, gelu, leaky_relu, silu, softplus
from chainrule.gates.functions import relu, sigmoid, tanh
from chainrule.gates.shape import reshape
from chainrule.gates.softmax import softmax
from chainrule.nn.module import Module


class ReLU(Module):
    """max(0, x), elementwise."""

    def forward(self, x):
        return relu(x)


class Sigmoid(Module):
    """1 / (1 + e^-x), elementwise."""

    def forward(self, x):
        return sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent, elementwise."""

    def forward(self, x):
        return tanh(x)


def _finite(layer: str, name: str, value) -> float:
    """The value; TypeError for what is no number, ValueError for one that is not finite."""
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{layer}: {name} = {value!r} is not a number")
    if not math.isfinite(value):
        raise ValueError(f"{layer}: {name} = {value}: give a finite number")
    return value


class LeakyReLU(Module):
    """x where x > 0, else slope x. Errors: ValueError for a slope that is not finite."""

    def __init__(self, slope=0.01):
        self.slope = _finite("LeakyReLU", "slope", slope)

    def forward(self, x):
        return leaky_relu(x, self.slope)

    def describe(self):
        return f"slope={self.slope}"


class ELU(Module):
    """x where x > 0, else alpha (e^x - 1). Errors: ValueError for an alpha that is not finite."""

    def __init__(self, alpha=1.0):
        self.alpha = _finite("ELU", "alpha", alpha)

    def forward(self, x):
        return elu(x, self.alpha)

    def describe(self):
        return f"alpha={self.alpha}"


class Softplus(Module):
    """ln(1 + e^x), elementwise."""

    def forward(self, x):
        return softplus(x)


class SiLU(Module):
    """x sigmoid(x), elementwise."""

    def forward(self, x):
        return silu(x)


class GELU(Module):
    """x P(x), P the normal distribution, elementwise."""

    def forward(self, x):
        return gelu(x)


class Softmax(Module):
    """Probabilities along an axis."""

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, x):
        return softmax(x, self.axis)

    def describe(self):
        return f"axis={self.axis}"


class Flatten(Module):
    """(N, ...) to (N, features)."""

    def forward(self, x):
        shape = shape_of(x)
        if not shape:
            raise ValueError("Flatten: x is a number: give (N, ...)")
        features = 1
        for size in shape[1:]:
            features *= size
        return reshape(x, (shape[0], features))
