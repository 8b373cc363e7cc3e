"""A chainrule model as a PyTorch module: the same layers with the same values, channels first but last in memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from chainrule import models
from chainrule import nn as ours
from chainrule.models.classifier import Classifier


class Scaled(nn.Module):
    """Scores times a constant."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


class FlattenLast(nn.Module):
    """Images (N, C, H, W) to rows in chainrule's order: height, width, channels."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


class Translation:
    """The module, and which of its parameters stands for which of the model's.

    Args:
        model: a chainrule classifier of images.

    Attributes: module; parameters, by the names that the model's have.

    Errors: TypeError for a layer that is not translated.

    >>> from chainrule.models import AllConvNet
    >>> translation = Translation(AllConvNet(seed=0))
    >>> translation.module(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, model: Classifier):
        self._twins: dict[int, nn.Parameter] = {}
        self.module = self._net(model).to(memory_format=torch.channels_last)
        self.parameters = {name: self._twins[id(p)] for name, p in model.named_parameters()}

    def _net(self, model):
        if isinstance(model, models.FastCifarNet):
            whitening = self._convolution(model.whitening.weight, model.whitening.bias, 1, 0)
            whitening.weight.requires_grad = False
            parts = [self._layer(model.features), self._layer(model.head), Scaled(1 / 9)]
            return nn.Sequential(whitening, *parts)
        if isinstance(model, (models.AllConvNet, models.NetworkInNetwork)):
            return nn.Sequential(self._layer(model.features), self._layer(model.classifier))
        if isinstance(model, models.LeNet5):
            return self._layer(model.layers)
        raise TypeError(f"Translation: {type(model).__name__} is not translated")

    def _layer(self, layer):
        match layer:
            case ours.Sequential():
                return nn.Sequential(*(self._layer(part) for _, part in layer.children()))
            case ours.Conv2d():
                s = layer.settings
                if s["groups"] != 1 or s["dilation"] != 1 or not isinstance(s["padding"], int):
                    raise TypeError(f"Translation: Conv2d with {s} is not translated")
                return self._convolution(layer.weight, layer.bias, s["stride"], s["padding"])
            case ours.Linear():
                new = nn.Linear(*layer.weight.shape, bias=layer.bias is not None)
                self._take(new.weight, layer.weight, layer.weight.numpy().T)
                if layer.bias is not None:
                    self._take(new.bias, layer.bias, layer.bias.numpy())
                return new
            case ours.BatchNorm2d():
                new = nn.BatchNorm2d(layer.channels, layer.epsilon, layer.momentum)
                for own, value in ((new.weight, layer.weight), (new.bias, layer.bias)):
                    own.requires_grad = value is not None
                    if value is not None:
                        self._take(own, value, value.numpy())
                return new
            case ours.MaxPool2d():
                return nn.MaxPool2d(layer.size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
            case ours.AvgPool2d():
                return nn.AvgPool2d(
                    layer.size, layer.stride, layer.padding, count_include_pad=layer.count_include_pad
                )
            case ours.GlobalAvgPool2d():
                return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            case ours.Dropout():
                return nn.Dropout(layer.p)
            case ours.ReLU():
                return nn.ReLU(inplace=True)
            case ours.GELU():
                return nn.GELU()
            case ours.Flatten():
                return FlattenLast()
        raise TypeError(f"Translation: {type(layer).__name__} is not translated")

    def _convolution(self, weight, bias, stride, padding):
        values = weight if isinstance(weight, np.ndarray) else weight.numpy()
        height, width, channels, filters = values.shape
        new = nn.Conv2d(channels, filters, (height, width), stride, padding, bias=bias is not None)
        self._take(new.weight, weight, values.transpose(3, 2, 0, 1))
        if bias is not None:
            self._take(new.bias, bias, bias.numpy())
        return new

    def _take(self, own, parameter, values):
        with torch.no_grad():
            own.copy_(torch.from_numpy(np.ascontiguousarray(values)))
        self._twins[id(parameter)] = own
