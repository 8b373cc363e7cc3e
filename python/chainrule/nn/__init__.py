"""Layers and how they are composed: Module, Parameter, Sequential, layers, activations, initialisation."""

from chainrule.nn import initialise
from chainrule.nn.activation import (
    ELU,
    GELU,
    Flatten,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from chainrule.nn.arithmetic import convolution_arithmetic, output_size
from chainrule.nn.convolution import Conv2d, ConvTranspose2d
from chainrule.nn.freeze import Frozen, freeze
from chainrule.nn.linear import Linear
from chainrule.nn.module import Module, Parameter
from chainrule.nn.normalise import BatchNorm2d, Dropout, LayerNorm
from chainrule.nn.observe import observe
from chainrule.nn.pool import AvgPool2d, GlobalAvgPool2d, GlobalMaxPool2d, MaxPool2d
from chainrule.nn.residual import Residual
from chainrule.nn.sequential import Sequential

__all__ = [
    "ELU",
    "GELU",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Flatten",
    "Frozen",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Module",
    "Parameter",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "convolution_arithmetic",
    "freeze",
    "initialise",
    "observe",
    "output_size",
]
