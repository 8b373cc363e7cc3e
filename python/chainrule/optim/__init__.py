"""Optimizers: they change parameters in place from their gradients."""

from chainrule.optim.sgd import SGD

__all__ = ["SGD"]
