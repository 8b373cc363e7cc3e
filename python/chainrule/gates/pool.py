"""Pooling of images (N, height, width, channels): the largest or the mean value of each window.

Max-pooling closes under differentiation with its scatter and gather, average pooling with its adjoint.
"""

from __future__ import annotations

from chainrule import _core
from chainrule.autodiff.box import shape_of
from chainrule.autodiff.gate import Gate
from chainrule.gates.convolution import pair
from chainrule.gates.functions import relu_gradient
from chainrule.gates.reduce import max, mean
from chainrule.gates.shape import as_array


class MaxPool2d(Gate):
    """y = the largest value of each window, which alone gets its gradient; of equal ones the first."""

    fuses_relu = True

    def __init__(self, window):
        self.window = window

    def forward(self, x):
        y, indices = _core.max_pool2d(x, self.window)
        self.kept = indices, x.shape, y
        return y

    def backward(self, gradient):
        indices, shape, _ = self.kept
        return MaxPool2dScatter(indices, shape, self.window)(gradient)

    def backward_fused(self, gradient, behind_relu, fuse):
        # The largest of relu's values is positive where its gradient passes relu, and there are fewer of them.
        if fuse:
            gradient = relu_gradient(gradient, self.kept[2])
        return self.backward(gradient), fuse

    def jvp(self, tangent):
        indices, shape, _ = self.kept
        return MaxPool2dGather(indices, shape, self.window)(tangent)


class MaxPool2dScatter(Gate):
    """Gradients of windows put where their largest values were: the adjoint of MaxPool2dGather."""

    linear = True

    def __init__(self, indices, shape, window):
        self.indices = indices
        self.shape = shape
        self.window = window

    def forward(self, gradient):
        return _core.max_pool2d_scatter(gradient, self.indices, self.shape, self.window)

    def backward(self, u):
        return MaxPool2dGather(self.indices, self.shape, self.window)(u)


class MaxPool2dGather(Gate):
    """The value of each window at the place of its largest: the adjoint of MaxPool2dScatter."""

    linear = True

    def __init__(self, indices, shape, window):
        self.indices = indices
        self.shape = shape
        self.window = window

    def forward(self, x):
        return _core.max_pool2d_gather(x, self.indices, self.window)

    def backward(self, u):
        return MaxPool2dScatter(self.indices, self.shape, self.window)(u)


class AveragePool2d(Gate):
    """y = the mean of each window."""

    linear = True

    def __init__(self, window):
        self.window = window

    def forward(self, x):
        self.kept = (shape_of(x),)
        return _core.average_pool2d(x, self.window)

    def backward(self, gradient):
        return AveragePool2dAdjoint(self.kept[0], self.window)(gradient)


class AveragePool2dAdjoint(Gate):
    """Each window's gradient shared out among its pixels: the adjoint of AveragePool2d."""

    linear = True

    def __init__(self, shape, window):
        self.shape = shape
        self.window = window

    def forward(self, gradient):
        return _core.average_pool2d_adjoint(gradient, self.shape, self.window)

    def backward(self, u):
        return AveragePool2d(self.window)(u)


def pool_window(operation, x, size, stride, padding, flag):
    """The seven numbers that the core takes."""
    if len(shape_of(x)) != 4:
        raise ValueError(f"{operation}: x {shape_of(x)} is not (N, height, width, channels)")
    size = pair(operation, "size", size)
    stride = size if stride is None else pair(operation, "stride", stride)
    return (*size, *stride, *pair(operation, "padding", padding), int(bool(flag)))


def max_pool2d(x, size, stride=None, padding=0, ceil_mode=False):
    """The largest value of each window.

    Args:
        x: (N, height, width, channels), float32 or float64.
        size: of the window, an int or (height, width).
        stride: from one window to the next, an int or pair; the size when it is left out.
        padding: an int or pair, on both sides; below the window's size. What is padded never wins.
        ceil_mode: count a last window that is not full too, if it begins within the data or its padding before.

    Returns (N, (height + 2 padding - size) // stride + 1, ..., channels).

    At the edges: the gradient goes to the first of equal values, in rows from the top left; NaN wins over every
    number; a window of -inf alone gives -inf and sends its gradient to its first pixel.

    Errors: ValueError for shapes and settings that do not fit, or an image without pixels; TypeError for settings
    that are no integers.

    >>> import chainrule as cr, numpy as np
    >>> cr.max_pool2d(np.arange(16.0).reshape(1, 4, 4, 1), 2)[0, :, :, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    x = as_array(x, "max_pool2d")
    return MaxPool2d(pool_window("max_pool2d", x, size, stride, padding, ceil_mode))(x)


def average_pool2d(x, size, stride=None, padding=0, count_include_pad=True):
    """The mean of each window.

    Args:
        x, size, stride, padding: as for max_pool2d.
        count_include_pad: divide by the whole window, zeros of the padding included; else by the pixels it meets.

    Errors: as max_pool2d.

    >>> import chainrule as cr, numpy as np
    >>> cr.average_pool2d(np.arange(16.0).reshape(1, 4, 4, 1), 2)[0, :, :, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    x = as_array(x, "average_pool2d")
    return AveragePool2d(pool_window("average_pool2d", x, size, stride, padding, count_include_pad))(x)


def _images(operation, x):
    x = as_array(x, operation)
    if len(shape_of(x)) != 4 or 0 in shape_of(x)[1:3]:
        raise ValueError(f"{operation}: x {shape_of(x)} is not (N, height, width, channels) with pixels")
    return x


def global_average_pool2d(x):
    """The mean of each channel over all pixels: (N, height, width, channels) to (N, channels).

    Lin et al., Network in Network, 2014, section 3.2.

    Errors: ValueError for another shape, or an image without pixels.
    """
    return mean(_images("global_average_pool2d", x), axis=(1, 2))


def global_max_pool2d(x):
    """The largest value of each channel over all pixels: (N, height, width, channels) to (N, channels).

    The gradient goes to the first of equal values. Errors: as global_average_pool2d.
    """
    return max(_images("global_max_pool2d", x), axis=(1, 2))
