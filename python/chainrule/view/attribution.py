"""From a unit back to the image: the gradient, the deconvnet and guided backpropagation, and saliency.

The three differ at one place, the backward rule of relu. With y its output and g what comes back to it:

    gradient    g where y > 0              Simonyan, Vedaldi and Zisserman, Deep Inside Convolutional Networks, 2014
    deconvnet   g where g > 0              Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014
    guided      g where y > 0 and g > 0    Springenberg et al., Striving for Simplicity, 2015, section 4

A forward pass records its graph; then the gates of that one graph are given other rules, and it is walked back.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chainrule import Graph, Tensor, functional_call, tensor
from chainrule.autodiff.gate import Gate
from chainrule.gates.functions import Relu, relu, relu_gradient
from chainrule.gates.pool import MaxPool2d
from chainrule.gates.reduce import Max
from chainrule.nn import Module, observe
from chainrule.view.layers import (
    as_inputs,
    evaluating,
    parameter_values,
    require_ran,
    unit_index,
)
from chainrule.view.pictures import signed_pixels, tile

RULES: dict[str, Callable | None] = {
    "gradient": None,  # the gates' own
    "deconvnet": lambda gate, gradient: relu(gradient),
    "guided": lambda gate, gradient: relu(relu_gradient(gradient, gate.kept[0])),
}


def backproject(
    model: Module,
    image: np.ndarray,
    rule: str = "gradient",
    *,
    switches: bool = True,
    layer: str = "",
    unit: int | None = None,
    place: tuple[int, int] | None = None,
) -> np.ndarray:
    """What one unit sends back to the image: the pattern in it that the unit answers to.

    A 1 at the unit, 0 at all others, goes back through the layers in evaluation mode; biases play no part. Max-pooling
    sends a value to the place of the maximum: its switches, as the deconvnet calls them. Without switches it does
    not know the place and gives each pixel of the window an equal share, the mean over all places; a net whose
    convolutions stride instead, as the All-CNN, needs none. Global max-pooling counts as max-pooling. Activations
    other than relu send back their gradient under every rule.

    Args:
        model: a Module.
        image: one input as the model takes it, (height, width, channels) or (features,), floats.
        rule: "gradient", "deconvnet" or "guided".
        switches: whether max-pooling knows where its maxima were.
        layer: the dotted name of the layer whose unit it is; "" is the model's output.
        unit: its number along the layer's last axis; None is that of the layer's largest value.
        place: (row, column) of the unit in a layer of maps; None is where the unit is largest.

    Returns: an array of the image's shape and dtype.

    Errors: TypeError for an image that is no floats; ValueError for an unknown rule or layer, a unit or place that
    the layer does not have, a layer without a path to the image, a rule for relu where the path has none, and relu
    within another gate (`conv2d_relu`, `batch_norm(..., activation="relu")`), which these rules do not reach.

    >>> import chainrule as cr, numpy as np
    >>> net = cr.nn.Sequential(cr.nn.Linear(2, 2, rng=0), cr.nn.ReLU(), cr.nn.Linear(2, 1, rng=0))
    >>> net[0].weight.data[...], net[2].weight.data[...] = [[1, -1], [2, 1]], [[-1], [1]]
    >>> x = np.array([3.0, 1.0], np.float32)  # the hidden units: 5, and -2, which relu stops
    >>> {rule: backproject(net, x, rule).tolist() for rule in ("gradient", "deconvnet", "guided")}
    {'gradient': [-1.0, -2.0], 'deconvnet': [-1.0, 1.0], 'guided': [0.0, 0.0]}
    """
    name = "backproject"
    image = as_inputs(name, image, batch=False)
    if rule not in RULES:
        raise ValueError(f"{name}: rule {rule!r}: give one of {', '.join(RULES)}")
    x = tensor(image[None], requires_grad=True)
    output = _output(name, model, x, layer)
    seed = np.zeros(output.shape, output.dtype)
    seed[unit_index(name, output.numpy(), unit, place)] = 1
    _give_rules(name, output, rule, switches)
    output.backward(seed)
    return np.zeros_like(image) if x.grad is None else x.grad.numpy()[0]


def explanations(
    model: Module,
    image: np.ndarray,
    *,
    layer: str = "",
    unit: int | None = None,
    place: tuple[int, int] | None = None,
) -> dict[tuple[str, bool], np.ndarray]:
    """What one unit sends back to the image under every rule that tells something of this net.

    Args: as `backproject`.

    Returns: {(rule, switches): an array of the image's shape and dtype}, in the order in which they are looked at:
    gradient, deconvnet and guided with switches, then without. Those without are left out where no max-pooling leads
    to the unit, deconvnet and guided where no relu does.

    Errors: as `backproject`.

    >>> import chainrule as cr, numpy as np
    >>> net = cr.nn.Sequential(cr.nn.Linear(2, 2, rng=0), cr.nn.ReLU(), cr.nn.Linear(2, 1, rng=0))
    >>> list(explanations(net, np.ones(2, np.float32)))
    [('gradient', True), ('deconvnet', True), ('guided', True)]
    """
    name = "explanations"
    image = as_inputs(name, image, batch=False)
    output = _output(name, model, tensor(image[None], requires_grad=True), layer)
    gates = [node.gate for node in Graph(output).nodes]
    rules = RULES if any(map(_rectifies, gates)) else ["gradient"]
    pooled = any(type(gate) is MaxPool2d or _is_global_max_pool(gate) for gate in gates)
    return {
        (rule, switches): backproject(
            model, image, rule, switches=switches, layer=layer, unit=unit, place=place
        )
        for switches in ((True, False) if pooled else (True,))
        for rule in rules
    }


def side_by_side(
    model: Module,
    image: np.ndarray,
    *,
    layer: str = "",
    unit: int | None = None,
    place: tuple[int, int] | None = None,
    share: float = 0.995,
    zoom: int = 1,
) -> np.ndarray:
    """The gradient, the deconvnet and guided backpropagation of one unit beside each other, as one image.

    A row with pooling switches, and one without where the net max-pools; see `explanations`. In each picture 0 is
    mid-gray, on a scale of its own. Springenberg et al., 2015, figures 3 and 4.

    Args:
        image: (height, width, channels) as the model takes it, floats; 1 or 3 channels.
        share: which share of the values lies within black and white.
        zoom: pixels along each side of an image's pixel.
        model, layer, unit, place: as `backproject`.

    Returns: (height, width, channels) uint8, of one or two rows of pictures with a white line between.

    Errors: as `backproject`; ValueError for an image of another shape.

    >>> import chainrule as cr, numpy as np
    >>> conv = cr.nn.Conv2d(3, 4, 3, padding=1, rng=0)
    >>> net = cr.nn.Sequential(conv, cr.nn.ReLU(), cr.nn.MaxPool2d(2), cr.nn.GlobalAvgPool2d())
    >>> side_by_side(net, np.ones((8, 8, 3), np.float32)).shape  # 3 pictures in a row, 2 rows
    (17, 26, 3)
    """
    image = as_inputs("side_by_side", image, batch=False)
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(
            f"side_by_side: image {image.shape}: give (height, width, channels) of 1 or 3 channels"
        )
    found = explanations(model, image, layer=layer, unit=unit, place=place)
    pictures = np.array([signed_pixels(signal, share) for signal in found.values()])
    return tile(pictures, columns=len({rule for rule, _ in found}), zoom=zoom)


def saliency(model: Module, image: np.ndarray, unit: int | None = None) -> np.ndarray:
    """How much each pixel changes a class's score: the largest magnitude of its gradient over the channels.

    The score is the model's output, before any softmax: a softmax's gradient would also tell how to make the other
    classes less likely.

    Args:
        model: a Module from images to scores.
        image: (height, width, channels) as the model takes it, floats.
        unit: the class; None is that of the highest score.

    Returns: (height, width), at least 0, of the image's dtype.

    Errors: as backproject; ValueError for another shape.

    Simonyan, Vedaldi and Zisserman, Deep Inside Convolutional Networks, 2014, section 3.1.

    >>> import chainrule as cr, numpy as np
    >>> net = cr.nn.Sequential(cr.nn.Conv2d(3, 4, 3, rng=0), cr.nn.ReLU(), cr.nn.GlobalAvgPool2d())
    >>> saliency(net, np.ones((8, 8, 3), np.float32)).shape
    (8, 8)
    """
    image = as_inputs("saliency", image, batch=False)
    if image.ndim != 3:
        raise ValueError(f"saliency: image {image.shape}: give (height, width, channels)")
    return np.abs(backproject(model, image, unit=unit)).max(axis=2)


def _output(name: str, model: Module, x: Tensor, layer: str) -> Tensor:
    """The layer's output for x, with the graph that leads to it from x alone."""
    seen: dict[str, Tensor] = {}

    def store(_name: str, _inputs, output) -> None:
        seen[layer] = output

    with observe(model, store, [layer]), evaluating(model):
        functional_call(model, parameter_values(model), x)
    require_ran(name, [layer], seen)
    output = seen[layer]
    if not (isinstance(output, Tensor) and output.gate is not None):
        raise ValueError(f"{name}: layer {layer!r} does not depend on the image through gates")
    if output.ndim not in (2, 4):
        raise ValueError(f"{name}: layer {layer!r} gives {output.shape}: name one that gives units or maps")
    return output


def _give_rules(name: str, output: Tensor, rule: str, switches: bool) -> None:
    """Other backward rules for the gates that made this output: they are of this one graph."""
    gates = [node.gate for node in Graph(output).nodes]
    if RULES[rule] is not None:
        fused = [gate for gate in gates if _rectifies(gate) and type(gate) is not Relu]
        if fused:
            raise ValueError(
                f"{name}: relu is part of a {type(fused[0]).__name__} gate, which has no {rule} rule: apply it by "
                "nn.ReLU or relu"
            )
        rectifiers = [gate for gate in gates if type(gate) is Relu]
        if not rectifiers:
            raise ValueError(
                f"{name}: no relu leads to this unit, so rule {rule!r} is the gradient: give that"
            )
        for gate in rectifiers:
            _set_rule(gate, RULES[rule])
    if not switches:
        for gate in gates:
            if type(gate) is MaxPool2d:
                _set_rule(gate, _share_out)
            elif _is_global_max_pool(gate):
                _set_rule(gate, _share_out_globally)


def _is_global_max_pool(gate: Gate) -> bool:
    return type(gate) is Max and gate.axes == (1, 2)


def _rectifies(gate: Gate) -> bool:
    return type(gate) is Relu or getattr(gate, "relu", False) or getattr(gate, "activation", None) == "relu"


def _set_rule(gate: Gate, rule: Callable) -> None:
    gate.backward = lambda gradient: rule(gate, gradient)
    gate.fuses_relu = False  # so that the walk asks for `backward`


def _share_out(gate: MaxPool2d, gradient: np.ndarray) -> np.ndarray:
    """Each window's value in equal shares to the pixels of the image in it."""
    shape = gate.kept[1]
    (kh, kw, sh, sw, top, left, _), (_, height, width, _) = gate.window, shape
    rows, columns = sh * np.arange(gradient.shape[1]) - top, sw * np.arange(gradient.shape[2]) - left

    def sizes(starts: np.ndarray, size: int, end: int) -> np.ndarray:
        return np.minimum(starts + size, end) - np.maximum(starts, 0)

    pixels = sizes(rows, kh, height)[:, None, None] * sizes(columns, kw, width)[:, None]
    shares = gradient / pixels.astype(gradient.dtype)
    result = np.zeros(shape, gradient.dtype)
    for i in range(kh):
        inside_rows = (rows + i >= 0) & (rows + i < height)
        for j in range(kw):
            inside = (columns + j >= 0) & (columns + j < width)
            # Windows' pixels of one offset are all different: an index names each once.
            result[:, (rows + i)[inside_rows][:, None], (columns + j)[inside]] += shares[:, inside_rows][
                :, :, inside
            ]
    return result


def _share_out_globally(gate: Max, gradient: np.ndarray) -> np.ndarray:
    shape = gate.kept[2]
    shares = gradient.reshape(shape[0], 1, 1, shape[3]) / (shape[1] * shape[2])
    return np.broadcast_to(shares, shape).astype(gradient.dtype)
