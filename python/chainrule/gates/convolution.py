"""Convolution, its two gradients and the transposed convolution.

Convolution is linear in the image and in the weights. Its gradient in either is the adjoint of one of these two
maps, and is again bilinear, so the three gates are closed under differentiation:

    Conv2d                y  = x * w
    Conv2dInputGradient   dx = the adjoint in x, of dy and w
    Conv2dWeightGradient  dw = the adjoint in w, of x and dy

Images are (N, height, width, channels), weights (height, width, channels / groups, filters).
"""

from __future__ import annotations

import operator

from chainrule import _core
from chainrule.autodiff.box import Box, shape_of
from chainrule.autodiff.gate import Gate
from chainrule.gates.arithmetic import add_tangents
from chainrule.gates.epilogue import WithEpilogue
from chainrule.gates.shape import as_array, pad, promoted
from chainrule.precision import state

# ---- The window: how stride, padding, dilation and groups are given ------------------------------------------


def pair(operation: str, name: str, value) -> tuple[int, int]:
    """An integer for both axes, or a pair of them, as (height, width)."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise ValueError(f"{operation}: {name} {value!r}: give a number, or a pair for height and width")
    return tuple(integer(operation, name, v) for v in values)


def integer(operation: str, name: str, value) -> int:
    """The value as an int of 64 bits; TypeError for a float or anything else that is none."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{operation}: {name} {value!r} is not an integer") from None
    return in_64_bits(operation, name, number)


def in_64_bits(operation: str, name: str, number: int) -> int:
    """The number itself; ValueError where the core cannot hold it."""
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{operation}: {name} {number} overflows 64 bits: use smaller numbers")
    return number


def padding_of(operation: str, padding, sizes, kernel, stride, dilation) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) from an int, a pair, a pair of pairs, 'same' or 'valid'.

    'same' gives an output of ceil(size / stride), with the odd zero after the data, as TensorFlow has it.
    """
    if isinstance(padding, str):
        if padding == "valid":
            return 0, 0, 0, 0
        if padding != "same":
            raise ValueError(f"{operation}: padding {padding!r} is not 'same' or 'valid'")
        result = []
        for size, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
            total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0) if s > 0 else 0
            result += [total // 2, in_64_bits(operation, "padding", total - total // 2)]
        return tuple(result)
    if isinstance(padding, (tuple, list)) and any(isinstance(p, (tuple, list)) for p in padding):
        if len(padding) != 2 or any(not isinstance(p, (tuple, list)) or len(p) != 2 for p in padding):
            raise ValueError(f"{operation}: padding {padding!r}: give ((top, bottom), (left, right))")
        return tuple(integer(operation, "padding", p) for side in padding for p in side)
    height, width = pair(operation, "padding", padding)
    return height, height, width, width


def window_of(operation, image, kernel, stride, padding, dilation, groups):
    """The nine numbers that the core takes, for an image (N, height, width, channels) and a kernel (height, width)."""
    stride, dilation = pair(operation, "stride", stride), pair(operation, "dilation", dilation)
    sizes = image[1:3]
    padded = padding_of(operation, padding, sizes, kernel, stride, dilation)
    return (*stride, *padded, *dilation, integer(operation, "groups", groups))


# ---- The gates -----------------------------------------------------------------------------------------------


class Conv2d(WithEpilogue):
    """y = x * w (+ b) (then relu): dx and dw by their gates, db the sum of dy over images and pixels."""

    fuses_relu = True

    def __init__(self, window, relu=False, bfloat16=False):
        self.window = window
        self.relu = relu
        self.bfloat16 = bfloat16

    def forward(self, x, w, bias=None):
        y = _core.conv2d(x, w, bias, self.window, self.relu, self.bfloat16)
        self.kept = (x, w, y) if self.relu else (x, w)
        return y

    def backward(self, gradient):
        return self.backward_fused(gradient, False, False)[0]

    def backward_fused(self, gradient, behind_relu, fuse):
        x, w = self.kept[:2]
        fuse = fuse and not any(isinstance(value, Box) for value in (gradient, *self.kept))
        gradient, db = self.through_epilogue(gradient, behind_relu)
        dx = dw = None
        if fuse:
            dx = _core.conv2d_input_gradient(
                gradient, w, None, *x.shape[1:3], self.window, False, self.bfloat16, x
            )
        elif self.wants(0):
            dx = conv2d_input_gradient(gradient, w, shape_of(x), self.window, self.bfloat16)
        if self.wants(1):
            dw = conv2d_weight_gradient(x, gradient, shape_of(w), self.window, self.bfloat16)
        return self.each(dx, dw, db), fuse

    def jvp(self, x_tangent, w_tangent, bias_tangent=None):
        x, w = self.kept[:2]
        tangent = add_tangents(
            None if x_tangent is None else Conv2d(self.window, bfloat16=self.bfloat16)(x_tangent, w),
            None if w_tangent is None else Conv2d(self.window, bfloat16=self.bfloat16)(x, w_tangent),
        )
        return self.with_epilogue(tangent, bias_tangent)


class Conv2dInputGradient(WithEpilogue):
    """dx from dy and w; with a bias b added to each pixel it is the transposed convolution."""

    def __init__(self, size, window, transposed=False, bfloat16=False):
        self.size = size  # (height, width) of dx
        self.window = window
        self.transposed = transposed
        self.bfloat16 = bfloat16

    def forward(self, gradient, w, bias=None):
        self.kept = gradient, w
        return _core.conv2d_input_gradient(
            gradient, w, bias, *self.size, self.window, self.transposed, self.bfloat16
        )

    def backward(self, u):
        gradient, w = self.kept
        u, db = self.through_epilogue(u)
        return self.each(
            Conv2d(self.window, bfloat16=self.bfloat16)(u, w) if self.wants(0) else None,
            conv2d_weight_gradient(u, gradient, shape_of(w), self.window, self.bfloat16)
            if self.wants(1)
            else None,
            db,
        )

    def jvp(self, gradient_tangent, w_tangent, bias_tangent=None):
        gradient, w = self.kept
        adjoint = Conv2dInputGradient(self.size, self.window, bfloat16=self.bfloat16)
        tangent = add_tangents(
            None if gradient_tangent is None else adjoint(gradient_tangent, w),
            None
            if w_tangent is None
            else Conv2dInputGradient(self.size, self.window, bfloat16=self.bfloat16)(gradient, w_tangent),
        )
        return self.with_epilogue(tangent, bias_tangent)


class Conv2dWeightGradient(Gate):
    """dw from x and dy."""

    def __init__(self, size, window, bfloat16=False):
        self.size = size  # (height, width) of the kernel
        self.window = window
        self.bfloat16 = bfloat16

    def forward(self, x, gradient):
        self.kept = x, gradient
        return _core.conv2d_weight_gradient(x, gradient, *self.size, self.window, self.bfloat16)

    def backward(self, u):
        x, gradient = self.kept
        return (
            conv2d_input_gradient(gradient, u, shape_of(x), self.window, self.bfloat16)
            if self.wants(0)
            else None,
            Conv2d(self.window, bfloat16=self.bfloat16)(x, u) if self.wants(1) else None,
        )

    def jvp(self, x_tangent, gradient_tangent):
        x, gradient = self.kept
        return add_tangents(
            None
            if x_tangent is None
            else Conv2dWeightGradient(self.size, self.window, self.bfloat16)(x_tangent, gradient),
            None
            if gradient_tangent is None
            else Conv2dWeightGradient(self.size, self.window, self.bfloat16)(x, gradient_tangent),
        )


def conv2d_input_gradient(gradient, w, x_shape, window, bfloat16):
    """The adjoint of x -> x * w, at a gradient of the output: an image of `x_shape`."""
    return Conv2dInputGradient(x_shape[1:3], window, bfloat16=bfloat16)(gradient, w)


def conv2d_weight_gradient(x, gradient, w_shape, window, bfloat16):
    """The adjoint of w -> x * w, at a gradient of the output: weights of `w_shape`."""
    return Conv2dWeightGradient(w_shape[:2], window, bfloat16)(x, gradient)


# ---- The functions -------------------------------------------------------------------------------------------


def kernel_size(operation, x, w):
    x_shape, w_shape = shape_of(x), shape_of(w)
    if len(x_shape) != 4 or len(w_shape) != 4:
        raise ValueError(
            f"{operation}: x {x_shape}, weights {w_shape}: give x (N, height, width, channels) and weights "
            "(height, width, channels / groups, filters)"
        )
    return w_shape[:2]


def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Two-dimensional convolution (cross-correlation, as the field has it), channels last.

        y[n, i, j, k] = bias[k] + sum over a, b, c of x[n, i stride + a dilation - top, j stride + b dilation - left,
                        c] w[a, b, c, k],   with zeros outside x

    Args:
        x: (N, height, width, channels), float32 or float64.
        w: (kernel height, kernel width, channels / groups, filters).
        bias: (filters,), or None.
        stride, dilation: an int, or a pair for height and width; at least 1.
        padding: an int, a pair, ((top, bottom), (left, right)), 'valid' (none), or 'same' (output of
            ceil(size / stride), the odd zero after the data).
        groups: channels and filters in that many parts, each convolved on its own; as many as channels makes it
            depthwise.

    Returns (N, (height + top + bottom - (kernel - 1) dilation - 1) // stride + 1, ..., filters). An empty batch
    gives an empty output.

    The algorithm is chosen for each shape (`chainrule.set_conv_algorithm`). In float32 'direct' errs by a few
    1e-7 of the sum of absolute products, Winograd by up to some 1e-5 of the largest output.

    Errors: ValueError for shapes, padding or groups that do not fit, a kernel larger than the padded image, or
    sizes that overflow; TypeError for settings that are no integers.

    >>> import chainrule as cr, numpy as np
    >>> x = np.arange(9.0).reshape(1, 3, 3, 1)
    >>> cr.conv2d(x, np.ones((2, 2, 1, 1)))[0, :, :, 0]
    array([[ 8., 12.],
           [20., 24.]])

    Dumoulin and Visin, A Guide to Convolution Arithmetic for Deep Learning, 2016, draw every case.
    """
    return _conv2d(x, w, bias, stride, padding, dilation, groups, False)


def conv2d_relu(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """relu(conv2d(...)) as one gate: the activation is applied on the way to memory.

    The derivative of relu is 0 at 0. `nn.Sequential` uses it for a Conv2d that a ReLU follows.
    """
    return _conv2d(x, w, bias, stride, padding, dilation, groups, True)


def _conv2d(x, w, bias, stride, padding, dilation, groups, relu):
    x, w = as_array(x, "conv2d"), as_array(w, "conv2d", "weights")
    window = window_of("conv2d", shape_of(x), kernel_size("conv2d", x, w), stride, padding, dilation, groups)
    gate = Conv2d(window, relu, state.bfloat16)
    if bias is None:
        return gate(x, w)
    bias = as_array(bias, "conv2d", "bias")
    return gate(promoted(x, bias), w, bias)


def conv_transpose2d(x, w, bias=None, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """The transposed convolution: the exact adjoint, in its image, of `conv2d` with the same weights and settings.

    Args:
        x: (N, height, width, channels).
        w: (kernel height, kernel width, filters / groups, channels): those of the convolution whose adjoint it is.
        bias: (filters,), or None.
        stride, dilation, groups: as for conv2d.
        padding: what the convolution pads, and this one cuts: an int, a pair, or ((top, bottom), (left, right)).
        output_padding: an int or pair, rows and columns added after the data; below the larger of stride and
            dilation.

    Returns (N, (height - 1) stride - top - bottom + (kernel - 1) dilation + 1 + output_padding, ..., filters).

    Errors: as `conv2d`.

    >>> import chainrule as cr, numpy as np
    >>> cr.conv_transpose2d(np.ones((1, 2, 2, 1)), np.ones((2, 2, 1, 1)), stride=2).shape
    (1, 4, 4, 1)
    """
    name = "conv_transpose2d"
    x, w = as_array(x, name), as_array(w, name, "weights")
    kernel = kernel_size(name, x, w)
    if isinstance(padding, str):
        raise ValueError(
            f"{name}: padding {padding!r}: give numbers, for the output's size follows from them"
        )
    window = window_of(name, shape_of(x), kernel, stride, padding, dilation, groups)
    extra = pair(name, "output_padding", output_padding)
    if shape_of(x)[3] != shape_of(w)[3]:
        raise ValueError(
            f"{name}: x {shape_of(x)}, weights {shape_of(w)}: weights (height, width, filters / groups, channels) of "
            f"{shape_of(w)[3]} channels for x of {shape_of(x)[3]}"
        )
    size, beyond = [], []
    for axis, label in enumerate(("height", "width")):
        length, k = shape_of(x)[1 + axis], kernel[axis]
        s, d, before, after = window[axis], window[6 + axis], window[2 + 2 * axis], window[3 + 2 * axis]
        for setting, value, least in (
            ("stride", s, 1),
            ("dilation", d, 1),
            ("padding", min(before, after), 0),
        ):
            if value < least:
                raise ValueError(f"{name}: {setting} {value} along the {label}: give {least} or more")
        if length < 1 or k < 1:
            raise ValueError(
                f"{name}: x {shape_of(x)}, weights {shape_of(w)}: there is nothing along the {label}"
            )
        if not 0 <= extra[axis] < max(s, d):
            raise ValueError(
                f"{name}: output_padding {extra[axis]} is not from 0 to below stride {s} or dilation {d}"
            )
        # What is added past a whole stride is as if x went on with zeros.
        beyond.append(extra[axis] // s)
        full = (length - 1) * s + (k - 1) * d + 1 + extra[axis]
        if before + after > full:
            raise ValueError(
                f"{name}: padding {before} + {after} cuts more than the {full} along the {label}"
            )
        size.append(in_64_bits(name, f"an output {label} of", full - before - after))
    if any(beyond):
        x = pad(x, ((0, 0), (0, beyond[0]), (0, beyond[1]), (0, 0)))
    gate = Conv2dInputGradient(tuple(size), window, transposed=True, bfloat16=state.bfloat16)
    if bias is None:
        return gate(x, w)
    bias = as_array(bias, name, "bias")
    return gate(promoted(x, bias), w, bias)
