"""A convolution and the max-pooling behind it as one gate, for operands rounded to bfloat16.

The convolution's outputs go through the pooling while they are in the caches, and on the way back their gradient is
made line by line where it is read: neither ever lies in memory whole.
"""

from __future__ import annotations

from chainrule import _core
from chainrule.autodiff.box import Box, shape_of, unbox
from chainrule.gates.arithmetic import add_tangents
from chainrule.gates.convolution import (
    Conv2d,
    conv2d,
    conv2d_input_gradient,
    conv2d_relu,
    conv2d_weight_gradient,
    kernel_size,
    window_of,
)
from chainrule.gates.pool import MaxPool2dGather, MaxPool2dScatter, max_pool2d, pool_window
from chainrule.gates.shape import as_array, promoted
from chainrule.precision import state


class Conv2dMaxPool2d(Conv2d):
    """y = the largest value of each window of x * w (+ b) (then relu): as Conv2d and MaxPool2d one after the other."""

    def __init__(self, window, pooling, relu=False, bfloat16=False):
        super().__init__(window, relu, bfloat16)
        self.pooling = pooling

    def forward(self, x, w, bias=None):
        y, indices = _core.conv2d_max_pool2d(x, w, bias, self.window, self.pooling, self.relu, self.bfloat16)
        self.kept = x, w, y if self.relu else None, indices
        return y

    def backward_fused(self, gradient, behind_relu, fuse):
        x, w, y, indices = self.kept
        boxed = any(isinstance(value, Box) for value in (gradient, x, w, y))
        gradient, db = self.through_epilogue(gradient, behind_relu)
        dx = dw = None
        settings = self.window, self.bfloat16
        if boxed:
            gradient = MaxPool2dScatter(indices, self.outputs(x, w), self.pooling)(gradient)
            if self.wants(0):
                dx = conv2d_input_gradient(gradient, w, shape_of(x), *settings)
            if self.wants(1):
                dw = conv2d_weight_gradient(x, gradient, shape_of(w), *settings)
            return self.each(dx, dw, db), False
        settings = self.window, self.pooling, self.bfloat16
        if self.wants(0):
            dx = _core.conv2d_max_pool2d_input_gradient(
                gradient, indices, w, x.shape, *settings, x if fuse else None
            )
        if self.wants(1):
            dw = _core.conv2d_max_pool2d_weight_gradient(x, gradient, indices, w.shape, *settings)
        return self.each(dx, dw, db), fuse

    def jvp(self, x_tangent, w_tangent, bias_tangent=None):
        x, w, _, indices = self.kept
        convolved = add_tangents(
            None if x_tangent is None else Conv2d(self.window, bfloat16=self.bfloat16)(x_tangent, w),
            None if w_tangent is None else Conv2d(self.window, bfloat16=self.bfloat16)(x, w_tangent),
        )
        if convolved is not None:
            convolved = MaxPool2dGather(indices, self.outputs(x, w), self.pooling)(convolved)
        return self.with_epilogue(convolved, bias_tangent)

    def outputs(self, x, w):
        """The shape of the convolution's outputs."""
        (batch, *sizes, _), (*kernel, _, filters) = shape_of(x), shape_of(w)
        stride, padding, dilation = self.window[:2], self.window[2:6], self.window[6:8]
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        height, width = (
            (sizes[i] + padding[2 * i] + padding[2 * i + 1] - spans[i]) // stride[i] + 1 for i in (0, 1)
        )
        return batch, height, width, filters


def conv2d_max_pool2d(x, w, bias, convolution, relu, pooling):
    """max_pool2d(conv2d(x, w, bias, **convolution), *pooling), with relu between them if `relu`.

    One gate for float32 under `chainrule.autocast("bfloat16")` where that pays, else one after the other.

    Args:
        convolution: stride, padding, dilation and groups of the convolution, all four.
        pooling: size, stride, padding and ceil_mode of the pooling.

    Returns, errors: as for the two.
    """
    x, w = as_array(x, "conv2d"), as_array(w, "conv2d", "weights")
    windows = pool_window("max_pool2d", x, *pooling)
    if state.bfloat16 and all(unbox(value).dtype.char == "f" for value in (x, w)):
        window = window_of("conv2d", shape_of(x), kernel_size("conv2d", x, w), **convolution)
        if _core.conv2d_max_pool2d_pays(shape_of(x), shape_of(w), window, windows):
            gate = Conv2dMaxPool2d(window, windows, relu, True)
            if bias is None:
                return gate(x, w)
            bias = as_array(bias, "conv2d", "bias")
            return gate(promoted(x, bias), w, bias)
    return max_pool2d((conv2d_relu if relu else conv2d)(x, w, bias, **convolution), *pooling)
