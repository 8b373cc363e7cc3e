"""The benchmarks' steps in PyTorch, as its users write them, in the layout that it is fastest with: channels last."""

import nets
import numpy as np
import torch
from torch import nn

version = torch.__version__


def set_threads(n):
    torch.set_num_threads(n)


# ---- Nets ------------------------------------------------------------------------------------------------------


def build(net):
    """The net as a module, in training mode."""
    layers = []
    for layer, shape, parameters in nets.channels_first(nets.built(net)):
        match layer:
            case nets.Conv(filters, kernel, stride, padding, bias):
                layers.append(nn.Conv2d(shape[-1], filters, kernel, stride, padding, bias=bias))
            case nets.Linear(outputs):
                layers.append(nn.Linear(shape[0], outputs))
            case nets.BatchNorm():
                layers.append(nn.BatchNorm2d(shape[-1]))
            case nets.ReLU():
                layers.append(nn.ReLU())
            case nets.GELU():
                layers.append(nn.GELU())
            case nets.MaxPool(size, stride, padding):
                layers.append(nn.MaxPool2d(size, stride, padding))
            case nets.AveragePool(size, stride, padding):
                layers.append(nn.AvgPool2d(size, stride, padding))
            case nets.GlobalAveragePool():
                layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
            case nets.Dropout(p):
                layers.append(nn.Dropout(p))
            case nets.Flatten():
                layers.append(nn.Flatten())
        with torch.no_grad():
            for own, value in zip(layers[-1].parameters(), parameters, strict=True):
                own.copy_(torch.from_numpy(value))
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def inputs(x):
    """An array of images or rows as a Tensor."""
    x = torch.from_numpy(x)
    return x.permute(0, 3, 1, 2) if x.dim() == 4 else x


def training(name, batch, precision="float32"):
    """Forward, loss, backward and an update by momentum, on the same batch each time."""
    net = nets.NETS[name]
    x, labels = nets.data(net, batch)
    x, labels = inputs(x), torch.from_numpy(labels)
    model = build(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3)
    # PyTorch's hinge loss divides by the number of classes; the work is the same.
    loss_function = nn.MultiMarginLoss() if net.loss == "hinge" else nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = loss_function(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def inference(name, batch, output=None):
    """Scores of the same batch each time; the first go to the file `output`."""
    net = nets.NETS[name]
    x = inputs(nets.data(net, batch)[0])
    model = build(net).eval()

    def step():
        with torch.inference_mode():
            return model(x).numpy()

    if output is not None:
        np.save(output, step())
    return step


# ---- Batches of images -----------------------------------------------------------------------------------------


def augmentation(name):
    """One augmented batch of the net's size, another each time: flip, translation by 2 with reflection, of images
    that were normalised and padded beforehand."""
    net = nets.NETS[name]
    images = nets.photographs(net)
    images = torch.from_numpy(images).permute(0, 3, 1, 2).float().sub_(127.5).div_(73.9)
    count, channels, height, width = images.shape
    images = nn.functional.pad(images, (2, 2, 2, 2), mode="reflect")
    generator = torch.Generator().manual_seed(3)

    def draw(most):
        return torch.randint(0, most, (net.batch,), generator=generator)

    def step():
        indices, rows, columns, flip = draw(count), draw(5), draw(5), draw(2) == 1
        batch = torch.empty(net.batch, channels, height, width)
        for i in range(5):
            for j in range(5):
                chosen = (rows == i) & (columns == j)
                batch[chosen] = images[indices[chosen], :, i : i + height, j : j + width]
        batch[flip] = batch[flip].flip(-1)
        return batch.contiguous(memory_format=torch.channels_last)

    return step


# ---- Single operations -----------------------------------------------------------------------------------------


def convolution(size, channels, filters, kernel, stride, direction, precision):
    """One pass of one layer, batch 64, of tensors in the precision."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((64, channels, size, size), generator=generator)
    w = torch.randn((filters, channels, kernel, kernel), generator=generator)
    x, w = (t.to(getattr(torch, precision), memory_format=torch.channels_last) for t in (x, w))
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


def product(n, precision):
    """One square matrix product, of tensors in the precision."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn((n, n), generator=generator).to(getattr(torch, precision)) for _ in range(2))
    return torch.no_grad()(lambda: a @ b)


def gate_chain():
    """A chain of 100 multiplications of 4 floats, forward and backward."""
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
