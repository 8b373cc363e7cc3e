"""PyTorch's functions of images with channels last, as the library has them: references for its tests.

Weights are (kernel height, kernel width, channels / groups, filters), padding is ((top, bottom), (left, right)).
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

# On these small cases its threads would wait for each other far longer than one takes.
torch.set_num_threads(1)

NO_PADDING = ((0, 0), (0, 0))


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def oihw(w):
    """PyTorch's order of weights; its transposed convolution wants them contiguous."""
    return w.permute(3, 2, 0, 1).contiguous()


def padded(x, padding):
    """x (N, channels, height, width) with zeros around it."""
    (top, bottom), (left, right) = padding
    return functional.pad(x, (left, right, top, bottom))


def conv2d(x, w, bias=None, stride=1, padding=NO_PADDING, dilation=1, groups=1):
    y = functional.conv2d(padded(nchw(x), padding), oihw(w), bias, stride, 0, dilation, groups)
    return nhwc(y)


def conv2d_input_gradient(g, w, size, stride=1, padding=NO_PADDING, dilation=1, groups=1):
    """The gradient in an image of `size` (height, width)."""
    x = functional.conv_transpose2d(nchw(g), oihw(w), None, stride, 0, 0, groups, dilation)
    (top, bottom), (left, right) = padding
    height, width = size[0] + top + bottom, size[1] + left + right
    x = functional.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]))
    return nhwc(x[:, :, top : top + size[0], left : left + size[1]])


def conv2d_weight_gradient(x, g, size, stride=1, padding=NO_PADDING, dilation=1, groups=1):
    """The gradient in weights of `size` (height, width), made of differentiable steps."""
    windows = functional.unfold(padded(nchw(x), padding), size, dilation, 0, stride)
    n, channels, filters = x.shape[0], x.shape[3] // groups, g.shape[3] // groups
    windows = windows.reshape(n, groups, channels, size[0], size[1], -1)
    gradients = nchw(g).reshape(n, groups, filters, -1)
    w = torch.einsum("ngchwp,ngkp->hwcgk", windows, gradients)
    return w.reshape(size[0], size[1], channels, groups * filters)


def conv_transpose2d(x, w, bias=None, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    y = functional.conv_transpose2d(nchw(x), oihw(w), bias, stride, padding, output_padding, groups, dilation)
    return nhwc(y)


def max_pool2d(x, size, stride=None, padding=0, ceil_mode=False):
    return nhwc(functional.max_pool2d(nchw(x), size, stride, padding, ceil_mode=ceil_mode))


def max_positions(x, size, stride=None, padding=0, ceil_mode=False):
    """For each window the number of its largest value in x.reshape(-1), x an array."""
    n, height, width, channels = x.shape
    _, places = functional.max_pool2d(
        nchw(torch.tensor(x)), size, stride, padding, ceil_mode=ceil_mode, return_indices=True
    )
    places = nhwc(places).numpy()
    image = np.arange(n)[:, None, None, None] * height * width
    return torch.tensor((image + places) * channels + np.arange(channels))


def average_pool2d(x, size, stride=None, padding=0, count_include_pad=True):
    return nhwc(functional.avg_pool2d(nchw(x), size, stride, padding, count_include_pad=count_include_pad))


def average_pool2d_adjoint(g, shape, size, stride=None, padding=0, count_include_pad=True):
    """Each window's share added to its pixels: `fold`, the adjoint of taking windows."""
    n, height, width, channels = shape
    stride = size if stride is None else stride
    kernel = size if isinstance(size, tuple) else (size, size)
    area = kernel[0] * kernel[1]
    if not count_include_pad:
        area = area * functional.avg_pool2d(
            torch.ones(1, 1, height, width, dtype=g.dtype), size, stride, padding
        )
    shares = (nchw(g) / area).reshape(n, channels, 1, -1)
    shares = shares.expand(n, channels, kernel[0] * kernel[1], shares.shape[-1])
    return nhwc(
        functional.fold(shares.reshape(n, -1, shares.shape[-1]), (height, width), size, 1, padding, stride)
    )


def batch_norm(x, weight, bias, epsilon=1e-5):
    axes = tuple(range(x.ndim - 1))
    centre = x.mean(axes)
    variance = ((x - centre) ** 2).mean(axes)
    return (x - centre) / torch.sqrt(variance + epsilon) * weight + bias
