"""The benchmark's training steps in PyTorch, as its users write them."""

import torch
from torch import nn

version = torch.__version__


def set_threads(n):
    torch.set_num_threads(n)


def _step(model, rows, features, loss_function):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((rows, features), generator=generator)
    labels = torch.randint(0, 10, (rows,), generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_function(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def linear_svm():
    # PyTorch's multi-margin loss divides by the number of classes; the work is the same.
    return _step(nn.Linear(3072, 10), 256, 3072, nn.MultiMarginLoss())


def linear_softmax():
    return _step(nn.Linear(3072, 10), 256, 3072, nn.CrossEntropyLoss())


def mlp():
    model = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    return _step(model, 64, 784, nn.CrossEntropyLoss())


def _image_step(model, size, channels):
    """A step on images in the layout that PyTorch is fastest with, channels last."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((64, channels, size, size), generator=generator).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (64,), generator=generator)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _conv(inputs, outputs, kernel, stride=1, padding=0):
    return nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU()


def lenet5():
    net = nn.Sequential(
        *_conv(1, 6, 5, padding=2),
        nn.MaxPool2d(2),
        *_conv(6, 16, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    return _image_step(net, 28, 1)


def all_cnn_c():
    net = nn.Sequential(
        nn.Dropout(0.2),
        *_conv(3, 96, 3, 1, 1),
        *_conv(96, 96, 3, 1, 1),
        *_conv(96, 96, 3, 2, 1),
        nn.Dropout(0.5),
        *_conv(96, 192, 3, 1, 1),
        *_conv(192, 192, 3, 1, 1),
        *_conv(192, 192, 3, 2, 1),
        nn.Dropout(0.5),
        *_conv(192, 192, 3),
        *_conv(192, 192, 1),
        *_conv(192, 10, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return _image_step(net, 32, 3)


def network_in_network():
    net = nn.Sequential(
        *_conv(3, 192, 5, 1, 2),
        *_conv(192, 160, 1),
        *_conv(160, 96, 1),
        nn.MaxPool2d(3, 2, 1),
        nn.Dropout(0.5),
        *_conv(96, 192, 5, 1, 2),
        *_conv(192, 192, 1),
        *_conv(192, 192, 1),
        nn.AvgPool2d(3, 2, 1),
        nn.Dropout(0.5),
        *_conv(192, 192, 3, 1, 1),
        *_conv(192, 192, 1),
        *_conv(192, 10, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return _image_step(net, 32, 3)


def vgg_like():
    layers, inputs = [], 3
    for outputs in (64, 128, 256):
        for _ in range(2):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return _image_step(nn.Sequential(*layers, nn.Flatten(), nn.Linear(4096, 10)), 32, 3)


def convolution(size, channels, filters, kernel, stride, direction, _algorithm):
    """One pass of one layer, batch 64, channels last."""
    size, channels, filters, kernel, stride = map(int, (size, channels, filters, kernel, stride))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((64, channels, size, size), generator=generator).to(memory_format=torch.channels_last)
    w = torch.randn((filters, channels, kernel, kernel), generator=generator)
    w = w.to(memory_format=torch.channels_last)
    settings = ([stride, stride], [kernel // 2] * 2, [1, 1])
    y = torch.conv2d(x, w, None, *settings)

    def backward(*wanted):
        return torch.ops.aten.convolution_backward(
            y, x, w, None, *settings, False, [0, 0], 1, [*wanted, False]
        )

    passes = {
        "forward": lambda: torch.conv2d(x, w, None, *settings),
        "input_gradient": lambda: backward(True, False),
        "weight_gradient": lambda: backward(False, True),
    }
    return torch.no_grad()(passes[direction])


def product(n):
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn((int(n), int(n)), generator=generator) for _ in range(2))
    return torch.no_grad()(lambda: a @ b)


def gate_chain():
    a = torch.ones(4, requires_grad=True)
    b = torch.ones(4)
    ones = torch.ones(4)

    def step():
        c = a
        for _ in range(100):
            c = c * b
        a.grad = None
        c.backward(ones)

    return step
