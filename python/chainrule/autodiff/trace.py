"""Traces: what keeps nested transforms apart.

Each transform opens a trace at a level above those it runs in, and boxes its inputs in it. A gate is applied at
the highest level among its inputs: there it records an edge (reverse) or pushes a tangent (forward), with rules
that run on the values of the level below. A derivative at one level is thus an ordinary value to every other,
and perturbations cannot be confused (Siskind and Pearlmutter, Perturbation Confusion and Referential
Transparency, 2005; the mechanism is that of HIPS/autograd's boxes).
"""

from __future__ import annotations

import copy
import itertools

import numpy as np

from chainrule.autodiff.box import Box, box_result, recording, unbox
from chainrule.autodiff.change import clock

# One count for all threads: a transform that runs in another thread, on values of one that waits for it, is inside it.
_levels = itertools.count(1)


class Trace:
    """One run of a transform, as a context. Boxes of it are only valid inside."""

    __slots__ = ("alive", "forward_mode", "level")

    def __init__(self, forward_mode: bool):
        self.forward_mode = forward_mode
        self.alive = False
        self.level = 0

    def __enter__(self):
        self.level = next(_levels)
        self.alive = True
        return self

    def __exit__(self, *exception):
        self.alive = False

    def box(self, value, tangent=None) -> Box:
        """A leaf of this trace."""
        boxed = box_result(value)
        boxed.trace = self
        boxed.tangent = tangent
        boxed.requires_grad = True
        return boxed

    def node(self, gate, inputs, lower, kept, output) -> Box:
        """Make an applied gate a node of this trace, and its output a Box of it.

        `lower` and `output` are the values of the inputs and of the result at the level below, `kept` what the
        gate's rules will read, as values of that level.
        """
        own = [isinstance(x, Box) and x.trace is self for x in inputs]
        gate.kept = kept
        gate.kinds = [kind_of(x) for x in lower], kind_of(output)
        gate.inputs = tuple(
            (x if x.gate is None else x.gate) if mine else None for x, mine in zip(inputs, own, strict=True)
        )
        gate.needs = own
        result = box_result(output, None if self.forward_mode else gate)
        result.trace = self
        result.requires_grad = True
        if self.forward_mode:
            tangents = [x.tangent if mine else None for x, mine in zip(inputs, own, strict=True)]
            result.tangent = push_tangents(gate, tangents)
        return result


def is_traced(value) -> bool:
    """Whether a value is a Box of a transform."""
    return isinstance(value, Box) and value.trace is not None


def top_trace(inputs) -> Trace:
    """The trace of the highest level among the inputs. RuntimeError for a Box of a finished one."""
    top = None
    for x in inputs:
        if is_traced(x):
            if not x.trace.alive:
                raise RuntimeError(
                    "a Tensor of a finished transform was used outside it: return what you need from the function "
                    "that is differentiated (has_aux=True), instead of storing it elsewhere"
                )
            if top is None or x.trace.level > top.level:
                top = x.trace
    return top


def apply_traced(gate, inputs):
    """Apply a gate whose inputs hold a Box of a transform: at the highest level, after the levels below."""
    trace = top_trace(inputs)
    lower = [x.value if isinstance(x, Box) and x.trace is trace else x for x in inputs]
    inner = copy.copy(gate)
    output = apply_traced(inner, lower) if any(is_traced(x) for x in lower) else _apply_base(inner, lower)
    gate.roles = inner.roles
    return trace.node(gate, inputs, lower, restore_kept(inner, lower, output), output)


def _apply_base(gate, inputs):
    """Apply a gate to arrays and plain Tensors, and note what each kept value is: an input, the output, or other.

    Rules at a higher level must see that level's value in its place. Arrays are told apart by identity, so each
    input is given to forward as a view of its own.
    """
    values = [unbox(x) for x in inputs]
    values = [v.view() if isinstance(v, np.ndarray) else v for v in values]
    boxes = [x for x in inputs if isinstance(x, Box)]
    if boxes:
        needs = [isinstance(x, Box) and x.requires_grad for x in inputs]
        edges = [x.gate if isinstance(x, Box) and x.gate is not None else x for x in inputs]
        for leaf in edges:
            if isinstance(leaf, Box):
                leaf.read = True
    given = output = gate.forward(*values)
    if boxes:
        data = np.asarray(given)
        needed = recording.on and any(needs)
        if needed:
            gate.inputs, gate.needs, gate.time = edges, needs, clock.now
        output = box_result(data, gate if needed else None)
    if gate.kept is None:
        gate.roles = None
    else:
        # An input first: a gate may return what it was given, and its rule is in terms of that.
        gate.roles = tuple(
            next((i for i, v in enumerate(values) if kept is v), "output" if kept is given else "other")
            for kept in gate.kept
        )
    return output


def restore_kept(inner, lower, output):
    """What `inner` kept, as values of the level at which `lower` and `output` live."""
    if inner.roles is None:
        return None
    return tuple(
        output if role == "output" else kept if role == "other" else lower[role]
        for role, kept in zip(inner.roles, inner.kept, strict=True)
    )


def push_tangents(gate, tangents):
    """The tangent of a traced gate's output from those of its inputs (None is 0)."""
    if all(t is None for t in tangents):
        return None
    if gate.linear:
        # The derivative of a linear map is the map.
        kinds, _ = gate.kinds
        return fresh(gate)(
            *[zeros(kind) if t is None else t for t, kind in zip(tangents, kinds, strict=True)]
        )
    if gate.jvp is not None:
        return gate.jvp(*tangents)
    from chainrule.autodiff.transforms import jvp_by_transposition

    return jvp_by_transposition(gate, tangents)


def fresh(gate):
    """The same operation with the same settings, not yet applied."""
    new = copy.copy(gate)
    new.inputs = new.needs = new.kept = None
    return new


def kind_of(value):
    """The shape and dtype of a value, None for a number."""
    array = unbox(value)
    return (array.shape, array.dtype) if isinstance(array, np.ndarray) else None


def zeros(kind):
    """Zeros of a shape and dtype; 0.0 for a number."""
    return 0.0 if kind is None else np.zeros(*kind)
