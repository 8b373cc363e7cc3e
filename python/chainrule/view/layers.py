"""What the layers inside a model make of inputs, and feature maps as images. NumPy and the library alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from chainrule import no_grad
from chainrule.nn import Module, observe


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """The model in evaluation mode; afterwards each part of it is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def parameter_values(model: Module) -> dict[str, np.ndarray]:
    """Plain arrays for `functional_call` to put in the parameters' places: then no gradient of theirs is worked out, or
    added to what they have."""
    return {name: parameter.value for name, parameter in model.named_parameters()}


def as_inputs(operation: str, inputs, batch: bool) -> np.ndarray:
    """Inputs as an array, TypeError where it holds no floats; of one example ValueError without any axis."""
    inputs = np.asarray(inputs)
    if inputs.dtype.kind != "f":
        raise TypeError(
            f"{operation}: inputs are {inputs.dtype}: give them as the model takes them, in floats"
        )
    if inputs.ndim < 1 + batch or (batch and not len(inputs)):
        wanted = "(N, ...), N of at least 1" if batch else "one example, without a batch's axis"
        raise ValueError(f"{operation}: inputs {inputs.shape}: give {wanted}")
    return inputs


def activations(model: Module, inputs: np.ndarray, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """What some layers give, in evaluation mode, without a graph.

    Args:
        model: a Module.
        inputs: (N, ...) as the model takes them, floats.
        layers: the layers' dotted names, as `Module.named_modules` gives them; "" is the model itself.

    Returns: name -> (N, ...), in the order in which the layers ran. A layer that runs several times shows its last.

    Errors: TypeError for inputs that are no floats; ValueError for an unknown name, a layer that does not run, or
    inputs that do not fit.

    >>> import chainrule as cr, numpy as np
    >>> net = cr.nn.Sequential(cr.nn.Conv2d(1, 4, 3, rng=0), cr.nn.ReLU(), cr.nn.GlobalAvgPool2d())
    >>> {k: v.shape for k, v in activations(net, np.ones((2, 8, 8, 1), np.float32), ["1", "2"]).items()}
    {'1': (2, 6, 6, 4), '2': (2, 4)}
    """
    inputs = as_inputs("activations", inputs, batch=True)
    found: dict[str, np.ndarray] = {}

    def store(name: str, _inputs, output) -> None:
        found[name] = np.asarray(output)

    with observe(model, store, layers), evaluating(model), no_grad():
        model(inputs)
    require_ran("activations", layers, found)
    return found


def require_ran(operation: str, layers: Sequence[str], found) -> None:
    """ValueError for a layer that the model has and did not use."""
    for name in layers:
        if name not in found:
            raise ValueError(
                f"{operation}: layer {name!r} did not run by itself: it stands elsewhere under another name, or the "
                "model calls another of its methods"
            )


def unit_index(
    operation: str, values: np.ndarray, unit: int | None, place: tuple[int, int] | None = None
) -> tuple[int, ...]:
    """Where a unit stands in a layer's output (1, K) or (1, h, w, K).

    Without a number it is that of the largest value, without a place in maps where it is largest; the first of
    equals. ValueError for a number or place that the output does not have.
    """
    units = values.shape[-1]
    if unit is not None and not 0 <= unit < units:
        raise ValueError(f"{operation}: unit {unit}: the layer has units 0 to {units - 1}")
    if place is not None:
        if values.ndim != 4 or not (0 <= place[0] < values.shape[1] and 0 <= place[1] < values.shape[2]):
            raise ValueError(f"{operation}: place {place}: the layer gives {values.shape[1:]}")
        at = values[0, place[0], place[1]]
        return (0, *place, int(at.argmax()) if unit is None else unit)
    candidates = values if unit is None else values[..., unit : unit + 1]
    index = np.unravel_index(candidates.argmax(), candidates.shape)
    return (*map(int, index[:-1]), int(index[-1]) if unit is None else unit)


def feature_maps(values: np.ndarray) -> np.ndarray:
    """A layer's output for one image as images, one a channel.

    Maps without negative values, as relu gives them, run from black (0) to white (the map's largest value). Others
    are scaled symmetrically about 0, which is mid-gray (128). Each map has a scale of its own; one that is 0
    everywhere is black or mid-gray, as the others are.

    Args:
        values: (height, width, channels), floating point, finite.

    Returns: (channels, height, width, 1) uint8.

    Errors: TypeError for values that are no floats; ValueError for another shape, or values that are not finite.

    >>> feature_maps(np.array([[[0.0, 0.0], [2.0, 0.0]]]))[..., 0].tolist()
    [[[0, 255]], [[0, 0]]]
    """
    values = np.asarray(values)
    if values.dtype.kind != "f":
        raise TypeError(f"feature_maps: values are {values.dtype}: give floating point")
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(f"feature_maps: values {values.shape}: give (height, width, channels), not empty")
    if not np.isfinite(values).all():
        raise ValueError("feature_maps: values hold NaN or infinity: give finite values")
    maps = values.transpose(2, 0, 1)[..., None].astype(np.float64)
    scale = np.abs(maps).max(axis=(1, 2, 3), keepdims=True)
    shares = np.divide(maps, scale, out=np.zeros_like(maps), where=scale > 0)
    pixels = 255 * shares if maps.min() >= 0 else 128 + 127 * shares
    return np.rint(pixels).astype(np.uint8)
