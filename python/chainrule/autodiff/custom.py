"""Gates made from functions: a rule of the user's own, and recomputation instead of keeping."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import Box, box_result, no_grad, recording, unbox
from chainrule.autodiff.change import changed_since
from chainrule.autodiff.gate import Gate
from chainrule.autodiff.nest import flatten, unflatten
from chainrule.autodiff.reverse import GraphFreedError, send_to_leaf, walk
from chainrule.autodiff.trace import is_traced, top_trace
from chainrule.autodiff.transforms import vjp
from chainrule.random import draws_again, generator


class CustomGradient(Gate):
    """A function whose pullback the user gives; see `custom_gradient`."""

    def __init__(self, function):
        self.function = function

    def forward(self, *arrays):
        self.kept = arrays
        with no_grad():
            value, _ = _value_and_pullback(self.function, arrays)
        if is_traced(value):
            raise TypeError(
                "custom_gradient: the function reads a Tensor of a transform that is none of its arguments: pass it "
                "as one, for the rule gives gradients for the arguments alone"
            )
        return np.asarray(unbox(value))

    def backward(self, gradient):
        # The function runs again on the values of this level, so that the rule is differentiable in them.
        _, pullback = _value_and_pullback(self.function, self.kept)
        gradients = pullback(gradient)
        return gradients if isinstance(gradients, tuple) else (gradients,)


def _value_and_pullback(function, arguments):
    result = function(*arguments)
    if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
        raise TypeError("custom_gradient: the function must return (value, pullback)")
    return result


def _repeatable(f):
    """f for several runs: each draws from the library's generator, for dropout, what the first one drew."""
    state = None

    def run(*arguments):
        nonlocal state
        if state is None:
            state = generator().bit_generator.state
            return f(*arguments)
        with draws_again(state):
            return f(*arguments)

    return run


def custom_gradient(f):
    """A function whose derivative is the rule it returns, instead of that of its steps.

    Args:
        f: returns (value, pullback) for its arguments; pullback takes the gradient of the value and returns the
            gradient for each argument, a tuple or the bare gradient for one. Written with the library's
            functions the rule can be differentiated again; forward mode follows from it by transposition.

    Clipped gradients, straight-through estimators and stabler formulas are made with it.

    >>> import chainrule as cr, numpy as np
    >>> @cr.custom_gradient
    ... def identity_with_clipped_gradient(x):
    ...     return x, lambda g: cr.clip(g, -1.0, 1.0)
    >>> cr.grad(lambda x: 10.0 * identity_with_clipped_gradient(x))(np.array(2.0))
    array(1.)
    """

    def applied(*arguments):
        if not any(isinstance(a, Box) for a in arguments):
            return _value_and_pullback(f, arguments)[0]
        return CustomGradient(_repeatable(f))(*arguments)

    applied.__name__ = getattr(f, "__name__", "custom_gradient")
    applied.__doc__ = f.__doc__
    return applied


class Checkpoint(Gate):
    """One run of a function of which only the inputs are kept; see `checkpoint`."""

    def __init__(self, function, structure):
        self.function = function
        self.structure = structure

    def forward(self, *arrays):
        self.kept = arrays
        with no_grad():
            result = self.run(_boxed(arrays))
        if is_traced(result):
            raise _ReadsTraced
        return unbox(result)

    def run(self, leaves):
        result = self.function(*unflatten(self.structure, leaves))
        if not isinstance(result, (Box, np.ndarray)):
            raise TypeError(
                f"checkpoint: the function returned {type(result).__name__}: it must return one array"
            )
        return result

    def backward(self, gradient):
        if self.kinds is not None:  # a gate of a transform: see _apply
            # Of the inputs whose gradients are wanted alone: the others may be integers, flags and numbers.
            wanted = [i for i in range(len(self.kept)) if self.wants(i)]

            def of_wanted(*values):
                inputs = list(self.kept)
                for i, value in zip(wanted, values, strict=True):
                    inputs[i] = value
                return self.run(inputs)

            output, pullback = vjp(of_wanted, *(self.kept[i] for i in wanted))
            dtype = unbox(output).dtype
            found = pullback(gradient if unbox(gradient).dtype == dtype else gradient.astype(dtype))
            gradients = [None] * len(self.kept)
            for i, part in zip(wanted, found, strict=True):
                gradients[i] = part
            return tuple(gradients)
        # Outside transforms: record the steps now, and let gradients flow into what the function closes over.
        leaves = _boxed(self.kept)
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, Box):
                leaf.requires_grad = self.wants(i)
        before, recording.on = recording.on, True
        try:
            output = self.run(leaves)
        finally:
            recording.on = before
        own = {id(leaf): i for i, leaf in enumerate(leaves)}
        parts = [None] * len(leaves)

        def send(leaf, part, upstream):
            i = own.get(id(leaf))
            if i is None:
                if changed_since(leaf, self.time):
                    raise RuntimeError(
                        f"checkpoint: a parameter of shape {leaf.shape} that the function reads was changed between "
                        "forward and backward: call backward before the change, or compute the loss again after it"
                    )
                send_to_leaf(leaf, part, upstream)
            else:
                parts[i] = part if parts[i] is None else parts[i] + part

        if isinstance(output, Box) and output.gate is not None:
            # The steps go when this returns. What the function closes over may be read by others yet.
            try:
                walk([(output.gate, gradient)], send, retain_graph=True)
            except GraphFreedError:
                raise RuntimeError(
                    "checkpoint: the function reads a Tensor that gates outside it made, whose graph this backward has "
                    "freed already: pass the Tensor as an argument, or give backward retain_graph=True"
                ) from None
        elif isinstance(output, Box) and output.requires_grad:
            send(output, gradient, gradient)  # the function returned what it was given
        return tuple(parts)


def _boxed(values):
    """The values with arrays as Tensors; numbers, flags and the like as they are."""
    return [box_result(value) if isinstance(value, np.ndarray) else value for value in values]


class _ReadsTraced(Exception):
    """A checkpointed function closes over a Tensor of a transform."""


def _apply(f, leaves, structure):
    """f on leaves of which one is a Box: as a gate that keeps its inputs alone, where that is possible.

    Inside transforms the gate belongs to the highest trace among the inputs, and the value below is what a
    checkpoint of the values below gives. Where f closes over a Box of that trace, or of a higher one, or where
    the trace is forward mode, which keeps nothing, f runs as it is.
    """
    if not any(is_traced(leaf) for leaf in leaves):
        leaves = list(leaves)
        if not any(isinstance(leaf, Box) and leaf.requires_grad for leaf in leaves):
            # Inputs without gradients: the function may still close over parameters.
            first = next(i for i, leaf in enumerate(leaves) if isinstance(leaf, Box))
            leaves[first] = box_result(unbox(leaves[first]))
            leaves[first].requires_grad = True
        return Checkpoint(f, structure)(*leaves)
    trace = top_trace(leaves)
    if trace.forward_mode:
        raise _ReadsTraced
    own = [isinstance(leaf, Box) and leaf.trace is trace for leaf in leaves]
    lower = [leaf.value if mine else leaf for leaf, mine in zip(leaves, own, strict=True)]
    output = checkpoint(f)(*unflatten(structure, lower))
    if is_traced(output) and output.trace.level >= trace.level:
        raise _ReadsTraced
    return trace.node(Checkpoint(f, structure), leaves, lower, tuple(lower), output)


def checkpoint(f):
    """f, keeping its inputs alone: the backward pass runs f again instead of keeping what lies between.

    For long chains: memory falls by the length of the part, for one more forward run of it. Parameters that f
    closes over get their gradients as usual. Inside transforms, pass what is differentiated as an argument: a
    part that closes over it is right too, but is recorded as if there were no checkpoint.

    Args:
        f: a function of nests of Tensors that returns one Tensor, the same at every run. Dropout within it draws
            the same mask again; running statistics of a batch normalisation move at each run.

    Griewank and Walther, Algorithm 799: Revolve, 2000, tell how to place checkpoints; Chen et al., Training
    Deep Nets with Sublinear Memory Cost, 2016, use one every sqrt(n) layers.

    >>> import chainrule as cr, numpy as np
    >>> cr.grad(lambda x: cr.checkpoint(cr.tanh)(x))(np.array(0.0))
    array(1.)
    """

    def applied(*arguments):
        leaves, structure = flatten(arguments)
        if not any(isinstance(leaf, Box) for leaf in leaves):
            return f(*arguments)
        run = _repeatable(f)
        try:
            return _apply(run, leaves, structure)
        except _ReadsTraced:
            return run(*arguments)

    return applied
