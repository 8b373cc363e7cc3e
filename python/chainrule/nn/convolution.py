"""Convolution layers."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import shape_of
from chainrule.gates.convolution import conv2d, conv2d_relu, conv_transpose2d, integer, pair
from chainrule.nn.initialise import as_generator, by_name
from chainrule.nn.module import Module, Parameter


class _Convolution(Module):
    """What both kinds share: sizes, weights and how they are shown."""

    def __init__(self, sizes, weight_shape, bias_size, bias, initialise, rng, dtype, settings):
        name = type(self).__name__
        for label, size in sizes.items():
            if integer(name, label, size) < 1:
                raise ValueError(f"{name}: {label} {size}: give 1 or more")
        if initialise not in by_name:
            raise ValueError(f"{name}: initialise {initialise!r} is not one of {sorted(by_name)}")
        self.in_channels, self.out_channels = int(sizes["in_channels"]), int(sizes["out_channels"])
        self.settings = settings
        self.weight = Parameter(by_name[initialise](weight_shape, as_generator(rng), dtype))
        self.bias = Parameter(np.zeros(bias_size, dtype)) if bias else None

    def check(self, x):
        shape = shape_of(x)
        if len(shape) != 4 or shape[-1] != self.in_channels:
            raise ValueError(
                f"{type(self).__name__}: x {shape} is not (N, height, width, {self.in_channels}), the channels that "
                f"the weight {self.weight.shape} takes"
            )

    def describe(self):
        height, width = self.weight.shape[:2]
        parts = [f"{self.in_channels}, {self.out_channels}", f"kernel {height}x{width}"]
        plain = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
        parts += [f"{k}={v!r}" for k, v in self.settings.items() if v != plain[k]]
        return ", ".join(parts) + ("" if self.bias is not None else ", bias=False")


def _groups(name, groups, in_channels, out_channels):
    groups = integer(name, "groups", groups)
    if groups < 1 or in_channels % groups or out_channels % groups:
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

    Errors: ValueError for sizes that do not fit; at the call, for x of another shape.

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
        kernel = pair("Conv2d", "kernel_size", kernel_size)
        groups = _groups("Conv2d", groups, in_channels, out_channels)
        super().__init__(
            {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": min(kernel)},
            (*kernel, in_channels // groups, out_channels),
            out_channels,
            bias,
            initialise,
            rng,
            dtype,
            {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
        )

    def forward(self, x):
        self.check(x)
        return conv2d(x, self.weight, self.bias, **self.settings)

    def forward_relu(self, x):
        self.check(x)
        return conv2d_relu(x, self.weight, self.bias, **self.settings)


class ConvTranspose2d(_Convolution):
    """The adjoint of a convolution, which enlarges images: x (N, height, width, in_channels).

    Args: as for Conv2d; padding is what the convolution pads and this one cuts, output_padding what is added after.

    Attributes: weight (kernel height, kernel width, out_channels / groups, in_channels), that of the convolution
    from out_channels to in_channels; bias (out_channels,) or None.

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
        kernel = pair("ConvTranspose2d", "kernel_size", kernel_size)
        groups = _groups("ConvTranspose2d", groups, in_channels, out_channels)
        settings = {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "dilation": dilation,
        }
        super().__init__(
            {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": min(kernel)},
            (*kernel, out_channels // groups, in_channels),
            out_channels,
            bias,
            initialise,
            rng,
            dtype,
            {**settings, "groups": groups},
        )

    def forward(self, x):
        self.check(x)
        return conv_transpose2d(x, self.weight, self.bias, **self.settings)
