"""Tuning by hypergradients: how a classifier trains is learned by gradient descent.

    python examples/tune_by_gradient.py

The learning rate of each of ten stages of training and the l2 strength are eleven numbers; a grid over them would be
hopeless. Their gradient through all of training costs a few trainings, however many there are. The logarithms are
tuned, so that everything stays above 0.

Source: Maclaurin, Duvenaud and Adams, Gradient-based Hyperparameter Optimization through Reversible Learning, 2015;
Baydin et al., Automatic Differentiation in Machine Learning: a Survey, 2018, section 4.1.
"""

import numpy as np

import chainrule as cr

STAGES, STEPS_A_STAGE, MOMENTUM = 10, 5, 0.5


def digits(count=120):
    """(training images, labels), (validation images, labels)."""
    images, labels = cr.data.load_digits().train
    x = images.reshape(len(images), -1) / 16.0
    return (x[:count], labels[:count]), (x[count : 2 * count], labels[count : 2 * count])


def loss(w, x, labels):
    """A softmax classifier's loss."""
    return cr.softmax_cross_entropy(cr.matmul(x, w), labels)


def validation_loss(log_rates, log_l2):
    """The validation loss after SGD with a learning rate for each stage."""
    training, validation = digits()
    l2 = cr.exp(log_l2)
    w = np.zeros((64, 10))
    v = np.zeros_like(w)
    for stage in range(STAGES):
        rate = cr.exp(log_rates[stage])
        for _ in range(STEPS_A_STAGE):
            v = MOMENTUM * v + cr.grad(loss)(w, *training) + l2 * w
            w = w - rate * v
    return loss(w, *validation)


def tune(log_rates, log_l2, steps=15, rate=4.0):
    """Gradient descent on the hyperparameters. Returns the last ones and the validation losses on the way."""
    value_and_gradient = cr.value_and_grad(validation_loss, argnums=(0, 1))
    losses = []
    for _ in range(steps):
        value, (of_rates, of_l2) = value_and_gradient(log_rates, log_l2)
        losses.append(float(value))
        log_rates, log_l2 = log_rates - rate * of_rates, log_l2 - rate * of_l2
    return log_rates, log_l2, losses


def main():
    start = np.full(STAGES, np.log(0.05)), np.log(np.array(0.1))
    log_rates, log_l2, losses = tune(*start)
    for step, value in enumerate(losses):
        print(f"step {step:2d}: validation loss {value:.6f}")
    print(f"after it:  validation loss {float(validation_loss(log_rates, log_l2)):.6f}")
    print("learning rates", np.exp(log_rates).round(3), " l2", float(np.exp(log_l2).round(4)))


if __name__ == "__main__":
    main()
