"""Modules in a row, and which of them run as one."""

from __future__ import annotations

from functools import partial

from chainrule.nn.activation import GELU, ReLU
from chainrule.nn.convolution import Conv2d
from chainrule.nn.linear import Linear
from chainrule.nn.module import Module
from chainrule.nn.normalise import BatchNorm2d
from chainrule.nn.observe import observers

# The method of a layer that applies the activation behind it as well.
FUSED = {
    (Linear, ReLU): Linear.forward_relu,
    (Conv2d, ReLU): Conv2d.forward_relu,
    (BatchNorm2d, ReLU): BatchNorm2d.forward_relu,
    (BatchNorm2d, GELU): BatchNorm2d.forward_gelu,
}


class Sequential(Module):
    """Modules one after the other: the output of each is the input of the next.

    A ReLU right after a Linear, Conv2d or BatchNorm2d, and a GELU after a BatchNorm2d, is applied within it, on the
    way to memory: the same numbers in one pass less.

    >>> import chainrule as cr
    >>> net = cr.nn.Sequential(cr.nn.Linear(4, 3), cr.nn.ReLU(), cr.nn.Linear(3, 2))
    >>> sorted(net.state_dict())
    ['0.bias', '0.weight', '2.bias', '2.weight']
    """

    def __init__(self, *modules: Module):
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: entry {i} is a {type(module).__name__}, not a Module")
        self.layers = modules
        self.steps = []
        for module in modules:
            # Exactly these classes: one derived from them may compute something else.
            fused = FUSED.get((type(self.steps[-1]), type(module))) if self.steps else None
            if fused is not None:
                self.steps[-1] = partial(fused, self.steps[-1])
            else:
                self.steps.append(module)

    def children(self):
        return ((str(i), module) for i, module in enumerate(self.layers))

    def forward(self, x):
        # Whoever observes the layers sees the output of each.
        for step in self.layers if observers.functions else self.steps:
            x = step(x)
        return x

    def __getitem__(self, i):
        return self.layers[i]

    def __len__(self):
        return len(self.layers)
