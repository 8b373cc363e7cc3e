"""A function run in a reverse trace, and the linear map back from its outputs to its inputs."""

from __future__ import annotations

from chainrule.autodiff.box import Box, shape_of, unbox
from chainrule.autodiff.leaves import Given, as_outputs, as_values, like, split_aux, strip
from chainrule.autodiff.nest import map_leaves, unflatten
from chainrule.autodiff.reverse import check_shape, walk
from chainrule.autodiff.trace import Trace, kind_of, zeros


class Pullback:
    """The linear map from cotangents of the outputs to those of the inputs, over one recorded graph."""

    def __init__(self, leaves, values, outputs, trace):
        self.leaves = leaves
        self.values = values
        self.trace = trace
        self.outputs = outputs

    def __call__(self, cotangents) -> list:
        sums: dict[int, object] = {}

        def send(leaf, part, upstream):
            check_shape(leaf, shape_of(part))
            sums[id(leaf)] = sums[id(leaf)] + part if id(leaf) in sums else part

        seeds = []
        for output, cotangent in zip(self.outputs, cotangents, strict=True):
            if isinstance(output, Box) and output.trace is self.trace:
                if output.gate is None:
                    send(output, cotangent, None)
                else:
                    seeds.append((output.gate, cotangent))
        if seeds:
            walk(seeds, send, retain_graph=True)
        results, given = [], Given(cotangents)
        for leaf, value in zip(self.leaves, self.values, strict=True):
            gradient = sums.get(id(leaf))
            if gradient is None:
                gradient = zeros(kind_of(value))
            elif unbox(gradient).dtype != unbox(value).dtype:
                gradient = gradient.astype(unbox(value).dtype)
            results.append(like(value, given.own(gradient)))
        return results


def record(operation, f, args, has_aux):
    """Run f in a reverse trace. Returns values, their structure, outputs, their structure, pullback, aux."""
    values, structure = as_values(operation, args)
    with Trace(forward_mode=False) as trace:
        leaves = [trace.box(value) for value in values]
        result, aux = split_aux(operation, f(*unflatten(structure, leaves)), has_aux)
        outputs, output_structure = as_outputs(operation, result)
        aux = map_leaves(lambda leaf: strip(trace, leaf), aux)
    pullback = Pullback(leaves, values, outputs, trace)
    return values, structure, [strip(trace, v) for v in outputs], output_structure, pullback, aux
