"""Layers and how they are composed: Module, Parameter, Sequential, Linear, activations, initialisation."""

from chainrule.nn import initialise
from chainrule.nn.activation import Flatten, ReLU, Sigmoid, Softmax, Tanh
from chainrule.nn.linear import Linear
from chainrule.nn.module import Module, Parameter, Sequential

__all__ = [
    "Flatten",
    "Linear",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "initialise",
]
