"""A shortcut around layers."""

from __future__ import annotations

from chainrule.autodiff.box import shape_of
from chainrule.gates.arithmetic import add
from chainrule.nn.module import Module
from chainrule.nn.sequential import Sequential


class Residual(Module):
    """x + f(x), f the given modules in a row; with a shortcut g, g(x) + f(x).

    He et al., Deep Residual Learning for Image Recognition, 2016, equations 1 and 2.

    Args:
        modules: those of f; none is the identity.
        shortcut: a Module that brings x to the shape of f(x), such as a 1 x 1 convolution with f's stride; None
            leaves x as it is.

    Attributes: body, a Sequential; shortcut.

    Errors: TypeError for what is no Module; at the call, ValueError where the two shapes differ.

    >>> import chainrule as cr, numpy as np
    >>> block = cr.nn.Residual(cr.nn.Conv2d(8, 8, 3, padding=1), cr.nn.ReLU(), cr.nn.Conv2d(8, 8, 3, padding=1))
    >>> block(np.zeros((2, 16, 16, 8), np.float32)).shape
    (2, 16, 16, 8)
    """

    def __init__(self, *modules: Module, shortcut: Module | None = None):
        for label, module in [
            *((f"entry {i}", module) for i, module in enumerate(modules)),
            *([] if shortcut is None else [("shortcut", shortcut)]),
        ]:
            if not isinstance(module, Module):
                raise TypeError(f"Residual: {label} is a {type(module).__name__}, not a Module")
        self.body = Sequential(*modules)
        self.shortcut = shortcut

    def forward(self, x):
        y = self.body(x)
        past = x if self.shortcut is None else self.shortcut(x)
        if shape_of(past) != shape_of(y):
            raise ValueError(
                f"Residual: the layers make {shape_of(y)} of x {shape_of(x)}, the shortcut {shape_of(past)}: give "
                "a shortcut that makes the same shape, such as a 1 x 1 convolution"
            )
        return add(past, y)
