"""Optimizers, which change parameters in place from their gradients, and what goes with them: schedules of the
learning rate, clipping, averages of the weights, early stopping."""

from chainrule.optim.adagrad import Adagrad
from chainrule.optim.adam import Adam, AdamW
from chainrule.optim.average import ExponentialMovingAverage
from chainrule.optim.clip import clip_grad_norm, clip_grad_value
from chainrule.optim.early_stopping import EarlyStopping
from chainrule.optim.lookahead import Lookahead
from chainrule.optim.one_cycle import OneCycleLR
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.plateau import ReduceLROnPlateau
from chainrule.optim.rmsprop import RMSprop
from chainrule.optim.schedule import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    Schedule,
    StepLR,
)
from chainrule.optim.sgd import SGD
from chainrule.optim.warm_up import WarmUp

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "EarlyStopping",
    "ExponentialLR",
    "ExponentialMovingAverage",
    "LambdaLR",
    "LinearLR",
    "Lookahead",
    "MultiStepLR",
    "OneCycleLR",
    "Optimizer",
    "RMSprop",
    "ReduceLROnPlateau",
    "Schedule",
    "StepLR",
    "WarmUp",
    "clip_grad_norm",
    "clip_grad_value",
]
