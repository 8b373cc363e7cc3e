"""Parameters, and modules that hold them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.autodiff.change import announce
from chainrule.tensor import Tensor, tensor


class Parameter(Tensor):
    """A Tensor that a module learns: a leaf that requires a gradient. It holds a copy of `data`.

    Args:
        data: float32 or float64 array, or numbers.
    """

    __slots__ = ()

    def __init__(self, data, gate=None):
        super().__init__(tensor(data, requires_grad=True).value)
        self.requires_grad = True


class Module:
    """A part of a model: parameters and modules set as attributes are found by name.

    A subclass sets them in ``__init__`` and defines ``forward``; calling the module calls ``forward``.

    >>> import chainrule as cr, numpy as np
    >>> class Scale(cr.nn.Module):
    ...     def __init__(self):
    ...         self.factor = cr.nn.Parameter(2.0)
    ...
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> Scale()(np.ones(2, np.float32)).numpy()
    array([2., 2.], dtype=float32)
    """

    training = True

    def forward(self, *inputs):
        raise TypeError(f"{type(self).__name__}.forward is not defined: a module defines it")

    def __call__(self, *inputs):
        return self.forward(*inputs)

    def children(self) -> Iterator[tuple[str, Module]]:
        """The modules set as attributes, with their names, in the order they were set."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple)):
                yield from ((f"{name}.{i}", part) for i, part in enumerate(value) if isinstance(part, Module))

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        yield self
        for _, child in self.children():
            yield from child.modules()

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, with its dotted name; one that is shared goes by its first name."""
        seen = set()
        for name, parameter in self._walk(prefix):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def _walk(self, prefix):
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
        for name, child in self.children():
            yield from child._walk(f"{prefix}{name}.")

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter once."""
        return (parameter for _, parameter in self.named_parameters())

    def zero_grad(self) -> None:
        """Forget every parameter's gradient."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, mode: bool = True) -> Module:
        """Set training mode here and below. Returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Set evaluation mode here and below. Returns the module."""
        return self.train(False)

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of every parameter's value by name."""
        return {name: parameter.value.copy() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Copy values into the parameters. All is checked before anything is changed.

        Errors: ValueError naming keys that are missing or not known, shapes or dtypes that differ.
        """
        own = dict(self.named_parameters())
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise ValueError(
                f"load_state_dict: missing {missing}, not known {unknown}: another model's state?"
            )
        for name, parameter in own.items():
            value = np.asarray(state[name])
            if value.shape != parameter.shape or value.dtype != parameter.dtype:
                raise ValueError(
                    f"load_state_dict: {name} is {value.dtype} {value.shape}, the parameter "
                    f"{parameter.dtype} {parameter.shape}"
                )
        for name, parameter in own.items():
            parameter.value[...] = state[name]
        announce(own.values())

    def __repr__(self):
        lines = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in self.children()]
        return f"{type(self).__name__}({self.describe()}" + (
            "\n" + "\n".join(lines) + "\n)" if lines else ")"
        )

    def describe(self) -> str:
        """The settings that `repr` shows."""
        return ""


class Sequential(Module):
    """Modules one after the other: the output of each is the input of the next.

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

    def children(self):
        return ((str(i), module) for i, module in enumerate(self.layers))

    def forward(self, x):
        for module in self.layers:
            x = module(x)
        return x

    def __getitem__(self, i):
        return self.layers[i]

    def __len__(self):
        return len(self.layers)
