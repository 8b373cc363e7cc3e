"""Class activation maps: where in an image a net with global average pooling sees a class."""

from __future__ import annotations

import numpy as np

from chainrule import Tensor, functional_call, tensor
from chainrule.nn import GlobalAvgPool2d, Module, observe
from chainrule.view.layers import as_inputs, evaluating, parameter_values, unit_index


def class_activation_map(model: Module, image: np.ndarray, unit: int | None = None) -> np.ndarray:
    """What each place adds to a class's score: the maps before global average pooling, weighted as the class weighs
    their means.

        map[i, j] = sum over k of w[k, class] maps[i, j, k],   score = mean of map + the last layer's bias

    w is the derivative of the score in the means, so it is the weight of a linear layer after the pooling (Zhou et
    al.), and 1 for the class's own map and 0 for others where there is none (Network in Network, All-CNN). Where
    more layers follow it is the gradient, as in Grad-CAM (Selvaraju et al., 2017), here without its relu.

    Args:
        model: a Module from images to scores in which one GlobalAvgPool2d runs.
        image: (height, width, channels) as the model takes it, floats.
        unit: the class; None is that of the highest score.

    Returns: (rows, columns) of the maps, in the image's dtype.

    Errors: TypeError for an image that is no floats; ValueError for another shape, a class that the model does not
    have, or a model without GlobalAvgPool2d or with several.

    Zhou et al., Learning Deep Features for Discriminative Localization, 2016, section 2.
    Lin, Chen and Yan, Network in Network, 2014, section 4.6, show the maps themselves.

    >>> import chainrule as cr, numpy as np
    >>> net = cr.nn.Sequential(cr.nn.Conv2d(1, 3, 3, rng=0), cr.nn.ReLU(), cr.nn.GlobalAvgPool2d())
    >>> image = np.random.default_rng(0).random((6, 6, 1), np.float32)
    >>> class_map = class_activation_map(net, image, 1)
    >>> class_map.shape, bool(np.isclose(class_map.mean(), net(image[None])[0, 1].item()))
    ((4, 4), True)
    """
    name = "class_activation_map"
    image = as_inputs(name, image, batch=False)
    if image.ndim != 3:
        raise ValueError(f"{name}: image {image.shape}: give (height, width, channels)")
    pools = [layer for layer, module in model.named_modules() if isinstance(module, GlobalAvgPool2d)]
    if len(pools) != 1:
        raise ValueError(
            f"{name}: the model has {len(pools)} GlobalAvgPool2d layers: a class's map needs the one before the scores"
        )
    maps: list[np.ndarray] = []
    means: list[Tensor] = []

    def cut(_layer: str, inputs, output) -> Tensor:
        """Let the graph begin at the means: their gradient is then the class's weights."""
        maps.append(np.asarray(inputs[0])[0])
        means.append(tensor(np.asarray(output), requires_grad=True))
        return means[-1]

    with observe(model, cut, pools), evaluating(model):
        scores = functional_call(model, parameter_values(model), image[None])
    if len(maps) != 1:
        raise ValueError(f"{name}: GlobalAvgPool2d runs {len(maps)} times: a class's map needs it once")
    seed = np.zeros(scores.shape, scores.dtype)
    seed[unit_index(name, scores.numpy(), unit)] = 1
    scores.backward(seed)
    return maps[0] @ means[0].grad.numpy()[0]
