"""Modules in a row, and which of them run as one."""

from __future__ import annotations

from functools import partial

from chainrule.nn.activation import GELU, ReLU
from chainrule.nn.convolution import Conv2d
from chainrule.nn.linear import Linear
from chainrule.nn.module import Module
from chainrule.nn.normalise import BatchNorm2d
from chainrule.nn.observe import observers
from chainrule.nn.pool import MaxPool2d

# What applies the first of these layers and those behind it at once, made from the layers.
FUSED = {
    (Linear, ReLU): lambda linear, _: linear.forward_relu,
    (Conv2d, ReLU): lambda conv, _: conv.forward_relu,
    (Conv2d, MaxPool2d): lambda conv, pool: partial(conv.forward_max_pool, pool),
    (Conv2d, ReLU, MaxPool2d): lambda conv, _, pool: partial(conv.forward_max_pool, pool, relu=True),
    (BatchNorm2d, ReLU): lambda norm, _: norm.forward_relu,
    (BatchNorm2d, GELU): lambda norm, _: norm.forward_gelu,
}
LONGEST = max(len(kinds) for kinds in FUSED)


class Sequential(Module):
    """Modules one after the other: the output of each is the input of the next.

    A ReLU right after a Linear, Conv2d or BatchNorm2d, and a GELU after a BatchNorm2d, is applied within it, on the
    way to memory: the same numbers in one pass less. So is a MaxPool2d after a Conv2d, with a ReLU between them or not,
    under `chainrule.autocast("bfloat16")`.

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
        while modules:
            # Exactly these classes: one derived from them may compute something else.
            for count in range(LONGEST, 1, -1):
                fused = FUSED.get(tuple(type(module) for module in modules[:count]))
                if fused is not None:
                    break
            else:
                count = 1
            self.steps.append(fused(*modules[:count]) if fused else modules[0])
            modules = modules[count:]

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
