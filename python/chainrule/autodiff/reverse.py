"""Reverse mode: one walk from outputs back to the leaves, by worklist."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import Box, box_result
from chainrule.autodiff.gate import FREED, Gate


def gradients_of(gate: Gate, gradient) -> tuple:
    """The gradient for each input of one gate, with the number of them checked."""
    gradients = gate.backward(gradient)
    if type(gradients) is not tuple:
        gradients = (gradients,)
    if len(gradients) != len(gate.inputs):
        raise ValueError(
            f"{type(gate).__name__}.backward gave {len(gradients)} gradients for {len(gate.inputs)} inputs: "
            "return one for each, None where there is none"
        )
    return gradients


def check_shape(leaf: Box, shape) -> None:
    """ValueError when a gradient that reached a leaf has another shape."""
    if shape != leaf.data.shape:
        raise ValueError(
            f"backward: a gradient of shape {shape} reached a Tensor of shape {leaf.data.shape}: "
            "the backward of the gate that reads it must return its input's shape"
        )


def send_to_leaf(leaf: Box, gradient, upstream) -> None:
    """Add a gradient to a leaf's `.grad`, in the leaf's shape and dtype."""
    gradient = np.asarray(gradient)
    check_shape(leaf, gradient.shape)
    if gradient.dtype != leaf.data.dtype:
        gradient = gradient.astype(leaf.data.dtype)
    elif gradient is upstream or isinstance(gradient.base, np.ndarray):
        gradient = gradient.copy()  # another input may hold the same memory
    # The sum of 0-d arrays is a NumPy scalar.
    leaf.grad = box_result(gradient if leaf.grad is None else np.asarray(leaf.grad.data + gradient))


def backward(root: Gate, gradient, retain_graph: bool = False) -> None:
    """Send `gradient` from `root` to every leaf that requires one, adding where a value branches."""
    walk([(root, gradient)], send_to_leaf, retain_graph)


def walk(seeds, send, retain_graph: bool) -> None:
    """Send gradients from gates to leaves.

    A gate runs once, when the gradients of all its readers have arrived; its kept values are then freed,
    unless `retain_graph`.

    Args:
        seeds: pairs of a gate and the gradient of its output.
        send: called with each leaf that requires a gradient, what arrived for it, and the upstream gradient
            that the gate was given.
    """
    # How many gradients each gate waits for.
    waiting = {root: 0 for root, _ in seeds}
    stack = list(waiting)
    while stack:
        gate = stack.pop()
        if gate.kept is FREED:
            raise RuntimeError(
                f"backward: the graph was freed by an earlier backward (at {type(gate).__name__}): compute the "
                "loss again, or pass retain_graph=True to the first backward"
            )
        for edge in gate.inputs:
            if isinstance(edge, Gate):
                if edge in waiting:
                    waiting[edge] += 1
                else:
                    waiting[edge] = 1
                    stack.append(edge)

    arrived: dict = {}
    for root, gradient in seeds:
        arrived[root] = arrived[root] + gradient if root in arrived else gradient
    own = set()  # gates whose arrived gradient is a sum made here, which may be added to in place
    ready = [root for root in arrived if waiting[root] == 0]
    while ready:
        gate = ready.pop()
        upstream = arrived.pop(gate)
        gradients = gradients_of(gate, upstream)
        if not retain_graph:
            gate.kept = FREED
        for edge, part in zip(gate.inputs, gradients, strict=True):
            left = waiting.get(edge) if isinstance(edge, Gate) else None
            if left is None:
                if part is not None and isinstance(edge, Box) and edge.requires_grad:
                    send(edge, part, upstream)
                continue
            if part is not None:
                if edge not in arrived:
                    arrived[edge] = part
                elif edge in own:
                    arrived[edge] += part
                else:
                    arrived[edge] = arrived[edge] + part
                    own.add(edge)
            waiting[edge] = left - 1
            if left == 1:
                if edge in arrived:
                    ready.append(edge)
                else:
                    _pass_over(edge, waiting, arrived, ready)


def _pass_over(gate: Gate, waiting: dict, arrived: dict, ready: list) -> None:
    """A gate that no gradient reached sends none: its inputs wait for one reader less."""
    stack = [gate]
    while stack:
        for edge in stack.pop().inputs:
            if not isinstance(edge, Gate):
                continue
            waiting[edge] -= 1
            if waiting[edge] == 0:
                (ready if edge in arrived else stack).append(edge)
