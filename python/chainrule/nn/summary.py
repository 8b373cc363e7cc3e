"""What a model is made of, layer by layer: sizes, parameters, work, receptive fields, memory.

A copy of the model is run on one random input in evaluation mode, with its graph recorded. Every gate is attributed
to the innermost module whose call made it, so that modules of any kind are counted, and those that call functions
instead of layers too.
"""

from __future__ import annotations

import copy
import functools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from chainrule.autodiff.box import Box, recording, shape_of, unbox
from chainrule.autodiff.graph import Graph, Node
from chainrule.gates.convolution import Conv2d, Conv2dInputGradient
from chainrule.gates.matmul import Linear, Matmul
from chainrule.gates.shape import as_sizes
from chainrule.nn.module import Module, Parameter
from chainrule.nn.normalise import Dropout
from chainrule.nn.observe import observe
from chainrule.nn.reach import UNKNOWN, Reach, of_image, reach_after
from chainrule.nn.table import table
from chainrule.random import draws_again, generator
from chainrule.tensor import Tensor


@dataclass(frozen=True)
class LayerSummary:
    """One line of a summary: one call of a module.

    Attributes:
        name: the module's dotted name, "" for the model itself; a module in several places goes by its first name.
        kind: the name of its class.
        output_shape: without the batch; None for a module that is not called, or returns no single array.
        parameters: how many numbers it learns itself, not counting modules inside it; those of a module that is
            called again, or shared, are counted the first time.
        multiply_adds: of convolutions and matrix products in it, for one input; other work is not counted, nor what
            depends on the weights alone.
        receptive_field: (height, width) of the pixels that one value of the output depends on, those in the padding
            included; the most of any where, after a transposed convolution, neighbours see more and less; None where
            the input is no image, or it is not known.
        receptive_stride: (vertically, horizontally) how many pixels further the next value's field lies, on average;
            None where it does not apply.
        receptive_starts: for each row of the output, and for each column, where its field begins, below 0 in the
            padding; None as for receptive_stride.
        memory: bytes of the output for one input, which training keeps; 0 where it is the memory of an earlier one,
            as after Flatten.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] | None
    parameters: int
    multiply_adds: int
    receptive_field: tuple[int, int] | None
    receptive_stride: tuple[int | float, int | float] | None
    receptive_starts: tuple[tuple[int, ...], tuple[int, ...]] | None
    memory: int


@dataclass(frozen=True)
class Summary:
    """What `Module.summary` found; `print` shows it as a table.

    Attributes:
        input_shape: of one input.
        layers: a tuple of LayerSummary, in the order in which the calls end; modules without work of their own, such
            as Sequential, are left out.
        parameters, multiply_adds, memory: totals.
    """

    input_shape: tuple[int, ...]
    layers: tuple[LayerSummary, ...]

    @property
    def parameters(self) -> int:
        """How many numbers the model learns."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Of convolutions and matrix products, for one input."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def memory(self) -> int:
        """Bytes of all outputs, for one input."""
        return sum(layer.memory for layer in self.layers)

    def __str__(self):
        head = ("layer", "kind", "output", "parameters", "multiply-adds", "field", "its stride", "memory")
        rows = [("", "input", _by(self.input_shape), "", "", "", "", "")]
        rows += [
            (
                layer.name or "(itself)",
                layer.kind,
                "-" if layer.output_shape is None else _by(layer.output_shape),
                f"{layer.parameters:,}",
                f"{layer.multiply_adds:,}",
                "-" if layer.receptive_field is None else _by(layer.receptive_field),
                "-" if layer.receptive_stride is None else _by(layer.receptive_stride),
                _bytes(layer.memory),
            )
            for layer in self.layers
        ]
        rows.append(
            ("", "total", "", f"{self.parameters:,}", f"{self.multiply_adds:,}", "", "", _bytes(self.memory))
        )
        return table(head, rows, left=2)

    __repr__ = __str__


def _by(sizes) -> str:
    return " x ".join(str(Fraction(size)) for size in sizes) or "number"


def _bytes(count: int) -> str:
    return f"{count:,} B" if count < 1 << 13 else f"{count / 1024:,.1f} KiB"


# ---- Running the model -----------------------------------------------------------------------------------------


class _Call:
    """One call of a module: what went in and came out, and the gates that it made itself."""

    def __init__(self, name, module, outer, inputs):
        self.name = name
        self.module = module
        self.inner = False  # whether it called modules itself
        self.inputs = list(_tensors(inputs))
        self.outputs = []
        self.output = None
        self.nodes = []
        if outer is not None:
            outer.inner = True


class _Recorder:
    """Runs a copy of a model and keeps its calls, in the order of their starts and ends."""

    def __init__(self, model: Module):
        self.model = model
        self.events = []  # (starts, call)
        self._open = []
        seen = {}
        for name, module in model.named_modules():
            seen.setdefault(id(module), (name, module))
        for name, module in seen.values():
            # On the instance: a call looks there first, and the class stays as it is.
            module.forward = functools.partial(self._call, name, module, module.forward)

    def _call(self, name, module, forward, *inputs):
        call = _Call(name, module, self._open[-1] if self._open else None, inputs)
        self.events.append((True, call))
        self._open.append(call)
        try:
            output = forward(*inputs)
        finally:
            self._open.pop()
        call.output = output if isinstance(output, (Tensor, np.ndarray)) else None
        call.outputs = list(_tensors(output))
        self.events.append((False, call))
        return output

    @property
    def calls(self):
        """In the order of their ends."""
        return [call for starts, call in self.events if not starts]


def _tensors(value):
    """Every Tensor in nested tuples, lists and dicts."""
    if isinstance(value, Box):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _attribute(events) -> dict:
    """Give every gate to the innermost call that made it. Returns {gate: node} in topological order.

    What a module's inputs depend on was made before its call, by the module around it.
    """
    nodes: dict = {}
    for tensor in reversed([t for starts, call in events if not starts for t in call.outputs]):
        if tensor.gate is not None and tensor.gate not in nodes:
            nodes.update((node.gate, node) for node in Graph(tensor).nodes if node.gate not in nodes)
    given, open_calls = set(), []
    for starts, call in events:
        owner = (open_calls[-1] if open_calls else None) if starts else call
        stack = [t.gate for t in (call.inputs if starts else call.outputs) if t.gate is not None]
        while stack:
            gate = stack.pop()
            if gate in given:
                continue
            given.add(gate)
            node = nodes.get(gate)
            if node is None:  # led to no output
                continue
            if owner is not None:
                owner.nodes.append(node)
            stack.extend(x.gate for x in node.inputs if isinstance(x, Node))
        if starts:
            open_calls.append(call)
        else:
            open_calls.pop()
    return nodes


def summarise(model: Module, input_shape) -> Summary:
    """See `Module.summary`."""
    name = "summary"
    input_shape = as_sizes(name, input_shape)
    if not input_shape or min(input_shape) < 1:
        raise ValueError(f"{name}: input_shape {input_shape}: give sizes of 1 or more, without the batch")
    try:
        twin = copy.deepcopy(model)
    except (TypeError, RecursionError) as error:
        raise TypeError(
            f"{name}: {type(model).__name__} cannot be copied, and its state is not to be touched: {error}"
        ) from error
    twin.eval()
    parameters = list(twin.parameters())
    dtype = parameters[0].dtype if parameters else np.dtype(np.float32)
    for parameter in parameters:
        parameter.requires_grad = True  # one that is frozen leads to work too
    x = Tensor(np.random.default_rng(0).standard_normal((1, *input_shape)).astype(dtype))
    x.requires_grad = True
    recorder = _Recorder(twin)
    before, recording.on = recording.on, True
    try:
        with np.errstate(all="ignore"), draws_again(generator().bit_generator.state):
            # Observed layers run one by one.
            with observe(twin, lambda *_: None):
                twin(x)
            return Summary(input_shape, tuple(_layers(recorder, x, twin)))
    finally:
        recording.on = before


def _layers(recorder, x, twin):
    nodes = _attribute(recorder.events)
    start = of_image(*x.shape[1:3]) if len(x.shape) == 4 else UNKNOWN
    reaches = _reaches(nodes, x, start)
    counted: set[int] = set()
    seen = [x.value]
    for call in recorder.calls:
        own = _own_parameters(call.module, counted)
        work = sum(multiply_adds(node) for node in call.nodes if reaches[node.gate] is not None)
        made = any(t.gate is node.gate for t in call.outputs for node in call.nodes)
        if call.inner and not (own or work or made):
            continue
        counted.update(map(id, own))
        reach = None
        if isinstance(call.output, Box):
            reach = start if call.output is x else reaches.get(call.output.gate)
        yield LayerSummary(
            call.name,
            type(call.module).__name__,
            None if call.output is None else shape_of(call.output)[1:],
            sum(p.size for p in own),
            work,
            *_shown(reach, call),
            _memory(call, seen),
        )
    for name, module in twin.named_modules():  # those that were not called
        left = _own_parameters(module, counted)
        if left:
            counted.update(map(id, left))
            yield LayerSummary(
                name, type(module).__name__, None, sum(p.size for p in left), 0, None, None, None, 0
            )


def _own_parameters(module, counted):
    """Those set on the module itself that were not counted before."""
    own = {id(p): p for p in vars(module).values() if isinstance(p, Parameter)}
    return [p for key, p in own.items() if key not in counted]


def _reaches(nodes, x, start) -> dict:
    """{gate: what its output sees}."""
    reaches: dict = {}
    for gate, node in nodes.items():
        inputs = [reaches[i.gate] if isinstance(i, Node) else start if i is x else None for i in node.inputs]
        reaches[gate] = reach_after(gate, inputs, [_shape(i) for i in node.inputs], _shape(node))
    return reaches


def _shape(x) -> tuple[int, ...]:
    """The shape of a node's value, a leaf or a number."""
    return x.value.shape if isinstance(x, Node) else shape_of(x)


def multiply_adds(node) -> int:
    """Those of a gate's product; 0 for gates that are none."""
    gate = node.gate
    if isinstance(gate, (Matmul, Linear)):
        return math.prod(_shape(node)) * _shape(node.inputs[0])[-1]
    if isinstance(gate, Conv2d):
        return math.prod(_shape(node)) * math.prod(_shape(node.inputs[1])[:3])
    if isinstance(gate, Conv2dInputGradient):
        return math.prod(_shape(node.inputs[0])) * math.prod(_shape(node.inputs[1])[:3])
    return 0


def _shown(reach, call):
    """The receptive field, its stride and its starts."""
    if not isinstance(reach, Reach):
        return None, None, None
    field = tuple(axis.size for axis in reach.axes)
    steps = [axis.step for axis in reach.axes]
    if not all(steps):
        return field, None, None
    sides = shape_of(call.output)[1:3]
    starts = tuple(axis.starts(size) for axis, size in zip(reach.axes, sides, strict=True))
    return field, tuple(int(step) if step.denominator == 1 else float(step) for step in steps), starts


def _memory(call, seen) -> int:
    if call.output is None:
        return 0
    value = unbox(call.output)
    if isinstance(call.module, Dropout) and call.module.p > 0:
        return value.nbytes  # in training it makes a value of its own
    if any(np.may_share_memory(value, other) for other in seen):
        return 0
    seen.append(value)
    return value.nbytes
