"""Modules: what they hold, how it is named, saved and loaded, and how they are called with other parameters."""

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


class Block(nn.Module):
    def __init__(self, rng=0):
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.inner = nn.Sequential(nn.Linear(3, 4, rng=rng), nn.Tanh(), nn.Linear(4, 3, rng=rng))
        self.heads = [nn.Linear(3, 2, rng=1), nn.Linear(3, 2, bias=False, rng=2)]
        self.note = "not a parameter"

    def forward(self, x):
        h = self.inner(x) * self.scale
        return self.heads[0](h) + self.heads[1](h)


NAMES = [
    "scale",
    "inner.0.weight",
    "inner.0.bias",
    "inner.2.weight",
    "inner.2.bias",
    "heads.0.weight",
    "heads.0.bias",
    "heads.1.weight",
]


def test_parameters_are_found_by_name_in_the_order_they_were_set():
    block = Block()
    assert [name for name, _ in block.named_parameters()] == NAMES
    assert list(block.state_dict()) == NAMES
    assert [id(p) for p in block.parameters()] == [id(p) for _, p in block.named_parameters()]
    assert [name for name, _ in block.named_parameters("net.")] == [f"net.{name}" for name in NAMES]
    assert [name for name, _ in block.children()] == ["inner", "heads.0", "heads.1"]
    kinds = [type(m).__name__ for m in block.modules()]
    assert kinds == ["Block", "Sequential", "Linear", "Tanh", "Linear", "Linear", "Linear"]


def test_a_parameter_is_a_leaf_of_its_own_memory():
    data = np.ones(3, np.float32)
    p = nn.Parameter(data)
    assert p.requires_grad and p.gate is None and isinstance(p, cr.Tensor)
    assert not np.shares_memory(p.data, data)
    assert nn.Parameter(2.0).dtype == np.float32 and nn.Parameter(np.ones(2)).dtype == np.float64
    for wrong in (np.ones(3, int), "abc", None, [True]):
        with pytest.raises(TypeError, match="tensor: "):
            nn.Parameter(wrong)


def test_every_parameter_gets_its_gradient_and_zero_grad_forgets_it():
    block = Block()
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    cr.sum(block(x) ** 2).backward()
    for name, p in block.named_parameters():
        assert p.grad is not None and p.grad.shape == p.shape and p.grad.numpy().any(), name
    block.zero_grad()
    assert all(p.grad is None for p in block.parameters())


def test_a_module_without_forward_says_so():
    class Empty(nn.Module):
        pass

    with pytest.raises(TypeError, match=r"Empty\.forward is not defined"):
        Empty()(1.0)
    assert list(Empty().parameters()) == [] and Empty().state_dict() == {}


def test_train_and_eval_reach_every_module():
    block = Block()
    assert all(m.training for m in block.modules())
    assert block.eval() is block and not any(m.training for m in block.modules())
    assert block.inner.train() is block.inner
    assert [m.training for m in block.modules()] == [False, True, True, True, True, False, False]
    assert all(m.training for m in block.train().modules())
    assert "training" not in block.state_dict()


def test_repr_shows_the_tree():
    lines = repr(
        nn.Sequential(nn.Linear(3, 4, rng=0), nn.ReLU(), nn.Linear(4, 2, bias=False, rng=0))
    ).splitlines()
    assert lines == [
        "Sequential(",
        "  (0): Linear(3, 4)",
        "  (1): ReLU()",
        "  (2): Linear(4, 2, bias=False)",
        ")",
    ]


# ---- State -------------------------------------------------------------------------------------------------


def test_a_state_is_a_copy_and_loads_to_the_bit():
    one, other = Block(rng=0), Block(rng=7)
    state = one.state_dict()
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    assert (one(x).numpy() != other(x).numpy()).any()
    other.load_state_dict(state)
    np.testing.assert_array_equal(one(x).numpy(), other(x).numpy())
    for value in state.values():
        value[...] = 0
    assert one.scale.data.all() and other.scale.data.all(), "the state shares memory with a model"


def test_loading_keeps_the_parameters_themselves():
    model = nn.Linear(3, 2, rng=0)
    weight, memory = model.weight, model.weight.data
    model.load_state_dict({"weight": np.ones((3, 2), np.float32), "bias": np.zeros(2, np.float32)})
    assert model.weight is weight and model.weight.data is memory and memory.all()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("bias"), "missing ['bias'], not known []"),
        (lambda s: s.update(gain=np.ones(2)), "missing [], not known ['gain']"),
        (lambda s: s.clear(), "missing ['bias', 'weight'], not known []"),
        (
            lambda s: s.update(weight=np.ones((2, 3), np.float32)),
            "weight is float32 (2, 3), the model's is float32 (3, 2)",
        ),
        (lambda s: s.update(bias=np.ones(2)), "bias is float64 (2,), the model's is float32 (2,)"),
        (lambda s: s.update(bias=np.ones(2, int)), "bias is int64 (2,), the model's is float32 (2,)"),
        (lambda s: s.update(bias=1.0), "bias is float64 (), the model's is float32 (2,)"),
        (lambda s: s.update(bias=None), "bias is object (), the model's is float32 (2,)"),
    ],
)
def test_another_models_state_is_refused_and_nothing_is_changed(change, message):
    model = nn.Linear(3, 2, rng=0)
    before = model.state_dict()
    state = {name: value + 1 for name, value in before.items()}
    change(state)
    with pytest.raises(ValueError, match=re.escape(f"load_state_dict: {message}")):
        model.load_state_dict(state)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_read_only_parameter_is_refused_before_anything_is_changed():
    model = nn.Linear(3, 2, rng=0)
    frozen = np.zeros(2, np.float32)
    frozen.flags.writeable = False
    model.bias.data = frozen
    before = model.weight.data.copy()
    with pytest.raises(ValueError, match="load_state_dict: bias is read-only in the model"):
        model.load_state_dict({"weight": before + 1, "bias": np.ones(2, np.float32)})
    np.testing.assert_array_equal(model.weight.data, before)


def test_states_of_any_layout_load():
    model, wanted = nn.Linear(3, 2, rng=0), np.arange(6, dtype=np.float32).reshape(3, 2)
    room = np.zeros((6, 4), np.float32)
    room[::2, ::2] = wanted
    for value in (np.asfortranarray(wanted), room[::2, ::2], wanted[::-1].copy()[::-1], cr.tensor(wanted)):
        model.load_state_dict({"weight": value, "bias": np.zeros(2, np.float32)})
        np.testing.assert_array_equal(model.weight.data, wanted)


def test_arrays_are_state_that_is_not_learned():
    class Centre(nn.Module):
        def __init__(self):
            self.mean = np.zeros(3, np.float32)
            self.gain = nn.Parameter(np.ones(3, np.float32))

    model = Centre()
    assert [name for name, _ in model.named_parameters()] == ["gain"]
    assert sorted(model.state_dict()) == ["gain", "mean"]
    model.load_state_dict({"gain": np.ones(3, np.float32), "mean": np.full(3, 2, np.float32)})
    assert model.mean.tolist() == [2, 2, 2]


# ---- Shared parameters -------------------------------------------------------------------------------------


class Tied(nn.Module):
    """x W W: two layers with one weight."""

    def __init__(self):
        self.first = nn.Linear(3, 3, bias=False, rng=0)
        self.second = nn.Linear(3, 3, bias=False, rng=1)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


def test_a_shared_parameter_is_listed_saved_and_stepped_once():
    model = Tied()
    assert [name for name, _ in model.named_parameters()] == ["first.weight"]
    assert list(model.state_dict()) == ["first.weight"]
    x = np.eye(3, dtype=np.float32)
    before = model.first.weight.data.copy()
    cr.sum(model(x)).backward()
    gradient = model.first.weight.grad.numpy().copy()
    # By hand: d sum(W W) / dW = 1 W^T + W^T 1, with 1 all ones.
    ones = np.ones((3, 3))
    np.testing.assert_allclose(gradient, ones @ before.T + before.T @ ones, rtol=1e-5, atol=1e-6)
    cr.optim.SGD(model.parameters(), lr=0.1).step()
    np.testing.assert_allclose(model.first.weight.data, before - 0.1 * gradient, rtol=1e-6, atol=1e-7)
    assert model.second.weight is model.first.weight


def test_a_module_used_twice_is_walked_under_both_names_and_its_parameters_once():
    layer = nn.Linear(3, 3, rng=0)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    model.load_state_dict(model.state_dict())
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(model(x).numpy(), layer(cr.tanh(layer(x))).numpy())


# ---- functional_call ---------------------------------------------------------------------------------------


def test_functional_call_is_the_model_with_other_parameters_and_leaves_it_as_it_was():
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.ReLU(), nn.Linear(4, 2, rng=0))
    own = {name: id(p) for name, p in model.named_parameters()}
    before = model.state_dict()
    other = {name: value * 2 for name, value in before.items()}
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    result = cr.functional_call(model, other, x)
    twin = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    twin.load_state_dict(other)
    np.testing.assert_array_equal(np.asarray(result), twin(x).numpy())
    assert {name: id(p) for name, p in model.named_parameters()} == own
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_functional_call_gives_back_the_parameters_after_an_error():
    model = nn.Linear(3, 2, rng=0)
    weight = model.weight
    with pytest.raises(ValueError, match="Linear: x"):
        cr.functional_call(model, {"weight": np.ones((3, 2), np.float32)}, np.ones((5, 4)))
    assert model.weight is weight
    with pytest.raises(ValueError, match="bias has shape"):
        cr.functional_call(
            model, {"weight": np.ones((3, 2), np.float32), "bias": np.ones(3)}, np.ones((5, 3))
        )
    assert model.weight is weight


def test_functional_call_replaces_a_shared_parameter_everywhere():
    model = Tied()
    x = np.eye(3)
    w = np.random.default_rng(0).standard_normal((3, 3))
    np.testing.assert_allclose(cr.functional_call(model, {"first.weight": w}, x), w @ w, rtol=1e-12)
    gradient = cr.grad(lambda p: cr.sum(cr.functional_call(model, p, x)))({"first.weight": w})["first.weight"]
    ones = np.ones((3, 3))
    np.testing.assert_allclose(gradient, ones @ w.T + w.T @ ones, rtol=1e-12)
    assert model.first.weight is model.second.weight


def test_functional_call_with_a_place_named_twice_gives_back_the_first():
    layer = nn.Linear(2, 2, bias=False, rng=0)
    model = nn.Sequential(layer, layer)
    weight = layer.weight
    cr.functional_call(model, {"0.weight": np.eye(2), "1.weight": 2 * np.eye(2)}, np.eye(2))
    assert layer.weight is weight


def test_gradients_by_functional_call_are_backwards():
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=0))
    x, labels = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32), [0, 1, 1, 0, 1]
    gradients = cr.grad(lambda p: cr.softmax_cross_entropy(cr.functional_call(model, p, x), labels))(
        model.state_dict()
    )
    cr.softmax_cross_entropy(model(x), labels).backward()
    for name, p in model.named_parameters():
        np.testing.assert_allclose(np.asarray(gradients[name]), p.grad.numpy(), rtol=1e-5, atol=1e-7)
