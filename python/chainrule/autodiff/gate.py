"""The base class of gates: the nodes of a graph.

A gate computes a value in `forward` and knows the chain rule for it in `backward`. Applying a gate to Tensors
makes it a node of the graph; how the graph is walked is in `reverse.py`.
"""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from chainrule.autodiff import box
from chainrule.autodiff.box import Box, recording
from chainrule.autodiff.change import clock
from chainrule.autodiff.trace import apply_traced

new = object.__new__


class _Freed:
    """Stands in `kept` after a backward pass has used it."""

    def __repr__(self):
        return "freed"


FREED = _Freed()


class Gate:
    """One operation in a graph, with the local rule of its derivative.

    A subclass defines two methods:

    - ``forward(*arrays)`` takes a NumPy array (or number) for each input and returns an array. What the
      backward pass needs is kept with ``self.keep(...)`` or by assigning ``self.kept``.
    - ``backward(gradient)`` takes the gradient of the loss in the output, of the output's shape, and returns
      the gradient for each input, of that input's shape: a tuple, or the bare array for one input. ``None``
      says that an input gets none. It may skip work that nobody wants: ``self.wants(i)`` tells.

    Settings of the operation belong in ``__init__``. An instance is applied once: it is one node.
    Written with the library's functions (``cr.exp``, ...), which take arrays as they are, a backward rule is
    itself differentiable.

    >>> import chainrule as cr
    >>> class Cube(cr.Gate):
    ...     def forward(self, x):
    ...         self.keep(x)
    ...         return x**3
    ...
    ...     def backward(self, gradient):
    ...         (x,) = self.kept
    ...         return gradient * 3 * x**2
    >>> x = cr.tensor([2.0], requires_grad=True)
    >>> Cube()(x).backward(np.array([1.0]))
    >>> x.grad.numpy()
    array([12.], dtype=float32)
    """

    # Set when the gate becomes a node: for each input the gate that made it, the leaf Tensor, or the array or
    # number that was given; and whether a gradient for it leads to anything that requires one.
    inputs: tuple | None = None
    needs: list | None = None
    # The time at which the gate was applied, on the clock of change.py; a traced gate is never too old.
    time = float("inf")
    is_gate = True  # tells an edge that leads to a gate from one that ends at a Box
    # What forward kept for backward: a tuple.
    kept = None
    # Of each kept value, whether it is an input (its number), the output, or something else; see trace.py.
    roles = None
    # The shape and dtype of each input and of the output, where a transform traced the gate.
    kinds = None
    # Whether the value is that of a relu, so that `backward` begins with its derivative; and whether the gate has
    # `backward_fused`, which can leave that out, and can apply it for the gate that made input 0 (see reverse.py).
    relu = False
    fuses_relu = False
    # Whether the gate is a linear map of all its inputs together, whose derivative is itself.
    linear = False
    # The rule of forward mode: from the inputs' tangents (None where there is none) the output's. A gate
    # without one, which is not linear, gets it from its backward.
    jvp = None

    def forward(self, *arrays):
        """The value, from the inputs' values; a subclass defines it."""
        raise TypeError(f"{type(self).__name__}.forward is not defined: a gate defines forward and backward")

    def backward(self, gradient):
        """The gradient for each input, from that of the value; a subclass defines it."""
        raise TypeError(f"{type(self).__name__}.backward is not defined: a gate defines forward and backward")

    def keep(self, *values):
        """Remember values for the backward pass, which finds them as ``self.kept``."""
        self.kept = values

    def wants(self, i: int) -> bool:
        """Whether the gradient of input i leads to anything that requires one."""
        return self.needs[i]

    def __call__(self, *inputs):
        """Apply the gate. Arrays give an array; with a Tensor among the inputs the result is a Tensor."""
        if self.inputs is not None:
            raise ValueError(
                f"{type(self).__name__}: this gate is applied already: it is one node of a graph, make a new one"
            )
        values, edges, needs = [], [], []
        boxed = needed = False
        for x in inputs:
            if isinstance(x, Box):
                if x.trace is not None:
                    return apply_traced(self, inputs)
                boxed = True
                values.append(x.value)
                gate = x.gate
                if gate is None:
                    x.read = True
                    edges.append(x)
                    need = x.requires_grad
                    needs.append(need)
                    if need:
                        needed = True
                else:
                    edges.append(gate)
                    needs.append(True)
                    needed = True
            else:
                values.append(x)
                edges.append(x)
                needs.append(False)
        data = self.forward(*values)
        if not boxed:
            return data
        # As box_result makes it, in place: a call more would be a fifth of what applying a gate costs.
        result = new(box.result_type)
        result.value = data if type(data) is ndarray else np.asarray(data)
        result.trace = result.grad = None
        if needed and recording.on:
            # Edges lead to gates, not to Tensors: a value that no backward rule kept is freed at once.
            self.inputs = edges
            self.needs = needs
            self.time = clock.now
            result.gate = self
            result.requires_grad = True
        else:
            result.gate = None
            result.requires_grad = False
        return result
