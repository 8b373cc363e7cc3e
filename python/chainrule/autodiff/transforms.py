"""Transforms: functions from functions to their derivatives, in either mode, nested to any depth.

Arguments and results are nests of tuples, lists and dicts whose leaves are float32 or float64 arrays, Tensors or
numbers; None stands for no leaf, as in a layer without a bias, and comes back as None. Arrays among the inputs
give arrays; Tensors and numbers give Tensors. An output that does not depend on an input has derivative 0 there.
"""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.arguments import of_chosen
from chainrule.autodiff.box import Box, box_result, shape_of, unbox
from chainrule.autodiff.leaves import Given, as_outputs, as_values, like, matched, split_aux, strip
from chainrule.autodiff.nest import map_leaves, unflatten
from chainrule.autodiff.pullback import record
from chainrule.autodiff.trace import Trace, is_traced, kind_of, push_tangents, zeros

# ---- Reverse mode ------------------------------------------------------------------------------------------


def vjp(f, *primals, has_aux=False):
    """The value of f and its pullback: the map from a cotangent of the output to those of the inputs.

    The pullback may be called any number of times; it never builds the Jacobian.

    Args:
        f: a function of the primals; with has_aux it returns (value, auxiliary data).
        primals: its arguments, nests of floating leaves.

    Returns (value, pullback), or (value, pullback, aux). The pullback takes a nest like the value and returns a
    tuple with one nest for each primal: 0 where the value does not depend on it. It reads the primals' memory:
    leave that unchanged.

    Errors: TypeError for integer inputs; ValueError or TypeError for cotangents of another nest, shape or dtype.

    >>> import chainrule as cr, numpy as np
    >>> value, pullback = cr.vjp(lambda x, y: x * y, np.array([2.0]), np.array([3.0]))
    >>> pullback(np.array([1.0]))
    (array([3.]), array([2.]))
    """
    _, structure, outputs, output_structure, pullback, aux = record("vjp", f, primals, has_aux)

    def pull(cotangent):
        return unflatten(
            structure, pullback(matched("vjp", "cotangents", cotangent, output_structure, outputs))
        )

    value = unflatten(output_structure, outputs)
    return (value, pull, aux) if has_aux else (value, pull)


def value_and_grad(f, argnums=0, has_aux=False):
    """A function that returns f's value, a scalar, and its gradient, by reverse mode.

    Args:
        f: returns one number (shape ()); with has_aux (number, auxiliary data).
        argnums: which positional argument, or a tuple of them: the gradient is then a tuple.

    The returned function gives (value, gradient), or ((value, aux), gradient). Where the value does not depend on
    an input the gradient is 0; float(x), x.item() and x.numpy() inside f are constants.

    Errors: ValueError when f returns no scalar, TypeError for an integer input, IndexError for an argument that
    is not there.

    >>> import chainrule as cr, numpy as np
    >>> value, gradient = cr.value_and_grad(lambda x: (x**2).sum())(np.array([1.0, 2.0]))
    >>> float(value), gradient
    (5.0, array([2., 4.]))
    """

    def differentiated(*args, **kwargs):
        of_them, points = of_chosen("grad", f, args, kwargs, argnums)
        _, structure, outputs, output_structure, pullback, aux = record("grad", of_them, points, has_aux)
        if output_structure is not None or shape_of(outputs[0]) != ():
            got = [shape_of(v) for v in outputs] if output_structure is not None else shape_of(outputs[0])
            raise ValueError(
                f"grad: the function returned {got}, not one number: sum it, or use jacobian or vjp"
            )
        dtype = unbox(outputs[0]).dtype
        if dtype.kind != "f":
            raise TypeError(f"grad: the function returned {dtype}, which has no derivative")
        gradients = unflatten(structure, pullback([np.ones((), dtype)]))
        gradient = gradients[0] if isinstance(argnums, int) else tuple(gradients)
        return ((outputs[0], aux) if has_aux else outputs[0]), gradient

    return differentiated


def grad(f, argnums=0, has_aux=False):
    """A function that returns the gradient of the scalar function f, by reverse mode.

    As `value_and_grad`, without the value; with has_aux it returns (gradient, aux). Where f does not depend on an
    input the gradient is 0.

    >>> import chainrule as cr, numpy as np
    >>> cr.grad(cr.grad(lambda x: x**3))(np.array(2.0))
    array(12.)
    """
    both = value_and_grad(f, argnums, has_aux)

    def gradient_of(*args, **kwargs):
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return gradient_of


# ---- Forward mode ------------------------------------------------------------------------------------------


def jvp(f, primals, tangents, has_aux=False):
    """The value of f and its directional derivative along the tangents, by forward mode (dual numbers).

    Args:
        f: a function of the primals; with has_aux it returns (value, auxiliary data).
        primals: a tuple or list of arguments.
        tangents: the direction, nested as the primals, of the same shapes and dtypes.

    Returns (value, tangent), or (value, tangent, aux). The tangent of a value that does not depend on the primals
    is 0.

    Errors: TypeError for integer inputs; ValueError or TypeError for tangents of another nest, shape or dtype.

    >>> import chainrule as cr, numpy as np
    >>> f = lambda x, y: cr.log(x) + x * y - cr.sin(y)
    >>> value, tangent = cr.jvp(f, (np.array(2.0), np.array(5.0)), (1.0, 0.0))
    >>> round(float(value), 3), round(float(tangent), 3)
    (11.652, 5.5)
    """
    if not (isinstance(primals, (tuple, list)) and isinstance(tangents, (tuple, list))):
        raise TypeError("jvp: give the primals and the tangents as tuples, one entry an argument")
    values, structure = as_values("jvp", tuple(primals))
    directions = matched("jvp", "tangents", tuple(tangents), structure, values)
    with Trace(forward_mode=True) as trace:
        boxed = [trace.box(v, t) for v, t in zip(values, directions, strict=True)]
        result, aux = split_aux("jvp", f(*unflatten(structure, boxed)), has_aux)
        outputs, output_structure = as_outputs("jvp", result)
        aux = map_leaves(lambda leaf: strip(trace, leaf), aux)
    value = unflatten(output_structure, [strip(trace, v) for v in outputs])
    given = Given(directions)
    tangent = unflatten(
        output_structure,
        [
            like(strip(trace, v), given.own(v.tangent))
            if isinstance(v, Box) and v.trace is trace and v.tangent is not None
            else like(v, zeros(kind_of(v)))
            for v in outputs
        ],
    )
    return (value, tangent, aux) if has_aux else (value, tangent)


def jvp_by_transposition(gate, tangents):
    """The forward-mode rule of a gate that has none, from its backward.

    backward(u) is linear in u: the pullback of that map, applied to the tangents, is the map forward.
    """
    output = zeros(gate.kinds[1])

    def parts(u):
        gradients = gate.backward(u)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        return {i: g for i, g in enumerate(gradients) if g is not None and tangents[i] is not None}

    # Which inputs get a gradient is settled first: the tangents of the others go nowhere.
    reached = sorted(parts(output))
    if not reached:
        return None
    *_, pullback, _ = record("jvp", lambda u: [parts(u)[i] for i in reached], (output,), False)
    return pullback([tangents[i] for i in reached])[0]


def stop_gradient(x):
    """x as a constant: its value, to which no transform and no backward pass sends a derivative.

    >>> import chainrule as cr, numpy as np
    >>> cr.grad(lambda x: x * cr.stop_gradient(x))(np.array(3.0))
    array(3.)
    """

    def constant(leaf):
        while is_traced(leaf):
            leaf = leaf.value
        return box_result(leaf.value) if isinstance(leaf, Box) else leaf

    return map_leaves(constant, x)


def linearize(f, *primals):
    """The value of f and its derivative at the primals as a linear function of tangents, for many directions.

    f runs once; each call of the linear function pushes tangents through the recorded graph.

    Returns (value, linear), where linear(*tangents) gives the tangent of the value.

    >>> import chainrule as cr, numpy as np
    >>> value, linear = cr.linearize(cr.sin, np.array(0.0))
    >>> linear(np.array(2.0))
    array(2.)
    """
    values, structure, outputs, output_structure, pullback, _ = record("linearize", f, primals, False)
    order, gates = [], {}
    stack = [
        (v.gate, False)
        for v in pullback.outputs
        if isinstance(v, Box) and v.trace is pullback.trace and v.gate
    ]
    while stack:  # topological order, by worklist
        gate, done = stack.pop()
        if done:
            order.append(gate)
        elif gate not in gates:
            gates[gate] = True
            stack.append((gate, True))
            stack.extend(
                (edge, False) for edge in gate.inputs if edge is not None and not isinstance(edge, Box)
            )

    def linear(*tangents):
        directions = matched("linearize", "tangents", tangents, structure, values)
        known = {id(leaf): t for leaf, t in zip(pullback.leaves, directions, strict=True)}
        for gate in order:
            incoming = [None if edge is None else known.get(id(edge)) for edge in gate.inputs]
            known[id(gate)] = push_tangents(gate, incoming)
        results = []
        for boxed, value in zip(pullback.outputs, outputs, strict=True):
            own = isinstance(boxed, Box) and boxed.trace is pullback.trace
            tangent = known.get(id(boxed.gate if boxed.gate else boxed)) if own else None
            results.append(like(value, zeros(kind_of(value)) if tangent is None else tangent))
        return unflatten(output_structure, results)

    return unflatten(output_structure, outputs), linear


# ---- Built on these ----------------------------------------------------------------------------------------


def directional_derivative(f, primals, tangents):
    """The derivative of f along the tangents alone: `jvp` without the value."""
    return jvp(f, primals, tangents)[1]


def hvp(f, primals, tangents):
    """The product of the Hessian of the scalar function f with the tangents, forward over reverse.

    Pearlmutter, Fast Exact Multiplication by the Hessian, 1994. It costs a few gradients and builds no Hessian.

    Args:
        f: a scalar function.
        primals, tangents: tuples, as for jvp.

    Returns the product, nested as the primals; a single primal gives it bare.

    >>> import chainrule as cr, numpy as np
    >>> cr.hvp(lambda x: (x**3).sum(), (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))
    array([6., 0.])
    """
    if not isinstance(primals, (tuple, list)):
        raise TypeError("hvp: give the primals and the tangents as tuples, one entry an argument")
    gradient = grad(f, argnums=tuple(range(len(primals))))
    product = jvp(gradient, primals, tangents)[1]
    return product[0] if len(primals) == 1 else product
