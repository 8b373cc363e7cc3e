"""The nets that are compared, each described once; every engine builds them from here, with the same weights.

Images are (height, width, channels), weights of a convolution (height, width, channels, filters), of a linear layer
(inputs, outputs). An engine that keeps channels first rearranges them when it builds the net.
"""

import math
from typing import NamedTuple

import numpy as np


class Conv(NamedTuple):
    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0
    bias: bool = True


class Linear(NamedTuple):
    outputs: int


class BatchNorm(NamedTuple):
    pass


class ReLU(NamedTuple):
    pass


class GELU(NamedTuple):
    """The exact one, of the error function."""


class MaxPool(NamedTuple):
    size: int
    stride: int
    padding: int = 0


class AveragePool(NamedTuple):
    size: int
    stride: int
    padding: int = 0


class GlobalAveragePool(NamedTuple):
    pass


class Dropout(NamedTuple):
    p: float


class Flatten(NamedTuple):
    pass


class Net(NamedTuple):
    title: str
    image: tuple  # the shape of one input
    layers: tuple
    batch: int = 64
    loss: str = "cross_entropy"  # or "hinge"


def _conv(*settings):
    return Conv(*settings), ReLU()


def _vgg_block(filters):
    conv = Conv(filters, 3, 1, 1, bias=False)
    return conv, BatchNorm(), ReLU(), conv, BatchNorm(), ReLU(), MaxPool(2, 2)


def _fast_cifar_block(filters):
    conv = Conv(filters, 3, 1, 1, bias=False)
    return conv, MaxPool(2, 2), BatchNorm(), GELU(), conv, BatchNorm(), GELU()


NETS = {
    "linear_svm": Net("linear SVM 3072-10", (3072,), (Linear(10),), 256, "hinge"),
    "linear_softmax": Net("linear softmax 3072-10", (3072,), (Linear(10),), 256),
    "mlp": Net("MLP 784-100-10", (784,), (Linear(100), ReLU(), Linear(10))),
    # LeCun et al. 1998, with ReLU and max pooling as it is taught today.
    "lenet5": Net(
        "LeNet-5 28x28x1",
        (28, 28, 1),
        (
            *_conv(6, 5, 1, 2),
            MaxPool(2, 2),
            *_conv(16, 5),
            MaxPool(2, 2),
            Flatten(),
            Linear(120),
            ReLU(),
            Linear(84),
            ReLU(),
            Linear(10),
        ),
    ),
    # Springenberg et al. 2015.
    "all_cnn_c": Net(
        "All-CNN-C 32x32x3",
        (32, 32, 3),
        (
            Dropout(0.2),
            *_conv(96, 3, 1, 1),
            *_conv(96, 3, 1, 1),
            *_conv(96, 3, 2, 1),
            Dropout(0.5),
            *_conv(192, 3, 1, 1),
            *_conv(192, 3, 1, 1),
            *_conv(192, 3, 2, 1),
            Dropout(0.5),
            *_conv(192, 3),
            *_conv(192, 1),
            *_conv(10, 1),
            GlobalAveragePool(),
        ),
    ),
    # Lin, Chen and Yan 2014.
    "network_in_network": Net(
        "Network in Network 32x32x3",
        (32, 32, 3),
        (
            *_conv(192, 5, 1, 2),
            *_conv(160, 1),
            *_conv(96, 1),
            MaxPool(3, 2, 1),
            Dropout(0.5),
            *_conv(192, 5, 1, 2),
            *_conv(192, 1),
            *_conv(192, 1),
            AveragePool(3, 2, 1),
            Dropout(0.5),
            *_conv(192, 3, 1, 1),
            *_conv(192, 1),
            *_conv(10, 1),
            GlobalAveragePool(),
        ),
    ),
    "vgg_like": Net(
        "VGG-like 64-64-128-128-256-256 with batch norm",
        (32, 32, 3),
        (*_vgg_block(64), *_vgg_block(128), *_vgg_block(256), Flatten(), Linear(10)),
    ),
    # Jordan 2024; all of it is trained here, the first convolution and the scales of batch norm too.
    "fast_cifar": Net(
        "FastCifarNet's layers 32x32x3",
        (32, 32, 3),
        (
            Conv(24, 2),
            GELU(),
            *_fast_cifar_block(64),
            *_fast_cifar_block(256),
            *_fast_cifar_block(256),
            MaxPool(3, 3),
            Flatten(),
            Linear(10),
        ),
        1024,
    ),
}


def built(net, seed=0):
    """(layer, shape of one input to it, its parameters) for each layer; weights have He's scale."""
    rng = np.random.default_rng(seed)
    shape = net.image
    for layer in net.layers:
        parameters = []
        before = shape
        if isinstance(layer, Conv):
            sizes = (layer.kernel, layer.kernel, shape[-1], layer.filters)
            parameters = [_drawn(rng, sizes)] + [np.zeros(layer.filters, np.float32)] * layer.bias
            shape = (*_window(shape, layer.kernel, layer), layer.filters)
        elif isinstance(layer, Linear):
            sizes = (*shape, layer.outputs)
            parameters = [_drawn(rng, sizes), np.zeros(layer.outputs, np.float32)]
            shape = (layer.outputs,)
        elif isinstance(layer, BatchNorm):
            parameters = [np.ones(shape[-1], np.float32), np.zeros(shape[-1], np.float32)]
        elif isinstance(layer, (MaxPool, AveragePool)):
            shape = (*_window(shape, layer.size, layer), shape[-1])
        elif isinstance(layer, GlobalAveragePool):
            shape = shape[-1:]
        elif isinstance(layer, Flatten):
            shape = (math.prod(shape),)
        yield layer, before, parameters


def _drawn(rng, sizes):
    scale = np.float32((2 / math.prod(sizes[:-1])) ** 0.5)
    return rng.standard_normal(sizes, dtype=np.float32) * scale


def _window(shape, size, layer):
    return ((extent + 2 * layer.padding - size) // layer.stride + 1 for extent in shape[:2])


def data(net, batch, seed=1):
    """Random inputs (batch, ...) and labels of ten classes."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((batch, *net.image), dtype=np.float32), rng.integers(0, 10, batch)


def photographs(net, count=20_000, seed=2):
    """As many random images of the net's size as bytes; of nets that take vectors the images that those stand for."""
    image = {(3072,): (32, 32, 3), (784,): (28, 28, 1)}.get(net.image, net.image)
    return np.random.default_rng(seed).integers(0, 256, (count, *image), dtype=np.uint8)


def channels_first(built_layers):
    """`built` for engines that keep channels first: convolutions (filters, channels, height, width), linear layers
    (outputs, inputs), whose inputs come channel by channel where they follow a Flatten."""
    flattened = None
    for layer, shape, parameters in built_layers:
        if isinstance(layer, Flatten):
            flattened = shape
        elif isinstance(layer, Conv):
            parameters = [parameters[0].transpose(3, 2, 0, 1), *parameters[1:]]
        elif isinstance(layer, Linear):
            weight = parameters[0]
            if flattened is not None:
                weight = weight.reshape(*flattened, -1).transpose(2, 0, 1, 3).reshape(weight.shape)
                flattened = None
            parameters = [weight.T, *parameters[1:]]
        yield layer, shape, [np.ascontiguousarray(p) for p in parameters]
