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
