"""What `Tensor.backward` does: freed graphs, no_grad, detach, adding up, and the gradient that is given to it."""

import threading

import numpy as np
import pytest

import chainrule as cr


def leaf(value, dtype=np.float64):
    return cr.tensor(value, dtype=dtype, requires_grad=True)


# ---- Freed and retained graphs -----------------------------------------------------------------------------


def test_a_second_backward_finds_the_graph_freed():
    x = leaf([1.0, 2.0])
    y = cr.sum(cr.exp(x))
    y.backward()
    with pytest.raises(
        RuntimeError, match=r"freed by an earlier backward .*: compute the loss again, or pass"
    ):
        y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), cr.exp(np.array([1.0, 2.0])))


def test_a_part_shared_with_a_freed_graph_is_freed_too():
    x = leaf(2.0)
    shared = cr.exp(x)
    a, b = shared * 2.0, shared * 3.0
    a.backward()
    with pytest.raises(RuntimeError, match="freed by an earlier backward"):
        b.backward()


def test_retain_graph_lets_backward_run_again_and_gradients_add():
    x = leaf([1.0, 2.0])
    y = cr.sum(cr.exp(x))
    for _ in range(3):
        y.backward(retain_graph=True)
    np.testing.assert_allclose(x.grad.numpy(), 3 * np.exp([1.0, 2.0]), rtol=1e-15)
    y.backward()
    with pytest.raises(RuntimeError, match="freed"):
        y.backward()


def test_gradients_of_several_losses_add_until_zero_grad():
    w = leaf([1.0, -2.0])
    for _ in range(4):
        cr.sum(w * w).backward()
    assert w.grad.tolist() == [8, -16]
    w.zero_grad()
    assert w.grad is None
    cr.sum(w * w).backward()
    assert w.grad.tolist() == [2, -4]


# ---- no_grad and detach ------------------------------------------------------------------------------------


def test_nothing_is_recorded_inside_no_grad():
    x = leaf(2.0)
    with cr.no_grad():
        y = cr.exp(x) * x
        assert not y.requires_grad and y.gate is None
    z = x * x
    assert z.requires_grad
    with pytest.raises(RuntimeError, match="backward: nothing that led to this Tensor requires a gradient"):
        y.backward()


def test_no_grad_nests_decorates_and_ends_with_an_exception():
    x = leaf(2.0)
    with cr.no_grad():
        with cr.no_grad():
            pass
        assert not (x * x).requires_grad

    @cr.no_grad()
    def predict(x):
        """Twice x."""
        return x * 2.0

    assert not predict(x).requires_grad and predict.__doc__ == "Twice x." and predict.__name__ == "predict"
    with pytest.raises(KeyError), cr.no_grad():
        raise KeyError
    assert (x * x).requires_grad


def test_no_grad_is_the_calling_threads_own():
    x = leaf(2.0)
    inside, outside = threading.Event(), threading.Event()
    seen = {}

    def records():
        inside.wait(10)
        seen["other"] = (x * x).requires_grad
        with cr.no_grad():
            outside.set()
            seen["own"] = (x * x).requires_grad

    thread = threading.Thread(target=records)
    thread.start()
    with cr.no_grad():
        inside.set()
        outside.wait(10)
    seen["after"] = (x * x).requires_grad
    thread.join(10)
    assert seen == {"other": True, "own": False, "after": True}


def test_threads_build_and_walk_graphs_of_their_own():
    def work(i, results):
        x = leaf(np.full((20, 30), float(i)))
        for _ in range(20):
            x.zero_grad()
            cr.sum(cr.tanh(x) * x).backward()
        results[i] = x.grad.numpy()

    alone, together = {}, {}
    for i in range(4):
        work(i, alone)
    threads = [threading.Thread(target=work, args=(i, together)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for i in range(4):
        np.testing.assert_array_equal(together[i], alone[i])


def test_detach_cuts_the_graph_and_shares_the_memory():
    x = leaf([1.0, 2.0])
    y = cr.exp(x)
    cut = y.detach()
    assert not cut.requires_grad and np.shares_memory(cut.numpy(), y.numpy())
    cr.sum(cut * x).backward()
    np.testing.assert_array_equal(x.grad.numpy(), cr.exp(np.array([1.0, 2.0])))


def test_what_requires_no_gradient_gets_none():
    x, constant = leaf(2.0), cr.tensor(3.0, dtype=np.float64)
    (x * constant).backward()
    assert x.grad.item() == 3 and constant.grad is None
    assert not (constant * constant).requires_grad


# ---- The gradient that is given ----------------------------------------------------------------------------


def test_a_tensor_that_is_no_scalar_needs_its_gradient():
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"backward: a Tensor of shape \(2,\) is no scalar"):
        (x * x).backward()
    (x * x).backward([1.0, 10.0])
    assert x.grad.tolist() == [2, 40]
    for wrong in ([1.0], 1.0, [[1.0, 1.0]]):
        with pytest.raises(
            ValueError, match=r"backward: a gradient of shape .* for a Tensor of shape \(2,\)"
        ):
            (x * x).backward(wrong)


def test_one_element_in_any_shape_is_a_scalar():
    for shape in [(), (1,), (1, 1)]:
        x = leaf(np.full(shape, 3.0))
        (x * x).backward()
        assert x.grad.shape == shape and x.grad.item() == 6


def test_the_given_gradient_may_be_a_tensor_of_another_dtype_and_is_not_changed():
    x = leaf([1.0, 2.0], np.float32)
    for given in (np.array([1.0, 2.0]), cr.tensor([1.0, 2.0], dtype=np.float64), (1, 2)):
        x.zero_grad()
        (x + 0.0).backward(given)
        assert x.grad.dtype == np.float32 and x.grad.tolist() == [1, 2]
    given = np.array([1.0, 2.0])
    y = leaf([1.0, 2.0])
    for _ in range(2):
        (y + 0.0).backward(given)
    assert given.tolist() == [1, 2] and y.grad.tolist() == [2, 4]


def test_backward_of_a_leaf_is_the_gradient_itself():
    x = leaf(3.0)
    x.backward()
    assert x.grad.item() == 1
    y, given = leaf([1.0, 2.0]), np.array([5.0, 6.0])
    y.backward(given)
    assert y.grad.tolist() == [5, 6] and not np.shares_memory(y.grad.numpy(), given)


def test_backward_of_values_outside_any_graph():
    with pytest.raises(
        RuntimeError, match="requires a gradient: make the parameters with requires_grad=True"
    ):
        cr.tensor(1.0).backward()
    with pytest.raises(RuntimeError, match="requires a gradient"):
        (leaf(1.0) > 0.0).backward()
    with pytest.raises(RuntimeError, match="requires a gradient"):
        leaf([1.0, 2.0]).astype(np.int64).backward()


# ---- Gradients have memory of their own --------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 100_000], ids=["small", "from the recycling allocator"])
def test_gradients_of_two_leaves_share_no_memory(size):
    x, y = leaf(np.zeros(size)), leaf(np.zeros(size))
    (x + y).backward(np.ones(size))
    assert not np.shares_memory(x.grad.data, y.grad.data)
    x.grad.data[0] = 7.0
    assert y.grad.data[0] == 1


def test_a_gradient_does_not_hold_the_leafs_or_the_given_memory():
    x, given = leaf(np.arange(6.0).reshape(2, 3)), np.ones((3, 2))
    cr.transpose(x).backward(given)
    assert not np.shares_memory(x.grad.data, given)
    y = leaf(np.ones(4))
    (y * y).backward(np.ones(4))
    assert not np.shares_memory(y.grad.data, y.data)


def test_each_gradient_has_its_leafs_shape_and_dtype():
    x, y = leaf(np.ones((3, 1)), np.float32), leaf(np.ones(4), np.float64)
    cr.sum(x * y).backward()
    assert (x.grad.shape, x.grad.dtype) == ((3, 1), np.float32)
    assert (y.grad.shape, y.grad.dtype) == ((4,), np.float64)


def test_order_of_reading_does_not_change_the_sum_of_gradients():
    x = leaf(np.random.default_rng(0).standard_normal(50))
    y = cr.exp(x)
    total = cr.sum(y * 1e8) + cr.sum(y) - cr.sum(y * 1e8)
    total.backward(retain_graph=True)
    first = x.grad.numpy().copy()
    for _ in range(3):
        x.zero_grad()
        total.backward(retain_graph=True)
        np.testing.assert_array_equal(x.grad.numpy(), first)
