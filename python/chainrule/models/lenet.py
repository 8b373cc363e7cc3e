"""LeNet-5: two convolutions, each with subsampling, and three fully connected layers."""

from __future__ import annotations

import functools
import math

import numpy as np

from chainrule.gates.arithmetic import add, multiply
from chainrule.gates.convolution import conv2d
from chainrule.gates.functions import tanh
from chainrule.gates.matmul import matmul
from chainrule.gates.pool import average_pool2d
from chainrule.gates.shape import reshape
from chainrule.models.image_classifier import ImageClassifier, check_fits
from chainrule.nn.activation import Flatten, ReLU
from chainrule.nn.convolution import Conv2d
from chainrule.nn.initialise import as_generator
from chainrule.nn.linear import Linear
from chainrule.nn.module import Module, Parameter
from chainrule.nn.pool import MaxPool2d
from chainrule.nn.sequential import Sequential

# Table I of the paper: the maps of S2 that each of the 16 maps of C3 reads.
C3_READS = (
    (0, 1, 2),
    (1, 2, 3),
    (2, 3, 4),
    (3, 4, 5),
    (0, 4, 5),
    (0, 1, 5),
    (0, 1, 2, 3),
    (1, 2, 3, 4),
    (2, 3, 4, 5),
    (0, 3, 4, 5),
    (0, 1, 4, 5),
    (0, 1, 2, 5),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)


class LeNet5(ImageClassifier):
    """LeNet-5 under the softmax cross-entropy, for images of 28 x 28 (padded to the paper's 32 x 32) or others.

    Two forms:

    - "modern", as it is used today: convolutions read all maps, max-pooling, ReLU. 61,706 parameters for MNIST.
    - "paper": C3 reads the maps of Table I, subsampling is a mean with a trained gain and bias, the squashing function
      is 1.7159 tanh(2x/3), weights start uniform within 2.4 / fan-in. 60,000 parameters up to F6, as the paper
      counts them, and 850 of a linear output layer, which stands for its fixed radial basis functions.

    Args:
        input_shape: (height, width, channels); sides of at least 12, divisible by 4.
        classes: their number.
        form: "modern" or "paper".
        seed: of the initial weights (He et al. before relu, Glorot for the last layer, in the modern form); None
            draws from the library's generator.

    LeCun, Bottou, Bengio and Haffner, Gradient-Based Learning Applied to Document Recognition, 1998, section II.B.

    >>> import chainrule as cr, numpy as np
    >>> net = cr.models.LeNet5(seed=0)
    >>> sum(p.size for p in net.parameters())
    61706
    >>> net(np.zeros((5, 28, 28, 1), np.float32)).shape
    (5, 10)
    """

    def __init__(self, input_shape=(28, 28, 1), classes=10, *, form="modern", seed=None):
        super().__init__(input_shape, classes)
        check_fits(self, 12, 4)
        if form not in ("modern", "paper"):
            raise ValueError(f"LeNet5: form {form!r}: give 'modern' or 'paper'")
        rng = as_generator(seed)
        height, width, channels = self.input_shape
        left = (height // 4 - 2) * (width // 4 - 2)  # pixels of S4
        layers = _modern if form == "modern" else _paper
        self.layers = Sequential(*layers(channels, 16 * left, self.classes, rng))

    def scores(self, x):
        return self.layers(x)


def _modern(channels, features, classes, rng):
    return (
        Conv2d(channels, 6, 5, padding=2, rng=rng),
        ReLU(),
        MaxPool2d(2),
        Conv2d(6, 16, 5, rng=rng),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Linear(features, 120, rng=rng),
        ReLU(),
        Linear(120, 84, rng=rng),
        ReLU(),
        Linear(84, classes, initialise="glorot", rng=rng),
    )


def _paper(channels, features, classes, rng):
    layers = (
        Conv2d(channels, 6, 5, padding=2, rng=rng),
        ScaledTanh(),
        Subsampling(6),
        ScaledTanh(),
        PartialConv2d(6, C3_READS, 5, rng),
        ScaledTanh(),
        Subsampling(16),
        ScaledTanh(),
        Flatten(),
        Linear(features, 120, rng=rng),
        ScaledTanh(),
        Linear(120, 84, rng=rng),
        ScaledTanh(),
        Linear(84, classes, rng=rng),
    )
    for layer in layers:
        if isinstance(layer, (Conv2d, Linear)):
            weight = layer.weight.value
            weight[...] = _lecun_uniform(weight.shape, math.prod(weight.shape[:-1]), rng)
    return layers


def _lecun_uniform(shape, fan_in, rng):
    """Uniform within 2.4 / fan-in, as the paper starts (appendix A)."""
    return rng.uniform(-2.4 / fan_in, 2.4 / fan_in, shape).astype(np.float32)


class ScaledTanh(Module):
    """1.7159 tanh(2x/3), which is 1 at 1 and -1 at -1 (LeCun et al., Efficient BackProp, 1998, section 4.4)."""

    def forward(self, x):
        return multiply(tanh(multiply(x, 2 / 3)), 1.7159)


class Subsampling(Module):
    """The mean of each 2 x 2 pixels times a trained gain, plus a trained bias, one of each for a channel.

    The paper sums the four; the gain starts so that the mean comes out.
    """

    def __init__(self, channels):
        self.weight = Parameter(np.ones(channels, np.float32))
        self.bias = Parameter(np.zeros(channels, np.float32))

    def forward(self, x):
        return add(multiply(average_pool2d(x, 2), self.weight), self.bias)

    def describe(self):
        return f"{self.bias.size}"


class PartialConv2d(Module):
    """A convolution each of whose filters reads some of the channels only.

    Args:
        channels: of x.
        reads: for each filter the channels that it reads.
        kernel_size: an int.
        rng: a numpy Generator.

    Attributes: weight (kernel, kernel, connections), in the order of `reads`; bias (filters,).
    """

    def __init__(self, channels, reads, kernel_size, rng):
        fan_ins = [kernel_size**2 * len(parts) for parts in reads]
        self.weight = Parameter(
            np.concatenate(
                [
                    _lecun_uniform((kernel_size, kernel_size, len(parts)), fan_in, rng)
                    for parts, fan_in in zip(reads, fan_ins, strict=True)
                ],
                axis=2,
            )
        )
        self.bias = Parameter(np.zeros(len(reads), np.float32))
        self.channels, self.reads = channels, tuple(reads)

    def forward(self, x):
        weight = matmul(self.weight, _places(self.reads, self.channels))
        kernel = self.weight.shape[:2]
        return conv2d(x, reshape(weight, (*kernel, self.channels, len(self.reads))), self.bias)

    def describe(self):
        return f"{self.channels}, {len(self.reads)}, {self.weight.shape[2]} connections"


@functools.cache
def _places(reads, channels):
    """(connections, channels * filters): 1 where a connection's channel and filter meet, else 0."""
    columns = [channel * len(reads) + k for k, parts in enumerate(reads) for channel in parts]
    return np.eye(channels * len(reads), dtype=np.float32)[columns]
