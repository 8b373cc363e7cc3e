"""The benchmark's training steps in chainrule: one function a case, each returning a step without arguments."""

import chainrule as cr
import numpy as np

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
