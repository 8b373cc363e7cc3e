"""Freezing: a model's forward pass as one call of the core, for inference."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import Box, recording, unbox
from chainrule.autodiff.graph import Graph
from chainrule.nn.module import Module
from chainrule.nn.program import PROGRAMS, WITHOUT_PATH, Program
from chainrule.tensor import tensor


class Frozen:
    """What `freeze` returns: call it with a batch.

    Attributes: input_shape, output_shape, of one sample; steps, the names of the operations in order.
    """

    __slots__ = ("_program", "input_shape", "output_shape", "steps")

    def __init__(self, program, input_shape, output_shape, steps):
        self._program = program
        self.input_shape = input_shape
        self.output_shape = output_shape
        self.steps = steps

    def __call__(self, x):
        """The model's values for x (N, *input_shape): a NumPy array (N, *output_shape), for any N."""
        return self._program(x.value if isinstance(x, Box) else x)

    def __repr__(self):
        return f"Frozen({self.input_shape} -> {self.output_shape}: {', '.join(self.steps)})"


def freeze(model, example):
    """The model's forward pass in evaluation mode, as it is now, to run as one call of the core.

    For inference: it gives what the model gives, up to rounding, without a graph and without Python between the
    layers, which on small nets and batches takes longer than they do. Weights are copied, so that later training
    does not change it; a batch norm right after a convolution is merged into its weights. What the model reads that
    was computed before from other Tensors is computed anew from their present values.

    Args:
        model: a Module, or a function of one Tensor, that treats each sample of a batch alone. A function is taken as
            it is: modules that it calls are to be in evaluation mode. Branches in Python are taken as for the example.
        example: (N, ...), N at least 1, float32 or float64: inputs of the shape and dtype that it will get. The model
            is run on it, and on a batch of one more of its samples in another order: what it computes off the graph,
            from the values or the size of a batch, is seen to differ and refused.

    Returns a `Frozen`: called with x (N, ...) of any N it returns a NumPy array (N, ...). Several threads may call it
    at once. What `chainrule.autocast` is set to here holds for it.

    Errors: TypeError for an example that is no array of floats, for a model of gates that have no step here (a gate of
    one's own, operations that move axes or mix samples), which names the gate, and for one that does other things with
    another batch; ValueError for an example without samples, or a result that does not depend on it. At the call:
    ValueError for x of another shape, TypeError for another dtype.

    >>> import chainrule as cr, numpy as np
    >>> net = cr.nn.Sequential(cr.nn.Conv2d(1, 4, 3), cr.nn.ReLU(), cr.nn.GlobalAvgPool2d(), cr.nn.Linear(4, 2))
    >>> frozen = cr.nn.freeze(net, np.zeros((1, 8, 8, 1), np.float32))
    >>> frozen
    Frozen((8, 8, 1) -> (2,): conv2d, sum, divide, linear)
    >>> x = np.random.default_rng(0).random((5, 8, 8, 1), np.float32)
    >>> bool(np.allclose(frozen(x), net.eval()(x).numpy(), atol=1e-6))
    True
    """
    values = unbox(example)
    if not isinstance(values, np.ndarray) or values.dtype.name not in PROGRAMS:
        raise TypeError(
            f"freeze: the example is {_described(values)}: give a float32 or float64 array (N, ...)"
        )
    if values.ndim < 1 or len(values) < 1:
        raise ValueError(
            f"freeze: the example {values.shape} has no samples: give (N, ...) with N of 1 or more"
        )
    found = _translated(model, values)
    try:
        other = _translated(model, _other_batch(values))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"freeze: the model takes the example and not a batch of {len(values) + 1}: "
            f"{str(error).removeprefix('freeze: ')}"
        ) from error
    if (step := _first_difference(found.calls, other.calls)) is not None:
        raise TypeError(
            f"freeze: the model does other things with another batch: {step} is not the same: it must treat "
            "each sample alone, and compute what depends on it by gates"
        )
    return Frozen(found.core, found.input_shape, found.output_shape, tuple(found.steps))


def _translated(model, values):
    """The model as it runs on these inputs, as a program."""
    x = tensor(values, requires_grad=True)
    y = _evaluated(model, x)
    if y is not x:
        if isinstance(y, (tuple, list, dict)):
            raise TypeError(f"freeze: the model gives a {type(y).__name__}: give one of a single Tensor")
        if not isinstance(y, Box) or y.gate is None:
            raise ValueError(f"freeze: {WITHOUT_PATH}")
        if unbox(y).dtype != values.dtype:
            raise TypeError(
                f"freeze: the model gives {unbox(y).dtype} for an example of {values.dtype}: give both one dtype"
            )
    return Program(x, [] if y is x else Graph(y).nodes)


def _other_batch(values):
    """One sample more, in another order, the values of each in another order too, so that none is new."""
    more = np.concatenate([values[-1:], values])
    return np.roll(more.reshape(len(more), -1), 1, axis=1).reshape(more.shape)


def _first_difference(calls, others):
    """What a step is called that differs between two programs; None where none does."""
    for (name, arguments), (other, other_arguments) in zip(calls, others, strict=False):
        same = name == other and len(arguments) == len(other_arguments)
        if not (same and all(map(_equal, arguments, other_arguments))):
            return arguments[0] if isinstance(arguments[0], str) else name
    return None if len(calls) == len(others) else "the number of steps"


def _equal(a, b):
    if isinstance(a, (np.ndarray, float)) or isinstance(b, (np.ndarray, float)):
        a, b = np.asarray(a), np.asarray(b)
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return a == b


def _described(value):
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def _evaluated(model, x):
    """model(x), recorded, in evaluation mode; the modes are as before afterwards."""
    modules = list(model.modules()) if isinstance(model, Module) else []
    modes = [module.training for module in modules]
    records, recording.on = recording.on, True
    try:
        for module in modules:
            module.training = False
        return model(x)
    finally:
        recording.on = records
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
