"""Gates that pass one of their inputs on: where, maximum, minimum, clip."""

from __future__ import annotations

import numpy as np

from chainrule import _core
from chainrule.autodiff.box import as_setting, shape_of, unbox
from chainrule.autodiff.gate import Gate
from chainrule.gates.shape import as_array
from chainrule.gates.summation import is_integer, sum_to


class Where(Gate):
    """x where the condition holds, else y: each gets the gradient where it was chosen, 0 elsewhere."""

    linear = True

    def __init__(self, condition):
        self.condition = condition

    def forward(self, x, y):
        z = _core.where(self.condition, x, y)  # which checks x and y
        self.kept = shape_of(x), shape_of(y)
        return z

    def backward(self, gradient):
        x_shape, y_shape = self.kept
        return (
            sum_to(where(self.condition, gradient, 0.0), x_shape) if self.wants(0) else None,
            sum_to(where(self.condition, 0.0, gradient), y_shape) if self.wants(1) else None,
        )


class Maximum(Gate):
    """The larger of x and y, which alone gets the gradient; of equal ones, x."""

    kernel = staticmethod(_core.maximum)
    chosen = staticmethod(_core.chosen_by_maximum)

    def forward(self, x, y):
        self.kept = x, y
        return self.kernel(x, y)

    def backward(self, gradient):
        x, y = self.kept
        x_chosen = self.chosen(unbox(x), unbox(y))  # ties, and NaN in x, count for x
        return (
            sum_to(where(x_chosen, gradient, 0.0), shape_of(x)) if self.wants(0) else None,
            sum_to(where(x_chosen, 0.0, gradient), shape_of(y)) if self.wants(1) else None,
        )

    def jvp(self, x_tangent, y_tangent):
        x, y = self.kept
        x_chosen = self.chosen(unbox(x), unbox(y))
        return where(
            x_chosen, 0.0 if x_tangent is None else x_tangent, 0.0 if y_tangent is None else y_tangent
        )


class Minimum(Maximum):
    """The smaller of x and y, which alone gets the gradient; of equal ones, x."""

    kernel = staticmethod(_core.minimum)
    chosen = staticmethod(_core.chosen_by_minimum)


def where(condition, x, y):
    """x where `condition` holds, else y, all three broadcast together.

    Args:
        condition: booleans, an array or Tensor.
        x, y: arrays, Tensors or numbers, as in arithmetic.

    The value that was not chosen gets gradient 0, even where it is NaN or inf.

    Errors: TypeError when the condition is not boolean; ValueError when shapes do not broadcast.

    >>> import chainrule as cr, numpy as np
    >>> cr.where(np.array([True, False]), np.array([1.0, 2.0]), 0.0)
    array([1., 0.])
    """
    try:
        condition = as_setting(condition)
    except ValueError:
        raise TypeError("where: the condition is a list of lists of different lengths") from None
    if condition.dtype != bool:
        raise TypeError(
            f"where: the condition is an array of {condition.dtype}: give booleans, as x > 0 does"
        )
    return Where(np.asarray(condition, order="C"))(x, y)


def maximum(x, y):
    """The larger of x and y, elementwise, with broadcasting. NaN in either gives NaN.

    The gradient goes to the larger; where they are equal, to x.

    >>> import chainrule as cr
    >>> x, y = (cr.tensor(v, requires_grad=True) for v in (0.2, 3.0))
    >>> cr.maximum(x, y).backward()
    >>> x.grad.item(), y.grad.item()
    (0.0, 1.0)
    """
    return Maximum()(x, y)


def minimum(x, y):
    """The smaller of x and y, elementwise, with broadcasting. NaN in either gives NaN.

    The gradient goes to the smaller; where they are equal, to x.
    """
    return Minimum()(x, y)


def clip(x, low=None, high=None):
    """x limited to [low, high]; None leaves a side open.

    The gradient is 1 inside and at the limits, 0 outside.

    Errors: ValueError when both limits are None, low > high, or shapes do not broadcast; TypeError for integer x.
    """
    if low is None and high is None:
        raise ValueError("clip: both limits are None: give low, high or both")
    x = as_array(x, "clip")
    low = low if low is None or isinstance(low, (int, float)) else as_array(low, "clip", "low")
    high = high if high is None or isinstance(high, (int, float)) else as_array(high, "clip", "high")
    if is_integer(x):
        raise TypeError("clip: x is an integer array: convert it with .astype(np.float32) first")
    shapes = [shape_of(v) for v in (x, low, high) if v is not None]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(f"clip: shapes {shapes} do not broadcast") from None
    if low is not None and high is not None and np.any(np.asarray(unbox(low)) > np.asarray(unbox(high))):
        raise ValueError(f"clip: low {low} is above high {high}")
    if low is not None:
        x = maximum(x, low)
    if high is not None:
        x = minimum(x, high)
    return x
