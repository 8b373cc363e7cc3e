"""What derivatives cost beside the function: time of reverse mode by gate, Hessian-vector products, checkpoints.

    python benchmarks/differentiation.py [--repetitions 30] [--threads 2]

Every ratio is of minimum times, what is compared taking turns. Memory is the peak of chainrule's allocator.
"""

import argparse
import time

import numpy as np

import chainrule as cr
from chainrule import _core


def minimum_times(functions, repetitions):
    """The least seconds of each function, called in turns."""
    best = [float("inf")] * len(functions)
    for function in functions:
        function()
    for _ in range(repetitions):
        for i, function in enumerate(functions):
            start = time.perf_counter()
            function()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def zoo():
    """(name, function of x, x): scalar functions, one for each kind of gate, on a million values.

    Images are 10 of 100 x 100 with 10 channels; kernels of convolution are 3 x 3 with 16 channels out.
    """
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 1.5, (1000, 1000)).astype(np.float32)
    labels = rng.integers(0, 1000, 1000)
    y = rng.uniform(0.5, 1.5, (1000, 1000)).astype(np.float32)
    row = y[0]
    unary = "exp log sqrt abs sin cos tanh sigmoid relu negative leaky_relu elu softplus silu gelu softmax log_softmax"
    functions = {
        "add": lambda x: x + y,
        "add a row": lambda x: x + row,
        "subtract": lambda x: x - y,
        "multiply": lambda x: x * y,
        "divide": lambda x: x / y,
        "power": lambda x: x**3,
        **{name: getattr(cr, name) for name in unary.split()},
        "maximum": lambda x: cr.maximum(x, y),
        "where": lambda x: cr.where(y > 1, x, 0.0),
        "clip": lambda x: cr.clip(x, 0.7, 1.2),
        "mean": cr.mean,
        "max": lambda x: cr.max(x, axis=1),
        "var": lambda x: cr.var(x, axis=1),
        "logsumexp": lambda x: cr.logsumexp(x, axis=1),
        "reshape": lambda x: cr.reshape(x, (-1,)),
        "transpose": cr.transpose,
        "slice": lambda x: x[::2, 1:],
        "concatenate": lambda x: cr.concatenate([x, y]),
        "pad": lambda x: cr.pad(x, 1),
        "matmul": lambda x: cr.matmul(x, y),
        "cross-entropy": lambda x: cr.softmax_cross_entropy(x, labels),
        "hinge": lambda x: cr.multiclass_hinge(x, labels),
        "squared error": lambda x: cr.mean_squared_error(x, y),
        "elastic net": lambda x: cr.elastic_net([x], 0.1, 0.1),
    }
    kernel = rng.uniform(-0.5, 0.5, (3, 3, 10, 16)).astype(np.float32)
    back = rng.uniform(-0.5, 0.5, (3, 3, 16, 10)).astype(np.float32)
    channel = np.ones(10, np.float32)
    of_images = {
        "conv2d": lambda x: cr.conv2d(x, kernel, padding=1),
        "conv_transpose2d": lambda x: cr.conv_transpose2d(x, back, padding=1),
        "max_pool2d": lambda x: cr.max_pool2d(x, 2),
        "average_pool2d": lambda x: cr.average_pool2d(x, 2),
        "global_average_pool2d": cr.global_average_pool2d,
        "batch_norm": lambda x: cr.batch_norm(x, channel, channel),
        "layer_norm": lambda x: cr.layer_norm(x, channel, channel),
    }
    for name, f in functions.items():
        yield name, (lambda x, f=f: cr.sum(f(x))), x
    for name, f in of_images.items():
        yield name, (lambda x, f=f: cr.sum(f(x))), x.reshape(10, 100, 100, 10)


def gate_costs(repetitions):
    print(
        "| function (its sum over a million values) | function ms | with gradient ms | ratio |\n|---|---|---|---|"
    )
    worst = ("", 0.0)
    for name, f, x in zoo():
        leaf = cr.tensor(x, requires_grad=True)

        def both(f=f, leaf=leaf):
            leaf.grad = None
            f(leaf).backward()

        alone, with_gradient = minimum_times([lambda f=f, x=x: f(x), both], repetitions)
        ratio = with_gradient / alone
        worst = max(worst, (name, ratio), key=lambda pair: pair[1])
        print(f"| {name} | {1e3 * alone:.3f} | {1e3 * with_gradient:.3f} | {ratio:.2f} |")
    print(f"\nthe largest ratio is {worst[1]:.2f}, for {worst[0]}\n")


def hessian_vector_product(repetitions):
    model = cr.models.MLP(784, (100,), 10, seed=0)
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((64, 784), dtype=np.float32), rng.integers(0, 10, 64)
    params = model.state_dict()
    vector = {name: np.ones_like(value) for name, value in params.items()}

    def loss(p):
        return model.loss(cr.functional_call(model, p, x), labels)

    gradient, product = minimum_times(
        [lambda: cr.grad(loss)(params), lambda: cr.hvp(loss, (params,), (vector,))], repetitions
    )
    print(
        f"MLP 784-100-10, batch 64: gradient {1e3 * gradient:.3f} ms, Hessian-vector product "
        f"{1e3 * product:.3f} ms, ratio {product / gradient:.2f}"
    )


def checkpoints(repetitions):
    """A 50-layer MLP with and without a checkpoint around each seven layers."""
    layers = [cr.nn.Sequential(cr.nn.Linear(256, 256, rng=i), cr.nn.Tanh()) for i in range(50)]
    parts = [cr.nn.Sequential(*layers[i : i + 7]) for i in range(0, 50, 7)]
    x = np.random.default_rng(0).standard_normal((2048, 256), dtype=np.float32)

    def step(wrap):
        for layer in layers:
            layer.zero_grad()
        y = cr.tensor(x)
        for part in parts:
            y = wrap(part)(y)
        cr.mean(cr.square(y)).backward()

    figures = {}
    runs = {"kept": lambda: step(lambda part: part), "checkpoints": lambda: step(cr.checkpoint)}
    for name, run in runs.items():
        run()
        before = _core.memory_statistics()["bytes_in_use"]
        _core.reset_peak_memory()
        run()
        figures[name] = _core.memory_statistics()["peak_in_use"] - before
    kept, recomputed = minimum_times(list(runs.values()), max(repetitions // 5, 3))
    all_kept, checkpointed = figures["kept"], figures["checkpoints"]
    print(
        f"50-layer MLP, batch 2048: peak memory {all_kept / 1e6:.0f} MB kept, {checkpointed / 1e6:.0f} MB with "
        f"checkpoints, ratio {all_kept / checkpointed:.2f}; "
        f"time {1e3 * kept:.1f} and {1e3 * recomputed:.1f} ms, ratio {recomputed / kept:.2f}"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--threads", type=int, default=cr.get_num_threads())
    options = parser.parse_args()
    cr.set_num_threads(options.threads)
    gate_costs(options.repetitions)
    hessian_vector_product(options.repetitions)
    checkpoints(options.repetitions)


if __name__ == "__main__":
    main()
