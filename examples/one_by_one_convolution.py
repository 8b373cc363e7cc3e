"""A 1 x 1 convolution is a matrix product across channels, the same one at every pixel.

    python examples/one_by_one_convolution.py

So are its gradients, and two of them in a row with relu between are a perceptron slid over the image: the cascaded
cross-channel parametric pooling of Network in Network. A fully connected layer is a convolution as well, whose filter
is as large as the image.

Source: Lin, Chen and Yan, Network in Network, 2014, section 3.1; CS231n, Convolutional Neural Networks, "Converting
FC layers to CONV layers".
"""

import numpy as np

import chainrule as cr


def by_matmul(x, weight, bias):
    """A 1 x 1 convolution: x (N, height, width, channels), weight (1, 1, channels, filters), bias (filters,)."""
    n, height, width, channels = x.shape
    pixels = cr.reshape(x, (n * height * width, channels))
    scores = cr.matmul(pixels, cr.reshape(weight, weight.shape[2:])) + bias
    return cr.reshape(scores, (n, height, width, weight.shape[3]))


def gradients(layer, x, weight, bias, upstream):
    """Those of sum(upstream * layer(x, weight, bias)) in x, weight and bias."""
    return cr.grad(lambda *inputs: cr.sum(layer(*inputs) * upstream), argnums=(0, 1, 2))(x, weight, bias)


def perceptron(pixel, layers):
    """A multi-layer perceptron on the channels of one pixel: layers of (1, 1, in, out) weights and biases."""
    for weight, bias in layers:
        pixel = np.maximum(pixel @ weight[0, 0] + bias, 0)
    return pixel


def fully_connected_as_convolution(x, weight, bias):
    """x (N, height, width, channels) through a linear layer's weight (height * width * channels, units)."""
    _, height, width, channels = x.shape
    filters = cr.reshape(weight, (height, width, channels, weight.shape[1]))
    return cr.reshape(cr.conv2d(x, filters, bias), (x.shape[0], weight.shape[1]))


def problem():
    """x, weight, bias and an upstream gradient, in float64."""
    rng = np.random.default_rng(0)
    return (
        rng.standard_normal((2, 6, 7, 5)),
        rng.standard_normal((1, 1, 5, 4)),
        rng.standard_normal(4),
        rng.standard_normal((2, 6, 7, 4)),
    )


def main():
    x, weight, bias, upstream = problem()
    apart = np.abs(cr.conv2d(x, weight, bias) - by_matmul(x, weight, bias)).max()
    print(f"1 x 1 convolution and matrix product: {apart:.1e} apart")
    pairs = zip(
        *(gradients(layer, x, weight, bias, upstream) for layer in (cr.conv2d, by_matmul)), strict=True
    )
    for name, (one, other) in zip(("x", "the weight", "the bias"), pairs, strict=True):
        print(f"their gradients in {name}: {np.abs(one - other).max():.1e} apart")

    rng = np.random.default_rng(1)
    layers = [(weight, bias), (rng.standard_normal((1, 1, 4, 3)), rng.standard_normal(3))]
    maps = x
    for w, b in layers:
        maps = cr.relu(cr.conv2d(maps, w, b))
    apart = np.abs(maps[1, 2, 3] - perceptron(x[1, 2, 3], layers)).max()
    print(f"two with relu, and a perceptron on one pixel: {apart:.1e} apart")

    weight, bias = rng.standard_normal((6 * 7 * 5, 3)), rng.standard_normal(3)
    linear = cr.linear(x.reshape(2, -1), weight, bias)
    apart = np.abs(linear - fully_connected_as_convolution(x, weight, bias)).max()
    print(f"a fully connected layer, and a convolution of 6 x 7: {apart:.1e} apart")


if __name__ == "__main__":
    main()
