"""Hypergradients: the derivative of a validation loss in the learning rate, momentum and l2 of training.

    python examples/hypergradients.py

A hundred steps of SGD are one function of three numbers: each step calls `cr.grad`, and the whole is differentiated
by `cr.grad` again, through every update. Central differences, which train twice for each number, agree.

Source: Baydin et al., Automatic Differentiation in Machine Learning: a Survey, 2018, section 4.1; Maclaurin,
Duvenaud and Adams, Gradient-based Hyperparameter Optimization through Reversible Learning, 2015.
"""

import numpy as np

import chainrule as cr

HYPERPARAMETERS = {"learning rate": 0.5, "momentum": 0.8, "l2": 0.01}


def digits(count=120):
    """(training images, labels), (validation images, labels): the first digits, as rows of numbers in [0, 1]."""
    images, labels = cr.data.load_digits().train
    x = images.reshape(len(images), -1) / 16.0
    return (x[:count], labels[:count]), (x[count : 2 * count], labels[count : 2 * count])


def loss(w, x, labels):
    """A softmax classifier's loss."""
    return cr.softmax_cross_entropy(cr.matmul(x, w), labels)


def train(hyperparameters, data, steps=100, batch=20):
    """The weights after SGD with momentum: v <- momentum v + g + l2 w; w <- w - rate v."""
    x, labels = data
    rate, momentum, l2 = (hyperparameters[name] for name in HYPERPARAMETERS)
    w = np.zeros((x.shape[1], 10))
    v = np.zeros_like(w)
    for step in range(steps):
        rows = slice(step * batch % len(x), step * batch % len(x) + batch)
        g = cr.grad(loss)(w, x[rows], labels[rows])
        v = momentum * v + g + l2 * w
        w = w - rate * v
    return w


def validation_loss(hyperparameters, steps=100):
    """The loss on digits that training has not seen, as a function of how the training went."""
    training, validation = digits()
    return loss(train(hyperparameters, training, steps), *validation)


def as_arrays(numbers):
    return {name: np.array(value) for name, value in numbers.items()}


def main():
    point = as_arrays(HYPERPARAMETERS)
    value, gradient = cr.value_and_grad(validation_loss)(point)
    print(f"validation loss after 100 steps: {float(value):.6f}\n")
    print("hyperparameter      value   by differentiation   by differences   relative error")
    for name, centre in point.items():
        numerical = cr.numerical_gradient(lambda x, name=name: validation_loss({**point, name: x}), centre)
        exact = float(gradient[name])
        print(
            f"{name:14s} {float(centre):10.4g} {exact:20.10f} {float(numerical):16.8f} "
            f"{abs(exact - float(numerical)) / abs(exact):13.1e}"
        )


if __name__ == "__main__":
    main()
