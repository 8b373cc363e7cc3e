"""Jacobians and Hessians as arrays, from pullbacks or tangents along each unit vector."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.arguments import of_chosen
from chainrule.autodiff.box import shape_of, unbox
from chainrule.autodiff.leaves import like
from chainrule.autodiff.nest import flatten, unflatten
from chainrule.autodiff.pullback import record
from chainrule.autodiff.trace import kind_of, zeros
from chainrule.autodiff.transforms import grad, jvp


def jacobian(f, argnums=0, mode="auto"):
    """A function that returns the Jacobian of f: shape output.shape + input.shape.

    Args:
        f: a function of arrays whose output may be a nest; each leaf then has a Jacobian of its own.
        argnums: which positional argument, or a tuple of them; an argument may be a nest.
        mode: 'reverse' (a pullback for each entry of the output), 'forward' (a tangent for each entry of the
            input), or 'auto': whichever takes fewer.

    Errors: ValueError for another mode; otherwise as `vjp` and `jvp`.

    >>> import chainrule as cr, numpy as np
    >>> cr.jacobian(lambda x: cr.stack([x[0] * x[1], x[0]]))(np.array([2.0, 5.0]))
    array([[5., 2.],
           [1., 0.]])
    """
    if mode not in ("auto", "forward", "reverse"):
        raise ValueError(f"jacobian: mode {mode!r} is not 'auto', 'forward' or 'reverse'")

    def jacobian_of(*args, **kwargs):
        of_them, points = of_chosen("jacobian", f, args, kwargs, argnums)
        values, structure, outputs, output_structure, pullback, _ = record("jacobian", of_them, points, False)
        ins = sum(unbox(v).size for v in values)
        outs = sum(unbox(v).size for v in outputs)
        if mode == "reverse" or (mode == "auto" and outs <= ins):
            blocks = _rows(pullback, values, outputs)
        else:
            blocks = _columns(of_them, values, structure, outputs)
        nests = [unflatten(structure, row) for row in blocks]
        if isinstance(argnums, int):
            nests = [nest[0] for nest in nests]
        return unflatten(output_structure, nests)

    return jacobian_of


def _basis(values):
    """For each entry of each value: unit vectors there, zeros in the other values."""
    for k, value in enumerate(values):
        shape, dtype = kind_of(value)
        for where in np.ndindex(shape):
            unit = np.zeros(shape, dtype)
            unit[where] = 1
            yield k, [unit if j == k else zeros(kind_of(v)) for j, v in enumerate(values)]


def _assemble(parts, shape, value):
    from chainrule.gates.shape import reshape, stack

    if not parts:
        return like(value, np.zeros(shape, unbox(value).dtype))
    return reshape(stack(parts), shape)


def _rows(pullback, values, outputs):
    """[output][input] Jacobian blocks, a row for each entry of an output."""
    rows = [[[] for _ in values] for _ in outputs]
    for k, cotangents in _basis(outputs):
        for j, gradient in enumerate(pullback(cotangents)):
            rows[k][j].append(gradient)
    return [
        [_assemble(rows[k][j], shape_of(out) + shape_of(v), v) for j, v in enumerate(values)]
        for k, out in enumerate(outputs)
    ]


def _columns(f, values, structure, outputs):
    """[output][input] Jacobian blocks, a column for each entry of an input."""
    from chainrule.gates.shape import transpose

    columns = [[[] for _ in values] for _ in outputs]
    for j, tangents in _basis(values):
        _, tangent = jvp(f, unflatten(structure, values), unflatten(structure, tangents))
        for k, part in enumerate(flatten(tangent)[0]):
            columns[k][j].append(part)
    blocks = []
    for k, out in enumerate(outputs):
        row = []
        for j, v in enumerate(values):
            # Stacked along the input's entries first: bring the output's axes to the front.
            block = _assemble(columns[k][j], shape_of(v) + shape_of(out), v)
            n, m = len(shape_of(v)), len(shape_of(out))
            row.append(transpose(block, (*range(n, n + m), *range(n))))
        blocks.append(row)
    return blocks


def hessian(f, argnums=0):
    """A function that returns the Hessian of the scalar function f: input.shape + input.shape.

    Forward over reverse: a tangent through the gradient for each entry of the input.

    >>> import chainrule as cr, numpy as np
    >>> cr.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 3.0]))
    array([[6., 2.],
           [2., 0.]])
    """
    return jacobian(grad(f, argnums), argnums, mode="forward")
