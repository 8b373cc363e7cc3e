"""Adagrad."""

from __future__ import annotations

from chainrule import _core
from chainrule.optim.optimizer import Optimizer, Setting


class Adagrad(Optimizer):
    """Adagrad: each gradient divided by the root of the sum of all its squares so far.

    For each parameter w with gradient g, at its t-th step:

        g <- g + weight_decay w              (an L2 penalty of weight_decay / 2 |w|^2)
        s <- s + g^2
        w <- w - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)

    (Duchi, Hazan and Singer, Adaptive Subgradient Methods for Online Learning and Stochastic Optimization, JMLR
    12, 2011, pp. 2121-2159: the diagonal form of section 1.1.) s starts at initial_accumulator_value; t counts the
    steps at which w had a gradient.

    Args:
        params: the parameters, an iterable of Tensors that require gradients, or of dicts: groups with settings
            of their own (see `Optimizer`).
        lr: the learning rate, at least 0; may be set anew between steps as `.lr`.
        lr_decay: at least 0.
        weight_decay: at least 0.
        initial_accumulator_value: at least 0; counts when the parameter is given to the optimizer.
        eps: at least 0; with 0, a weight whose gradients were all 0 becomes NaN.

    The state of each parameter is 'step' and 'sum' (s).

    Errors: ValueError for settings out of range, no parameters, or one given twice; TypeError for what is no
    parameter.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = cr.optim.Adagrad([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.numpy().round(4)
    array([ 0.9, -1.9], dtype=float32)
    """

    lr = Setting()
    lr_decay = Setting()
    weight_decay = Setting()
    initial_accumulator_value = Setting()
    eps = Setting()
    _counts_steps = True

    def __init__(
        self, params, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10
    ):
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
            },
        )

    def _state(self, settings):
        return {"sum": settings["initial_accumulator_value"]}

    def _update(self, groups):
        _core.adagrad_step(groups)
