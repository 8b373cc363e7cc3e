"""The benchmark's training steps in chainrule: one function a case, each returning a step without arguments."""

import numpy as np

import chainrule as cr
from chainrule import _core

version = cr.__version__


def set_threads(n):
    cr.set_num_threads(n)


def _step(model, x, labels, weight_decay):
    optimizer = cr.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=weight_decay)

    def step():
        optimizer.zero_grad()
        loss = model.loss(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _batch(rows, features):
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, features), dtype=np.float32), rng.integers(0, 10, rows)


def linear_svm():
    return _step(cr.models.LinearSVM(3072, 10, seed=0), *_batch(256, 3072), 1e-3)


def linear_softmax():
    return _step(cr.models.SoftmaxRegression(3072, 10, seed=0), *_batch(256, 3072), 1e-3)


def mlp():
    return _step(cr.models.MLP(784, (100,), 10, seed=0), *_batch(64, 784), 1e-3)


def _images(size, channels):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, size, size, channels), dtype=np.float32)
    return x, rng.integers(0, 10, 64)


class _Classifier(cr.nn.Sequential):
    def loss(self, scores, labels):
        return cr.softmax_cross_entropy(scores, labels)


def _conv(inputs, outputs, kernel, stride=1, padding=0):
    return cr.nn.Conv2d(inputs, outputs, kernel, stride, padding), cr.nn.ReLU()


def lenet5():
    net = _Classifier(
        *_conv(1, 6, 5, padding=2),
        cr.nn.MaxPool2d(2),
        *_conv(6, 16, 5),
        cr.nn.MaxPool2d(2),
        cr.nn.Flatten(),
        cr.nn.Linear(400, 120),
        cr.nn.ReLU(),
        cr.nn.Linear(120, 84),
        cr.nn.ReLU(),
        cr.nn.Linear(84, 10),
    )
    return _step(net, *_images(28, 1), 1e-3)


def all_cnn_c():
    net = _Classifier(
        cr.nn.Dropout(0.2),
        *_conv(3, 96, 3, 1, 1),
        *_conv(96, 96, 3, 1, 1),
        *_conv(96, 96, 3, 2, 1),
        cr.nn.Dropout(0.5),
        *_conv(96, 192, 3, 1, 1),
        *_conv(192, 192, 3, 1, 1),
        *_conv(192, 192, 3, 2, 1),
        cr.nn.Dropout(0.5),
        *_conv(192, 192, 3),
        *_conv(192, 192, 1),
        *_conv(192, 10, 1),
        cr.nn.GlobalAvgPool2d(),
    )
    return _step(net, *_images(32, 3), 1e-3)


def network_in_network():
    net = _Classifier(
        *_conv(3, 192, 5, 1, 2),
        *_conv(192, 160, 1),
        *_conv(160, 96, 1),
        cr.nn.MaxPool2d(3, 2, 1),
        cr.nn.Dropout(0.5),
        *_conv(96, 192, 5, 1, 2),
        *_conv(192, 192, 1),
        *_conv(192, 192, 1),
        cr.nn.AvgPool2d(3, 2, 1),
        cr.nn.Dropout(0.5),
        *_conv(192, 192, 3, 1, 1),
        *_conv(192, 192, 1),
        *_conv(192, 10, 1),
        cr.nn.GlobalAvgPool2d(),
    )
    return _step(net, *_images(32, 3), 1e-3)


def vgg_like():
    layers, inputs = [], 3
    for outputs in (64, 128, 256):
        for _ in range(2):
            layers += [
                cr.nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                cr.nn.BatchNorm2d(outputs),
                cr.nn.ReLU(),
            ]
            inputs = outputs
        layers.append(cr.nn.MaxPool2d(2))
    net = _Classifier(*layers, cr.nn.Flatten(), cr.nn.Linear(4096, 10))
    return _step(net, *_images(32, 3), 1e-3)


def convolution(size, channels, filters, kernel, stride, direction, algorithm):
    """One pass of one layer, batch 64."""
    size, channels, filters, kernel, stride = map(int, (size, channels, filters, kernel, stride))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, size, size, channels), dtype=np.float32)
    w = rng.standard_normal((kernel, kernel, channels, filters), dtype=np.float32)
    window = (stride, stride, *[kernel // 2] * 4, 1, 1, 1)
    y = _core.conv2d(x, w, None, window, False)
    passes = {
        "forward": lambda: _core.conv2d(x, w, None, window, False),
        "input_gradient": lambda: _core.conv2d_input_gradient(y, w, None, size, size, window, False),
        "weight_gradient": lambda: _core.conv2d_weight_gradient(x, y, kernel, kernel, window),
    }

    def step():
        cr.set_conv_algorithm(algorithm)
        passes[direction]()

    return step


def product(n):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((int(n), int(n)), dtype=np.float32) for _ in range(2))
    return lambda: _core.matmul(a, b)


def small_products():
    """A thousand products of 96 x 96 on the calling thread."""
    b = np.ones((96, 96), np.float32)
    a = np.ones((96, 96), np.float32)

    def step():
        threads = cr.get_num_threads()
        cr.set_num_threads(1)
        for _ in range(1000):
            _core.matmul(a, b)
        cr.set_num_threads(threads)

    return step


def gate_chain():
    """A chain of 100 multiplications of 4 floats, forward and backward: what a gate costs beside its work."""
    a = cr.tensor(np.ones(4, np.float32), requires_grad=True)
    b = cr.tensor(np.ones(4, np.float32))
    ones = np.ones(4, np.float32)

    def step():
        c = a
        for _ in range(100):
            c = c * b
        a.grad = None
        c.backward(ones)

    return step
