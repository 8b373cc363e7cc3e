"""Threads: the same bits for any number of them, no hang after a fork, and the interpreter's lock released."""

import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn

NUMBERS = [1, 2, 3, 8]


@pytest.fixture(autouse=True)
def threads_as_before():
    before = cr.get_num_threads()
    yield
    cr.set_num_threads(before)


def same_bits_for_any_number_of_threads(compute):
    """compute() -> arrays; compared as bytes, so that NaN and -0.0 count."""
    results = {}
    for n in NUMBERS:
        cr.set_num_threads(n)
        assert cr.get_num_threads() == n
        results[n] = [np.asarray(a) for a in compute()]
    for n in NUMBERS[1:]:
        for i, (one, other) in enumerate(zip(results[1], results[n], strict=True)):
            differ = one.tobytes() != other.tobytes()
            assert not differ, (
                f"result {i} of shape {one.shape} differs between 1 and {n} threads, by up to "
                f"{np.abs(one.astype(np.float64) - other).max()}"
            )


def with_gradients(function, *arrays):
    leaves = [cr.tensor(a, requires_grad=True) for a in arrays]
    output = function(*leaves)
    output.backward(np.random.default_rng(9).standard_normal(output.shape).astype(output.dtype))
    return [output.numpy(), *(x.grad.numpy() for x in leaves)]


examples = settings(deadline=None, derandomize=True, database=None, max_examples=8)
dtypes = st.sampled_from([np.float32, np.float64])
sizes = st.one_of(st.integers(1, 40), st.integers(100, 300))


def normal(seed, shape, dtype):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@examples
@given(n=sizes, k=sizes, m=sizes, dtype=dtypes)
def test_matmul(n, k, m, dtype):
    x, y = normal(0, (n, k), dtype), normal(1, (k, m), dtype)
    same_bits_for_any_number_of_threads(lambda: with_gradients(cr.matmul, x, y))


@examples
@given(batch=st.integers(1, 20), n=st.integers(1, 50), dtype=dtypes)
def test_batches_of_matrices(batch, n, dtype):
    x, y = normal(0, (batch, n, 33), dtype), normal(1, (33, 17), dtype)
    same_bits_for_any_number_of_threads(lambda: with_gradients(cr.matmul, x, y))


@examples
@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 200), st.integers(1, 30)),
    axis=st.sampled_from([None, 0, 1, 2, (0, 2), (1, 2)]),
    dtype=dtypes,
)
def test_reductions_and_softmax(shape, axis, dtype):
    x = normal(0, shape, dtype)
    for function in (cr.sum, cr.mean, cr.var, cr.max, cr.logsumexp, cr.softmax, cr.log_softmax):
        same_bits_for_any_number_of_threads(lambda f=function: with_gradients(lambda x: f(x, axis=axis), x))


def test_long_sums():
    for dtype in (np.float32, np.float64):
        x = normal(0, 3_000_001, dtype) * 1e3
        same_bits_for_any_number_of_threads(
            lambda x=x: [cr.sum(x), cr.mean(x), cr.max(x), cr.logsumexp(x / 1e3)]
        )


@examples
@given(
    size=st.sampled_from([1, 1000, 65_537, 300_000]),
    name=st.sampled_from(["exp", "tanh", "sigmoid", "relu", "log", "sin"]),
    dtype=dtypes,
)
def test_elementwise(size, name, dtype):
    x = np.abs(normal(0, size, dtype)) + 0.1
    same_bits_for_any_number_of_threads(lambda: with_gradients(getattr(cr, name), x.astype(dtype)))


@examples
@given(rows=st.integers(1, 3000), classes=st.integers(1, 70), dtype=dtypes)
def test_losses(rows, classes, dtype):
    scores, labels = normal(0, (rows, classes), dtype), np.random.default_rng(1).integers(0, classes, rows)
    for reduction in ("mean", "sum", "none"):

        def softmax(x, reduction=reduction):
            return cr.softmax_cross_entropy(x, labels, reduction=reduction, label_smoothing=0.1)

        def hinge(x, reduction=reduction):
            return cr.multiclass_hinge(x, labels, squared=True, reduction=reduction)

        same_bits_for_any_number_of_threads(lambda f=softmax: with_gradients(f, scores))
        same_bits_for_any_number_of_threads(lambda f=hinge: with_gradients(f, scores))


@examples
@given(size=st.sampled_from([1, 100, 40_000, 300_001]), dtype=dtypes, decoupled=st.booleans())
def test_sgd(size, dtype, decoupled):
    def steps():
        w = cr.tensor(normal(0, size, dtype), requires_grad=True)
        optimizer = cr.optim.SGD(
            [w], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01, decoupled=decoupled
        )
        for step in range(3):
            w.grad = cr.tensor(normal(step, size, dtype))
            optimizer.step()
        return [w.numpy(), optimizer.state_dict()["velocity.0"]]

    same_bits_for_any_number_of_threads(steps)


@examples
@given(batch=st.integers(1, 200), hidden=st.integers(1, 150), dtype=dtypes)
def test_a_whole_training_step(batch, hidden, dtype):
    def train():
        net = nn.Sequential(
            nn.Linear(64, hidden, rng=0, dtype=dtype), nn.ReLU(), nn.Linear(hidden, 10, rng=1, dtype=dtype)
        )
        optimizer = cr.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        losses = []
        for step in range(2):
            x = normal(step, (batch, 64), dtype)
            labels = np.random.default_rng(step).integers(0, 10, batch)
            optimizer.zero_grad()
            loss = cr.softmax_cross_entropy(net(x), labels) + cr.elastic_net(
                net.parameters(), l1=1e-3, l2=1e-3
            )
            loss.backward()
            optimizer.step()
            losses.append(loss.numpy())
        return [*losses, *net.state_dict().values()]

    same_bits_for_any_number_of_threads(train)


# ---- Processes and threads of the caller's -----------------------------------------------------------------


def run_python(code, timeout=60, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
    )


def test_a_child_that_was_forked_after_a_parallel_region_does_not_hang():
    code = """
    import os
    import numpy as np
    import chainrule as cr

    cr.set_num_threads(4)
    x = np.random.default_rng(0).standard_normal((600, 600)).astype(np.float32)
    before = cr.matmul(x, x)  # starts threads
    total = cr.sum(np.ones(5_000_000, np.float32))
    pid = os.fork()
    if pid == 0:
        same = cr.matmul(x, x).tobytes() == before.tobytes()
        w = cr.tensor(x, requires_grad=True)
        cr.sum(cr.softmax(w @ w)).backward()
        os._exit(0 if same and w.grad is not None and cr.get_num_threads() == 4 else 3)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, status
    assert cr.matmul(x, x).tobytes() == before.tobytes()  # the parent goes on, with its threads
    """
    ran = run_python(code)
    assert ran.returncode == 0, ran.stderr


def test_a_pool_of_forked_workers_computes():
    code = """
    import multiprocessing
    import numpy as np
    import chainrule as cr

    def work(seed):
        x = np.random.default_rng(seed).standard_normal((300, 300))
        return float(cr.sum(cr.matmul(x, x)))

    here = [work(i) for i in range(4)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        there = pool.map(work, range(4))
    assert here == there, (here, there)
    """
    ran = run_python(code)
    assert ran.returncode == 0, ran.stderr


def test_the_interpreters_lock_is_released_around_work():
    cr.set_num_threads(1)
    x = np.random.default_rng(0).standard_normal((1200, 1200))
    started, finished = threading.Event(), threading.Event()

    def work():
        started.set()
        cr.matmul(x, x)
        finished.set()

    # One call of the core, which takes long; Python code must go on meanwhile.
    interval = sys.getswitchinterval()
    thread = threading.Thread(target=work)
    count, longest = 0, 0.0
    sys.setswitchinterval(1e-4)
    try:
        thread.start()
        started.wait(10)
        last = begin = time.perf_counter()
        while not finished.is_set():
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
            count += 1
        took = time.perf_counter() - begin
    finally:
        thread.join(60)
        sys.setswitchinterval(interval)
    assert count > 1000 and longest < 0.5 * took, (
        f"while the product took {took:.3f} s Python ran {count} rounds, and stood still for {longest:.3f} s"
    )


def test_many_python_threads_share_the_kernels():
    x = [normal(i, (150, 150), np.float32) for i in range(6)]
    expected = [cr.matmul(a, a).tobytes() for a in x]
    wrong = []

    def work(i):
        for _ in range(10):
            if cr.matmul(x[i], x[i]).tobytes() != expected[i]:
                wrong.append(i)

    cr.set_num_threads(3)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_the_number_of_threads_at_the_start_is_omp_num_threads():
    for n in (1, 3):
        ran = run_python("import chainrule as cr; print(cr.get_num_threads())", OMP_NUM_THREADS=str(n))
        assert ran.stdout.strip() == str(n), ran.stderr
