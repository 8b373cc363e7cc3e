"""The linear layer."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import shape_of
from chainrule.gates.convolution import integer
from chainrule.gates.matmul import linear, linear_relu
from chainrule.gates.shape import as_array
from chainrule.nn.initialise import as_generator, by_name
from chainrule.nn.module import Module, Parameter


class Linear(Module):
    """Scores x W + b. x (..., in_features) gives (..., out_features).

    Args:
        in_features, out_features: at least 1.
        bias: whether there is a b; it starts at 0.
        initialise: 'he' (for relu after it), 'glorot' (for tanh), their '_uniform' forms, or 'zeros'.
        rng: a numpy Generator, an integer seed, or None for the library's generator (`chainrule.manual_seed`).
        dtype: float32 or float64.

    Attributes: weight (in_features, out_features); bias (out_features,) or None.

    Errors: ValueError for sizes below 1 or an unknown initialisation, TypeError for sizes that are no integers; at
    the call, ValueError for x of another width.
    """

    def __init__(self, in_features, out_features, bias=True, initialise="he", rng=None, dtype=np.float32):
        in_features = integer("Linear", "in_features", in_features)
        out_features = integer("Linear", "out_features", out_features)
        if in_features < 1 or out_features < 1:
            raise ValueError(f"Linear: {in_features} in, {out_features} out: both must be at least 1")
        if initialise not in by_name:
            raise ValueError(f"Linear: initialise {initialise!r} is not one of {sorted(by_name)}")
        shape = (in_features, out_features)
        self.weight = Parameter(by_name[initialise](shape, as_generator(rng), dtype))
        self.bias = Parameter(np.zeros(out_features, dtype)) if bias else None

    def forward(self, x):
        return linear(self.check(x), self.weight, self.bias)

    def forward_relu(self, x):
        """relu(forward(x)), the activation applied on the way to memory."""
        return linear_relu(self.check(x), self.weight, self.bias)

    def check(self, x):
        """x as an array of the width that the weight takes."""
        x = as_array(x, "Linear")
        shape = shape_of(x)
        if not shape or shape[-1] != self.weight.shape[0]:
            raise ValueError(
                f"Linear: x {shape} has not the {self.weight.shape[0]} features that the weight "
                f"{self.weight.shape} takes"
            )
        return x

    def describe(self):
        inputs, outputs = self.weight.shape
        return f"{inputs}, {outputs}" + ("" if self.bias is not None else ", bias=False")
