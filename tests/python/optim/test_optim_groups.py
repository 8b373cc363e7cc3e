"""Parameter groups, and the state that an optimizer gives and takes."""

import numpy as np
import pytest

import chainrule as cr

LR = {"SGD": 0.1, "Adam": 0.01, "AdamW": 0.01, "RMSprop": 0.01, "Adagrad": 0.1}
NAMES = list(LR)
# Settings of a second group that differ from the defaults.
OVERRIDES = {
    "SGD": {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "Adam": {"lr": 0.1, "betas": (0.5, 0.9), "weight_decay": 0.1, "amsgrad": True},
    "AdamW": {"weight_decay": 0.0, "eps": 1e-3},
    "RMSprop": {"alpha": 0.5, "momentum": 0.9, "centered": True},
    "Adagrad": {"lr_decay": 0.5, "initial_accumulator_value": 0.5},
}


def tensors(*shapes, dtype=np.float64, seed=1):
    rng = np.random.default_rng(seed)
    return [cr.tensor(rng.normal(size=s).astype(dtype), dtype=dtype, requires_grad=True) for s in shapes]


def give_gradients(params, rng):
    for p in params:
        p.grad = cr.tensor(rng.normal(size=p.shape).astype(p.dtype), dtype=p.dtype)


def make(name, params, **settings):
    return getattr(cr.optim, name)(params, **{"lr": LR[name], **settings})


def bits(params):
    return [p.numpy().tobytes() for p in params]


# ---- Steps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize("name", NAMES)
def test_groups_step_as_those_of_pytorch(name, dtype, bound):
    torch = pytest.importorskip("torch")
    overrides = dict(OVERRIDES[name])
    overrides.pop("initial_accumulator_value", None)  # where PyTorch hears of none but the default
    mine = tensors((3, 4), (5,), (0,), (2,), dtype=dtype)
    theirs = [torch.tensor(p.numpy().copy(), requires_grad=True) for p in mine]

    def groups(p):
        return [{"params": p[:2]}, {"params": p[2:], **overrides}]

    optimizer = make(name, groups(mine))
    reference = getattr(torch.optim, name)(groups(theirs), lr=LR[name])
    rng = np.random.default_rng(2)
    for step in range(50):
        if step == 25:  # as a schedule does
            for group in (*optimizer.param_groups, *reference.param_groups):
                group["lr"] *= 0.1
        for p, q in zip(mine, theirs, strict=True):
            g = rng.normal(size=p.shape).astype(dtype)
            p.grad, q.grad = cr.tensor(g, dtype=dtype), torch.tensor(g)
        optimizer.step()
        reference.step()
    for p, q in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=bound, atol=bound)


@pytest.mark.parametrize("name", NAMES)
def test_groups_step_as_optimizers_of_their_own(name):
    apart, together = tensors((3, 4), (5,)), tensors((3, 4), (5,))
    optimizers = [
        make(name, apart[:1]),
        make(name, apart[1:], **OVERRIDES[name]),
        make(name, [{"params": together[0]}, {"params": iter(together[1:]), **OVERRIDES[name]}]),
    ]
    rng = np.random.default_rng(3)
    for _ in range(5):
        give_gradients(apart, rng)
        for p, q in zip(apart, together, strict=True):
            q.grad = cr.tensor(p.grad.numpy(), dtype=p.dtype)
        for optimizer in optimizers:
            optimizer.step()
    assert bits(apart) == bits(together)


def test_a_wrong_setting_in_one_group_leaves_all_as_they_are():
    for name in NAMES:
        params = tensors((3,), (2,))
        optimizer = make(name, [{"params": params[:1]}, {"params": params[1:]}])
        give_gradients(params, np.random.default_rng(4))
        before = bits(params)
        optimizer.param_groups[1]["lr"] = -1
        with pytest.raises(ValueError, match=f"{name}: lr = -1: give"):
            optimizer.step()
        assert bits(params) == before
        assert all(v == 0 for k, v in optimizer.state_dict().items() if k.startswith("step"))


def test_zero_grad_forgets_in_every_group():
    params = tensors((3,), (2,))
    optimizer = make("Adam", [{"params": params[:1]}, {"params": params[1:]}])
    give_gradients(params, np.random.default_rng(5))
    optimizer.zero_grad()
    assert [p.grad for p in params] == [None, None]


# ---- What a group is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_group_has_every_setting(name):
    (w, b), override = tensors((3,), (2,)), OVERRIDES[name]
    optimizer = make(name, [{"params": [w]}, {"params": b, **override}])
    first, second = optimizer.param_groups
    assert first == {"params": [w], **optimizer.defaults} and optimizer.defaults["lr"] == LR[name]
    assert second == {"params": [b], **optimizer.defaults, **override}
    assert [p is q for p, q in zip(optimizer.params, (w, b), strict=True)] == [True, True]


def test_groups_of_the_caller_are_not_changed():
    w, b = tensors((3,), (2,))
    given = [{"params": [w]}, {"params": [b], "lr": 0.5}]
    optimizer = make("SGD", given)
    optimizer.param_groups[1]["lr"] = 7
    assert given == [{"params": [w]}, {"params": [b], "lr": 0.5}]


def test_lr_may_be_left_to_the_groups_default_or_given_in_each():
    w, b = tensors((3,), (2,))
    optimizer = cr.optim.SGD([{"params": [w], "lr": 1.0}, {"params": [b]}], lr=0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 0.5]


@pytest.mark.parametrize("name", NAMES)
def test_a_group_added_later(name):
    w, b = tensors((3,), (2,))
    optimizer = make(name, [w])
    give_gradients([w, b], np.random.default_rng(6))
    optimizer.step()
    before = b.numpy().copy()
    optimizer.add_param_group({"params": b, **OVERRIDES[name]})
    optimizer.step()
    assert (b.numpy() != before).all()
    state = optimizer.state_dict()
    assert "lr" not in state and {"group.0.lr", "group.1.lr"} <= state.keys()
    if name in ("Adam", "AdamW", "Adagrad"):
        assert (state["step.0"], state["step.1"]) == (2, 1)


def test_an_empty_group_among_others_is_fine():
    (w,) = tensors((3,))
    optimizer = make("Adam", [{"params": []}, {"params": [w]}])
    give_gradients([w], np.random.default_rng(7))
    optimizer.step()
    assert optimizer.state_dict()["step.0"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_settings_as_attributes(name):
    w, b = tensors((3,), (2,))
    optimizer = make(name, [{"params": [w]}, {"params": [b]}])
    for key, value in optimizer.defaults.items():
        assert getattr(optimizer, key) == value
        assert getattr(type(optimizer), key).__doc__  # what the attribute is can be asked for
    optimizer.lr = 0.25
    assert optimizer.lr == 0.25 and [g["lr"] for g in optimizer.param_groups] == [0.25, 0.25]
    optimizer.param_groups[1]["lr"] = 0.5
    with pytest.raises(
        ValueError, match=rf"{name}: lr differs .*\(0.25, 0.5\): set param_groups\[i\]\['lr'\]"
    ):
        optimizer.lr = 1.0
    assert [g["lr"] for g in optimizer.param_groups] == [0.25, 0.5]


def test_settings_that_need_more_state_later():
    # Momentum that begins after some steps begins at 0.
    for name, extra, key in [
        ("SGD", {"momentum": 0.9}, "velocity.0"),
        ("RMSprop", {"momentum": 0.9}, "momentum_buffer.0"),
        ("Adam", {"amsgrad": True}, "max_exp_avg_sq.0"),
    ]:
        (w,) = tensors((3,))
        optimizer = make(name, [w])
        give_gradients([w], np.random.default_rng(8))
        optimizer.step()
        assert key not in optimizer.state_dict()
        optimizer.param_groups[0].update(extra)
        optimizer.step()
        assert (optimizer.state_dict()[key] != 0).all()
        # Resumed in the same way, with no step in between.
        (other,) = tensors((3,))
        other.data[...] = w.data
        again = make(name, [other])
        again.param_groups[0].update(extra)
        again.load_state_dict(optimizer.state_dict())
        for each, p in ((optimizer, w), (again, other)):
            give_gradients([p], np.random.default_rng(9))
            each.step()
        assert w.data.tobytes() == other.data.tobytes()


# ---- What is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_parameters_that_are_given_twice(name):
    w, b = tensors((3,), (2,))
    again = f"{name}: parameter 2 is parameter 0 again: give each once"
    for params in ([w, b, w], [{"params": [w, b]}, {"params": [w]}], [{"params": [w]}, {"params": [b, w]}]):
        with pytest.raises(ValueError) as error:
            make(name, params)
        assert str(error.value) == again
    optimizer = make(name, [w, b])
    with pytest.raises(ValueError) as error:
        optimizer.add_param_group({"params": [w]})
    assert str(error.value) == again
    assert len(optimizer.param_groups) == 1 and len(optimizer.params) == 2


def test_a_parameter_shared_in_a_model_is_given_once():
    class Tied(cr.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = cr.nn.Linear(3, 3)
            self.second = cr.nn.Linear(3, 3)
            self.second.weight = self.first.weight

    assert len(make("Adam", Tied().parameters()).params) == 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([], ValueError, "no parameters given"),
        ([{"params": []}], ValueError, "no parameters given"),
        (tensors((3,))[0], TypeError, "params is a Tensor: give a list of Tensors or dicts"),
        ({"params": tensors((3,))}, TypeError, "params is a dict: give a list of Tensors or dicts"),
        (3, TypeError, "params is a int: give a list of Tensors or dicts"),
        (set(tensors((3,))), TypeError, "params is a set, which has no order: give a list"),
        ([{"params": set(tensors((3,)))}], TypeError, "params is a set, which has no order: give a list"),
        ([{"params": 3}], TypeError, "params is a int: give a list of Tensors or dicts"),
        ([np.ones(3)], TypeError, "parameter 0 is no leaf Tensor with requires_grad=True"),
        ([*tensors((3,)), cr.tensor([1.0])], TypeError, "parameter 1 is no leaf Tensor with"),
        ([tensors((3,))[0] * 2.0], TypeError, "parameter 0 is no leaf Tensor with requires_grad=True"),
        (
            [{"params": tensors((3,))}, *tensors((3,))],
            TypeError,
            "a Tensor among parameter groups: give dicts",
        ),
        (
            [*tensors((3,)), {"params": tensors((3,))}],
            TypeError,
            "a Tensor among parameter groups: give dicts",
        ),
        ([{"lr": 0.1}], ValueError, "a parameter group without 'params'"),
        (
            [{"params": tensors((3,)), "rate": 1}],
            ValueError,
            "settings ['rate'], which are not known: use lr, ",
        ),
        ([{"params": tensors((3,)), "lr": -2}], ValueError, "lr = -2: give a finite number of at least 0"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_no_list_of_parameters(name, params, error, message):
    with pytest.raises(error) as caught:
        make(name, params)
    assert str(caught.value).startswith(f"{name}: ") and message in str(caught.value)


# ---- State -------------------------------------------------------------------------------------------------


def step_both(optimizer, other, rng, count):
    """Steps of two optimizers by the same gradients."""
    for _ in range(count):
        give_gradients(optimizer.params, rng)
        for p, q in zip(optimizer.params, other.params, strict=True):
            q.grad = cr.tensor(p.grad.numpy(), dtype=p.dtype)
        optimizer.step()
        other.step()


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_with_groups_has_the_same_bits(name):
    def groups(p):
        return [{"params": p[:2]}, {"params": p[2:], **OVERRIDES[name]}]

    params = tensors((3, 4), (5,), (0,), (2,))
    optimizer = make(name, groups(params))
    rng = np.random.default_rng(9)
    for _ in range(4):
        give_gradients(params, rng)
        optimizer.step()
    optimizer.param_groups[1]["lr"] *= 0.5
    state = {key: np.array(value) for key, value in optimizer.state_dict().items()}
    again = [cr.tensor(p.numpy().copy(), dtype=p.dtype, requires_grad=True) for p in params]
    resumed = make(name, groups(again))
    resumed.load_state_dict(state)
    assert [g["lr"] for g in resumed.param_groups] == [g["lr"] for g in optimizer.param_groups]
    step_both(optimizer, resumed, rng, 4)
    assert bits(params) == bits(again)


SWITCHES = [
    ("SGD", {"momentum": 0.0}, {"momentum": 0.9}),
    ("RMSprop", {"momentum": 0.0, "centered": False}, {"momentum": 0.9, "centered": True}),
    ("Adam", {"amsgrad": False}, {"amsgrad": True}),
]


@pytest.mark.parametrize("on_first", [True, False])
@pytest.mark.parametrize(("name", "off", "on"), SWITCHES)
def test_a_state_from_after_a_setting_changed_what_is_kept(name, off, on, on_first):
    """The code that resumes makes the optimizer as the first one was made, and sets the settings anew."""
    first, second = (on, off) if on_first else (off, on)
    params = tensors((3,), (2, 2))
    optimizer = make(name, params, **first)
    rng = np.random.default_rng(11)

    def steps(count):
        for _ in range(count):
            give_gradients(params, rng)
            optimizer.step()

    def switch(optimizer, settings):
        for key, value in settings.items():
            setattr(optimizer, key, value)

    steps(2)
    switch(optimizer, second)
    steps(2)
    again = [cr.tensor(p.numpy().copy(), dtype=p.dtype, requires_grad=True) for p in params]
    resumed = make(name, again, **first)
    resumed.load_state_dict(optimizer.state_dict())
    assert resumed.state_dict().keys() == optimizer.state_dict().keys()
    for settings in (second, on):
        switch(optimizer, settings)
        switch(resumed, settings)
        step_both(optimizer, resumed, rng, 2)
    assert bits(params) == bits(again)


@pytest.mark.parametrize(("name", "off", "on"), SWITCHES)
def test_what_a_loaded_state_lacks_is_forgotten(name, off, on):
    params = tensors((3,), (2, 2))
    optimizer = make(name, params, **off)
    state = optimizer.state_dict()
    for key, value in on.items():
        setattr(optimizer, key, value)
    give_gradients(params, np.random.default_rng(12))
    optimizer.step()
    with pytest.raises(ValueError, match="missing"):
        optimizer.load_state_dict(state)
    for key, value in off.items():
        setattr(optimizer, key, value)
    optimizer.load_state_dict(state)
    assert optimizer.state_dict().keys() == state.keys()


def test_names_in_the_state():
    w, b = tensors((3,), (2,))
    assert make("SGD", [w, b]).state_dict().keys() == {"lr"}
    assert make("SGD", [w, b], momentum=0.5).state_dict().keys() == {"lr", "velocity.0", "velocity.1"}
    groups = [{"params": [w]}, {"params": [b], "momentum": 0.5}]
    assert make("SGD", groups).state_dict().keys() == {"group.0.lr", "group.1.lr", "velocity.1"}
    assert make("Adam", [w]).state_dict().keys() == {"lr", "step.0", "exp_avg.0", "exp_avg_sq.0"}
    assert make("RMSprop", [w]).state_dict().keys() == {"lr", "square_avg.0"}
    assert make("Adagrad", [w]).state_dict().keys() == {"lr", "step.0", "sum.0"}


def spoil(state, key, value):
    state = dict(state)
    if value is None:
        del state[key]
    else:
        state[key] = value
    return state


@pytest.mark.parametrize(
    ("key", "value", "error", "message"),
    [
        ("exp_avg.1", None, ValueError, "missing ['exp_avg.1'], not known []: another optimizer's state?"),
        ("velocity.0", np.zeros(3), ValueError, "missing [], not known ['velocity.0']"),
        ("exp_avg.0", np.zeros(4), ValueError, "exp_avg.0 has shape (4,), here it is (3,)"),
        ("exp_avg.1", np.zeros((3, 1)), ValueError, "exp_avg.1 has shape (3, 1), here it is (2,)"),
        ("exp_avg.1", np.array(["a", "b"]), TypeError, "exp_avg.1 is of type <U1: give numbers"),
        ("exp_avg.1", np.zeros(2, complex), TypeError, "exp_avg.1 is of type complex128: give numbers"),
        ("step.1", np.zeros(2, int), ValueError, "step.1 has shape (2,), here it is ()"),
        ("step.1", -1, ValueError, "step.1 = -1: give a whole number of at least 0"),
        ("step.1", 1.5, ValueError, "step.1 = 1.5: give a whole number of at least 0"),
        ("lr", -1.0, ValueError, "Adam: lr = -1: give a finite number of at least 0"),
        ("lr", np.nan, ValueError, "Adam: lr = nan: give a finite number of at least 0"),
        ("lr", "fast", TypeError, "lr is of type <U4: give numbers"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(key, value, error, message):
    params = tensors((3,), (2,))
    optimizer = make("Adam", params)
    give_gradients(params, np.random.default_rng(10))
    optimizer.step()
    before = optimizer.state_dict()
    other = {
        k: v + 1 if k.startswith(("step", "exp_avg")) else 0.5 for k, v in optimizer.state_dict().items()
    }
    with pytest.raises(error) as caught:
        optimizer.load_state_dict(spoil(other, key, value))
    assert message in str(caught.value)
    after = optimizer.state_dict()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[k], after[k]) for k in before)
    optimizer.load_state_dict(other)
    assert optimizer.lr == 0.5 and optimizer.state_dict()["step.1"] == 2


def test_the_base_class_is_there_to_build_on():
    class SignDescent(cr.optim.Optimizer):
        """Steps by the gradient's sign, in NumPy."""

        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def _state(self, settings):
            return {}

        def _update(self, groups):
            for settings, weights, gradients, _, _ in groups:
                for w, g in zip(weights, gradients, strict=True):
                    if g is not None:
                        w -= settings["lr"] * np.sign(g)

    w = cr.tensor([1.0, -2.0], requires_grad=True)
    optimizer = SignDescent([w], lr=0.5)
    (w * w).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(w.numpy(), [0.5, -1.5])
    assert optimizer.state_dict() == {"lr": 0.5}
