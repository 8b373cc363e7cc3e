"""Freezing: a model's forward pass as one call of the core, for inference."""

from __future__ import annotations

from collections import Counter

import numpy as np

from chainrule import _core
from chainrule.autodiff.box import Box, recording, unbox
from chainrule.autodiff.graph import Graph, Node
from chainrule.gates import activations, arithmetic, convolution, functions, normalise, pool, select
from chainrule.gates.convolution_pool import Conv2dMaxPool2d
from chainrule.gates.matmul import Linear, Matmul
from chainrule.gates.reduce import Max, Min
from chainrule.gates.shape import Reshape
from chainrule.gates.softmax import LogSoftmax, Softmax
from chainrule.gates.summation import Sum
from chainrule.nn.module import Module
from chainrule.tensor import tensor

PROGRAMS = {"float32": _core.ProgramFloat32, "float64": _core.ProgramFloat64}


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
        model: a Module, or a function of one Tensor, that treats each sample of a batch alone. Branches in Python are
            taken as for the example.
        example: (N, ...), N at least 1, float32 or float64: inputs of the shape and dtype that it will get.

    Returns a `Frozen`: called with x (N, ...) of any N it returns a NumPy array (N, ...). Several threads may call it
    at once. What `chainrule.autocast` is set to here holds for it.

    Errors: TypeError for an example that is no array of floats, and for a model of gates that have no step here (a
    gate of one's own, operations that move axes or mix samples), which names the gate; ValueError for an example
    without samples, or a result that does not depend on it. At the call: ValueError for x of another shape,
    TypeError for another dtype.

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
    # Of two samples or more: what the model computes from the example off the graph, as a comparison, is then seen to
    # have the size of a batch, and refused.
    x = tensor(values if len(values) > 1 else np.concatenate([values, values]), requires_grad=True)
    y = _evaluated(model, x)
    if not isinstance(y, Box) or y.gate is None:
        raise ValueError("freeze: the model's result does not depend on its input")
    if unbox(y).dtype != values.dtype:
        raise TypeError(
            f"freeze: the model gives {unbox(y).dtype} for an example of {values.dtype}: give both one dtype"
        )
    return _Translation(x, Graph(y)).frozen()


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


class _Translation:
    """A graph on its way to becoming a program.

    Attributes:
        dependent: the nodes that depend on the input, and the input, by their ids, as all here.
        constants: the values of the others.
        numbers: the program's values for dependent nodes.
        merged: by a convolution, the batch norm that alone reads it, and weights and bias of both together.
    """

    def __init__(self, x, graph):
        self.program = PROGRAMS[x.value.dtype.name](x.value.shape[1:])
        self.samples, *self.input_shape = x.value.shape
        self.numbers = {id(x): 0}
        self.steps = []
        self.nodes = graph.nodes
        self.dependent = {id(x)}
        self.constants = {}
        for node in self.nodes:
            if any(id(source) in self.dependent for source in node.inputs):
                self.dependent.add(id(node))
            else:
                self.constants[id(node)] = node.value
        readers = Counter(id(source) for node in self.nodes for source in node.inputs)
        self.merged = {}
        for norm in self.nodes:
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
                    self.merged[id(conv)] = norm, *weights

    def merged_weights(self, conv, norm):
        """Weights and bias of a convolution with a batch norm behind it."""
        w, bias = self.constant(conv, 1), self.constant(conv, 2)
        with np.errstate(all="ignore"):  # what is not finite is not merged
            scale = self.constant(norm, 1) * norm.gate.inverse
            shift = self.constant(norm, 2) - norm.gate.mean * scale
            return w * scale, shift if bias is None else bias * scale + shift

    def frozen(self):
        last = self.nodes[-1]
        if id(last) not in self.dependent:
            raise ValueError("freeze: the model's result does not depend on its input")
        for node in self.nodes:
            if id(node) in self.dependent and id(node) not in self.numbers:
                self.translate(node)
        return Frozen(self.program, tuple(self.input_shape), last.value.shape[1:], tuple(self.steps))

    def translate(self, node):
        if type(node.gate) not in STEPS:
            raise self.refusal(node, "has no step")
        if node.value.ndim < 1 or len(node.value) != self.samples:
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
        return self.constants[id(x)] if isinstance(x, Node) else unbox(x)

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
    if node.gate.dimensions >= node.value.ndim:
        raise t.refusal(node, "over all axes has no step")
    return t.program.layer_norm(t.number(node), t.constant(node, 1), t.constant(node, 2), node.gate.epsilon)


def _pool(t, node, name):
    return getattr(t.program, name)(t.number(node), node.gate.window)


def _reduction(t, node, name):
    number = getattr(t.program, name)(t.number(node), *t.axes(node, node.gate.axes))
    return t.program.reshape(number, node.value.shape[1:]) if node.gate.keepdims else number


def _softmax(t, node, name):
    return t.program.softmax(name, t.number(node), *t.axes(node, node.gate.axes))


def _reshape(t, node, _):
    return t.program.reshape(t.number(node), node.value.shape[1:])


def _unary(t, node, name):
    return t.program.unary(name, t.number(node))


def _leaky_relu(t, node, name):
    return t.program.binary_constant(name, t.number(node), node.gate.slope, False)


def _elu(t, node, name):
    return t.program.binary_constant(name, t.number(node), node.gate.alpha, False)


def _binary(t, node, name):
    variable = [i for i in (0, 1) if id(node.inputs[i]) in t.dependent]
    sample = node.value.shape[1:]
    numbers = [t.number(node, i) for i in variable]
    if any(tuple(t.program.shape(number)) != sample for number in numbers):
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
