"""A small net without residuals, made for the shortest training on CIFAR-10."""

from __future__ import annotations

import math

import numpy as np

from chainrule.autodiff.box import unbox
from chainrule.gates.arithmetic import multiply
from chainrule.gates.convolution import conv2d
from chainrule.gates.normalise import check_number
from chainrule.models.image_classifier import ImageClassifier, check_fits
from chainrule.nn.activation import GELU, Flatten
from chainrule.nn.convolution import Conv2d
from chainrule.nn.initialise import as_generator
from chainrule.nn.linear import Linear
from chainrule.nn.module import Module, Parameter
from chainrule.nn.normalise import BatchNorm2d
from chainrule.nn.pool import MaxPool2d
from chainrule.nn.sequential import Sequential

WIDTHS = (64, 256, 256)


class FastCifarNet(ImageClassifier):
    """The net of airbench94 under the softmax cross-entropy.

    A fixed whitening convolution of 2 x 2 patches, with a learned bias; three blocks, each convolution, max-pooling,
    batch norm, gelu, convolution, batch norm, gelu, with convolutions of 3 x 3 without bias and batch norms whose
    scale stays 1; max-pooling of 3 x 3; a linear layer without bias, divided by 9.

    Call `set_whitening` with training images before training; until then the first layer passes each value on,
    with both signs. Its weights are a buffer, saved with the parameters. The recipe trains its bias for the first
    three epochs only: set `net.whitening.bias.requires_grad = False` then.

    Args:
        input_shape: (height, width, channels); sides of at least 25.
        classes: their number.
        seed: of the initial weights; None draws from the library's generator. Of each convolution the first filters
            pass one channel on each, the others start uniform within 1 / sqrt(fan-in), as does the linear layer.

    Attributes: whitening, features, head.

    Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024.

    >>> import chainrule as cr, numpy as np
    >>> net = cr.models.FastCifarNet(seed=0)
    >>> images = np.random.default_rng(0).standard_normal((8, 32, 32, 3), dtype=np.float32)
    >>> net.set_whitening(images)
    >>> net(images).shape
    (8, 10)
    """

    def __init__(self, input_shape=(32, 32, 3), classes=10, *, seed=None):
        super().__init__(input_shape, classes)
        check_fits(self, 25)
        rng = as_generator(seed)
        height, width, channels = self.input_shape
        self.whitening = WhiteningConv2d(channels)
        layers, channels = [GELU()], self.whitening.bias.size
        for filters in WIDTHS:
            layers += _block(channels, filters, rng)
            channels = filters
        self.features = Sequential(*layers, MaxPool2d(3), Flatten())
        left = ((height - 1) // 8 // 3) * ((width - 1) // 8 // 3)  # pixels after the last pooling
        self.head = Linear(left * channels, self.classes, bias=False, initialise="zeros")
        _uniform(self.head.weight.value, left * channels, rng)

    def scores(self, x):
        return multiply(self.head(self.features(self.whitening(x))), 1 / 9)

    def set_whitening(self, images, epsilon=5e-4) -> None:
        """Set the first layer's weights from training images, as they are given to the net.

        Args:
            images: (N, height, width, channels); the recipe takes 5,000.
            epsilon: added to each eigenvalue of the patches' covariance.

        Errors: ValueError for images of another shape, none, or with values that are not finite; TypeError for those
        that are no floats.
        """
        name = "FastCifarNet.set_whitening"
        images = unbox(self.checked(images, name, "images"))
        check_number(name, "epsilon", epsilon)
        if not len(images) or not np.isfinite(images).all():
            raise ValueError(f"{name}: images {images.shape}: give one or more, of finite values")
        self.whitening.fit(images, epsilon)

    def first_weights(self):
        return self.whitening.weight


def _block(channels, filters, rng):
    layers = []
    for i, inputs in enumerate((channels, filters)):
        layers.append(_convolution(inputs, filters, rng))
        if i == 0:
            layers.append(MaxPool2d(2))
        layers += [BatchNorm2d(filters, momentum=0.4, epsilon=1e-12, scale=False), GELU()]
    return layers


def _convolution(channels, filters, rng):
    layer = Conv2d(channels, filters, 3, padding=1, bias=False, initialise="zeros")
    weight = layer.weight.value
    _uniform(weight, 9 * channels, rng)
    same = range(min(channels, filters))
    weight[..., same] = 0
    weight[1, 1, same, same] = 1  # the middle tap of the filter's own channel
    return layer


def _uniform(weight, fan_in, rng):
    limit = 1 / math.sqrt(fan_in)
    weight[...] = rng.uniform(-limit, limit, weight.shape)


class WhiteningConv2d(Module):
    """Patches of 2 x 2 pixels on the principal axes of their distribution, scaled to variance 1, with both signs.

    Args:
        channels: of the images.

    Attributes: weight (2, 2, channels, 8 channels), a buffer that is not learned; bias (8 channels,), learned.
    """

    def __init__(self, channels):
        size = 4 * channels
        self.weight = np.zeros((2, 2, channels, 2 * size), np.float32)
        self._set(np.eye(size))
        self.bias = Parameter(np.zeros(2 * size, np.float32))

    def _set(self, axes):
        """Take axes (patch values, filters)."""
        self.weight[...] = np.concatenate([axes, -axes], axis=1).reshape(self.weight.shape)

    def fit(self, images, epsilon):
        """Set the weights from images (N, height, width, channels), float."""
        size = 4 * images.shape[3]
        covariance, count = np.zeros((size, size)), 0
        for start in range(0, len(images), 500):  # patches take four times the memory of their images
            windows = np.lib.stride_tricks.sliding_window_view(
                images[start : start + 500], (2, 2), axis=(1, 2)
            )
            # In float64: small variances, whose axes are scaled the most, would drown in float32's rounding.
            patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size).astype(np.float64)
            covariance += patches.T @ patches
            count += len(patches)
        variances, axes = np.linalg.eigh(covariance / count)
        self._set(axes[:, ::-1] / np.sqrt(variances[::-1] + epsilon))

    def forward(self, x):
        return conv2d(x, self.weight, self.bias)

    def describe(self):
        return f"{self.weight.shape[2]}, {self.weight.shape[3]}"
