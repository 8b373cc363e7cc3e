"""RMSprop."""

from __future__ import annotations

from chainrule import _core
from chainrule.optim.optimizer import Optimizer, Setting


class RMSprop(Optimizer):
    """RMSprop: each gradient divided by a running root mean square of itself.

    For each parameter w with gradient g:

        g <- g + weight_decay w              (an L2 penalty of weight_decay / 2 |w|^2)
        s <- alpha s + (1 - alpha) g^2
        d <- g / (sqrt(s) + eps)
        b <- momentum b + d                  (b = d without momentum)
        w <- w - lr b

    (Tieleman and Hinton, Neural Networks for Machine Learning, lecture 6e, 2012, slide 29). With `centered`, a
    running mean m of the gradient is kept too and s - m^2, the variance, takes the place of s in the third line
    (Graves, Generating Sequences with Recurrent Neural Networks, 2013, equations 38-41, p. 23, though with eps
    outside of the root, as PyTorch has it). Where rounding takes the variance below 0 it counts as 0; PyTorch
    gives NaN there. All averages start at 0.

    Args:
        params: the parameters, an iterable of Tensors that require gradients, or of dicts: groups with settings
            of their own (see `Optimizer`).
        lr: the learning rate, at least 0; may be set anew between steps as `.lr`.
        alpha: how much of the averages is kept, in [0, 1).
        eps: at least 0; with 0, a weight whose gradients were all 0 becomes NaN.
        weight_decay: at least 0.
        momentum: in [0, 1).
        centered: whether to divide by the standard deviation.

    The state of each parameter is 'square_avg' (s), with momentum 'momentum_buffer' (b), and where centered
    'grad_avg' (m).

    Errors: ValueError for settings out of range, no parameters, or one given twice; TypeError for what is no
    parameter.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = cr.optim.RMSprop([w], lr=0.01)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.numpy().round(4)
    array([ 0.9, -1.9], dtype=float32)
    """

    _optional = ("momentum_buffer", "grad_avg")

    lr = Setting()
    alpha = Setting()
    eps = Setting()
    weight_decay = Setting()
    momentum = Setting()
    centered = Setting()

    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
            },
        )

    def _state(self, settings):
        state = {"square_avg": 0.0}
        if settings["momentum"]:
            state["momentum_buffer"] = 0.0
        if settings["centered"]:
            state["grad_avg"] = 0.0
        return state

    def _update(self, groups):
        _core.rmsprop_step(groups)
