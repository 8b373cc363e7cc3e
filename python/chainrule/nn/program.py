"""A recorded graph as a program of the core: a table of the step that each gate becomes."""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np

from chainrule import _core
from chainrule.autodiff.box import unbox
from chainrule.autodiff.graph import Node
from chainrule.gates import activations, arithmetic, convolution, functions, normalise, pool, select
from chainrule.gates.convolution_pool import Conv2dMaxPool2d
from chainrule.gates.dropout import Dropout
from chainrule.gates.matmul import Linear, Matmul
from chainrule.gates.reduce import Max, Min
from chainrule.gates.shape import Reshape
from chainrule.gates.softmax import LogSoftmax, Softmax
from chainrule.gates.summation import Sum

PROGRAMS = {"float32": _core.ProgramFloat32, "float64": _core.ProgramFloat64}
WITHOUT_PATH = (
    "the model's result does not depend on its input by recorded gates: is it made under no_grad, from "
    "detach(), or by NumPy?"
)


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


class Program:
    """A recorded graph as a program of the core.

    Attributes:
        core: the core's program.
        steps: the names of its operations, in order.
        input_shape, output_shape: of one sample.
        calls: what made it, (name, arguments).
        dependent: the nodes that depend on the input, and the input, by their ids, as all here.
        values: of the nodes, NumPy arrays.
        numbers: the program's values for dependent nodes.
        merged: by a convolution, the batch norm that alone reads it, and weights and bias of both together.
    """

    def __init__(self, x, nodes):
        self.samples, self.input_shape = len(x.value), x.value.shape[1:]
        self.core = PROGRAMS[x.value.dtype.name](self.input_shape)
        self.program = _Logged(self.core)
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
        self.output_shape = result.shape[1:]

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
    if any(tuple(t.core.shape(number)) != sample for number in numbers):
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
