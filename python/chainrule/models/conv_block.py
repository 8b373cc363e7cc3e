"""A convolution with what follows it (batch normalisation, relu), and the last one, which makes a map a class."""

from __future__ import annotations

from chainrule.nn.activation import ReLU
from chainrule.nn.convolution import Conv2d
from chainrule.nn.module import Module
from chainrule.nn.normalise import BatchNorm2d


def conv_block(
    channels, filters, kernel, stride=1, padding=0, *, batch_norm=False, relu=True, rng
) -> list[Module]:
    """Conv2d, then BatchNorm2d (in place of the bias) and ReLU where they are wanted."""
    layers: list[Module] = [
        Conv2d(channels, filters, kernel, stride, padding, bias=not batch_norm, rng=rng),
    ]
    if batch_norm:
        layers.append(BatchNorm2d(filters))
    if relu:
        layers.append(ReLU())
    return layers


def class_maps(channels, classes, *, relu, rng) -> list[Module]:
    """The 1 x 1 convolution whose maps' means are the scores, and ReLU after it if it is wanted.

    Its weights start at a tenth of He's, for scores that start alike. Where relu follows, its bias starts at 1: a
    class whose map is 0 everywhere gets no gradient and never comes back, and with large scores and bias 0 the first
    steps leave all maps so. The softmax does not see a bias that all classes share.
    """
    layers = conv_block(channels, classes, 1, relu=relu, rng=rng)
    layers[0].weight.value *= 0.1
    if relu:
        layers[0].bias.value += 1
    return layers
