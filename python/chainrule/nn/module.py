"""Parameters, and modules that hold them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.autodiff.change import announce
from chainrule.nn.observe import observers
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

    A subclass sets them in ``__init__`` and defines ``forward``; calling the module calls ``forward``. NumPy arrays
    set as attributes are buffers: state that is saved with the parameters and not learned.

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
        """What calling the module computes; a subclass defines it."""
        raise TypeError(f"{type(self).__name__}.forward is not defined: a module defines it")

    def __call__(self, *inputs):
        if not observers.functions:
            return self.forward(*inputs)
        output = self.forward(*inputs)
        for function in observers.functions:
            output = function(self, inputs, output)
        return output

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

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module, called "" (or the prefix), and all below it, each with its dotted name."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

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

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
        """Every array set as an attribute, here and below, with its dotted name."""
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                yield prefix + name, value
        for name, child in self.children():
            yield from child.named_buffers(f"{prefix}{name}.")

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

    def summary(self, input_shape):
        """The layers with their output shapes, parameters, multiply-adds, receptive fields and memory.

        A copy of the model is run in evaluation mode on a random input; the model itself, its statistics, gradients,
        mode and the library's generator stay as they are. Modules of any kind are counted.

        Args:
            input_shape: of one input, without the batch; (height, width, channels) for images.

        Returns a `chainrule.nn.summary.Summary`: print it for a table.

        Errors: ValueError for sizes below 1, or what the model itself says to inputs that do not fit; TypeError for
        a model that holds what cannot be copied.

        >>> import chainrule as cr
        >>> net = cr.nn.Sequential(cr.nn.Conv2d(3, 8, 5), cr.nn.ReLU(), cr.nn.MaxPool2d(2))
        >>> print(net.summary((32, 32, 3)))
        layer  kind            output  parameters  multiply-adds  field  its stride    memory
               input      32 x 32 x 3
        0      Conv2d     28 x 28 x 8         608        470,400  5 x 5       1 x 1  24.5 KiB
        1      ReLU       28 x 28 x 8           0              0  5 x 5       1 x 1  24.5 KiB
        2      MaxPool2d  14 x 14 x 8           0              0  6 x 6       2 x 2   6,272 B
               total                          608        470,400                     55.1 KiB
        """
        from chainrule.nn.summary import summarise

        return summarise(self, input_shape)

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of the value of every parameter and buffer by name."""
        state = {name: parameter.value.copy() for name, parameter in self.named_parameters()}
        state.update((name, buffer.copy()) for name, buffer in self.named_buffers())
        return state

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Copy values into the parameters and buffers. All is checked before anything is changed.

        Errors: ValueError naming keys that are missing or not known, shapes or dtypes that differ, and what is
        read-only here.
        """
        parameters, buffers = dict(self.named_parameters()), dict(self.named_buffers())
        own = {**parameters, **buffers}
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise ValueError(
                f"load_state_dict: missing {missing}, not known {unknown}: another model's state?"
            )
        for name, place in own.items():
            value = np.asarray(state[name])
            if value.shape != place.shape or value.dtype != place.dtype:
                raise ValueError(
                    f"load_state_dict: {name} is {value.dtype} {value.shape}, the model's is "
                    f"{place.dtype} {place.shape}"
                )
            held = place if isinstance(place, np.ndarray) else place.value
            if not held.flags.writeable:
                raise ValueError(
                    f"load_state_dict: {name} is read-only in the model: give it a copy of its array"
                )
        for name, parameter in parameters.items():
            parameter.value[...] = state[name]
        for name, buffer in buffers.items():
            buffer[...] = state[name]
        announce(parameters.values())

    def __repr__(self):
        lines = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in self.children()]
        return f"{type(self).__name__}({self.describe()}" + (
            "\n" + "\n".join(lines) + "\n)" if lines else ")"
        )

    def describe(self) -> str:
        """The settings that `repr` shows."""
        return ""
