"""The benchmarks' steps in chainrule: one function a case, each returning a step without arguments."""

import contextlib
import itertools

import nets
import numpy as np

import chainrule as cr
from chainrule import _core

version = cr.__version__


def set_threads(n):
    cr.set_num_threads(n)


def peak(seconds):
    """Multiplications and additions a second that vector registers allow, on the threads set."""
    return _core.multiply_add_rate(seconds)


# ---- Nets ------------------------------------------------------------------------------------------------------


def build(net):
    """The net as a module, in training mode."""
    layers = []
    for layer, shape, parameters in nets.built(net):
        match layer:
            case nets.Conv(filters, kernel, stride, padding, bias):
                layers.append(cr.nn.Conv2d(shape[-1], filters, kernel, stride, padding, bias=bias))
            case nets.Linear(outputs):
                layers.append(cr.nn.Linear(shape[0], outputs))
            case nets.BatchNorm():
                layers.append(cr.nn.BatchNorm2d(shape[-1]))
            case nets.ReLU():
                layers.append(cr.nn.ReLU())
            case nets.GELU():
                layers.append(cr.nn.GELU())
            case nets.MaxPool(size, stride, padding):
                layers.append(cr.nn.MaxPool2d(size, stride, padding))
            case nets.AveragePool(size, stride, padding):
                layers.append(cr.nn.AvgPool2d(size, stride, padding))
            case nets.GlobalAveragePool():
                layers.append(cr.nn.GlobalAvgPool2d())
            case nets.Dropout(p):
                layers.append(cr.nn.Dropout(p))
            case nets.Flatten():
                layers.append(cr.nn.Flatten())
        for own, value in zip(layers[-1].parameters(), parameters, strict=True):
            own.data[...] = value
    return cr.nn.Sequential(*layers)


def training(name, batch, precision="float32"):
    """Forward, loss, backward and an update by momentum, on the same batch each time."""
    if precision != "float32" and not hasattr(cr, "autocast"):
        raise NotImplementedError(f"this chainrule has no {precision}")
    net = nets.NETS[name]
    x, labels = nets.data(net, batch)
    model = build(net)
    optimizer = cr.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3)
    loss_function = cr.multiclass_hinge if net.loss == "hinge" else cr.softmax_cross_entropy

    def step():
        optimizer.zero_grad()
        with contextlib.nullcontext() if precision == "float32" else cr.autocast(precision):
            loss = loss_function(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def inference(name, batch, output=None):
    """Scores of the same batch each time; the first go to the file `output`."""
    net = nets.NETS[name]
    x, _ = nets.data(net, batch)
    frozen = cr.nn.freeze(build(net), x)

    def step():
        return frozen(x)

    if output is not None:
        np.save(output, step())
    return step


# ---- Batches of images -----------------------------------------------------------------------------------------


def augmentation(name, dtype):
    """One augmented batch of the net's size, another each time: flip, translation by 2 with reflection, normalised
    by channel, beforehand ('float32') or on the way ('uint8')."""
    net = nets.NETS[name]
    images = nets.photographs(net)
    standard = cr.data.Standardise("channel").fit(images)
    settings = {"flip": "random", "translate": 2, "padding": "reflect"}
    if dtype == "float32":
        images = standard(images)
    else:
        settings["normalise"] = standard
    augment = cr.data.Augment(**settings)
    rng = np.random.default_rng(3)
    numbers = itertools.count()
    return lambda: augment(images, rng.integers(0, len(images), net.batch), next(numbers))


# ---- Single operations -----------------------------------------------------------------------------------------


def convolution(size, channels, filters, kernel, stride, direction, precision, algorithm):
    """One pass of one layer, batch 64, of float32 arrays in either precision."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, size, size, channels), dtype=np.float32)
    w = rng.standard_normal((kernel, kernel, channels, filters), dtype=np.float32)
    window = (stride, stride, *[kernel // 2] * 4, 1, 1, 1)
    rounded = precision == "bfloat16"
    y = _core.conv2d(x, w, None, window, False, rounded)
    passes = {
        "forward": lambda: _core.conv2d(x, w, None, window, False, rounded),
        "input_gradient": lambda: _core.conv2d_input_gradient(y, w, None, size, size, window, False, rounded),
        "weight_gradient": lambda: _core.conv2d_weight_gradient(x, y, kernel, kernel, window, rounded),
    }

    def step():
        cr.set_conv_algorithm(algorithm)
        passes[direction]()

    return step


def product(n, precision):
    """One square matrix product, of float32 arrays in either precision."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((n, n), dtype=np.float32) for _ in range(2))
    return lambda: _core.matmul(a, b, None, False, precision == "bfloat16")


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
