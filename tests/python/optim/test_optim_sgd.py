"""SGD beside PyTorch's and closed forms, over many steps; its settings, state, and the arrays it refuses."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn

DTYPES = [np.float32, np.float64]
SHAPES = [(7, 5), (5,), (), (3, 1, 4), (1000,)]


def parameters(dtype, shapes=SHAPES):
    rng = np.random.default_rng(0)
    return [cr.tensor(rng.standard_normal(shape), dtype=dtype, requires_grad=True) for shape in shapes]


def gradients_for(params, step):
    rng = np.random.default_rng(100 + step)
    return [rng.standard_normal(p.shape).astype(p.dtype) for p in params]


def give(params, gradients):
    for p, g in zip(params, gradients, strict=True):
        p.grad = None if g is None else cr.tensor(g)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"weight_decay": 0.1},
        {"momentum": 0.5, "weight_decay": 0.01},
        {"momentum": 0.99, "nesterov": True, "weight_decay": 0.3},
    ],
    ids=str,
)
def test_many_steps_are_torchs(settings, dtype):
    params = parameters(dtype)
    twins = [torch.tensor(p.numpy().copy(), requires_grad=True) for p in params]
    ours, theirs = cr.optim.SGD(params, lr=0.05, **settings), torch.optim.SGD(twins, lr=0.05, **settings)
    for step in range(200):
        gradients = gradients_for(params, step)
        give(params, gradients)
        for twin, g in zip(twins, gradients, strict=True):
            twin.grad = torch.tensor(g)
        if step == 120:  # a schedule
            ours.lr = 0.01
            theirs.param_groups[0]["lr"] = 0.01
        ours.step()
        theirs.step()
    tolerance = 1e-4 if dtype is np.float32 else 1e-12
    for p, twin in zip(params, twins, strict=True):
        assert p.dtype == dtype
        np.testing.assert_allclose(p.numpy(), twin.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("momentum, nesterov", [(0.0, False), (0.9, False), (0.9, True)])
def test_decoupled_weight_decay_is_its_closed_form(momentum, nesterov, dtype):
    # Loshchilov and Hutter, algorithm 1: v <- m v + g; w <- w - lr v - lr d w, the decay apart from the gradient.
    lr, decay = 0.05, 0.3
    params = parameters(dtype)
    weights = [p.numpy().astype(np.float64) for p in params]
    velocities = [np.zeros_like(w) for w in weights]
    optimizer = cr.optim.SGD(
        params, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay, decoupled=True
    )
    for step in range(100):
        gradients = gradients_for(params, step)
        give(params, gradients)
        optimizer.step()
        for i, g in enumerate(gradients):
            velocities[i] = momentum * velocities[i] + g
            update = g + momentum * velocities[i] if nesterov else velocities[i]
            weights[i] = weights[i] - lr * decay * weights[i] - lr * update
    tolerance = 1e-4 if dtype is np.float32 else 1e-12
    for p, w in zip(params, weights, strict=True):
        np.testing.assert_allclose(p.numpy(), w, rtol=tolerance, atol=tolerance)


def test_without_gradient_decoupled_decay_shrinks_by_a_constant_factor():
    w = cr.tensor([1.0, -2.0], dtype="float64", requires_grad=True)
    optimizer = cr.optim.SGD([w], lr=0.1, weight_decay=0.5, decoupled=True)
    for _ in range(10):
        w.grad = cr.tensor(np.zeros(2))
        optimizer.step()
    np.testing.assert_allclose(w.numpy(), np.array([1.0, -2.0]) * 0.95**10, rtol=1e-14)


def test_classical_decay_is_an_l2_penalty():
    # weight_decay d is the gradient of d/2 |w|^2.
    rng = np.random.default_rng(0)
    values, target = rng.standard_normal(6), rng.standard_normal(6)
    decayed, penalised = (cr.tensor(values, requires_grad=True) for _ in range(2))
    one = cr.optim.SGD([decayed], lr=0.1, momentum=0.9, weight_decay=0.4)
    other = cr.optim.SGD([penalised], lr=0.1, momentum=0.9)
    for _ in range(30):
        one.zero_grad(), other.zero_grad()
        cr.sum((decayed - target) ** 2).backward()
        (cr.sum((penalised - target) ** 2) + cr.elastic_net(penalised, l2=0.2)).backward()
        one.step(), other.step()
    np.testing.assert_allclose(decayed.numpy(), penalised.numpy(), rtol=1e-12)


def test_one_step_by_hand():
    # w = 1, f = w^2, lr 0.1, momentum 0.5: v = 2, w = 0.8; then g = 1.6, v = 1 + 1.6 = 2.6, w = 0.54.
    w = cr.tensor([1.0], dtype="float64", requires_grad=True)
    optimizer = cr.optim.SGD([w], lr=0.1, momentum=0.5)
    for expected in (0.8, 0.54):
        optimizer.zero_grad()
        cr.sum(w * w).backward()
        optimizer.step()
        assert w.item() == pytest.approx(expected, rel=1e-14)


def test_a_quadratic_bowl_converges():
    w = cr.tensor([5.0, -3.0], dtype="float64", requires_grad=True)
    optimizer = cr.optim.SGD([w], lr=0.1, momentum=0.9, nesterov=True)
    scale = np.array([1.0, 4.0])
    for _ in range(300):
        optimizer.zero_grad()
        cr.sum(w * w * scale).backward()
        optimizer.step()
    assert np.abs(w.numpy()).max() < 1e-8


def test_parameters_without_a_gradient_stay_as_they_are():
    params = parameters(np.float64)
    before = [p.numpy().copy() for p in params]
    optimizer = cr.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.5)
    gradients = [np.ones(p.shape) if i % 2 else None for i, p in enumerate(params)]
    give(params, gradients)
    optimizer.step()
    for p, value, g in zip(params, before, gradients, strict=True):
        assert (p.numpy() == value).all() == (g is None)
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)
    after = [p.numpy().copy() for p in params]
    optimizer.step()  # nothing has a gradient
    for p, value in zip(params, after, strict=True):
        np.testing.assert_array_equal(p.numpy(), value)


def test_parameters_of_both_dtypes_and_of_no_values_go_together():
    params = [*parameters(np.float32), *parameters(np.float64), *parameters(np.float32, [(0,), (3, 0)])]
    memory = [p.data for p in params]
    before = [p.numpy().copy() for p in params]
    give(params, gradients_for(params, 0))
    cr.optim.SGD(params, lr=0.1).step()
    for p, value, kept in zip(params, before, memory, strict=True):
        assert p.data is kept, "a step changes parameters in place"
        np.testing.assert_allclose(p.numpy(), value - 0.1 * p.grad.numpy(), rtol=1e-6, atol=1e-7)


@hypothesis_settings(deadline=None, derandomize=True, database=None, max_examples=40)
@given(
    size=st.integers(0, 70),
    momentum=st.sampled_from([0.0, 0.9]),
    nesterov=st.booleans(),
    decoupled=st.booleans(),
    dtype=st.sampled_from(DTYPES),
)
def test_every_length_is_updated_whole(size, momentum, nesterov, decoupled, dtype):
    """Vector parts and tails alike: each entry gets what it would get alone."""
    nesterov = nesterov and momentum > 0
    settings = {"momentum": momentum, "nesterov": nesterov, "weight_decay": 0.1, "decoupled": decoupled}
    together = cr.tensor(np.linspace(-1, 1, size), dtype=dtype, requires_grad=True)
    alone = [cr.tensor([v], dtype=dtype, requires_grad=True) for v in together.numpy()]
    one = cr.optim.SGD([together], lr=0.1, **settings)
    other = cr.optim.SGD(alone, lr=0.1, **settings) if alone else None
    for step in range(3):
        g = np.random.default_rng(step).standard_normal(size).astype(dtype)
        together.grad = cr.tensor(g)
        one.step()
        for p, value in zip(alone, g, strict=True):
            p.grad = cr.tensor(np.array([value]))
        if other:
            other.step()
    np.testing.assert_array_equal(together.numpy(), np.array([p.item() for p in alone], dtype))


# ---- Stochastic, mini-batch and full-batch -----------------------------------------------------------------


def two_clouds():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    x = rng.standard_normal((60, 3)) + 3 * labels[:, None]
    return x, labels


@pytest.mark.parametrize("batch", [1, 16, 60], ids=["stochastic", "mini-batch", "full-batch"])
@pytest.mark.parametrize("loss", [cr.softmax_cross_entropy, cr.multiclass_hinge])
def test_training_separates_two_clouds(loss, batch):
    x, labels = two_clouds()
    model = nn.Linear(3, 2, initialise="zeros", dtype=np.float64)
    optimizer = cr.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    order = np.random.default_rng(1)
    losses = []
    for _ in range(30):
        shuffled = order.permutation(60)
        for start in range(0, 60, batch):
            rows = shuffled[start : start + batch]
            optimizer.zero_grad()
            loss(model(x[rows]), labels[rows]).backward()
            optimizer.step()
        losses.append(loss(model(x), labels).item())
    assert losses[-1] < 0.3 * losses[0] or losses[-1] < 0.05, losses
    assert (model(x).argmax(1) == labels).mean() > 0.95


def test_the_mean_gradient_of_the_batches_is_the_full_batchs():
    x, labels = two_clouds()
    model = nn.Linear(3, 2, rng=0, dtype=np.float64)
    cr.softmax_cross_entropy(model(x), labels).backward()
    whole = model.weight.grad.numpy().copy()
    model.zero_grad()
    for start in range(0, 60, 20):
        cr.softmax_cross_entropy(model(x[start : start + 20]), labels[start : start + 20]).backward()
    np.testing.assert_allclose(model.weight.grad.numpy() / 3, whole, rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_trained_network_is_torchs(dtype):
    """A two-layer network over 50 steps of momentum, both from the same weights on the same batches."""
    x, labels = two_clouds()
    x = x.astype(dtype)
    net = nn.Sequential(nn.Linear(3, 8, rng=0, dtype=dtype), nn.ReLU(), nn.Linear(8, 2, rng=1, dtype=dtype))
    kind = torch.float32 if dtype is np.float32 else torch.float64
    twin = torch.nn.Sequential(
        torch.nn.Linear(3, 8, dtype=kind), torch.nn.ReLU(), torch.nn.Linear(8, 2, dtype=kind)
    )
    with torch.no_grad():
        for i in (0, 2):
            twin[i].weight.copy_(torch.tensor(net[i].weight.numpy().T))
            twin[i].bias.zero_()
    ours = cr.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    theirs = torch.optim.SGD(twin.parameters(), lr=0.05, momentum=0.9)
    for step in range(50):
        rows = np.arange(step, step + 20) % 60
        ours.zero_grad(), theirs.zero_grad()
        loss = cr.softmax_cross_entropy(net(x[rows]), labels[rows])
        other = torch.nn.functional.cross_entropy(twin(torch.tensor(x[rows])), torch.tensor(labels[rows]))
        loss.backward(), other.backward()
        ours.step(), theirs.step()
    tolerance = 2e-3 if dtype is np.float32 else 1e-9
    for i in (0, 2):
        np.testing.assert_allclose(
            net[i].weight.numpy(), twin[i].weight.detach().numpy().T, rtol=tolerance, atol=tolerance
        )


# ---- Settings ----------------------------------------------------------------------------------------------

NAN = float("nan")


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": -0.1},
        {"lr": NAN},
        {"lr": float("inf")},
        {"lr": 0.1, "momentum": -0.1},
        {"lr": 0.1, "momentum": 1.0},
        {"lr": 0.1, "momentum": NAN},
        {"lr": 0.1, "weight_decay": -1.0},
        {"lr": 0.1, "weight_decay": float("inf")},
        {"lr": 0.1, "nesterov": True},
    ],
    ids=str,
)
def test_settings_out_of_range_are_named(settings):
    name = list(settings)[-1]
    with pytest.raises(ValueError, match=f"SGD: .*{name}"):
        cr.optim.SGD(parameters(np.float32), **settings)


def test_settings_changed_to_what_is_out_of_range_are_found_by_the_step():
    params = parameters(np.float32)
    before = [p.numpy().copy() for p in params]
    optimizer = cr.optim.SGD(params, lr=0.1)
    optimizer.lr = NAN
    give(params, gradients_for(params, 0))
    with pytest.raises(ValueError, match=r"SGD: .*lr"):
        optimizer.step()
    for p, value in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.numpy(), value)


@pytest.mark.parametrize("lr", ["fast", None, 1j, [0.1]])
def test_a_learning_rate_that_is_no_number_is_refused(lr):
    with pytest.raises(TypeError):
        cr.optim.SGD(parameters(np.float32), lr=lr)


@pytest.mark.parametrize(
    "params, error, message",
    [
        ([], ValueError, "SGD: no parameters given"),
        (iter(()), ValueError, "SGD: no parameters given"),
        ([cr.tensor([1.0])], TypeError, "SGD: parameter 0 is no leaf Tensor with requires_grad=True"),
        ([np.ones(3)], TypeError, "SGD: parameter 0 is no leaf Tensor"),
        ([cr.tensor([1.0], requires_grad=True) * 2.0], TypeError, "SGD: parameter 0 is no leaf Tensor"),
        ("ab", TypeError, "SGD: parameter 0 is no leaf Tensor"),
    ],
)
def test_what_is_no_parameter_is_refused(params, error, message):
    with pytest.raises(error, match=re.escape(message)):
        cr.optim.SGD(params, lr=0.1)


def test_a_learning_rate_of_zero_changes_nothing_but_the_velocity():
    (p,) = parameters(np.float32, [(5,)])
    before = p.numpy().copy()
    optimizer = cr.optim.SGD([p], lr=0.0, momentum=0.9)
    give([p], [np.ones(5, np.float32)])
    optimizer.step()
    np.testing.assert_array_equal(p.numpy(), before)
    np.testing.assert_array_equal(optimizer.state_dict()["velocity.0"], np.ones(5))


# ---- Arrays that cannot be updated in place ----------------------------------------------------------------


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    "layout, message",
    [
        (read_only, "SGD: parameter 1 is read-only"),
        (lambda x: np.asfortranarray(x), "SGD: parameter 1 is not C-contiguous"),
        (lambda x: np.repeat(x, 2, axis=1)[:, ::2], "SGD: parameter 1 is not C-contiguous"),
    ],
    ids=["read-only", "Fortran", "strided"],
)
def test_a_parameter_that_cannot_be_changed_in_place_is_refused_and_nothing_is_changed(layout, message):
    params = parameters(np.float32, [(4,), (3, 2)])
    params[1].data = layout(params[1].data)
    before = [p.numpy().copy() for p in params]
    give(params, gradients_for(params, 0))
    with pytest.raises(ValueError, match=re.escape(message)):
        cr.optim.SGD(params, lr=0.1).step()
    for p, value in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.numpy(), value)


def test_gradients_of_any_layout_are_read_right():
    for layout in (
        read_only,
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1][::-1],
    ):
        (p,) = parameters(np.float64, [(3, 4)])
        before = p.numpy().copy()
        g = np.random.default_rng(0).standard_normal((3, 4))
        p.grad = cr.Tensor(layout(g))
        cr.optim.SGD([p], lr=0.5).step()
        np.testing.assert_allclose(p.numpy(), before - 0.5 * g, rtol=1e-15)


@pytest.mark.parametrize("shape", [(4,), (2, 4), (4, 3), ()])
def test_a_gradient_of_another_shape_is_refused(shape):
    (p,) = parameters(np.float32, [(3, 4)])
    before = p.numpy().copy()
    p.grad = cr.tensor(np.ones(shape, np.float32))
    with pytest.raises(ValueError, match="SGD: gradient 0 "):
        cr.optim.SGD([p], lr=0.1).step()
    np.testing.assert_array_equal(p.numpy(), before)


def test_nan_and_infinite_gradients_go_into_their_own_entries_alone():
    (p,) = parameters(np.float32, [(40,)])
    before = p.numpy().copy()
    g = np.ones(40, np.float32)
    g[3], g[37] = np.nan, np.inf
    p.grad = cr.tensor(g)
    cr.optim.SGD([p], lr=0.1, momentum=0.9).step()
    assert np.isnan(p.numpy()[3]) and p.numpy()[37] == -np.inf
    others = np.delete(np.arange(40), [3, 37])
    np.testing.assert_allclose(p.numpy()[others], before[others] - 0.1, rtol=1e-6, atol=1e-7)


# ---- State -------------------------------------------------------------------------------------------------


def run(params, optimizer, steps):
    for step in steps:
        give(params, gradients_for(params, step))
        optimizer.step()
    return [p.numpy().copy() for p in params]


@pytest.mark.parametrize("dtype", DTYPES)
def test_training_goes_on_with_the_same_bits_after_saving_and_loading(dtype):
    params = parameters(dtype)
    optimizer = cr.optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True)
    run(params, optimizer, range(5))
    optimizer.lr = 0.02
    state, values = optimizer.state_dict(), [p.numpy().copy() for p in params]
    straight = run(params, optimizer, range(5, 9))
    twins = [cr.tensor(v, requires_grad=True) for v in values]
    other = cr.optim.SGD(twins, lr=0.5, momentum=0.9, nesterov=True)
    other.load_state_dict(state)
    assert other.lr == 0.02
    for one, two in zip(run(twins, other, range(5, 9)), straight, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_state_is_a_copy():
    params = parameters(np.float32, [(3,)])
    optimizer = cr.optim.SGD(params, lr=0.1, momentum=0.9)
    run(params, optimizer, range(2))
    state = optimizer.state_dict()
    assert sorted(state) == ["lr", "velocity.0"] and state["lr"] == 0.1
    kept = state["velocity.0"].copy()
    run(params, optimizer, range(2, 4))
    np.testing.assert_array_equal(state["velocity.0"], kept)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("velocity.0"), "missing ['velocity.0'], not known []"),
        (lambda s: s.update(extra=1), "missing [], not known ['extra']"),
        (lambda s: s.update({"velocity.1": np.ones(4)}), "velocity.1 has shape (4,), here it is (5,)"),
    ],
)
def test_another_optimizers_state_is_refused_and_nothing_is_changed(change, message):
    params = parameters(np.float64, [(3,), (5,)])
    optimizer = cr.optim.SGD(params, lr=0.1, momentum=0.9)
    run(params, optimizer, range(2))
    before, state = optimizer.state_dict(), optimizer.state_dict()
    state = {key: value + 1 for key, value in state.items()}
    change(state)
    with pytest.raises(ValueError, match=re.escape(f"SGD.load_state_dict: {message}")):
        optimizer.load_state_dict(state)
    for key, value in optimizer.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_without_momentum_the_state_is_the_learning_rate():
    assert cr.optim.SGD(parameters(np.float32), lr=0.25).state_dict() == {"lr": 0.25}
