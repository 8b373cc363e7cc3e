"""The evaluation traces of the survey literature: every step of a function with its derivatives, as a table."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import Box, box_result
from chainrule.autodiff.graph import Graph, Node
from chainrule.autodiff.trace import push_tangents, zeros


class EvaluationTrace:
    """What `trace` found, as rows; printing it shows the table.

    Attributes:
        rows: for each variable in order of evaluation a dict with `name`, `expression`, `value`, and `tangent`
            (forward mode) or `adjoint` (reverse mode).
    """

    def __init__(self, mode, rows):
        self.mode = mode
        self.rows = rows

    def __str__(self):
        derivative = "tangent" if self.mode == "forward" else "adjoint"
        lines = [(" ", "expression", "value", derivative)]
        for row in self.rows:
            lines.append((row["name"], row["expression"], _text(row["value"]), _text(row[derivative])))
        widths = [max(len(line[i]) for line in lines) for i in range(4)]
        return "\n".join(
            f"{n:<{widths[0]}}  {e:<{widths[1]}}  {v:>{widths[2]}}  {d:>{widths[3]}}" for n, e, v, d in lines
        )

    __repr__ = __str__


def _text(value):
    array = np.asarray(value)
    return f"{array.item():.4g}" if array.size == 1 else f"array {array.shape}"


_symbols = {"Add": "+", "Subtract": "-", "Multiply": "*", "Divide": "/", "Power": "**"}


def trace(f, *primals, mode="reverse", direction=None):
    """The evaluation trace of f at the primals: one row a variable, with its value and derivative.

    As tables 2 and 3 of Baydin et al., Automatic Differentiation in Machine Learning: a Survey, 2018: inputs are
    v-1, v0, ... up to v0, the steps v1, v2, ...

    Args:
        f: returns one Tensor of one value.
        primals: arrays, Tensors or floats.
        mode: 'forward' gives each variable's tangent along `direction`; 'reverse' its adjoint, the derivative of
            the output in it.
        direction: a number or array for each primal; (1, 0, ...) when it is left out.

    Errors: ValueError for another mode, an f that records nothing, or does not return one value.

    >>> import chainrule as cr, numpy as np
    >>> f = lambda x, y: cr.log(x) + x * y - cr.sin(y)
    >>> print(cr.trace(f, np.array(2.0), np.array(5.0), mode="forward"))
         expression  value  tangent
    v-1  x1              2        1
    v0   x2              5        0
    v1   log(v-1)   0.6931      0.5
    v2   v-1 * v0       10        5
    v3   v1 + v2     10.69      5.5
    v4   sin(v0)   -0.9589        0
    v5   v3 - v4     11.65      5.5
    """
    if mode not in ("forward", "reverse"):
        raise ValueError(f"trace: mode {mode!r} is not 'forward' or 'reverse'")
    leaves = []
    for p in primals:
        leaf = box_result(np.array(p, dtype=np.float32 if type(p) is float else None))
        if leaf.value.dtype not in (np.float32, np.float64):
            raise TypeError(f"trace: an input is {leaf.value.dtype}: give float32 or float64")
        leaf.requires_grad = True
        leaves.append(leaf)
    output = f(*leaves)
    if not isinstance(output, Box) or output.value.size != 1:
        raise ValueError("trace: the function must return one Tensor of one value")
    graph = Graph(output)
    graph.forward()
    names = {id(leaf): f"v{i + 1 - len(leaves)}" for i, leaf in enumerate(leaves)}
    rows = [
        {"name": names[id(leaf)], "expression": f"x{i + 1}", "value": leaf.value}
        for i, leaf in enumerate(leaves)
    ]
    for i, node in enumerate(graph.nodes):
        names[id(node)] = f"v{i + 1}"
        rows.append({"name": f"v{i + 1}", "expression": _expression(node, names), "value": node.value})

    if mode == "reverse":
        graph.backward()
        for row, leaf in zip(rows, leaves, strict=False):
            row["adjoint"] = np.zeros_like(leaf.value) if leaf.grad is None else leaf.grad.value
        for row, node in zip(rows[len(leaves) :], graph.nodes, strict=True):
            row["adjoint"] = np.zeros_like(node.value) if node.gradient is None else node.gradient
        return EvaluationTrace(mode, rows)

    direction = direction if direction is not None else [1.0] + [0.0] * (len(leaves) - 1)
    tangents = {
        id(leaf): np.broadcast_to(np.asarray(d, leaf.value.dtype), leaf.value.shape)
        for leaf, d in zip(leaves, direction, strict=True)
    }
    for node in graph.nodes:
        incoming = [tangents.get(id(x)) for x in node.inputs]
        node.gate.kinds = [_kind(x) for x in node.inputs], (node.value.shape, node.value.dtype)
        pushed = push_tangents(node.gate, incoming)
        tangents[id(node)] = zeros(node.gate.kinds[1]) if pushed is None else pushed
    for row, key in zip(rows, [*leaves, *graph.nodes], strict=True):
        row["tangent"] = tangents[id(key)]
    return EvaluationTrace(mode, rows)


def _kind(x):
    if isinstance(x, (Node, Box)):
        value = x.value
        return value.shape, value.dtype
    return None


def _expression(node, names):
    reads = [names.get(id(x)) or (_text(x.value) if isinstance(x, Box) else f"{x:g}") for x in node.inputs]
    if node.name in _symbols:
        return f" {_symbols[node.name]} ".join(reads)
    return f"{node.name.lower()}({', '.join(reads)})"
