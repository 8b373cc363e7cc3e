"""What derivatives keep and for how long: nothing leaks, buffers go as backward goes, checkpoints keep little."""

import gc

import numpy as np
import pytest

import chainrule as cr
from chainrule import _core

LARGE = np.linspace(0, 1, 8192)  # 64 KiB: from the core's allocator, which counts


@pytest.fixture(autouse=True)
def one_thread():
    """Thousands of small steps: waking a second thread for each would be most of the time on a busy machine."""
    threads = cr.get_num_threads()
    cr.set_num_threads(1)
    yield
    cr.set_num_threads(threads)


def live():
    """Tensors and gates that exist, and bytes of large arrays in use."""
    count = sum(issubclass(type(o), (cr.Tensor, cr.Gate)) for o in gc.get_objects())
    return count, _core.memory_statistics()["bytes_in_use"]


def cubed(x):
    return cr.sum(cr.tanh(x) ** 3)


def create_graph():
    """A gradient with a graph of its own, differentiated by backward."""
    w = cr.tensor(LARGE, requires_grad=True)
    gradient = cr.grad(lambda x: cr.sum(w * cr.tanh(x)))(LARGE)
    cr.sum(gradient * gradient).backward()
    return w.grad


SECOND_DERIVATIVES = {
    "forward over reverse": lambda: cr.hvp(cubed, (LARGE,), (LARGE,)),
    "reverse over reverse": lambda: cr.grad(lambda x: cr.sum(cr.grad(cubed)(x) * LARGE))(LARGE),
    "reverse over forward": lambda: cr.grad(lambda x: cr.jvp(cubed, (x,), (LARGE,))[1])(LARGE),
    "forward over forward": lambda: cr.jvp(lambda x: cr.jvp(cubed, (x,), (LARGE,))[1], (LARGE,), (LARGE,)),
    "backward over a transform": create_graph,
    "linearize": lambda: cr.linearize(cr.grad(cubed), LARGE)[1](LARGE),
}


@pytest.mark.parametrize("name", SECOND_DERIVATIVES)
def test_a_thousand_second_derivatives_leave_no_arrays_behind(name):
    second = SECOND_DERIVATIVES[name]
    for _ in range(2):
        second()
    gc.collect()
    gc.disable()  # nothing may wait for the cycle collector
    try:
        before = live()
        for _ in range(1000):
            second()
        assert live() == before
    finally:
        gc.enable()


def peak(run):
    """The most bytes in use while `run` runs, above those before."""
    before = _core.memory_statistics()["bytes_in_use"]
    _core.reset_peak_memory()
    run()
    return _core.memory_statistics()["peak_in_use"] - before


def chain(x, gates):
    for _ in range(gates):
        x = cr.sin(x)
    return cr.sum(x)


def test_buffers_go_as_backward_goes():
    x = cr.tensor(LARGE, requires_grad=True)
    loss = chain(x, 40)
    # Each gate keeps its input: 39 arrays are in use, and backward adds no more than a few at a time.
    assert peak(lambda: loss.backward()) <= 4 * LARGE.nbytes
    x.grad = None
    assert peak(lambda: chain(x, 40).backward()) <= 44 * LARGE.nbytes


def test_what_backward_used_is_gone_before_it_ends():
    held = []

    class Look(cr.Gate):
        """The identity, which notes the memory in use when its gradient passes."""

        def forward(self, x):
            return cr.multiply(x, 1.0)

        def backward(self, gradient):
            held.append(_core.memory_statistics()["bytes_in_use"])
            return gradient

    y = cr.tensor(LARGE, requires_grad=True)
    for _ in range(20):
        y = cr.sin(Look()(y))
    loss = cr.sum(y)
    del y
    loss.backward()
    # Twenty gates keep an array each; the gradient has passed all but the first when the last look is taken.
    assert held[0] - held[-1] >= 18 * LARGE.nbytes


def test_values_that_no_rule_keeps_are_freed_at_once():
    def sums(x):
        for _ in range(40):
            x = x + 1.0
        return cr.sum(x)

    x = cr.tensor(LARGE, requires_grad=True)
    assert peak(lambda: sums(x)) <= 4 * LARGE.nbytes


def test_a_pullback_of_matmul_builds_no_jacobian():
    x, w = np.ones((64, 128), np.float32), np.ones((128, 128), np.float32)
    _, pullback = cr.vjp(cr.matmul, x, w)
    # The Jacobian in w would have 64 * 128 * 128 * 128 entries, 512 MiB.
    assert peak(lambda: pullback(np.ones((64, 128), np.float32))) < 1 << 20


# ---- Checkpoints --------------------------------------------------------------------------------------------


def test_checkpoints_cut_the_peak_memory_of_fifty_layers_to_a_third():
    layers = [cr.nn.Sequential(cr.nn.Linear(64, 64, rng=i), cr.nn.Tanh()) for i in range(50)]
    parts = [cr.nn.Sequential(*layers[i : i + 7]) for i in range(0, 50, 7)]
    x = np.random.default_rng(0).standard_normal((256, 64), dtype=np.float32)
    gradients = {}

    def step(wrap):
        for layer in layers:
            layer.zero_grad()
        y = cr.tensor(x)
        for part in parts:
            y = wrap(part)(y)
        cr.mean(cr.square(y)).backward()
        gradients[wrap] = [p.grad.numpy().copy() for layer in layers for p in layer.parameters()]

    def kept(part):
        return part

    step(kept), step(cr.checkpoint)
    assert peak(lambda: step(kept)) >= 3 * peak(lambda: step(cr.checkpoint))
    for a, b in zip(gradients[kept], gradients[cr.checkpoint], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_checkpoint_runs_its_function_once_more_and_no_oftener():
    runs = []

    def part(x):
        runs.append(1)
        return cr.tanh(x)

    w = cr.tensor(LARGE, requires_grad=True)
    cr.sum(cr.checkpoint(part)(w)).backward()
    assert len(runs) == 2
    cr.grad(lambda x: cr.sum(cr.checkpoint(part)(x)))(LARGE)
    assert len(runs) == 4
    cr.checkpoint(part)(LARGE)  # arrays record nothing, so nothing is recomputed
    assert len(runs) == 5


def test_a_hessian_vector_product_runs_the_function_once():
    runs = []

    def f(x):
        runs.append(1)
        return cubed(x)

    cr.hvp(f, (LARGE,), (LARGE,))
    assert len(runs) == 1
