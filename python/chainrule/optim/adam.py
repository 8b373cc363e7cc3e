"""Adam, with weight decay in the gradient or apart from it."""

from __future__ import annotations

from chainrule import _core
from chainrule.optim.optimizer import Optimizer, Setting


class Adam(Optimizer):
    """Adam: steps of about lr, by running averages of each gradient and of its square.

    For each parameter w with gradient g, at its t-th step:

        g <- g + weight_decay w              (an L2 penalty of weight_decay / 2 |w|^2)
        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g^2
        w <- w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    Both averages start at 0, for which the two quotients make up (Kingma and Ba, Adam: A Method for Stochastic
    Optimization, 2015, algorithm 1, p. 2). With `amsgrad`, the largest v so far takes the place of v in the last
    line (Reddi et al., On the Convergence of Adam and Beyond, 2018, section 4, algorithm 2; as PyTorch does, the
    maximum is taken before the quotient). t counts the steps at which w had a gradient.

    Args:
        params: the parameters, an iterable of Tensors that require gradients, or of dicts: groups with settings
            of their own (see `Optimizer`).
        lr: the learning rate, at least 0; may be set anew between steps as `.lr`.
        betas: (beta1, beta2), both in [0, 1).
        eps: at least 0; with 0, a weight whose gradients were all 0 becomes NaN.
        weight_decay: at least 0.
        amsgrad: whether v counts by its largest value.

    The state of each parameter is 'step', 'exp_avg' (m), 'exp_avg_sq' (v) and with amsgrad 'max_exp_avg_sq'.

    Errors: ValueError for settings out of range, no parameters, or one given twice; TypeError for what is no
    parameter.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = cr.optim.Adam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w.numpy().round(4)
    array([ 0.9, -1.9], dtype=float32)
    """

    lr = Setting()
    betas = Setting()
    eps = Setting()
    weight_decay = Setting()
    amsgrad = Setting()
    _counts_steps = True
    _optional = ("max_exp_avg_sq",)

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False):
        super().__init__(
            params,
            {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad},
        )

    def _state(self, settings):
        state = {"exp_avg": 0.0, "exp_avg_sq": 0.0}
        if settings["amsgrad"]:
            state["max_exp_avg_sq"] = 0.0
        return state

    def _update(self, groups):
        _core.adam_step(groups)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient.

    For each parameter w, before the lines of `Adam` with no weight decay of theirs:

        w <- w - lr weight_decay w

    so that the decay is not divided by the gradients' size (Loshchilov and Hutter, Decoupled Weight Decay
    Regularization, 2019, algorithm 2, p. 3; as PyTorch does, lr scales the decay, which is the paper's schedule
    multiplier times its alpha).

    Args:
        params: the parameters, an iterable of Tensors that require gradients, or of dicts: groups with settings
            of their own (see `Optimizer`), as no weight decay for biases.
        lr, betas, eps, amsgrad: as Adam's.
        weight_decay: at least 0.

    Errors: as Adam's.

    >>> import chainrule as cr
    >>> w, bias = cr.tensor([1.0], requires_grad=True), cr.tensor([1.0], requires_grad=True)
    >>> optimizer = cr.optim.AdamW([{"params": [w]}, {"params": [bias], "weight_decay": 0.0}], lr=0.1)
    >>> (w + bias).sum().backward()
    >>> optimizer.step()
    >>> w.numpy().round(4), bias.numpy().round(4)
    (array([0.899], dtype=float32), array([0.9], dtype=float32))
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)

    def _update(self, groups):
        _core.adamw_step(groups)
