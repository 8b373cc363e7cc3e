"""Softmax, log-softmax and log-sum-exp over any axes.

Scores of -inf are masked: probability 0, no gradient. When all scores along an axis are masked the
probabilities are 0 and the log-sum-exp is -inf, with gradient 0. Scores of +inf and NaN give NaN.
"""

from __future__ import annotations

import numpy as np

from chainrule import _core
from chainrule.autodiff.box import Box, shape_of, unbox
from chainrule.autodiff.gate import Gate
from chainrule.gates.arithmetic import multiply, subtract
from chainrule.gates.axes import normalise_axes, reduced_shape, to_middle
from chainrule.gates.functions import exp
from chainrule.gates.reduce import from_middle
from chainrule.gates.select import where
from chainrule.gates.shape import as_array, reshape
from chainrule.gates.summation import sum


class Softmax(Gate):
    """y_i = e^(x_i) / sum_j e^(x_j): dx = y (g - sum_j g_j y_j)."""

    kernel = staticmethod(_core.softmax)

    def __init__(self, axes):
        self.axes = axes

    def forward(self, x):
        middle, *sizes = to_middle(x, self.axes)
        y = from_middle(self.kernel(middle, *sizes), x.shape, self.axes)
        self.kept = (y,)
        return y

    def backward(self, gradient):
        (y,) = self.kept
        return softmax_gradient(gradient, y, self.axes)

    def jvp(self, tangent):
        return softmax_gradient(tangent, self.kept[0], self.axes)  # the Jacobian is symmetric


class LogSoftmax(Softmax):
    """y_i = x_i - ln sum_j e^(x_j): dx = g - e^y sum_j g_j."""

    kernel = staticmethod(_core.log_softmax)

    def backward(self, gradient):
        (y,) = self.kept
        return log_softmax_gradient(gradient, y, self.axes)

    def jvp(self, tangent):
        (y,) = self.kept
        weighted = sum(multiply(exp(y), tangent), self.axes, keepdims=True)
        return subtract(unmasked(y, tangent), weighted)


def softmax_gradient(gradient, y, axes):
    """y (g - sum g y): one kernel on arrays, its parts on Tensors, which are differentiable again."""
    if isinstance(gradient, Box) or isinstance(y, Box):
        return multiply(y, subtract(gradient, sum(multiply(gradient, y), axes, keepdims=True)))
    return _fused(_core.softmax_gradient, gradient, y, axes)


def log_softmax_gradient(gradient, y, axes):
    """g - e^y sum g: one kernel on arrays, its parts on Tensors, which are differentiable again."""
    if isinstance(gradient, Box) or isinstance(y, Box):
        return unmasked(y, subtract(gradient, multiply(exp(y), sum(gradient, axes, keepdims=True))))
    return _fused(_core.log_softmax_gradient, gradient, y, axes)


def unmasked(log_probabilities, x):
    """x, with 0 where the score is masked."""
    return where(np.isneginf(unbox(log_probabilities)), 0.0, x)


def _fused(kernel, gradient, y, axes):
    moved_gradient, *sizes = to_middle(gradient, axes)
    moved_y = to_middle(y, axes)[0]
    return from_middle(kernel(moved_gradient, moved_y, *sizes), y.shape, axes)


class Logsumexp(Gate):
    """y = ln sum_j e^(x_j): dx = g softmax(x)."""

    def __init__(self, axes, keepdims):
        self.axes = axes
        self.keepdims = keepdims

    def forward(self, x):
        self.kept = (x,)
        middle, *sizes = to_middle(x, self.axes)
        return _core.logsumexp(middle, *sizes).reshape(reduced_shape(x.shape, self.axes, self.keepdims))

    def backward(self, gradient):
        (x,) = self.kept
        kept_dimensions = reshape(gradient, reduced_shape(x.shape, self.axes, True))
        return multiply(softmax(x, self.axes), kept_dimensions)

    def jvp(self, tangent):
        (x,) = self.kept
        return sum(multiply(softmax(x, self.axes), tangent), self.axes, self.keepdims)


def softmax(x, axis=-1):
    """Probabilities e^x / sum e^x along `axis`: an int, a tuple of axes, or None for all.

    Stable for scores of any size, for the largest is subtracted first.

    >>> import chainrule as cr, numpy as np
    >>> cr.softmax(np.array([123.0, 456.0, 789.0])).round(6)
    array([0., 0., 1.])

    Errors: ValueError for an axis that does not exist; TypeError for integer scores.
    """
    x = as_array(x, "softmax")
    return Softmax(normalise_axes("softmax", axis, len(shape_of(x))))(x)


def log_softmax(x, axis=-1):
    """ln softmax(x) along `axis`, without computing the logarithm of a small number.

    A masked score (-inf) has log-probability -inf.
    """
    x = as_array(x, "log_softmax")
    return LogSoftmax(normalise_axes("log_softmax", axis, len(shape_of(x))))(x)


def logsumexp(x, axis=None, keepdims=False):
    """ln sum e^x over `axis`: an int, a tuple of axes, or None for all. Over no values it is -inf.

    >>> import chainrule as cr, numpy as np
    >>> float(cr.logsumexp(np.array([1000.0, 1000.0])).round(4))
    1000.6931
    """
    x = as_array(x, "logsumexp")
    return Logsumexp(normalise_axes("logsumexp", axis, len(shape_of(x))), keepdims)(x)
