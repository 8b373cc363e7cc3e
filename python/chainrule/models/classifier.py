"""What the classifiers share: they flatten their input, know their loss, and show their first weights."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import shape_of
from chainrule.gates.losses import softmax_cross_entropy
from chainrule.gates.shape import reshape
from chainrule.nn.module import Module


class Classifier(Module):
    """A module from inputs (N, ...) to scores (N, classes)."""

    def scores(self, x):
        """Scores (N, classes) of flat inputs (N, features)."""
        raise TypeError(f"{type(self).__name__}.scores is not defined: a classifier defines it")

    def forward(self, x):
        shape = shape_of(x)
        if len(shape) < 2:
            raise ValueError(f"{type(self).__name__}: x has shape {shape}: give (N, ...), one row an example")
        if len(shape) > 2:
            features = 1
            for size in shape[1:]:
                features *= size
            x = reshape(x, (shape[0], features))
        return self.scores(x)

    def loss(self, scores, labels, label_smoothing=0.0):
        """The mean softmax cross-entropy over the batch."""
        return softmax_cross_entropy(scores, labels, label_smoothing=label_smoothing)

    def first_weights(self) -> np.ndarray:
        """The first layer's weights, (in_features, units): each column is a template."""
        raise TypeError(f"{type(self).__name__}.first_weights is not defined")
