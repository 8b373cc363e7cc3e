"""Batch and layer normalisation.

    xhat = (x - mean) / sqrt(variance + epsilon),   y = xhat weight + bias
    dx = weight / sqrt(variance + epsilon) (dy - mean(dy) - xhat mean(dy xhat))        (weight inside for layers)

Means run over the batch and all pixels for each channel (batch norm), or over the last axes for each sample (layer
norm). One kernel does each pass on arrays; on Tensors the rules are made of gates, which are differentiable again.
"""

from __future__ import annotations

import math
import numbers

import numpy as np

from chainrule import _core
from chainrule.autodiff.box import Box, shape_of, unbox
from chainrule.autodiff.gate import Gate
from chainrule.gates.activations import GeluGradient
from chainrule.gates.arithmetic import add, add_tangents, divide, multiply, subtract
from chainrule.gates.convolution import integer
from chainrule.gates.functions import relu_gradient, sqrt
from chainrule.gates.reduce import mean, var
from chainrule.gates.shape import as_array, promoted
from chainrule.gates.summation import sum


class Normalise(Gate):
    """What both kinds share: the rules by gates, over the axes `means` of the input."""

    def __init__(self, epsilon):
        self.epsilon = epsilon

    def means(self, x):
        """The axes over which means are taken."""
        raise TypeError(f"{type(self).__name__}.means is not defined")

    def rest(self, x, weight):
        """The axes over which gradients of weight and bias are summed."""
        return tuple(range(len(shape_of(x)) - len(shape_of(weight))))

    def standard(self, x):
        """xhat and 1 / sqrt(variance + epsilon), by gates."""
        axes = self.means(x)
        inverse = divide(1.0, sqrt(add(var(x, axes, keepdims=True), self.epsilon)))
        return multiply(subtract(x, mean(x, axes, keepdims=True)), inverse), inverse

    def project(self, direction, xhat, inverse, axes):
        """The derivative of xhat, a symmetric map: inverse (d - mean(d) - xhat mean(d xhat))."""
        without_mean = subtract(direction, mean(direction, axes, keepdims=True))
        along = multiply(xhat, mean(multiply(direction, xhat), axes, keepdims=True))
        return multiply(inverse, subtract(without_mean, along))

    def rule(self, gradient, x, weight):
        """The gradients of x, weight and bias, by gates."""
        xhat, inverse = self.standard(x)
        rest = self.rest(x, weight)
        dx = self.project(multiply(gradient, weight), xhat, inverse, self.means(x))
        return dx, sum(multiply(gradient, xhat), rest), sum(gradient, rest)

    def push(self, x, weight, x_tangent, weight_tangent, bias_tangent):
        """The tangent of the output, by gates."""
        xhat, inverse = self.standard(x)
        of_x = None
        if x_tangent is not None:
            of_x = multiply(self.project(x_tangent, xhat, inverse, self.means(x)), weight)
        of_weight = None if weight_tangent is None else multiply(xhat, weight_tangent)
        of_bias = (
            None if bias_tangent is None else multiply(bias_tangent, np.ones(shape_of(x), unbox(x).dtype))
        )
        return add_tangents(add_tangents(of_x, of_weight), of_bias)


def rows_of(x):
    """The shape of x (N, ..., channels) as a matrix of one row for each pixel."""
    return math.prod(x.shape[:-1]), x.shape[-1]


class NormaliseChannels(Normalise):
    """Each channel, the last axis, over the batch and all pixels; with an activation after it in the same pass.

    `activation` is None, 'relu' or 'gelu'; a subclass keeps its value where that is relu.
    """

    def __init__(self, epsilon, activation=None):
        super().__init__(epsilon)
        self.activation = activation

    def means(self, x):
        return tuple(range(len(shape_of(x)) - 1))

    def through_activation(self, gradient, x, weight, bias, y):
        """The gradient, or tangent, on the activation's other side; y is the gate's value."""
        if self.activation == "relu":
            return relu_gradient(gradient, y)
        if self.activation == "gelu":
            return GeluGradient()(gradient, add(multiply(self.standard(x)[0], weight), bias))
        return gradient

    def jvp(self, *tangents):
        x, weight, bias, y = self.kept[:4]
        return self.through_activation(self.push(x, weight, *tangents), x, weight, bias, y)


class BatchNorm(NormaliseChannels):
    """By the mean and the variance of the batch."""

    def __init__(self, epsilon, activation=None):
        super().__init__(epsilon, activation)
        self.batch = {}  # the mean and variance found; a dict, for a gate that is traced works through a copy

    def forward(self, x, weight, bias):
        y, centre, variance, inverse = _core.batch_norm(
            x.reshape(rows_of(x)), weight, bias, self.epsilon, self.activation
        )
        y = y.reshape(x.shape)
        self.batch.update(mean=centre, variance=variance)
        self.kept = x, weight, bias, y if self.activation == "relu" else None, centre, inverse
        return y

    def backward(self, gradient):
        x, weight, bias, y, centre, inverse = self.kept
        if any(isinstance(v, Box) for v in (gradient, x, weight, bias)):
            return self.rule(self.through_activation(gradient, x, weight, bias, y), x, weight)
        matrix = rows_of(x)
        dx, dweight, dbias = _core.batch_norm_gradient(
            gradient.reshape(matrix),
            x.reshape(matrix),
            weight,
            bias,
            self.activation,
            centre,
            inverse,
        )
        return dx.reshape(x.shape), dweight, dbias


class Standardise(NormaliseChannels):
    """By a mean and an inverse deviation that are given, and do not depend on x."""

    def __init__(self, mean, inverse, activation=None):
        super().__init__(0.0, activation)  # the epsilon is within the inverse
        self.mean = mean
        self.inverse = inverse

    def standard(self, x):
        return multiply(subtract(x, self.mean), self.inverse), self.inverse

    def project(self, direction, xhat, inverse, axes):
        return multiply(direction, inverse)

    def forward(self, x, weight, bias):
        y = _core.standardise(
            x.reshape(rows_of(x)), self.mean, weight * self.inverse, bias, self.activation
        ).reshape(x.shape)
        self.kept = x, weight, bias, y if self.activation == "relu" else None
        return y

    def backward(self, gradient):
        x, weight = self.kept[:2]
        return self.rule(self.through_activation(gradient, *self.kept), x, weight)


class LayerNorm(Normalise):
    """Each sample over its last axes, those of the weight."""

    def __init__(self, epsilon, dimensions):
        super().__init__(epsilon)
        self.dimensions = dimensions

    def means(self, x):
        return tuple(range(len(shape_of(x)) - self.dimensions, len(shape_of(x))))

    def forward(self, x, weight, bias):
        matrix = x.reshape(math.prod(x.shape[: x.ndim - self.dimensions]), weight.size)
        y, centre, inverse = _core.layer_norm(matrix, weight.reshape(-1), bias.reshape(-1), self.epsilon)
        self.kept = x, weight, centre, inverse
        return y.reshape(x.shape)

    def backward(self, gradient):
        x, weight, centre, inverse = self.kept
        if any(isinstance(v, Box) for v in (gradient, x, weight)):
            return self.rule(gradient, x, weight)
        matrix = (centre.size, weight.size)
        dx, dweight, dbias = _core.layer_norm_gradient(
            gradient.reshape(matrix), x.reshape(matrix), weight.reshape(-1), centre, inverse
        )
        return dx.reshape(x.shape), dweight.reshape(weight.shape), dbias.reshape(weight.shape)

    def jvp(self, *tangents):
        x, weight, _, _ = self.kept
        return self.push(x, weight, *tangents)


def _affine(operation, x, shape, weight, bias):
    dtype = unbox(x).dtype
    weight = np.ones(shape, dtype) if weight is None else as_array(weight, operation, "weight")
    bias = np.zeros(shape, dtype) if bias is None else as_array(bias, operation, "bias")
    for name, value in (("weight", weight), ("bias", bias)):
        if shape_of(value) != shape:
            raise ValueError(f"{operation}: {name} {shape_of(value)} for x {shape_of(x)}: give {shape}")
    return promoted(x, weight, bias), weight, bias


def check_number(operation, name, value, most=math.inf):
    """Refuse what is no number from 0 to `most`."""
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{operation}: {name} = {value!r} is not a number")
    if not (math.isfinite(value) and 0 <= value <= most):
        wanted = "a finite number of at least 0" if most == math.inf else f"a number from 0 to {most}"
        raise ValueError(f"{operation}: {name} = {value}: give {wanted}")


def _check_running(operation, name, running, x, written):
    """Running values are NumPy arrays, which training changes in place."""
    if not isinstance(running, np.ndarray) or running.dtype.kind != "f":
        kind = running.dtype if isinstance(running, np.ndarray) else type(running).__name__
        raise TypeError(f"{operation}: {name} is a {kind}: give a NumPy array of float32 or float64")
    if running.shape != shape_of(x)[-1:]:
        raise ValueError(f"{operation}: {name} {running.shape} for x {shape_of(x)}: give {shape_of(x)[-1:]}")
    if written and not running.flags.writeable:
        raise ValueError(f"{operation}: {name} is read-only: training writes to it, give a copy")


def batch_norm(
    x,
    weight=None,
    bias=None,
    running_mean=None,
    running_var=None,
    training=True,
    momentum=0.1,
    epsilon=1e-5,
    activation=None,
):
    """Batch normalisation: each channel to mean 0 and variance 1, then scaled and shifted.

    Ioffe and Szegedy, Batch Normalization, 2015.

    Args:
        x: (N, ..., channels), float32 or float64.
        weight, bias: (channels,); 1 and 0 when they are left out.
        running_mean, running_var: (channels,) NumPy arrays of floats; in training they move by `momentum` towards the
            batch's mean and (unbiased) variance, in place.
        training: take mean and variance from the batch; else from the running arrays.
        momentum: in [0, 1].
        epsilon: added to the variance.
        activation: None, or 'relu' (its derivative at 0 is 0) or 'gelu', applied in the same pass.

    The variance is taken in two passes, so it is never negative and a large mean costs no digits.

    Errors: ValueError for shapes that do not fit, an activation of another name, for a batch without values, or of a
    single value a channel in training; outside training, without running arrays. TypeError for running values that
    are no NumPy arrays of floats.

    >>> import chainrule as cr, numpy as np
    >>> cr.batch_norm(np.array([[1.0], [3.0]]), epsilon=0.0)
    array([[-1.],
           [ 1.]])
    """
    name = "batch_norm"
    x = as_array(x, name)
    if len(shape_of(x)) < 2:
        raise ValueError(f"{name}: x {shape_of(x)} is not (N, ..., channels)")
    channels = shape_of(x)[-1:]
    x, weight, bias = _affine(name, x, channels, weight, bias)
    check_number(name, "epsilon", epsilon)
    check_number(name, "momentum", momentum, 1)
    if activation not in (None, "relu", "gelu"):
        raise ValueError(f"{name}: activation {activation!r} is not one of None, 'relu', 'gelu'")
    for label, running in (("running_mean", running_mean), ("running_var", running_var)):
        if running is not None:
            _check_running(name, label, running, x, training)
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError(f"{name}: outside training running_mean and running_var are needed")
        dtype = unbox(x).dtype
        with np.errstate(
            divide="ignore", invalid="ignore"
        ):  # a variance of 0 gives infinities, as division does
            inverse = (1 / np.sqrt(running_var + epsilon)).astype(dtype)
        return Standardise(running_mean.astype(dtype), inverse, activation)(x, weight, bias)
    count = math.prod(shape_of(x)[:-1])
    if count < 2:
        raise ValueError(f"{name}: x {shape_of(x)} has {count} values a channel: training needs two or more")
    gate = BatchNorm(float(epsilon), activation)
    y = gate(x, weight, bias)
    if running_mean is not None:
        running_mean += momentum * (gate.batch["mean"] - running_mean)
    if running_var is not None:
        running_var += momentum * (gate.batch["variance"] * (count / (count - 1)) - running_var)
    return y


def layer_norm(x, weight=None, bias=None, dimensions=1, epsilon=1e-5):
    """Layer normalisation: each sample to mean 0 and variance 1 over its last axes, then scaled and shifted.

    Ba et al., Layer Normalization, 2016.

    Args:
        x: (..., *shape), float32 or float64.
        weight, bias: of the shape of the last `dimensions` axes; 1 and 0 when they are left out.
        dimensions: how many axes, at least 1.
        epsilon: added to the variance.

    Errors: ValueError for shapes that do not fit, or axes without values.

    >>> import chainrule as cr, numpy as np
    >>> cr.layer_norm(np.array([[1.0, 3.0]]), epsilon=0.0)
    array([[-1.,  1.]])
    """
    name = "layer_norm"
    x = as_array(x, name)
    dimensions = integer(name, "dimensions", dimensions)
    if not 1 <= dimensions <= len(shape_of(x)):
        raise ValueError(f"{name}: dimensions {dimensions} of x {shape_of(x)}: give 1 to {len(shape_of(x))}")
    shape = shape_of(x)[len(shape_of(x)) - dimensions :]
    x, weight, bias = _affine(name, x, shape, weight, bias)
    check_number(name, "epsilon", epsilon)
    return LayerNorm(float(epsilon), dimensions)(x, weight, bias)
