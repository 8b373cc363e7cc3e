"""What follows a product on its way to memory: a bias, and relu."""

from __future__ import annotations

import numpy as np

from chainrule import _core
from chainrule.autodiff.box import Box, shape_of
from chainrule.autodiff.gate import Gate
from chainrule.gates.arithmetic import add
from chainrule.gates.functions import relu_gradient
from chainrule.gates.summation import sum


class WithEpilogue(Gate):
    """A map of inputs 0 and 1, plus a bias along the last axis where there is an input 2, then relu if `relu`.

    With relu a subclass keeps the value third.
    """

    def through_relu(self, gradient):
        """The gradient before the activation."""
        return relu_gradient(gradient, self.kept[2]) if self.relu else gradient

    def through_epilogue(self, gradient, behind_relu=False):
        """The gradient before bias and activation, and that of the bias, None where there is none to give.

        `behind_relu`: the gradient has gone through relu already.
        """
        biased = len(self.inputs) == 3
        if self.relu and not behind_relu:
            if biased and not (isinstance(gradient, Box) or isinstance(self.kept[2], Box)):
                return _core.epilogue_gradient(gradient, self.kept[2])
            gradient = self.through_relu(gradient)
        if biased and self.wants(2):
            return gradient, _over_rows(gradient)
        return gradient, None

    def each(self, first, second, bias):
        """The gradients as `backward` returns them."""
        return (first, second, bias) if len(self.inputs) == 3 else (first, second)

    def with_epilogue(self, tangent, bias_tangent):
        """The output's tangent from that of the map, either None where there is none."""
        if bias_tangent is not None:
            shape, dtype = self.kinds[1]
            tangent = add(np.zeros(shape, dtype) if tangent is None else tangent, bias_tangent)
        return self.through_relu(tangent)


def _over_rows(gradient):
    """The sum over all axes but the last: a bias's gradient."""
    shape = shape_of(gradient)
    if isinstance(gradient, Box) or not shape[-1]:
        return sum(gradient, axis=tuple(range(len(shape) - 1)))
    return _core.sum(gradient, 1, gradient.size // shape[-1], shape[-1]).reshape(shape[-1:])
