"""A convolution with what follows it in the nets of today and then: batch normalisation, relu."""

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
