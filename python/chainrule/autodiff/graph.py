"""The graph behind a Tensor, to look at and to step through: the public structure that views read."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import Box, box_result
from chainrule.autodiff.change import announce, changed_since, check_unchanged, clock
from chainrule.autodiff.gate import FREED, Gate
from chainrule.autodiff.reverse import gradients_of, send_to_leaf


class Node:
    """One gate of a graph.

    Attributes:
        gate: the gate.
        inputs: for each input a Node, a leaf Tensor, or a number.
        value: the output, a NumPy array; the graph is run forward when it has not been.
        gradient: the gradient of the graph's output in this value, after `backward`; None before.
    """

    def __init__(self, graph: Graph, gate: Gate, inputs: tuple):
        self._graph = graph
        self.gate = gate
        self.inputs = inputs
        self._value = None
        self.gradient = None

    @property
    def name(self) -> str:
        """The gate's class name."""
        return type(self.gate).__name__

    @property
    def value(self) -> np.ndarray:
        if self._value is None:
            self._graph.forward()
        return self._value

    def forward(self) -> np.ndarray:
        """Compute the output from the inputs' present values."""
        values = []
        for x in self.inputs:
            if isinstance(x, Node):
                if x._value is None:
                    raise RuntimeError(f"{self.name}.forward: input {x.name} has no value: run it first")
                x = x._value
            elif isinstance(x, Box):
                x = x.value
            values.append(x)
        self.gate.kept = None  # what an earlier backward freed; a gate may keep nothing
        self._value = np.asarray(self.gate.forward(*values))
        self.gate.time = max(self.gate.time, *(self._time_of(x) for x in self.inputs))
        return self._value

    def _time_of(self, x):
        """When an input was last run again or changed, as far as this gate has not seen it."""
        if isinstance(x, Node):
            return x.gate.time
        return clock.now if isinstance(x, Box) and changed_since(x, self.gate.time) else -1

    def backward(self) -> None:
        """Send this node's gradient to its inputs, adding to what arrived there from other readers."""
        if self.gradient is None:
            return
        if self.gate.kept is FREED:
            raise RuntimeError(f"{self.name}.backward: its kept values were freed: run forward first")
        if self.gate.time < clock.now:
            check_unchanged([self.gate])
        parts = gradients_of(self.gate, self.gradient)
        for x, part in zip(self.inputs, parts, strict=True):
            if part is None:
                continue
            if isinstance(x, Node):
                x.gradient = part if x.gradient is None else x.gradient + part
            elif isinstance(x, Box) and x.requires_grad:
                send_to_leaf(x, part, self.gradient)

    def __repr__(self):
        return f"Node({self.name})"


class Graph:
    """The gates that made a Tensor, in topological order: every gate stands after those it reads.

    `forward` runs them again, with the present values of the leaves or new ones; `backward` then gives every
    leaf that requires it the gradient of that run. One gate at a time: walk `nodes` and call each node's
    `forward`, then walk them reversed and call each `backward` after `start_backward`.

    >>> import chainrule as cr
    >>> x, y, z = (cr.tensor(v, requires_grad=True) for v in (-2.0, 5.0, -4.0))
    >>> graph = cr.Graph((x + y) * z)
    >>> [node.name for node in graph.nodes]
    ['Add', 'Multiply']
    >>> float(graph.forward())
    -12.0
    >>> graph.backward()
    >>> x.grad.item(), y.grad.item(), z.grad.item()
    (-4.0, -4.0, 3.0)
    >>> float(graph.forward({x: 1.0}))
    -24.0

    Args:
        output: a Tensor that a recorded gate made. ValueError for any other.
    """

    def __init__(self, output: Box):
        if not isinstance(output, Box) or output.gate is None:
            raise ValueError(
                "Graph: no recorded graph leads to this value: give the result of gates on Tensors"
            )
        self.output = output
        self.nodes: list[Node] = []
        self.leaves: list[Box] = []
        self._build(output.gate)

    def _build(self, root: Gate) -> None:
        # Depth first by worklist: a gate is placed when it is met the second time, after its inputs.
        made: dict[Gate, Node] = {}
        leaves: dict[int, Box] = {}
        stack: list[tuple[Gate, bool]] = [(root, False)]
        seen = set()
        while stack:
            gate, inputs_done = stack.pop()
            if inputs_done:
                inputs = tuple(
                    made[x] if isinstance(x, Gate) else box_result(x) if isinstance(x, np.ndarray) else x
                    for x in gate.inputs
                )
                made[gate] = Node(self, gate, inputs)
                self.nodes.append(made[gate])
                for x in inputs:
                    if isinstance(x, Box):
                        leaves[id(x)] = x
            elif gate not in seen:
                seen.add(gate)
                stack.append((gate, True))
                stack.extend(
                    (x, False) for x in reversed(gate.inputs) if isinstance(x, Gate) and x not in seen
                )
        self.leaves = list(leaves.values())

    def forward(self, values: dict | None = None) -> np.ndarray:
        """Run every gate again and return the output.

        Args:
            values: new values for leaves, as {leaf: array or number}; they are stored in the leaves, in each
                leaf's dtype. ValueError for a Tensor that is no leaf here, or a value of another shape.
        """
        new = []  # all are checked before any is stored
        for leaf, value in (values or {}).items():
            if not any(leaf is known for known in self.leaves):
                raise ValueError(
                    "Graph.forward: a value was given for a Tensor that is no leaf of this graph"
                )
            value = np.asarray(value, dtype=leaf.value.dtype)
            if value.shape != leaf.value.shape:
                raise ValueError(
                    f"Graph.forward: a value of shape {value.shape} for a leaf of shape {leaf.value.shape}: "
                    "gates keep the shapes they were recorded with"
                )
            new.append((leaf, value.copy()))
        for leaf, value in new:
            leaf.value = value
        if new:
            announce(leaf for leaf, _ in new)
        for node in self.nodes:
            node.forward()
            node.gradient = None
        return self.nodes[-1]._value

    def start_backward(self, gradient=None) -> None:
        """Forget earlier gradients, of the leaves too, and put `gradient` (1 for a scalar) at the output."""
        output = self.nodes[-1]
        if gradient is None and output.value.size != 1:
            raise ValueError(
                f"Graph.backward: the output has shape {output.value.shape}: give its gradient, or sum it first"
            )
        seed = np.ones_like(output.value) if gradient is None else np.asarray(gradient, output.value.dtype)
        if seed.shape != output.value.shape:
            raise ValueError(
                f"Graph.backward: a gradient of shape {seed.shape} for an output of shape {output.value.shape}"
            )
        for node in self.nodes:
            node.gradient = None
        for leaf in self.leaves:
            leaf.grad = None
        output.gradient = seed

    def backward(self, gradient=None) -> None:
        """Run every gate's backward, last to first. Each leaf's `.grad` is set to this run's gradient."""
        self.start_backward(gradient)
        for node in reversed(self.nodes):
            node.backward()
        for leaf in self.leaves:
            if leaf.requires_grad and leaf.grad is None:
                leaf.grad = box_result(np.zeros_like(leaf.value))

    def __str__(self):
        """A table of the gates: number, name, what each reads, and the shape of its value."""
        numbers = {id(node): f"%{i}" for i, node in enumerate(self.nodes)}
        names = {id(leaf): f"x{i}" for i, leaf in enumerate(self.leaves)}
        lines = [f"{names[id(x)]:>6}  leaf  {x.value.shape}  {x.value.dtype}" for x in self.leaves]
        for node in self.nodes:
            reads = ", ".join(numbers.get(id(x)) or names.get(id(x)) or repr(x) for x in node.inputs)
            lines.append(f"{numbers[id(node)]:>6}  {node.name}({reads})  {node.value.shape}")
        return "\n".join(lines)
