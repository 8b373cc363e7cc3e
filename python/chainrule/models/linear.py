"""The two linear classifiers: f(x, W, b) = x W + b under the hinge and the softmax loss."""

from __future__ import annotations

from chainrule.gates.losses import multiclass_hinge
from chainrule.models.classifier import Classifier
from chainrule.nn.linear import Linear


class SoftmaxRegression(Classifier):
    """A linear classifier under the softmax cross-entropy: multinomial logistic regression.

    Args:
        in_features: values of one input.
        classes: their number.
        seed: of the initial weights, small and random; None draws from the library's generator.

    >>> import chainrule as cr, numpy as np
    >>> model = cr.models.SoftmaxRegression(64, 10, seed=0)
    >>> model(np.zeros((5, 8, 8, 1), np.float32)).shape
    (5, 10)
    """

    def __init__(self, in_features, classes, *, seed=None):
        self.linear = Linear(in_features, classes, initialise="glorot", rng=seed)

    def scores(self, x):
        return self.linear(x)

    def first_weights(self):
        return self.linear.weight.data


class LinearSVM(SoftmaxRegression):
    """A linear classifier under the multiclass hinge loss.

    Args:
        in_features, classes, seed: as for SoftmaxRegression.
        delta: the margin.
        squared: square each violation.
    """

    def __init__(self, in_features, classes, *, delta=1.0, squared=False, seed=None):
        super().__init__(in_features, classes, seed=seed)
        self.delta = delta
        self.squared = squared

    def loss(self, scores, labels):
        """The mean multiclass hinge loss over the batch."""
        return multiclass_hinge(scores, labels, self.delta, self.squared)
