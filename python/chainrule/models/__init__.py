"""Models: linear classifiers, multi-layer nets and convolutional nets, each with its loss."""

from chainrule.models.all_conv_net import AllConvNet
from chainrule.models.fast_cifar import FastCifarNet
from chainrule.models.lenet import LeNet5
from chainrule.models.linear import LinearSVM, SoftmaxRegression
from chainrule.models.mlp import MLP, TwoLayerNet
from chainrule.models.network_in_network import NetworkInNetwork

__all__ = [
    "MLP",
    "AllConvNet",
    "FastCifarNet",
    "LeNet5",
    "LinearSVM",
    "NetworkInNetwork",
    "SoftmaxRegression",
    "TwoLayerNet",
]
