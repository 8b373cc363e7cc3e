"""Stochastic gradient descent."""

from __future__ import annotations

import numpy as np

from chainrule import _core
from chainrule.autodiff.change import announce
from chainrule.tensor import Tensor


class SGD:
    """Gradient descent with momentum, Nesterov's momentum and weight decay.

    For each parameter w with gradient g:

        g <- g + weight_decay w              (classical weight decay: an L2 penalty of weight_decay / 2 |w|^2)
        v <- momentum v + g
        w <- w - lr v                        (or lr (g + momentum v) with Nesterov)

    With `decoupled`, the first line is left out and w also loses lr weight_decay w
    (Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019). Nesterov's form is that of Sutskever
    et al., On the Importance of Initialization and Momentum, 2013. The velocity starts at 0.

    Args:
        params: the parameters, an iterable of Tensors that require gradients.
        lr: the learning rate, at least 0; may be set anew between steps as `.lr`.
        momentum: in [0, 1).
        nesterov: needs momentum above 0.
        weight_decay: at least 0.
        decoupled: which weight decay.

    Errors: ValueError for settings out of range, or no parameters; TypeError for what is no parameter.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0], requires_grad=True)
    >>> optimizer = cr.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.numpy().round(4)
    array([0.8], dtype=float32)
    """

    def __init__(self, params, lr, momentum=0.0, nesterov=False, weight_decay=0.0, decoupled=False):
        self.params = list(params)
        if not self.params:
            raise ValueError("SGD: no parameters given")
        for i, p in enumerate(self.params):
            if not (isinstance(p, Tensor) and p.gate is None and p.requires_grad):
                raise TypeError(f"SGD: parameter {i} is no leaf Tensor with requires_grad=True")
        self.lr = lr
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self.decoupled = decoupled
        self._update([], [], [])  # the core checks the settings
        self.velocities = [np.zeros_like(p.value) if momentum else None for p in self.params]

    def _update(self, weights, gradients, velocities):
        _core.sgd_step(
            weights,
            gradients,
            velocities,
            self.lr,
            self.momentum,
            self.nesterov,
            self.weight_decay,
            self.decoupled,
        )

    def step(self) -> None:
        """Update every parameter that has a gradient, all in one call; others stay as they are."""
        weights, gradients, velocities = [], [], []
        for parameter, velocity in zip(self.params, self.velocities, strict=True):
            if parameter.grad is not None:
                weights.append(parameter.value)
                gradients.append(parameter.grad.value)
                velocities.append(velocity)
        announce(parameter for parameter in self.params if parameter.grad is not None)
        self._update(weights, gradients, velocities)

    def zero_grad(self) -> None:
        """Forget every parameter's gradient."""
        for parameter in self.params:
            parameter.grad = None

    def state_dict(self) -> dict:
        """The learning rate and a copy of each velocity, as {'lr': ..., 'velocity.0': ..., ...}."""
        state = {"lr": self.lr}
        for i, velocity in enumerate(self.velocities):
            if velocity is not None:
                state[f"velocity.{i}"] = velocity.copy()
        return state

    def load_state_dict(self, state: dict) -> None:
        """Take the learning rate and velocities from `state`. All is checked before anything is changed.

        Errors: ValueError naming keys that are missing or not known, or shapes that differ.
        """
        own = self.state_dict()
        if own.keys() != state.keys():
            raise ValueError(
                f"SGD.load_state_dict: missing {sorted(own.keys() - state.keys())}, not known "
                f"{sorted(state.keys() - own.keys())}: another optimizer's state?"
            )
        for key, value in own.items():
            if np.shape(value) != np.shape(state[key]):
                raise ValueError(
                    f"SGD.load_state_dict: {key} has shape {np.shape(state[key])}, here it is {np.shape(value)}"
                )
        self.lr = float(state["lr"])
        for i, velocity in enumerate(self.velocities):
            if velocity is not None:
                velocity[...] = state[f"velocity.{i}"]
