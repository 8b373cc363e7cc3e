"""Transforms: functions from functions to their derivatives, in either mode, nested to any depth.

Arguments and results are nests of tuples, lists and dicts whose leaves are float32 or float64 arrays, Tensors or
numbers; None stands for no leaf, as in a layer without a bias, and comes back as None. Arrays among the inputs
give arrays; Tensors and numbers give Tensors. An output that does not depend on an input has derivative 0 there.
"""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import Box, box_result, shape_of, unbox
from chainrule.autodiff.nest import flatten, map_leaves, unflatten
from chainrule.autodiff.reverse import check_shape, walk
from chainrule.autodiff.trace import Trace, is_traced, kind_of, push_tangents, zeros


def _value(operation, leaf):
    """A leaf of the inputs as an array or Box of the levels outside."""
    if type(leaf) is float:
        leaf = box_result(np.asarray(leaf, np.float32))
    array = unbox(leaf)
    if not isinstance(array, (np.ndarray, np.floating)) or array.dtype not in (np.float32, np.float64):
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(
            f"{operation}: an input is {kind}, which has no derivative: give float32 or float64 (as 3.0, not 3)"
        )
    return leaf if isinstance(leaf, (Box, np.ndarray)) else np.asarray(leaf)


def _values(operation, nest):
    leaves, structure = flatten(nest)
    return [_value(operation, leaf) for leaf in leaves], structure


def _outputs(operation, nest):
    """The leaves of what a function returned, as arrays or Boxes."""
    leaves, structure = flatten(nest)
    values = [leaf if isinstance(leaf, (Box, np.ndarray)) else np.asarray(leaf) for leaf in leaves]
    for value in values:
        if unbox(value).dtype.kind not in "biuf":
            raise TypeError(
                f"{operation}: the function returned {unbox(value).dtype}: it must return numbers"
            )
    return values, structure


def _split_aux(operation, result, has_aux):
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError(f"{operation}: with has_aux=True the function must return (value, auxiliary data)")
    return result


def _matched(operation, what, nest, structure, values):
    """The leaves of tangents or cotangents, checked against the values they belong to."""
    leaves, own = flatten(nest)
    if own != structure:
        raise ValueError(
            f"{operation}: the {what} are nested otherwise than the values they belong to: give a nest of the same "
            "tuples, lists, keys and None"
        )
    matched = []
    for leaf, value in zip(leaves, values, strict=True):
        dtype, shape = unbox(value).dtype, shape_of(value)
        if isinstance(leaf, (int, float)):
            leaf = np.asarray(leaf, dtype)
        if shape_of(leaf) != shape:
            raise ValueError(
                f"{operation}: {what} of shape {shape_of(leaf)} for a value of shape {shape}: they do not broadcast, "
                "give the value's shape"
            )
        if unbox(leaf).dtype != dtype:
            raise TypeError(
                f"{operation}: {what} of {unbox(leaf).dtype} for a value of {dtype}: convert them"
            )
        matched.append(leaf if isinstance(leaf, (Box, np.ndarray)) else np.asarray(leaf))
    return matched


def _strip(trace, value):
    """A value as the levels outside `trace` see it."""
    return value.value if isinstance(value, Box) and value.trace is trace else value


# ---- Reverse mode ------------------------------------------------------------------------------------------


class _Pullback:
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
        results, given = [], _Given(cotangents)
        for leaf, value in zip(self.leaves, self.values, strict=True):
            gradient = sums.get(id(leaf))
            if gradient is None:
                gradient = zeros(kind_of(value))
            elif unbox(gradient).dtype != unbox(value).dtype:
                gradient = gradient.astype(unbox(value).dtype)
            results.append(_like(value, given.own(gradient)))
        return results


class _Given:
    """Arrays that are somebody's: what is returned beside them gets memory of its own."""

    def __init__(self, arrays):
        self.arrays = list(arrays)

    def own(self, array):
        """The array, or a copy where it is one of these, or part of another. It then is one of these."""
        if isinstance(array, np.ndarray):
            if isinstance(array.base, np.ndarray) or any(array is other for other in self.arrays):
                array = array.copy()
            self.arrays.append(array)
        return array


def _like(value, derivative):
    """A derivative as a Tensor where the value is one outside all transforms, else as an array or Box."""
    if isinstance(derivative, Box):
        return derivative
    derivative = np.asarray(derivative)  # sums of 0-d arrays are NumPy scalars
    return box_result(derivative) if isinstance(value, Box) and value.trace is None else derivative


def _record(operation, f, args, has_aux):
    """Run f in a reverse trace. Returns values, their structure, outputs, their structure, pullback, aux."""
    values, structure = _values(operation, args)
    with Trace(forward_mode=False) as trace:
        leaves = [trace.box(value) for value in values]
        result, aux = _split_aux(operation, f(*unflatten(structure, leaves)), has_aux)
        outputs, output_structure = _outputs(operation, result)
        aux = map_leaves(lambda leaf: _strip(trace, leaf), aux)
    pullback = _Pullback(leaves, values, outputs, trace)
    return values, structure, [_strip(trace, v) for v in outputs], output_structure, pullback, aux


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
    _, structure, outputs, output_structure, pullback, aux = _record("vjp", f, primals, has_aux)

    def pull(cotangent):
        return unflatten(
            structure, pullback(_matched("vjp", "cotangents", cotangent, output_structure, outputs))
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
        chosen = _chosen("grad", args, argnums)

        def of_chosen(*parts):
            full = list(args)
            for i, part in zip(chosen, parts, strict=True):
                full[i] = part
            return f(*full, **kwargs)

        _, structure, outputs, output_structure, pullback, aux = _record(
            "grad", of_chosen, [args[i] for i in chosen], has_aux
        )
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


def _chosen(operation, args, argnums):
    chosen = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    for i in chosen:
        if not isinstance(i, int):
            raise TypeError(f"{operation}: argnums {argnums}: give an integer, or a tuple of them")
        if not -len(args) <= i < len(args):
            raise IndexError(f"{operation}: argnums {argnums}: there are {len(args)} positional arguments")
    places = [i % len(args) for i in chosen]
    if len(set(places)) != len(places):
        raise ValueError(f"{operation}: argnums {argnums} names an argument twice")
    return places


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
    values, structure = _values("jvp", tuple(primals))
    directions = _matched("jvp", "tangents", tuple(tangents), structure, values)
    with Trace(forward_mode=True) as trace:
        boxed = [trace.box(v, t) for v, t in zip(values, directions, strict=True)]
        result, aux = _split_aux("jvp", f(*unflatten(structure, boxed)), has_aux)
        outputs, output_structure = _outputs("jvp", result)
        aux = map_leaves(lambda leaf: _strip(trace, leaf), aux)
    value = unflatten(output_structure, [_strip(trace, v) for v in outputs])
    given = _Given(directions)
    tangent = unflatten(
        output_structure,
        [
            _like(_strip(trace, v), given.own(v.tangent))
            if isinstance(v, Box) and v.trace is trace and v.tangent is not None
            else _like(v, zeros(kind_of(v)))
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
    *_, pullback, _ = _record("jvp", lambda u: [parts(u)[i] for i in reached], (output,), False)
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
    values, structure, outputs, output_structure, pullback, _ = _record("linearize", f, primals, False)
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
        directions = _matched("linearize", "tangents", tangents, structure, values)
        known = {id(leaf): t for leaf, t in zip(pullback.leaves, directions, strict=True)}
        for gate in order:
            incoming = [None if edge is None else known.get(id(edge)) for edge in gate.inputs]
            known[id(gate)] = push_tangents(gate, incoming)
        results = []
        for boxed, value in zip(pullback.outputs, outputs, strict=True):
            own = isinstance(boxed, Box) and boxed.trace is pullback.trace
            tangent = known.get(id(boxed.gate if boxed.gate else boxed)) if own else None
            results.append(_like(value, zeros(kind_of(value)) if tangent is None else tangent))
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
        chosen = _chosen("jacobian", args, argnums)

        def of_chosen(*parts):
            full = list(args)
            for i, part in zip(chosen, parts, strict=True):
                full[i] = part
            return f(*full, **kwargs)

        points = tuple(args[i] for i in chosen)
        values, structure, outputs, output_structure, pullback, _ = _record(
            "jacobian", of_chosen, points, False
        )
        ins = sum(unbox(v).size for v in values)
        outs = sum(unbox(v).size for v in outputs)
        if mode == "reverse" or (mode == "auto" and outs <= ins):
            blocks = _rows(pullback, values, outputs)
        else:
            blocks = _columns(of_chosen, values, structure, outputs)
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
        return _like(value, np.zeros(shape, unbox(value).dtype))
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
