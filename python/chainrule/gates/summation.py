"""Sum and broadcast: each is the other's adjoint."""

from __future__ import annotations

import math

import numpy as np

from chainrule import _core
from chainrule.autodiff.box import Box, box_result, shape_of, unbox
from chainrule.autodiff.gate import Gate
from chainrule.gates.axes import normalise_axes, reduced_shape, to_middle
from chainrule.gates.shape import as_array, as_sizes, reshape


class Sum(Gate):
    """The sum over some axes; its adjoint repeats the gradient along them."""

    linear = True

    def __init__(self, axes, keepdims):
        self.axes = axes
        self.keepdims = keepdims

    def forward(self, x):
        self.kept = (x.shape,)
        middle, outer, n, inner = to_middle(x, self.axes)
        return _core.sum(middle, outer, n, inner).reshape(reduced_shape(x.shape, self.axes, self.keepdims))

    def backward(self, gradient):
        (shape,) = self.kept
        return broadcast_to(reshape(gradient, reduced_shape(shape, self.axes, True)), shape)


def sum(x, axis=None, keepdims=False):
    """The sum over `axis`: an int, a tuple of them, or None for all.

    float32 sums run in blocks whose totals are added in float64, in an order that depends on the shape alone.
    The sum of nothing is 0. Integer and boolean arrays give an int64 sum, which has no gradient.

    >>> import chainrule as cr, numpy as np
    >>> cr.sum(np.ones((2, 3), np.float32), axis=1)
    array([3., 3.], dtype=float32)

    Errors: ValueError for an axis that does not exist.
    """
    x = as_array(x, "sum")
    axes = normalise_axes("sum", axis, len(shape_of(x)))
    if is_integer(x):
        return without_gradient(lambda a: np.sum(a, axis=axes, keepdims=keepdims), x)
    return Sum(axes, keepdims)(x)


class BroadcastTo(Gate):
    """The array repeated to a larger shape; its adjoint sums over the repeats."""

    linear = True

    def __init__(self, shape):
        self.shape = shape

    def forward(self, x):
        self.kept = (shape_of(x),)
        wide = _widened(x, self.shape) if isinstance(x, np.ndarray) else None
        return (
            _core.broadcast_to(x, self.shape)
            if wide is None
            else _core.broadcast_to(*wide).reshape(self.shape)
        )

    def backward(self, gradient):
        return sum_to(gradient, self.kept[0])


_WIDE = 512  # values in a row, from where on a copy of rows is as fast as a copy


def _widened(x, shape):
    """An array and a shape with long rows that hold the same repeats as x in `shape`; None where rows are long.

    A channel's gradient over all pixels repeats a row of a few channels: each row is first repeated to a longer
    one, which is then copied far fewer times.
    """
    if math.prod(shape) < 1 << 15:
        return None
    own = (1,) * (len(shape) - len(x.shape)) + x.shape
    end = len(shape)
    while end and own[end - 1] == shape[end - 1]:
        end -= 1
    start = end
    while start and own[start - 1] == 1 != shape[start - 1]:
        start -= 1
    row, repeats = math.prod(shape[end:]), math.prod(shape[start:end])
    if not 1 < row < _WIDE or own[:start] != shape[:start] or 0 in shape:
        return None
    times = max((d for d in range(1, _WIDE // row + 1) if repeats % d == 0), default=1)
    if times == 1 or repeats == times:
        return None
    outer = math.prod(shape[:start])
    long = _core.broadcast_to(x.reshape(outer, 1, row), (outer, times, row))
    return long.reshape(outer, 1, times * row), (outer, repeats // times, times * row)


def broadcast_to(x, shape):
    """x repeated along new axes and axes of size 1, as NumPy broadcasts. The result has memory of its own.

    >>> import chainrule as cr, numpy as np
    >>> cr.broadcast_to(np.array([1.0, 2.0]), (2, 2))
    array([[1., 2.],
           [1., 2.]])

    Errors: ValueError when x does not broadcast to `shape`.
    """
    x = as_array(x, "broadcast_to")
    shape = as_sizes("broadcast_to", shape)
    if shape_of(x) == shape:
        return x
    if shape and (min(shape) < 0 or max(shape) >= 1 << 63):
        raise ValueError(f"broadcast_to: {shape_of(x)} to {shape}: sizes must be from 0 to 2^63 - 1")
    return BroadcastTo(shape)(x)


def sum_to(x, shape):
    """x summed over the axes along which `shape` was broadcast to x's shape: how a gradient goes back."""
    own = x.shape
    if own == shape:
        return x
    missing = len(own) - len(shape)
    axes = tuple(i for i in range(len(own)) if i < missing or (shape[i - missing] == 1 and own[i] != 1))
    return reshape(sum(x, axis=axes), shape)


def sum_like(x, gradient):
    """sum_to x's shape; numbers have ()."""
    shape = getattr(x, "shape", ())
    return gradient if gradient.shape == shape else sum_to(gradient, shape)


def is_integer(x) -> bool:
    """Whether x holds integers or booleans, which carry no gradient."""
    return unbox(x).dtype.kind in "biu"


def without_gradient(function, x, *arguments):
    """A NumPy function of x's values, as a Tensor where x is one."""
    result = np.asarray(function(unbox(x), *arguments))
    return box_result(result) if isinstance(x, Box) else result
