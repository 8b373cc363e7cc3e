"""The benchmarks' training steps in JAX: one compiled function of parameters, momentum and batch."""

import os

import nets


def set_threads(n):
    """XLA takes as many threads as the process has processors, so it is given n of them."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n])


import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

version = jax.__version__


def apply(layers, parameters, x, key):
    """Scores of x in training mode."""
    taken = iter(parameters)
    for i, layer in enumerate(layers):
        match layer:
            case nets.Conv(_, _, stride, padding, bias):
                x = lax.conv_general_dilated(
                    x,
                    next(taken),
                    (stride, stride),
                    [(padding, padding)] * 2,
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                )
                if bias:
                    x = x + next(taken)
            case nets.Linear():
                x = x @ next(taken) + next(taken)
            case nets.BatchNorm():
                mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
                x = (x - mean) * lax.rsqrt(variance + 1e-5) * next(taken) + next(taken)
            case nets.ReLU():
                x = jax.nn.relu(x)
            case nets.GELU():
                x = jax.nn.gelu(x, approximate=False)
            case nets.MaxPool(size, stride, padding):
                x = _pool(x, -jnp.inf, lax.max, size, stride, padding)
            case nets.AveragePool(size, stride, padding):
                x = _pool(x, 0.0, lax.add, size, stride, padding) / size**2
            case nets.GlobalAveragePool():
                x = x.mean((1, 2))
            case nets.Dropout(p):
                kept = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - p, x.shape)
                x = jnp.where(kept, x / (1 - p), 0)
            case nets.Flatten():
                x = x.reshape(x.shape[0], -1)
    return x


def _pool(x, start, combine, size, stride, padding):
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return lax.reduce_window(x, start, combine, (1, size, size, 1), (1, stride, stride, 1), around)


def _cross_entropy(scores, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], axis=1).mean()


def _hinge(scores, labels):
    of_label = jnp.take_along_axis(scores, labels[:, None], axis=1)
    margins = jnp.maximum(scores - of_label + 1, 0).at[jnp.arange(len(labels)), labels].set(0)
    return margins.sum(axis=1).mean()


def training(name, batch, precision="float32"):
    """Forward, loss, backward and an update by momentum, on the same batch each time."""
    if precision != "float32":
        raise NotImplementedError("compared in float32 alone")
    net = nets.NETS[name]
    x, labels = map(jnp.asarray, nets.data(net, batch))
    parameters = [jnp.asarray(p) for *_, own in nets.built(net) for p in own]
    loss_function = _hinge if net.loss == "hinge" else _cross_entropy

    @jax.jit
    def update(parameters, momentum, key, x, labels):
        key, used = jax.random.split(key)
        loss, gradients = jax.value_and_grad(
            lambda own: loss_function(apply(net.layers, own, x, used), labels)
        )(parameters)
        momentum = [0.9 * m + g + 1e-3 * p for m, g, p in zip(momentum, gradients, parameters, strict=True)]
        return [p - 0.01 * m for p, m in zip(parameters, momentum, strict=True)], momentum, key, loss

    state = parameters, [jnp.zeros_like(p) for p in parameters], jax.random.key(0)

    def step():
        nonlocal state
        *state, loss = update(*state, x, labels)
        jax.block_until_ready(state)
        return loss.item()

    return step
