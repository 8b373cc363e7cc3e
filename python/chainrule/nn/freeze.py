"""Freezing: a model's forward pass as one call of the core, for inference."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np

from chainrule import _core
from chainrule.autodiff.box import Box, recording, unbox
from chainrule.autodiff.graph import Graph, Node
from chainrule.gates import activations, arithmetic, convolution, functions, normalise, pool, select
from chainrule.gates.convolution_pool import Conv2dMaxPool2d
from chainrule.gates.dropout import Dropout
from chainrule.gates.matmul import Linear, Matmul
from chainrule.gates.reduce import Max, Min
from chainrule.gates.shape import Reshape
from chainrule.gates.softmax import LogSoftmax, Softmax
from chainrule.gates.summation import Sum
from chainrule.nn.module import Module
from chainrule.tensor import tensor

PROGRAMS = {"float32": _core.ProgramFloat32, "float64": _core.ProgramFloat64}
WITHOUT_PATH = (
    "the model's result does not depend on its input by recorded gates: is it made under no_grad, from "
    "detach(), or by NumPy?"
)


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
    return found.frozen


def _translated(model, values):
    """The model as it runs on these inputs, translated."""
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
    return _Translation(x, [] if y is x else Graph(y).nodes)


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


class _Logged:
    """A program that remembers what was called: (name, arguments)."""

    def __init__(self, program):
        self.program = program
        self.calls = []

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append((name, arguments))
            return getattr(self.program, name)(*arguments)

        return call


class _Translation:
    """A graph as a program.

    Attributes:
        frozen: the result.
        calls: what made the program, (name, arguments).
        dependent: the nodes that depend on the input, and the input, by their ids, as all here.
        values: of the nodes, NumPy arrays.
        numbers: the program's values for dependent nodes.
        merged: by a convolution, the batch norm that alone reads it, and weights and bias of both together.
    """

    def __init__(self, x, nodes):
        program = PROGRAMS[x.value.dtype.name](x.value.shape[1:])
        self.program = _Logged(program)
        self.samples, *input_shape = x.value.shape
        self.numbers = {id(x): 0}
        self.steps = []
        self.dependent = {id(x)}
        self.values = {}
        for node in nodes:
            if any(id(source) in self.dependent for source in node.inputs):
                self.dependent.add(id(node))
            # By a copy: the gate may be one of a graph that the user still has a use for.
            gate = copy.copy(node.gate)
            inputs = [self.values[id(s)] if isinstance(s, Node) else unbox(s) for s in node.inputs]
            self.values[id(node)] = np.asarray(gate.forward(*inputs))
        self.merged = self.batch_norms_to_merge(nodes)
        if nodes and id(nodes[-1]) not in self.dependent:
            raise ValueError(f"freeze: {WITHOUT_PATH}")
        for node in nodes:
            if id(node) in self.dependent and id(node) not in self.numbers:
                self.translate(node)
        self.calls = self.program.calls
        result = self.values[id(nodes[-1])] if nodes else x.value
        self.frozen = Frozen(program, tuple(input_shape), result.shape[1:], tuple(self.steps))

    def batch_norms_to_merge(self, nodes):
        merged = {}
        readers = Counter(id(source) for node in nodes for source in node.inputs)
        for norm in nodes:
            conv = norm.inputs[0]
            if (
                type(norm.gate) is normalise.Standardise
                and isinstance(conv, Node)
                and type(conv.gate) is convolution.Conv2d
                and not conv.gate.relu
                and readers[id(conv)] == 1
            ):
                weights = self.merged_weights(conv, norm)
                if all(np.isfinite(values).all() for values in weights):
                    merged[id(conv)] = norm, *weights
        return merged

    def merged_weights(self, conv, norm):
        """Weights and bias of a convolution with a batch norm behind it."""
        w, bias = self.constant(conv, 1), self.constant(conv, 2)
        with np.errstate(all="ignore"):  # what is not finite is not merged
            scale = self.constant(norm, 1) * norm.gate.inverse
            shift = self.constant(norm, 2) - norm.gate.mean * scale
            return w * scale, shift if bias is None else bias * scale + shift

    def translate(self, node):
        if type(node.gate) in IN_TRAINING:
            raise TypeError(
                f"freeze: {node.name} is in training mode: call eval() of its module before freezing"
            )
        if type(node.gate) not in STEPS:
            raise self.refusal(node, "has no step")
        value = self.values[id(node)]
        if value.ndim < 1 or len(value) != self.samples:
            raise self.refusal(node, "mixes the samples of a batch and has no step")
        name, step = STEPS[type(node.gate)]
        self.steps.append(name)
        self.numbers[id(node)] = step(self, node, name)

    def refusal(self, node, why):
        return TypeError(f"freeze: {node.name} {why} in a frozen model: keep it outside")

    # ---- What steps are made with --------------------------------------------------------------------------------

    def number(self, node, i=0):
        """The program's value for input i. TypeError where that does not depend on the model's input."""
        if id(node.inputs[i]) not in self.dependent:
            raise self.refusal(node, "of a constant has no step")
        return self.numbers[id(node.inputs[i])]

    def constant(self, node, i):
        """The value of input i, None where there is none. TypeError where it depends on the model's input."""
        if i >= len(node.inputs):
            return None
        x = node.inputs[i]
        if id(x) in self.dependent:
            raise self.refusal(node, "of weights that depend on the input has no step")
        value = self.values[id(x)] if isinstance(x, Node) else unbox(x)
        return float(value) if isinstance(value, int) else value

    def sample(self, node):
        """The shape of one sample of a node's value."""
        return self.values[id(node)].shape[1:]

    def axes(self, node, axes):
        """Axes of a batch as a range of a sample's."""
        first, last = (axes[0], axes[-1] + 1) if axes else (0, 0)
        if first < 1 or last - first != len(axes):
            raise self.refusal(node, f"over axes {axes} has no step")
        return first - 1, last - 1


# ---- The steps: each adds what a gate computes to the program and returns its number there ---------------------------


def _conv2d(t, node, _):
    gate = node.gate
    w, bias, relu = t.constant(node, 1), t.constant(node, 2), gate.relu
    norm = None
    if id(node) in t.merged:
        norm, w, bias = t.merged[id(node)]
        relu = norm.gate.activation == "relu"
    number = t.program.conv2d(t.number(node), w, bias, gate.window, relu, gate.bfloat16)
    if norm is not None:
        if norm.gate.activation == "gelu":
            number = t.program.unary("gelu", number)
            t.steps.append("gelu")
        t.numbers[id(norm)] = number
    return number


def _conv2d_max_pool2d(t, node, _):
    gate = node.gate
    weights = t.constant(node, 1), t.constant(node, 2)
    return t.program.conv2d_max_pool2d(
        t.number(node), *weights, gate.window, gate.pooling, gate.relu, gate.bfloat16
    )


def _conv_transpose2d(t, node, _):
    gate = node.gate
    weights = t.constant(node, 1), t.constant(node, 2)
    return t.program.conv_transpose2d(t.number(node), *weights, *gate.size, gate.window, gate.bfloat16)


def _linear(t, node, _):
    gate = node.gate
    return t.program.linear(
        t.number(node), t.constant(node, 1), t.constant(node, 2), gate.relu, gate.bfloat16
    )


def _matmul(t, node, _):
    w = t.constant(node, 1)
    if w.ndim != 2:
        raise t.refusal(node, f"by an array {w.shape} has no step")
    return t.program.linear(t.number(node), w, None, False, node.gate.bfloat16)


def _standardise(t, node, _):
    gate = node.gate
    scale = t.constant(node, 1) * gate.inverse
    return t.program.standardise(t.number(node), gate.mean, scale, t.constant(node, 2), gate.activation)


def _layer_norm(t, node, _):
    if node.gate.dimensions > len(t.sample(node)):
        raise t.refusal(node, "over all axes has no step")
    return t.program.layer_norm(t.number(node), t.constant(node, 1), t.constant(node, 2), node.gate.epsilon)


def _pool(t, node, name):
    return getattr(t.program, name)(t.number(node), node.gate.window)


def _reduction(t, node, name):
    number = getattr(t.program, name)(t.number(node), *t.axes(node, node.gate.axes))
    return t.program.reshape(number, t.sample(node)) if node.gate.keepdims else number


def _softmax(t, node, name):
    return t.program.softmax(name, t.number(node), *t.axes(node, node.gate.axes))


def _reshape(t, node, _):
    return t.program.reshape(t.number(node), t.sample(node))


def _unary(t, node, name):
    return t.program.unary(name, t.number(node))


def _leaky_relu(t, node, name):
    return t.program.binary_constant(name, t.number(node), node.gate.slope, False)


def _elu(t, node, name):
    return t.program.binary_constant(name, t.number(node), node.gate.alpha, False)


def _binary(t, node, name):
    variable = [i for i in (0, 1) if id(node.inputs[i]) in t.dependent]
    sample = t.sample(node)
    numbers = [t.number(node, i) for i in variable]
    if any(tuple(t.program.program.shape(number)) != sample for number in numbers):
        raise t.refusal(node, f"that repeats values to {sample} has no step")
    if len(numbers) == 2:
        return t.program.binary(name, *numbers)
    constant = 1 - variable[0]
    value = np.asarray(t.constant(node, constant))
    if value.ndim > len(sample) and value.shape[0] == 1:
        value = value[0]  # the axis of the batch
    if value.ndim > len(sample):
        raise t.refusal(node, f"with an array of {value.shape} has no step")
    return t.program.binary_constant(name, numbers[0], value, constant == 0)


IN_TRAINING = (normalise.BatchNorm, Dropout)
STEPS = {
    convolution.Conv2d: ("conv2d", _conv2d),
    Conv2dMaxPool2d: ("conv2d_max_pool2d", _conv2d_max_pool2d),
    convolution.Conv2dInputGradient: ("conv_transpose2d", _conv_transpose2d),
    Linear: ("linear", _linear),
    Matmul: ("matmul", _matmul),
    normalise.Standardise: ("standardise", _standardise),
    normalise.LayerNorm: ("layer_norm", _layer_norm),
    pool.MaxPool2d: ("max_pool2d", _pool),
    pool.AveragePool2d: ("average_pool2d", _pool),
    Sum: ("sum", _reduction),
    Max: ("max", _reduction),
    Min: ("min", _reduction),
    Softmax: ("softmax", _softmax),
    LogSoftmax: ("log_softmax", _softmax),
    Reshape: ("reshape", _reshape),
    arithmetic.Negative: ("negative", _unary),
    functions.Abs: ("abs", _unary),
    functions.Exp: ("exp", _unary),
    functions.Log: ("log", _unary),
    functions.Sqrt: ("sqrt", _unary),
    functions.Sin: ("sin", _unary),
    functions.Cos: ("cos", _unary),
    functions.Tanh: ("tanh", _unary),
    functions.Sigmoid: ("sigmoid", _unary),
    functions.Relu: ("relu", _unary),
    activations.Gelu: ("gelu", _unary),
    activations.Silu: ("silu", _unary),
    activations.Softplus: ("softplus", _unary),
    activations.LeakyRelu: ("leaky_relu", _leaky_relu),
    activations.Elu: ("elu", _elu),
    arithmetic.Add: ("add", _binary),
    arithmetic.Subtract: ("subtract", _binary),
    arithmetic.Multiply: ("multiply", _binary),
    arithmetic.Divide: ("divide", _binary),
    arithmetic.Power: ("power", _binary),
    select.Maximum: ("maximum", _binary),
    select.Minimum: ("minimum", _binary),
}
