"""Reverse mode: one walk from outputs back to the leaves, by worklist."""

from __future__ import annotations

from itertools import compress

import numpy as np

from chainrule import _core
from chainrule.autodiff.box import Box, box_result
from chainrule.autodiff.change import check_unchanged, clock
from chainrule.autodiff.gate import FREED, Gate


class GraphFreedError(RuntimeError):
    """A walk back through gates whose kept values an earlier one has freed."""


def gradients_of(gate: Gate, gradient) -> tuple:
    """The gradient for each input of one gate."""
    return one_each(gate, gate.backward(gradient))


def one_each(gate: Gate, gradients) -> tuple:
    """What a backward rule returned as a tuple of one gradient for each input; ValueError when it is not that."""
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
    if shape != leaf.value.shape:
        raise ValueError(
            f"backward: a gradient of shape {shape} reached a Tensor of shape {leaf.value.shape}: "
            "the backward of the gate that reads it must return its input's shape"
        )


def send_to_leaf(leaf: Box, gradient, upstream) -> None:
    """Add a gradient to a leaf's `.grad`, in the leaf's shape and dtype."""
    gradient = np.asarray(gradient)
    check_shape(leaf, gradient.shape)
    if gradient.dtype != leaf.value.dtype:
        gradient = gradient.astype(leaf.value.dtype)
    elif gradient is upstream or isinstance(gradient.base, np.ndarray):
        # Another input may hold the same memory. The core's copy of a large array needs no fresh pages.
        large = gradient.nbytes > 1 << 14 and gradient.flags.c_contiguous
        gradient = _core.broadcast_to(gradient, gradient.shape) if large else gradient.copy()
    # The sum of 0-d arrays is a NumPy scalar.
    leaf.grad = box_result(gradient if leaf.grad is None else np.asarray(leaf.grad.value + gradient))


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
    now, touched = clock.now, False
    while stack:
        gate = stack.pop()
        if gate.time < now:
            touched = True
        if gate.kept is FREED:
            raise GraphFreedError(
                f"backward: the graph was freed by an earlier backward (at {type(gate).__name__}): compute the "
                "loss again, or pass retain_graph=True to the first backward"
            )
        for edge in compress(gate.inputs, gate.needs):
            if edge.is_gate:
                if edge in waiting:
                    waiting[edge] += 1
                else:
                    waiting[edge] = 1
                    stack.append(edge)
    if touched:
        check_unchanged(waiting)

    arrived: dict = {}  # sums of the gradients that have come, for gates that wait for more
    through_relu = set()  # gates whose gradient has gone through their relu
    own = set()  # gates whose sum was made here, and may be added to in place
    for root, gradient in seeds:
        arrived[root] = arrived[root] + gradient if root in arrived else gradient
    ready = [(root, arrived.pop(root)) for root in list(arrived) if waiting[root] == 0]
    while ready:
        gate, upstream = ready.pop()
        if gate.fuses_relu:
            # Where no other gradient will join it, what goes to a gate that ends in relu may go through that already.
            source = gate.inputs[0]
            fuse = (
                gate.needs[0]
                and source.is_gate
                and source.relu
                and source.fuses_relu
                and waiting[source] == 1
                and source not in arrived
            )
            gradients, fused = gate.backward_fused(upstream, gate in through_relu, fuse)
            if fused:
                through_relu.add(source)
        else:
            gradients = gate.backward(upstream)
        if type(gradients) is not tuple or len(gradients) != len(gate.needs):
            gradients = one_each(gate, gradients)
        if not retain_graph:
            gate.kept = FREED
        last = None
        for edge, need, part in zip(gate.inputs, gate.needs, gradients):  # noqa: B905, a keyword costs here
            if not need:
                continue
            if not edge.is_gate:
                if part is not None:
                    # What two leaves are given at once is theirs one by one.
                    send(edge, part.copy() if part is last and type(part) is np.ndarray else part, upstream)
                    last = part
                continue
            left = waiting[edge] - 1
            waiting[edge] = left
            if part is not None:
                if edge not in arrived:
                    if left == 0:
                        ready.append((edge, part))
                        continue
                    arrived[edge] = part
                elif edge in own and not isinstance(part, Box):
                    arrived[edge] += part
                else:
                    arrived[edge] = arrived[edge] + part
                    own.add(edge)
            if left == 0:
                if edge in arrived:
                    ready.append((edge, arrived.pop(edge)))
                else:
                    _pass_over(edge, waiting, arrived, ready)


def _pass_over(gate: Gate, waiting: dict, arrived: dict, ready: list) -> None:
    """A gate that no gradient reached sends none: its inputs wait for one reader less."""
    stack = [gate]
    while stack:
        gate = stack.pop()
        for edge in compress(gate.inputs, gate.needs):
            if not edge.is_gate:
                continue
            waiting[edge] -= 1
            if waiting[edge] == 0:
                if edge in arrived:
                    ready.append((edge, arrived.pop(edge)))
                else:
                    stack.append(edge)
