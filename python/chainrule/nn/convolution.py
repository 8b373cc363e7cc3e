"""Convolution layers."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import shape_of
from chainrule.gates.convolution import conv2d, conv2d_relu, conv_transpose2d, integer, pair, window_of
from chainrule.gates.convolution_pool import conv2d_max_pool2d
from chainrule.gates.shape import as_array
from chainrule.nn.initialise import as_generator, by_name
from chainrule.nn.module import Module, Parameter


class _Convolution(Module):
    """What both kinds share: checked sizes and settings, weights, and how they are shown."""

    def __init__(self, in_channels, out_channels, kernel_size, settings, bias, initialise, rng, dtype):
        name = type(self).__name__
        kernel = pair(name, "kernel_size", kernel_size)
        sizes = {"in_channels": in_channels, "out_channels": out_channels}
        sizes = {label: integer(name, label, size) for label, size in sizes.items()}
        for label, size in {**sizes, "kernel_size": min(kernel)}.items():
            if size < 1:
                raise ValueError(f"{name}: {label} {size}: give 1 or more")
        self.in_channels, self.out_channels = sizes.values()
        groups = check_settings(name, kernel, settings, self.in_channels, self.out_channels)
        if initialise not in by_name:
            raise ValueError(f"{name}: initialise {initialise!r} is not one of {sorted(by_name)}")
        self.settings = settings
        # Drawn with the axes (..., in, out) that initialisation counts by.
        drawn = by_name[initialise](
            (*kernel, self.in_channels // groups, self.out_channels), as_generator(rng), dtype
        )
        self.weight = Parameter(drawn.reshape(*kernel, *self.weight_channels(groups)))
        self.bias = Parameter(np.zeros(self.out_channels, dtype)) if bias else None

    def check(self, x):
        """x as an array or Tensor of this layer's channels."""
        x = as_array(x, type(self).__name__)
        shape = shape_of(x)
        if len(shape) != 4 or shape[-1] != self.in_channels:
            raise ValueError(
                f"{type(self).__name__}: x {shape} is not (N, height, width, {self.in_channels}), the channels that "
                f"the weight {self.weight.shape} takes"
            )
        return x

    def describe(self):
        height, width = self.weight.shape[:2]
        parts = [f"{self.in_channels}, {self.out_channels}", f"kernel {height}x{width}"]
        plain = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
        parts += [f"{k}={v!r}" for k, v in self.settings.items() if v != plain[k]]
        return ", ".join(parts) + ("" if self.bias is not None else ", bias=False")


def check_settings(name, kernel, settings, in_channels, out_channels) -> int:
    """Refuse settings that no image could fit. Returns the groups."""
    window = window_of(
        name, (1, 1, 1, 1), kernel, *(settings[k] for k in ("stride", "padding", "dilation", "groups"))
    )
    groups = window[8]
    for label, value, least in (
        ("stride", min(window[:2]), 1),
        ("padding", min(window[2:6]), 0),
        ("dilation", min(window[6:8]), 1),
        ("groups", groups, 1),
    ):
        if value < least:
            raise ValueError(f"{name}: {label} {value}: give {least} or more")
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"{name}: {groups} groups do not divide {in_channels} and {out_channels} channels evenly"
        )
    return groups


class Conv2d(_Convolution):
    """Convolution of images, channels last: x (N, height, width, in_channels) gives (N, ..., out_channels).

    Args:
        in_channels, out_channels: at least 1.
        kernel_size: an int, or (height, width).
        stride, padding, dilation, groups: as `chainrule.conv2d` takes them.
        bias: whether there is one; it starts at 0.
        initialise, rng, dtype: as for `Linear`; fan_in counts the kernel.

    Attributes: weight (kernel height, kernel width, in_channels / groups, out_channels); bias (out_channels,) or None.

    Errors: ValueError for sizes and settings that do not fit, TypeError for those that are no integers; at the call,
    ValueError for x of another shape.

    >>> import chainrule as cr, numpy as np
    >>> layer = cr.nn.Conv2d(3, 8, 3, padding="same")
    >>> layer(np.zeros((2, 32, 32, 3), np.float32)).shape
    (2, 32, 32, 8)
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        initialise="he",
        rng=None,
        dtype=np.float32,
    ):
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        super().__init__(in_channels, out_channels, kernel_size, settings, bias, initialise, rng, dtype)

    def weight_channels(self, groups):
        """The last two sizes of the weight."""
        return self.in_channels // groups, self.out_channels

    def forward(self, x):
        return conv2d(self.check(x), self.weight, self.bias, **self.settings)

    def forward_relu(self, x):
        """relu(forward(x)) in one pass."""
        return conv2d_relu(self.check(x), self.weight, self.bias, **self.settings)

    def forward_max_pool(self, pool, x, relu=False):
        """pool(forward(x)), or of forward_relu(x), for a MaxPool2d."""
        window = (pool.size, pool.stride, pool.padding, pool.ceil_mode)
        return conv2d_max_pool2d(self.check(x), self.weight, self.bias, self.settings, relu, window)


class ConvTranspose2d(_Convolution):
    """The adjoint of a convolution, which enlarges images: x (N, height, width, in_channels).

    Args: as for Conv2d; padding is what the convolution pads and this one cuts, output_padding what is added after.

    Attributes: weight (kernel height, kernel width, out_channels / groups, in_channels), that of the convolution
    from out_channels to in_channels; bias (out_channels,) or None.

    Errors: as Conv2d.

    >>> import chainrule as cr, numpy as np
    >>> layer = cr.nn.ConvTranspose2d(8, 3, 2, stride=2)
    >>> layer(np.zeros((2, 16, 16, 8), np.float32)).shape
    (2, 32, 32, 3)
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        dilation=1,
        groups=1,
        bias=True,
        initialise="he",
        rng=None,
        dtype=np.float32,
    ):
        if isinstance(padding, str):
            raise ValueError(
                f"ConvTranspose2d: padding {padding!r}: give numbers, for the output's size follows from them"
            )
        pair("ConvTranspose2d", "output_padding", output_padding)
        settings = {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "dilation": dilation,
            "groups": groups,
        }
        super().__init__(in_channels, out_channels, kernel_size, settings, bias, initialise, rng, dtype)

    def weight_channels(self, groups):
        """The last two sizes of the weight."""
        return self.out_channels // groups, self.in_channels

    def forward(self, x):
        return conv_transpose2d(self.check(x), self.weight, self.bias, **self.settings)
