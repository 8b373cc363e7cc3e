"""Models: linear classifiers, multi-layer nets and convolutional nets, each with its loss."""

from chainrule.models.lenet import LeNet5
from chainrule.models.linear import LinearSVM, SoftmaxRegression
from chainrule.models.mlp import MLP, TwoLayerNet

__all__ = ["MLP", "LeNet5", "LinearSVM", "SoftmaxRegression", "TwoLayerNet"]
