"""Reductions over any axes: mean, variance, max, min. The sum is in `summation`, log-sum-exp in `softmax`."""

from __future__ import annotations

import math

import numpy as np

from chainrule import _core
from chainrule.autodiff.box import shape_of
from chainrule.autodiff.gate import Gate
from chainrule.gates.arithmetic import divide, multiply, square, subtract
from chainrule.gates.axes import normalise_axes, reduced_shape, to_middle
from chainrule.gates.shape import as_array, reshape, transpose
from chainrule.gates.summation import Sum, is_integer, sum, without_gradient


class Max(Gate):
    """The largest value along some axes; it alone gets the gradient, the first of equal ones."""

    kernel = staticmethod(_core.max)

    def __init__(self, axes, keepdims):
        self.axes = axes
        self.keepdims = keepdims

    def forward(self, x):
        middle, outer, n, inner = to_middle(x, self.axes)
        values, indices = self.kernel(middle, outer, n, inner)
        self.kept = indices, (outer, n, inner), x.shape
        return values.reshape(reduced_shape(x.shape, self.axes, self.keepdims))

    def backward(self, gradient):
        indices, sizes, shape = self.kept
        return from_middle(Scatter(indices, sizes)(reshape(gradient, indices.shape)), shape, self.axes)

    def jvp(self, tangent):
        indices, sizes, shape = self.kept
        chosen = Gather(indices, sizes)(move_to_middle(tangent, self.axes))
        return reshape(chosen, reduced_shape(shape, self.axes, self.keepdims))


class Min(Max):
    """The smallest value along some axes; it alone gets the gradient, the first of equal ones."""

    kernel = staticmethod(_core.min)


class Scatter(Gate):
    """Values put at their indices in an array of zeros: the adjoint of Gather."""

    linear = True

    def __init__(self, indices, sizes):
        self.indices = indices
        self.sizes = sizes

    def forward(self, x):
        return _core.scatter(x, self.indices, *self.sizes)

    def backward(self, gradient):
        return Gather(self.indices, self.sizes)(gradient)


class Gather(Gate):
    """The values at some indices along the middle axis: the adjoint of Scatter."""

    linear = True

    def __init__(self, indices, sizes):
        self.indices = indices
        self.sizes = sizes

    def forward(self, x):
        return _core.gather(x, self.indices, *self.sizes)

    def backward(self, gradient):
        return Scatter(self.indices, self.sizes)(gradient)


def move_to_middle(x, axes):
    """x with `axes` beside each other, as to_middle brings them, by gates: for values that are traced."""
    if axes and axes[-1] - axes[0] + 1 != len(axes):
        return transpose(x, [i for i in range(len(shape_of(x))) if i not in axes] + list(axes))
    return x


def from_middle(x, shape, axes):
    """(outer, n, inner) back to `shape`, undoing what to_middle did."""
    if axes and axes[-1] - axes[0] + 1 != len(axes):
        order = [i for i in range(len(shape)) if i not in axes] + list(axes)
        moved = reshape(x, tuple(shape[i] for i in order))
        return transpose(moved, tuple(np.argsort(order)))
    return reshape(x, shape)


def _extreme(name, gate, x, axis, keepdims):
    x = as_array(x, name)
    axes = normalise_axes(name, axis, len(shape_of(x)))
    if any(shape_of(x)[a] == 0 for a in axes):
        raise ValueError(f"{name}: {shape_of(x)} has no values along axis {axis}: it has no {name}imum")
    if is_integer(x):
        return without_gradient(lambda a: getattr(np, name)(a, axis=axes, keepdims=keepdims), x)
    return gate(axes, keepdims)(x)


def max(x, axis=None, keepdims=False):
    """The largest value over `axis`: an int, a tuple, or None for all. NaN wins over every number.

    The gradient goes to the first of equal values.

    Errors: ValueError over no values, or for an axis that does not exist.

    >>> import chainrule as cr, numpy as np
    >>> cr.max(np.array([[1.0, 5.0], [7.0, 2.0]]), axis=1)
    array([5., 7.])
    """
    return _extreme("max", Max, x, axis, keepdims)


def min(x, axis=None, keepdims=False):
    """The smallest value over `axis`: an int, a tuple, or None for all. NaN wins over every number.

    The gradient goes to the first of equal values.

    Errors: ValueError over no values, or for an axis that does not exist.
    """
    return _extreme("min", Min, x, axis, keepdims)


def _count(name, x, axes):
    count = math.prod(shape_of(x)[a] for a in axes)
    if count == 0:
        raise ValueError(
            f"{name}: {shape_of(x)} has no values along axes {axes}: the mean of nothing is undefined"
        )
    return count


def mean(x, axis=None, keepdims=False):
    """The mean over `axis`: an int, a tuple, or None for all. Integers and booleans give a float32 mean.

    Errors: ValueError over no values, or for an axis that does not exist.
    """
    x = as_array(x, "mean")
    axes = normalise_axes("mean", axis, len(shape_of(x)))
    count = _count("mean", x, axes)
    if is_integer(x):
        return without_gradient(
            lambda a: a.mean(axis=axes, keepdims=keepdims, dtype=np.float64).astype(np.float32), x
        )
    return divide(Sum(axes, keepdims)(x), float(count))


class Var(Gate):
    """y = sum (x - mean)^2 / d: dx = 2 (x - mean) / d. What goes through the mean is 0, as the deviations sum to 0."""

    def __init__(self, axes, keepdims, divisor):
        self.axes = axes
        self.keepdims = keepdims
        self.divisor = divisor

    def forward(self, x):
        self.kept = (x,)
        squares = square(self.deviation())
        return divide(sum(squares, self.axes, self.keepdims), self.divisor)

    def deviation(self):
        (x,) = self.kept
        return subtract(x, mean(x, self.axes, keepdims=True))

    def backward(self, gradient):
        shape = reduced_shape(self.kept[0].shape, self.axes, True)
        return multiply(self.deviation(), multiply(reshape(gradient, shape), 2.0 / self.divisor))

    def jvp(self, tangent):
        changes = sum(multiply(self.deviation(), tangent), self.axes, self.keepdims)
        return multiply(changes, 2.0 / self.divisor)


def var(x, axis=None, keepdims=False, ddof=0):
    """The variance over `axis`: the mean of squared deviations from the mean, over n - ddof values.

    Two passes, so it is never negative and does not lose digits when the mean is large.

    Errors: ValueError where n - ddof is not positive, or for an axis that does not exist.

    >>> import chainrule as cr, numpy as np
    >>> float(cr.var(np.array([1.0, 2.0, 3.0]), ddof=1))
    1.0
    """
    x = as_array(x, "var")
    axes = normalise_axes("var", axis, len(shape_of(x)))
    count = _count("var", x, axes)
    if count - ddof <= 0:
        raise ValueError(f"var: {count} values with ddof={ddof}: there must be more values than ddof")
    return Var(axes, keepdims, float(count - ddof))(x)
