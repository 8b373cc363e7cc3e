"""Multi-layer perceptrons: linear layers with relu between them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from chainrule.models.classifier import Classifier
from chainrule.nn.activation import ReLU
from chainrule.nn.initialise import as_generator
from chainrule.nn.linear import Linear
from chainrule.nn.sequential import Sequential


class MLP(Classifier):
    """Linear layers of the given widths, relu between them, under the softmax cross-entropy.

    Args:
        in_features: values of one input.
        hidden: the widths of the hidden layers, an int or a tuple; () is a linear classifier.
        classes: their number.
        seed: of the initial weights (He et al. before relu, Glorot for the last layer); None draws from the
            library's generator.

    >>> import chainrule as cr, numpy as np
    >>> net = cr.models.MLP(784, (100,), 10, seed=0)
    >>> sum(p.size for p in net.parameters())
    79510
    """

    def __init__(self, in_features, hidden, classes, *, seed=None):
        hidden = (hidden,) if np.ndim(hidden) == 0 else tuple(hidden)
        rng = as_generator(seed)
        layers = []
        widths = (in_features, *hidden)
        for before, after in pairwise(widths):
            layers += [Linear(before, after, initialise="he", rng=rng), ReLU()]
        layers.append(Linear(widths[-1], classes, initialise="glorot", rng=rng))
        self.layers = Sequential(*layers)

    def scores(self, x):
        return self.layers(x)

    def first_weights(self):
        return self.layers[0].weight.data


class TwoLayerNet(MLP):
    """The lectures' two-layer net: linear, relu, linear, softmax.

    Args:
        in_features, hidden, classes: the three widths, all integers.
        seed: as for MLP.
    """

    def __init__(self, in_features, hidden, classes, *, seed=None):
        super().__init__(in_features, (hidden,), classes, seed=seed)
