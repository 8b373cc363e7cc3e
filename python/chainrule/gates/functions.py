"""Functions of one value, elementwise: float32 or float64 in, the same out, NaN to NaN.

A TypeError names the function when its argument is neither.
"""

from __future__ import annotations

from chainrule import _core
from chainrule.autodiff.box import Box
from chainrule.autodiff.gate import Gate
from chainrule.gates.arithmetic import add_tangents, divide, multiply, negative, subtract


class Exp(Gate):
    """y = e^x: dy/dx = y."""

    def forward(self, x):
        y = _core.exp(x)
        self.kept = (y,)
        return y

    def backward(self, gradient):
        return multiply(gradient, self.kept[0])

    jvp = backward  # the Jacobian is diagonal


class Log(Gate):
    """y = ln x: dy/dx = 1 / x."""

    def forward(self, x):
        self.kept = (x,)
        return _core.log(x)

    def backward(self, gradient):
        return divide(gradient, self.kept[0])

    jvp = backward  # the Jacobian is diagonal


class Sqrt(Gate):
    """y = sqrt x: dy/dx = 1 / (2 y)."""

    def forward(self, x):
        y = _core.sqrt(x)
        self.kept = (y,)
        return y

    def backward(self, gradient):
        return divide(multiply(gradient, 0.5), self.kept[0])

    jvp = backward  # the Jacobian is diagonal


class Abs(Gate):
    """y = |x|: dy/dx = sign x, which is 0 at 0."""

    def forward(self, x):
        self.kept = (x,)
        return _core.abs(x)

    def backward(self, gradient):
        return multiply(gradient, sign(self.kept[0]))

    jvp = backward  # the Jacobian is diagonal


class Sign(Gate):
    """y = sign x: constant wherever it has a derivative, so no gradient goes back."""

    def forward(self, x):
        return _core.sign(x)

    def backward(self, gradient):
        return None

    jvp = backward  # the Jacobian is diagonal


class Sin(Gate):
    """y = sin x: dy/dx = cos x."""

    def forward(self, x):
        self.kept = (x,)
        return _core.sin(x)

    def backward(self, gradient):
        return multiply(gradient, cos(self.kept[0]))

    jvp = backward  # the Jacobian is diagonal


class Cos(Gate):
    """y = cos x: dy/dx = -sin x."""

    def forward(self, x):
        self.kept = (x,)
        return _core.cos(x)

    def backward(self, gradient):
        return negative(multiply(gradient, sin(self.kept[0])))

    jvp = backward  # the Jacobian is diagonal


class Tanh(Gate):
    """y = tanh x: dy/dx = 1 - y^2."""

    def forward(self, x):
        y = _core.tanh(x)
        self.kept = (y,)
        return y

    def backward(self, gradient):
        return tanh_gradient(gradient, self.kept[0])

    jvp = backward  # the Jacobian is diagonal


class TanhGradient(Gate):
    """dx = g (1 - y^2) in one pass; in g it is linear, in y the slope is -2 g y."""

    def forward(self, g, y):
        self.kept = g, y
        return _core.tanh_gradient(g, y)

    def backward(self, gradient):
        g, y = self.kept
        return tanh_gradient(gradient, y), multiply(multiply(gradient, g), multiply(y, -2.0))

    def jvp(self, g_tangent, y_tangent):
        g, y = self.kept
        of_y = None if y_tangent is None else multiply(multiply(y_tangent, g), multiply(y, -2.0))
        return add_tangents(None if g_tangent is None else tanh_gradient(g_tangent, y), of_y)


class Sigmoid(Gate):
    """y = 1 / (1 + e^-x): dy/dx = y (1 - y)."""

    def forward(self, x):
        y = _core.sigmoid(x)
        self.kept = (y,)
        return y

    def backward(self, gradient):
        return sigmoid_gradient(gradient, self.kept[0])

    jvp = backward  # the Jacobian is diagonal


class SigmoidGradient(Gate):
    """dx = g y (1 - y) in one pass; in g it is linear, in y the slope is g (1 - 2 y)."""

    def forward(self, g, y):
        self.kept = g, y
        return _core.sigmoid_gradient(g, y)

    def backward(self, gradient):
        g, y = self.kept
        slope = subtract(1.0, multiply(y, 2.0))
        return sigmoid_gradient(gradient, y), multiply(multiply(gradient, g), slope)

    def jvp(self, g_tangent, y_tangent):
        g, y = self.kept
        slope = subtract(1.0, multiply(y, 2.0))
        of_y = None if y_tangent is None else multiply(multiply(y_tangent, g), slope)
        return add_tangents(None if g_tangent is None else sigmoid_gradient(g_tangent, y), of_y)


class Relu(Gate):
    """y = max(0, x): the gradient passes where x > 0 and stops elsewhere, at 0 too."""

    def forward(self, x):
        y = _core.relu(x)
        self.kept = (y,)
        return y

    def backward(self, gradient):
        return relu_gradient(gradient, self.kept[0])

    jvp = backward  # the Jacobian is diagonal


class ReluGradient(Gate):
    """dx = g where y > 0, else 0: a mask, its own adjoint in g and constant in y."""

    def forward(self, g, y):
        self.kept = (y,)
        return _core.relu_gradient(g, y)

    def backward(self, gradient):
        return relu_gradient(gradient, self.kept[0]), None

    def jvp(self, g_tangent, y_tangent):
        return None if g_tangent is None else relu_gradient(g_tangent, self.kept[0])


def _rule(gate, kernel):
    # A derivative rule runs on plain arrays in every backward pass: straight to the kernel then.
    def rule(gradient, output):
        if isinstance(gradient, Box) or isinstance(output, Box):
            return gate()(gradient, output)
        return kernel(gradient, output)

    return rule


tanh_gradient = _rule(TanhGradient, _core.tanh_gradient)
sigmoid_gradient = _rule(SigmoidGradient, _core.sigmoid_gradient)
relu_gradient = _rule(ReluGradient, _core.relu_gradient)


def exp(x):
    """e^x. Overflows to inf above 88.7 in float32, 709.8 in float64.

    >>> import chainrule as cr, numpy as np
    >>> cr.exp(np.array([0.0, 1.0]))
    array([1.        , 2.71828183])
    """
    return Exp()(x)


def log(x):
    """The natural logarithm: -inf at 0, NaN below."""
    return Log()(x)


def sqrt(x):
    """The square root: NaN below 0; the gradient at 0 is inf."""
    return Sqrt()(x)


def abs(x):
    """|x|. The gradient at 0 is 0."""
    return Abs()(x)


def sign(x):
    """-1, 0 or 1; NaN stays. It sends no gradient back."""
    return Sign()(x)


def sin(x):
    """The sine of x in radians."""
    return Sin()(x)


def cos(x):
    """The cosine of x in radians."""
    return Cos()(x)


def tanh(x):
    """The hyperbolic tangent."""
    return Tanh()(x)


def sigmoid(x):
    """1 / (1 + e^-x), computed so that nothing overflows for large |x|.

    >>> import chainrule as cr
    >>> x = cr.tensor(0.2, dtype="float64", requires_grad=True)
    >>> cr.sigmoid(x).backward()
    >>> round(x.grad.item(), 8)
    0.24751657
    """
    return Sigmoid()(x)


def relu(x):
    """max(0, x). The gradient at 0 is 0; NaN stays NaN."""
    return Relu()(x)
