"""Models: linear classifiers and multi-layer nets, each with its loss."""

from chainrule.models.linear import LinearSVM, SoftmaxRegression
from chainrule.models.mlp import MLP, TwoLayerNet

__all__ = ["MLP", "LinearSVM", "SoftmaxRegression", "TwoLayerNet"]
