"""Activations beyond relu, tanh and sigmoid: leaky relu, elu, softplus, silu, gelu."""

from __future__ import annotations

import math
import numbers

from chainrule import _core
from chainrule.autodiff.box import Box, unbox
from chainrule.autodiff.gate import Gate
from chainrule.gates.arithmetic import add_tangents, multiply, square, subtract
from chainrule.gates.functions import exp, sigmoid
from chainrule.gates.select import clip, where
from chainrule.gates.shape import as_array


class LeakyRelu(Gate):
    """y = x where x > 0, else slope x: dy/dx = 1 or slope, and slope at 0."""

    def __init__(self, slope):
        self.slope = slope

    def forward(self, x):
        self.kept = (x,)
        return _core.leaky_relu(x, self.slope)

    def backward(self, gradient):
        return multiply(gradient, _core.leaky_relu_slope(unbox(self.kept[0]), self.slope))

    jvp = backward  # the Jacobian is diagonal


class Elu(Gate):
    """y = x where x > 0, else alpha (e^x - 1): dy/dx = 1 or alpha e^x, and alpha at 0."""

    def __init__(self, alpha):
        self.alpha = alpha

    def forward(self, x):
        self.kept = (x,)
        return _core.elu(x, self.alpha)

    def backward(self, gradient):
        (x,) = self.kept
        if isinstance(x, Box):
            above = unbox(x) > 0
            # Above 0 the exponential is not wanted and must not overflow; NaN stays.
            slope = where(above, 1.0, multiply(exp(where(above, 0.0, x)), self.alpha))
        else:
            slope = _core.elu_slope(x, self.alpha)
        return multiply(gradient, slope)

    jvp = backward  # the Jacobian is diagonal


class Softplus(Gate):
    """y = ln(1 + e^x): dy/dx = sigmoid x."""

    def forward(self, x):
        self.kept = (x,)
        return _core.softplus(x)

    def backward(self, gradient):
        return multiply(gradient, sigmoid(self.kept[0]))

    jvp = backward  # the Jacobian is diagonal


class Silu(Gate):
    """y = x s, s = sigmoid x: dy/dx = s (1 + x (1 - s))."""

    def forward(self, x):
        self.kept = (x,)
        return _core.silu(x)

    def backward(self, gradient):
        return SiluGradient()(gradient, self.kept[0])

    jvp = backward  # the Jacobian is diagonal


class SiluGradient(Gate):
    """dx = g s (1 + x (1 - s)) in one pass; in x the slope is g s (1 - s) (2 + x (1 - 2 s))."""

    def forward(self, g, x):
        self.kept = g, x
        return _core.silu_gradient(g, x)

    def bend(self, direction):
        g, x = self.kept
        s = sigmoid(x)
        # Past 1000 s is 0 or 1 in every dtype, and a limit keeps infinities from 0 times infinity.
        near = clip(x, -1000.0, 1000.0)
        second = multiply(multiply(s, subtract(1.0, s)), 2.0 + near * (1.0 - 2.0 * s))
        return multiply(multiply(direction, g), second)

    def backward(self, gradient):
        return SiluGradient()(gradient, self.kept[1]), self.bend(gradient) if self.wants(1) else None

    def jvp(self, g_tangent, x_tangent):
        of_g = None if g_tangent is None else SiluGradient()(g_tangent, self.kept[1])
        return add_tangents(of_g, None if x_tangent is None else self.bend(x_tangent))


class Gelu(Gate):
    """y = x P(x), P the normal distribution: dy/dx = P(x) + x p(x), p its density."""

    def forward(self, x):
        self.kept = (x,)
        return _core.gelu(x)

    def backward(self, gradient):
        return GeluGradient()(gradient, self.kept[0])

    jvp = backward  # the Jacobian is diagonal


class GeluGradient(Gate):
    """dx = g (P(x) + x p(x)) in one pass; in x the slope is g p(x) (2 - x^2)."""

    def forward(self, g, x):
        self.kept = g, x
        return _core.gelu_gradient(g, x)

    def bend(self, direction):
        g, x = self.kept
        x2 = square(clip(x, -40.0, 40.0))  # past 40 the density is 0 in every dtype, and squares may overflow
        density = multiply(exp(multiply(x2, -0.5)), 1 / math.sqrt(2 * math.pi))
        return multiply(multiply(direction, g), multiply(density, subtract(2.0, x2)))

    def backward(self, gradient):
        return GeluGradient()(gradient, self.kept[1]), self.bend(gradient) if self.wants(1) else None

    def jvp(self, g_tangent, x_tangent):
        of_g = None if g_tangent is None else GeluGradient()(g_tangent, self.kept[1])
        return add_tangents(of_g, None if x_tangent is None else self.bend(x_tangent))


def _check_finite(operation, name, value):
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{operation}: {name} is a {type(value).__name__}: give a number")
    if not math.isfinite(value):
        raise ValueError(f"{operation}: {name} = {value} is not finite")


def leaky_relu(x, slope=0.01):
    """x where x > 0, else slope x. The derivative at 0 is the slope; NaN stays NaN.

    Maas et al., Rectifier Nonlinearities Improve Neural Network Acoustic Models, 2013.

    Errors: ValueError for a slope that is not finite, TypeError for what is no number: it is a setting, to which no
    gradient goes.
    """
    _check_finite("leaky_relu", "slope", slope)
    return LeakyRelu(float(slope))(as_array(x, "leaky_relu"))


def elu(x, alpha=1.0):
    """x where x > 0, else alpha (e^x - 1). The derivative at 0 is alpha; NaN stays NaN.

    Clevert et al., Fast and Accurate Deep Network Learning by Exponential Linear Units, 2016.

    Errors: ValueError for an alpha that is not finite, TypeError for what is no number: it is a setting, to which no
    gradient goes.
    """
    _check_finite("elu", "alpha", alpha)
    return Elu(float(alpha))(as_array(x, "elu"))


def softplus(x):
    """ln(1 + e^x), a smooth relu, without overflow for large x and with the digits of e^x for small.

    >>> import chainrule as cr
    >>> round(cr.softplus(cr.tensor(0.0)).item(), 4)
    0.6931
    """
    return Softplus()(as_array(x, "softplus"))


def silu(x):
    """x sigmoid(x), also called swish. Elfwing et al., Sigmoid-Weighted Linear Units, 2018."""
    return Silu()(as_array(x, "silu"))


def gelu(x):
    """x P(x), P the normal distribution function, exact to the dtype. Hendrycks and Gimpel, Gaussian Error Linear
    Units, 2016.

    >>> import chainrule as cr
    >>> round(cr.gelu(cr.tensor(1.0)).item(), 4)
    0.8413
    """
    return Gelu()(as_array(x, "gelu"))
