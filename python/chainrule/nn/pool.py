"""Pooling layers, for images (N, height, width, channels)."""

from __future__ import annotations

from chainrule.gates.pool import average_pool2d, global_average_pool2d, global_max_pool2d, max_pool2d
from chainrule.nn.module import Module


class MaxPool2d(Module):
    """The largest value of each window; settings as `chainrule.max_pool2d` takes them."""

    def __init__(self, size, stride=None, padding=0, ceil_mode=False):
        self.size = size
        self.stride = stride
        self.padding = padding
        self.ceil_mode = ceil_mode

    def forward(self, x):
        return max_pool2d(x, self.size, self.stride, self.padding, self.ceil_mode)

    def describe(self):
        stride = self.size if self.stride is None else self.stride
        return f"{self.size}, stride={stride}, padding={self.padding}" + (
            ", ceil_mode=True" if self.ceil_mode else ""
        )


class AvgPool2d(Module):
    """The mean of each window; settings as `chainrule.average_pool2d` takes them."""

    def __init__(self, size, stride=None, padding=0, count_include_pad=True):
        self.size = size
        self.stride = stride
        self.padding = padding
        self.count_include_pad = count_include_pad

    def forward(self, x):
        return average_pool2d(x, self.size, self.stride, self.padding, self.count_include_pad)

    def describe(self):
        stride = self.size if self.stride is None else self.stride
        return f"{self.size}, stride={stride}, padding={self.padding}" + (
            "" if self.count_include_pad else ", count_include_pad=False"
        )


class GlobalAvgPool2d(Module):
    """The mean of each channel over all pixels: (N, height, width, channels) to (N, channels)."""

    def forward(self, x):
        return global_average_pool2d(x)


class GlobalMaxPool2d(Module):
    """The largest value of each channel over all pixels: (N, height, width, channels) to (N, channels)."""

    def forward(self, x):
        return global_max_pool2d(x)
