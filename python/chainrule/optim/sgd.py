"""Stochastic gradient descent."""

from __future__ import annotations

from chainrule import _core
from chainrule.optim.optimizer import Optimizer, Setting


class SGD(Optimizer):
    """Gradient descent with momentum, Nesterov's momentum and weight decay.

    For each parameter w with gradient g:

        g <- g + weight_decay w              (classical weight decay: an L2 penalty of weight_decay / 2 |w|^2)
        v <- momentum v + g
        w <- w - lr v                        (or lr (g + momentum v) with Nesterov)

    With `decoupled`, the first line is left out and w also loses lr weight_decay w
    (Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019, algorithm 1, p. 3). Nesterov's form is
    that of Sutskever et al., On the Importance of Initialization and Momentum, 2013, section 2, as PyTorch has it.
    The velocity starts at 0.

    Args:
        params: the parameters, an iterable of Tensors that require gradients, or of dicts: groups with settings
            of their own (see `Optimizer`).
        lr: the learning rate, at least 0; may be set anew between steps as `.lr`.
        momentum: in [0, 1).
        nesterov: needs momentum above 0.
        weight_decay: at least 0.
        decoupled: which weight decay.

    Errors: ValueError for settings out of range, no parameters, or one given twice; TypeError for what is no
    parameter.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0], requires_grad=True)
    >>> optimizer = cr.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.numpy().round(4)
    array([0.8], dtype=float32)
    """

    _optional = ("velocity",)

    lr = Setting()
    momentum = Setting()
    nesterov = Setting()
    weight_decay = Setting()
    decoupled = Setting()

    def __init__(self, params, lr, momentum=0.0, nesterov=False, weight_decay=0.0, decoupled=False):
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "nesterov": nesterov,
                "weight_decay": weight_decay,
                "decoupled": decoupled,
            },
        )

    @property
    def velocities(self) -> list:
        """Each parameter's velocity, None where it has none."""
        return [slot.arrays.get("velocity") for slots in self._slots for slot in slots]

    def _state(self, settings):
        return {"velocity": 0.0} if settings["momentum"] else {}

    def _update(self, groups):
        _core.sgd_step(groups)
