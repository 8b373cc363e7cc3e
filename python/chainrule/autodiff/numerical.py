"""Numerical gradients by central differences, and the check of analytic ones against them."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import Box, box_result, unbox


def default_step(dtype) -> float:
    """The step that balances truncation (h^2) against round-off (eps / h): the cube root of eps."""
    return float(np.cbrt(np.finfo(dtype).eps))


def _numbers(operation, value) -> np.ndarray:
    """What f returned, as an array of real numbers."""
    array = np.asarray(unbox(value))
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{operation}: f returned a {type(value).__name__} ({array.dtype}): give a Tensor, array or number"
        )
    return array


def _scalar(operation, value) -> float:
    array = _numbers(operation, value)
    if array.size != 1:
        raise ValueError(f"{operation}: f returned shape {array.shape}: it must return one number")
    return float(array.reshape(()))


def _check_step(operation, step) -> None:
    if step is not None and not (isinstance(step, (int, float, np.number)) and 0 < step < np.inf):
        raise ValueError(f"{operation}: step {step!r} is not a positive, finite number")


def numerical_gradient(f, x, step=None) -> np.ndarray:
    """The gradient of f at x by central differences, (f(x + h) - f(x - h)) / 2h in each entry.

    Args:
        f: a function of one argument that returns one number: a Tensor, array or float.
        x: a floating array, Tensor or float. f gets a Tensor for a Tensor or float, else an array, of x's
            dtype; it is called twice an entry.
        step: h; when it is left out, the cube root of the dtype's epsilon, times |x| where that is above 1.

    Returns a NumPy array of x's shape and dtype. Exact for quadratics up to round-off; the error is about
    h^2 f''' / 6 + eps |f| / h.

    Errors: TypeError for integer x or an f that returns no number; ValueError where f returns more than one, or
    step is not positive and finite, or too small to change an entry of x.

    >>> import chainrule as cr, numpy as np
    >>> cr.numerical_gradient(lambda x: (x**2).sum(), np.array([1.0, 3.0])).round(6)
    array([2., 6.])
    """
    boxed = isinstance(x, Box) or type(x) is float
    point = np.array(unbox(x), dtype=np.float32 if type(x) is float else None)
    if point.dtype not in (np.float32, np.float64):
        raise TypeError(f"numerical_gradient: x is {point.dtype}: give float32 or float64")
    _check_step("numerical_gradient", step)
    gradient = np.zeros_like(point)

    def value_at(where, number):
        changed = point.copy()
        changed[where] = number
        return changed[where], _scalar("numerical_gradient", f(box_result(changed) if boxed else changed))

    for where in np.ndindex(point.shape):
        centre = float(point[where])
        h = step if step is not None else default_step(point.dtype) * max(1.0, abs(centre))
        above, f_above = value_at(where, centre + h)
        below, f_below = value_at(where, centre - h)
        if above == below:
            raise ValueError(
                f"numerical_gradient: step {h:g} is lost to rounding beside {centre:g} in {point.dtype}, at index "
                f"{where}: give a larger one"
            )
        # The step that was taken is what survived rounding, not h.
        gradient[where] = (f_above - f_below) / (float(above) - float(below))
    return gradient


class GradientError(AssertionError):
    """An analytic gradient that differs from the numerical one. The message lists the worst entries."""


def check_gradients(f, inputs, rtol=None, atol=None, step=None, worst=5) -> None:
    """Check the gradients that `backward` gives for f against central differences.

    Args:
        f: a function of Tensors that returns a Tensor. One with many entries is checked through their sum
            with fixed weights.
        inputs: an array, Tensor or float, or a sequence of them, all floating. float64 checks far more sharply.
        rtol, atol: |analytic - numerical| <= atol + rtol |numerical| must hold; 1e-5 and 1e-7 in float64,
            1e-2 and 1e-3 in float32 when left out.
        step: as in `numerical_gradient`.
        worst: how many entries the message lists.

    Errors: GradientError with the input, index, analytic and numerical value and relative error of the worst
    entries; TypeError for integer inputs, or an f that returns no Tensor, array or number; ValueError for no
    inputs, or tolerances and steps that are none.

    >>> import chainrule as cr, numpy as np
    >>> cr.check_gradients(lambda x, y: cr.tanh(x) * y, [np.ones(3), np.arange(3.0)])
    """
    _check_step("check_gradients", step)
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if tolerance is not None and not tolerance >= 0:
            raise ValueError(f"check_gradients: {name} {tolerance} is not a number of at least 0")
    if inputs is None or isinstance(inputs, (Box, np.ndarray, np.generic, int, float)):
        inputs = [inputs]
    points = [np.array(unbox(x)) for x in inputs]
    if not points:
        raise ValueError("check_gradients: no inputs given")
    for i, point in enumerate(points):
        if point.dtype not in (np.float32, np.float64):
            raise TypeError(f"check_gradients: input {i} is {point.dtype}: give float32 or float64")
    single = any(point.dtype == np.float32 for point in points)
    rtol = (1e-2 if single else 1e-5) if rtol is None else rtol
    atol = (1e-3 if single else 1e-7) if atol is None else atol

    leaves = []
    for point in points:
        leaf = box_result(point)
        leaf.requires_grad = True
        leaves.append(leaf)
    output = f(*leaves)
    weights = _weights(_numbers("check_gradients", output))
    if isinstance(output, Box) and output.requires_grad:
        output.backward(weights)

    failures = []
    for i, (leaf, point) in enumerate(zip(leaves, points, strict=True)):
        analytic = np.zeros_like(point) if leaf.grad is None else leaf.grad.value

        def weighted(x, i=i):
            values = [box_result(x if j == i else other) for j, other in enumerate(points)]
            return (_numbers("check_gradients", f(*values)) * weights).sum()

        numerical = numerical_gradient(weighted, point, step)
        error = np.abs(analytic.astype(np.float64) - numerical)
        # "Not within" instead of "beyond": NaN fails.
        for where in np.argwhere(~(error <= atol + rtol * np.abs(numerical))):
            where = tuple(int(k) for k in where)
            scale = max(abs(float(analytic[where])), abs(float(numerical[where])), 1e-300)
            relative = float(error[where]) / scale
            failures.append((relative, i, where, float(analytic[where]), float(numerical[where])))
    if failures:
        failures.sort(key=lambda failure: -failure[0] if failure[0] == failure[0] else -np.inf)
        lines = [
            f"  input {i}, index {where}: analytic {a:.8g}, numerical {n:.8g}, relative error {relative:.3g}"
            for relative, i, where, a, n in failures[:worst]
        ]
        raise GradientError(
            f"check_gradients: {len(failures)} entries differ by more than {atol:g} + {rtol:g} |numerical|; "
            "the worst:\n" + "\n".join(lines)
        )


def _weights(output: np.ndarray) -> np.ndarray:
    """Fixed weights, different for each entry, so that no error hides behind a symmetric sum."""
    if output.size == 1:
        return np.ones(output.shape)
    return np.random.default_rng(0).uniform(0.5, 1.5, output.shape) * np.where(
        np.indices(output.shape).sum(0) % 2, -1, 1
    )
