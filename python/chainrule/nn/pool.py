"""Pooling layers, for images (N, height, width, channels)."""

from __future__ import annotations

from chainrule.gates.convolution import pair
from chainrule.gates.pool import average_pool2d, global_average_pool2d, global_max_pool2d, max_pool2d
from chainrule.nn.module import Module


class _Pool(Module):
    """What both kinds share: settings, checked when the layer is made."""

    def __init__(self, size, stride, padding):
        name = type(self).__name__
        self.size = size
        self.stride = stride
        self.padding = padding
        sizes = pair(name, "size", size)
        strides = sizes if stride is None else pair(name, "stride", stride)
        for label, value in (("size", min(sizes)), ("stride", min(strides))):
            if value < 1:
                raise ValueError(f"{name}: {label} {value}: give 1 or more")
        for length, around in zip(sizes, pair(name, "padding", padding), strict=True):
            if not 0 <= around < length:
                raise ValueError(f"{name}: padding {around} for windows of {length}: give 0 to {length - 1}")

    def describe(self):
        stride = self.size if self.stride is None else self.stride
        return f"{self.size}, stride={stride}, padding={self.padding}"


class MaxPool2d(_Pool):
    """The largest value of each window; settings as `chainrule.max_pool2d` takes them.

    Errors: ValueError for settings out of range, TypeError for those that are no integers; at the call, as
    `max_pool2d`.
    """

    def __init__(self, size, stride=None, padding=0, ceil_mode=False):
        super().__init__(size, stride, padding)
        self.ceil_mode = ceil_mode

    def forward(self, x):
        return max_pool2d(x, self.size, self.stride, self.padding, self.ceil_mode)

    def describe(self):
        return super().describe() + (", ceil_mode=True" if self.ceil_mode else "")


class AvgPool2d(_Pool):
    """The mean of each window; settings as `chainrule.average_pool2d` takes them.

    Errors: as MaxPool2d.
    """

    def __init__(self, size, stride=None, padding=0, count_include_pad=True):
        super().__init__(size, stride, padding)
        self.count_include_pad = count_include_pad

    def forward(self, x):
        return average_pool2d(x, self.size, self.stride, self.padding, self.count_include_pad)

    def describe(self):
        return super().describe() + ("" if self.count_include_pad else ", count_include_pad=False")


class GlobalAvgPool2d(Module):
    """The mean of each channel over all pixels: (N, height, width, channels) to (N, channels)."""

    def forward(self, x):
        return global_average_pool2d(x)


class GlobalMaxPool2d(Module):
    """The largest value of each channel over all pixels: (N, height, width, channels) to (N, channels)."""

    def forward(self, x):
        return global_max_pool2d(x)
