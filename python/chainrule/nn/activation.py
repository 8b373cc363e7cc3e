"""Activations and flattening as modules."""

from __future__ import annotations

from chainrule.autodiff.box import shape_of
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
