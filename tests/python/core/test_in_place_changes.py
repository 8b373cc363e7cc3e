"""Values that change between forward and backward: no write goes through unseen, and none is blamed wrongly."""

import numpy as np
import pytest

import chainrule as cr

CHANGED = "was changed in place since"


def parameter(values=(1.0, 2.0, 3.0)):
    return cr.tensor(np.array(values), requires_grad=True)


def by_a_step(w):
    w.grad = cr.tensor(np.ones(3))
    cr.optim.SGD([w], lr=0.1).step()
    w.grad = None


def by_assignment(w):
    w.data[...] = 0.0


def by_one_entry(w):
    w.data[1] = 5.0


def by_arithmetic(w):
    w.data -= 0.1


def by_numpy(w):
    w.numpy()[0] = 7.0


def by_asarray(w):
    np.asarray(w)[0] = 7.0


CHANGES = [by_a_step, by_assignment, by_one_entry, by_arithmetic, by_numpy, by_asarray]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "function",
    [
        lambda w: cr.sum(w * w),
        lambda w: cr.sum(cr.sin(w)),
        lambda w: cr.sum(
            cr.matmul(cr.reshape(w, (1, 3)), cr.reshape(w, (3, 1)))
        ),  # views of the leaf's memory
        lambda w: cr.sum(cr.exp(w) * w),
    ],
)
def test_a_leaf_that_changes_between_forward_and_backward(change, function):
    w, other = parameter(), parameter()
    loss = function(w) + cr.sum(other * other)
    change(w)
    with pytest.raises(RuntimeError, match=CHANGED):
        loss.backward()
    assert w.grad is None and other.grad is None  # nothing was sent


@pytest.mark.parametrize("change", CHANGES)
def test_a_constant_leaf_counts_too(change):
    w, constant = parameter(), cr.tensor(np.ones(3))
    loss = cr.sum(w * constant)
    if change is by_a_step:
        constant.requires_grad = True
    change(constant)
    with pytest.raises(RuntimeError, match=CHANGED):
        loss.backward()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_between_two_backward_passes_of_a_retained_graph(change):
    w = parameter()
    loss = cr.sum(w**3)
    loss.backward(retain_graph=True)
    w.grad = None
    change(w)
    with pytest.raises(RuntimeError, match=CHANGED):
        loss.backward()


def test_load_state_dict_between_forward_and_backward():
    model = cr.nn.Linear(3, 2, rng=0)
    state = model.state_dict()
    x = cr.tensor(np.ones((4, 3), np.float32), requires_grad=True)
    loss = cr.sum(model(x))
    model.load_state_dict(state)
    with pytest.raises(RuntimeError, match=CHANGED):
        loss.backward()


def test_the_walk_through_a_checkpoint_meets_a_changed_parameter():
    w = parameter()
    loss = cr.sum(cr.checkpoint(lambda x: x * w)(cr.tensor(np.ones(3))))
    by_a_step(w)
    with pytest.raises(RuntimeError, match="checkpoint: a parameter of shape"):
        loss.backward()


def test_a_gate_that_graph_forward_ran_again_is_not_mixed_with_older_ones():
    x = parameter()
    trunk = cr.exp(x)
    first, second = cr.sum(trunk * 2.0), cr.sum(cr.sin(trunk))
    cr.Graph(first).forward({x: np.zeros(3)})
    with pytest.raises(RuntimeError, match=r"Graph.forward ran Exp again"):
        second.backward()


def test_a_step_of_a_graph_after_its_leaf_changed():
    x = parameter()
    graph = cr.Graph(cr.sum(x * x))
    graph.forward()
    by_one_entry(x)
    with pytest.raises(RuntimeError, match=CHANGED):
        graph.backward()
    graph.forward()
    graph.backward()
    assert x.grad.numpy().tolist() == [2, 10, 6]


# ---- What is no error ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", CHANGES)
def test_changes_between_steps_are_the_users_right(change):
    w = parameter()
    optimizer = cr.optim.SGD([w], lr=0.1)
    watched = []
    for _ in range(40):
        w.grad = None
        loss = cr.sum(w * w)
        watched.append(w.numpy().copy())  # a look is no change
        loss.backward()
        np.testing.assert_allclose(w.grad.numpy(), 2 * watched[-1])
        optimizer.step()
        change(w)
        _ = cr.sum(w * w)  # a graph that nobody goes back through
        w.data[2] += 1.0


def test_a_gate_that_kept_no_value_has_nothing_to_lose():
    w, x = parameter(), parameter()
    loss = cr.sum(w + x)
    by_a_step(w)
    loss.backward()
    assert x.grad.numpy().tolist() == [1, 1, 1]


def test_other_memory_for_a_leaf_leaves_what_was_kept():
    w = parameter()
    loss = cr.sum(w * w)
    w.data = np.zeros(3)
    loss.backward()
    assert w.grad.numpy().tolist() == [2, 4, 6]
    assert w.numpy().tolist() == [0, 0, 0]


def test_a_change_that_is_taken_back_before_backward():
    w = parameter()
    loss = cr.sum(w * w)
    w.data[0] = 9.0
    w.data[0] = 1.0
    loss.backward()
    assert w.grad.numpy().tolist() == [2, 4, 6]


# ---- Results are read-only ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reach", [lambda y: y.data, lambda y: y.numpy(), np.asarray, lambda y: y.detach().data]
)
def test_the_result_of_a_recorded_gate_is_read_only(reach):
    y = cr.exp(parameter())
    with pytest.raises(ValueError, match="read-only"):
        reach(y)[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        np.multiply(y.value, 2.0, out=reach(y))


def test_copies_and_what_no_graph_keeps_may_be_written():
    w = parameter()
    cr.exp(w).numpy().copy()[0] = 1.0
    np.array(cr.exp(w))[0] = 1.0
    with cr.no_grad():
        y = cr.exp(w)
    y.numpy()[0] = 1.0
    assert y.numpy()[0] == 1
    cr.exp(cr.tensor(np.ones(3))).data[0] = 1.0
    cr.exp(np.ones(3))[0] = 1.0
    cr.sum(w * w).backward()
    w.grad.numpy()[0] = 1.0


def test_entries_of_a_tensor_are_not_assigned():
    w = parameter()
    with pytest.raises(TypeError, match="make a new Tensor with"):
        w[0] = 1.0


def test_values_of_a_transform_are_read_only():
    def f(x):
        x.numpy()[0] = 1.0
        return x.sum()

    x = np.ones(3)
    for transform in (lambda: cr.grad(f)(x), lambda: cr.jvp(f, (x,), (x,)), lambda: cr.hessian(f)(x)):
        with pytest.raises(ValueError, match="read-only"):
            transform()
