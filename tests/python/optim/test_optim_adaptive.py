"""Adam, AdamW, RMSprop and Adagrad: PyTorch's steps, resumed runs, and what is refused."""

import numpy as np
import pytest

import chainrule as cr

SHAPES = [(3, 5), (1001,), (), (0,), (2, 0, 3), (7, 1, 2, 3)]

# The optimizer and settings, as both libraries take them.
CASES = [
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "amsgrad": True}),
    ("Adam", {"lr": 0.01, "betas": (0.0, 0.0), "eps": 1e-2, "weight_decay": 0.01, "amsgrad": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.5}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.0, "amsgrad": True}),
    ("AdamW", {"lr": 0.0, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.003, "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.003, "momentum": 0.9}),
    ("RMSprop", {"lr": 0.003, "centered": True}),
    ("RMSprop", {"lr": 0.003, "centered": True, "momentum": 0.5, "weight_decay": 0.01}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3}),
]
NAMES = ["Adam", "AdamW", "RMSprop", "Adagrad"]
# Settings under which an optimizer keeps every array that it can.
FULL = {
    "Adam": {"amsgrad": True, "weight_decay": 0.1},
    "AdamW": {"amsgrad": True},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "Adagrad": {"lr_decay": 0.1, "initial_accumulator_value": 0.1},
}


def label(case):
    return case[0] + "".join(f"-{key}={value}" for key, value in case[1].items())


def parameters(dtype, shapes=SHAPES):
    rng = np.random.default_rng(1)
    return [cr.tensor(rng.normal(size=s).astype(dtype), dtype=dtype, requires_grad=True) for s in shapes]


def gradient(parameter, rng):
    # Sizes from small to large: adaptive steps are to even them out.
    return (rng.normal(size=parameter.shape) * 10.0 ** rng.integers(-3, 3)).astype(parameter.dtype)


def give_gradients(params, rng):
    for p in params:
        g = gradient(p, rng)
        p.grad = cr.tensor(g, dtype=p.dtype)


def values(params):
    return [p.numpy().copy() for p in params]


def assert_same_bits(these, those):
    assert len(these) == len(those)
    for a, b in zip(these, those, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# ---- Against PyTorch ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize("case", CASES, ids=label)
def test_fifty_steps_are_those_of_pytorch(case, dtype, bound):
    torch = pytest.importorskip("torch")
    name, settings = case
    mine = parameters(dtype)
    theirs = [torch.tensor(p.numpy().copy(), requires_grad=True) for p in mine]
    optimizer = getattr(cr.optim, name)(mine, **settings)
    reference = getattr(torch.optim, name)(theirs, **settings)
    rng = np.random.default_rng(2)
    for step in range(50):
        for i, (p, q) in enumerate(zip(mine, theirs, strict=True)):
            # One parameter has no gradient at every third step: it stands still and its count too.
            g = None if i == 1 and step % 3 == 0 else gradient(p, rng)
            p.grad = None if g is None else cr.tensor(g, dtype=dtype)
            q.grad = None if g is None else torch.tensor(g)
        optimizer.step()
        reference.step()
    for p, q in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=bound, atol=bound)


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    mine = getattr(cr.optim, name)(parameters(np.float32)).defaults
    theirs = getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)]).defaults
    assert mine == {key: theirs[key] for key in mine}


@pytest.mark.parametrize("name", NAMES)
def test_state_has_the_names_of_pytorch(name):
    torch = pytest.importorskip("torch")
    p, q = cr.tensor([1.0], requires_grad=True), torch.ones(1, requires_grad=True)
    optimizer = getattr(cr.optim, name)([p], **FULL[name])
    reference = getattr(torch.optim, name)([q], **FULL[name])
    p.grad, q.grad = cr.tensor([1.0]), torch.ones(1)
    optimizer.step()
    reference.step()
    own = {key.removesuffix(".0") for key in optimizer.state_dict()} - {"lr"}
    # RMSprop's step counts nothing.
    assert own == reference.state[q].keys() - ({"step"} if name == "RMSprop" else set())


# ---- By hand -----------------------------------------------------------------------------------------------


def one_step(name, w, g, **settings):
    w = cr.tensor(np.array(w, np.float64), dtype=np.float64, requires_grad=True)
    w.grad = cr.tensor(np.array(g, np.float64), dtype=np.float64)
    getattr(cr.optim, name)([w], **settings).step()
    return w.numpy()


def test_a_first_step_by_hand():
    # Adam's is lr in the gradient's direction, whatever its size.
    np.testing.assert_allclose(one_step("Adam", [2.0, 2.0], [1e-3, -50.0], lr=0.5, eps=0), [1.5, 2.5])
    # AdamW shrinks the weight by lr weight_decay besides.
    np.testing.assert_allclose(one_step("AdamW", [2.0], [3.0], lr=0.5, eps=0, weight_decay=0.1), [1.4])
    # RMSprop's is lr / sqrt(1 - alpha): its average starts at 0 with nothing to make up for it.
    np.testing.assert_allclose(one_step("RMSprop", [2.0], [3.0], lr=0.5, alpha=0.75, eps=0), [1.0])
    np.testing.assert_allclose(one_step("Adagrad", [2.0], [3.0], lr=0.5, eps=0), [1.5])
    np.testing.assert_allclose(
        one_step("Adagrad", [2.0], [3.0], lr=0.5, initial_accumulator_value=7.0, eps=0), [1.625]
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_of_zero_moves_nothing(name):
    np.testing.assert_array_equal(
        one_step(name, [2.0, -1.0], [0.0, 0.0], lr=0.5, weight_decay=0), [2.0, -1.0]
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_gradient_in_centered_rmsprop_gives_numbers(dtype):
    # Its variance is 0, and what rounding makes of it may lie below.
    w = cr.tensor(np.zeros(100, dtype), dtype=dtype, requires_grad=True)
    w.grad = cr.tensor(np.random.default_rng(0).normal(size=100).astype(dtype), dtype=dtype)
    optimizer = cr.optim.RMSprop([w], lr=1e-6, alpha=0.9, centered=True)
    for _ in range(500):
        optimizer.step()
    assert np.isfinite(w.numpy()).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_is_minimised(name):
    w = cr.tensor([3.0, -2.0], requires_grad=True)
    optimizer = getattr(cr.optim, name)([w], lr=0.5 if name == "Adagrad" else 0.05)
    first = None
    for _ in range(300):
        optimizer.zero_grad()
        loss = ((w - cr.tensor([1.0, 2.0])) ** 2).sum()
        loss.backward()
        first = loss.item() if first is None else first
        optimizer.step()
    assert loss.item() < 0.01 * first


# ---- Threads, resumed runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_for_any_number_of_threads(name, dtype):
    def run(threads):
        cr.set_num_threads(threads)
        params = parameters(dtype, [(70000,), (3,), (200, 200)])
        optimizer = getattr(cr.optim, name)(params, **FULL[name])
        rng = np.random.default_rng(3)
        for _ in range(3):
            give_gradients(params, rng)
            optimizer.step()
        return values(params)

    before = cr.get_num_threads()
    try:
        one = run(1)
        for threads in (2, 5):
            assert_same_bits(run(threads), one)
    finally:
        cr.set_num_threads(before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("full", [False, True])
def test_a_resumed_run_has_the_same_bits(name, dtype, full):
    settings = FULL[name] if full else {}
    make = getattr(cr.optim, name)

    def steps(params, optimizer, rng, count):
        for _ in range(count):
            give_gradients(params, rng)
            params[1].grad = None
            optimizer.step()

    rng = np.random.default_rng(4)
    params = parameters(dtype)
    optimizer = make(params, **settings)
    steps(params, optimizer, rng, 5)
    optimizer.lr = 0.02
    weights, state = values(params), optimizer.state_dict()
    # As a safetensors file and JSON hold it: arrays and numbers alone, by flat names.
    for key, value in state.items():
        assert isinstance(key, str)
        assert type(value) in (int, float) or type(value) is np.ndarray
    kept = {key: np.array(value) for key, value in state.items()}
    state_of_rng = rng.bit_generator.state
    steps(params, optimizer, rng, 5)

    again = [cr.tensor(w, dtype=dtype, requires_grad=True) for w in weights]
    resumed = make(again, **settings)
    resumed.load_state_dict(kept)
    assert resumed.lr == 0.02
    assert_same_bits(
        [np.asarray(v) for v in resumed.state_dict().values()], [np.asarray(v) for v in kept.values()]
    )
    rng.bit_generator.state = state_of_rng
    steps(again, resumed, rng, 5)
    assert_same_bits(values(again), values(params))


def test_steps_are_counted_for_each_parameter():
    params = parameters(np.float32, [(2,), (3,)])
    for make in (cr.optim.Adam, cr.optim.Adagrad):
        optimizer = make(params)
        give_gradients(params, np.random.default_rng(5))
        optimizer.step()
        params[1].grad = None
        optimizer.step()
        assert optimizer.state_dict()["step.0"] == 2 and optimizer.state_dict()["step.1"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_is_a_copy(name):
    params = parameters(np.float32)
    optimizer = getattr(cr.optim, name)(params, **FULL[name])
    before = optimizer.state_dict()
    kept = {key: np.array(value) for key, value in before.items()}
    give_gradients(params, np.random.default_rng(6))
    optimizer.step()
    assert_same_bits([np.asarray(v) for v in before.values()], list(kept.values()))


# ---- What stands still -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_parameters_without_gradients_stay(name):
    params = parameters(np.float64)
    optimizer = getattr(cr.optim, name)(params, **FULL[name])
    before, state = values(params), optimizer.state_dict()
    optimizer.step()
    assert_same_bits(values(params), before)
    assert_same_bits(
        [np.asarray(v) for v in optimizer.state_dict().values()], [np.asarray(v) for v in state.values()]
    )
    params[0].grad = cr.tensor(np.ones(params[0].shape), dtype=np.float64)
    optimizer.step()
    assert_same_bits(values(params[1:]), before[1:])
    assert (params[0].numpy() != before[0]).all()


@pytest.mark.parametrize("name", NAMES)
def test_parameters_of_both_dtypes_together(name):
    single, double = parameters(np.float32, [(5,)]), parameters(np.float64, [(5,)])
    together = parameters(np.float32, [(5,)]) + parameters(np.float64, [(5,)])
    for params in (single, double, together):
        for p in params:
            p.grad = cr.tensor(np.ones(5), dtype=p.dtype)
        getattr(cr.optim, name)(params).step()
    assert_same_bits(values(together), values(single + double))


@pytest.mark.parametrize("name", NAMES)
def test_a_step_between_forward_and_backward_is_found(name):
    w = cr.tensor([1.0, 2.0], requires_grad=True)
    loss = (w * w).sum()
    w.grad = cr.tensor([1.0, 1.0])
    getattr(cr.optim, name)([w]).step()
    with pytest.raises(RuntimeError, match="changed in place since"):
        loss.backward()


# ---- What is refused ---------------------------------------------------------------------------------------

LEAST, BELOW = "a finite number of at least 0", "a number from 0 to below 1"
BAD = [
    *[
        (name, {"lr": lr}, f"{name}: lr = {lr}: give {LEAST}")
        for name in NAMES
        for lr in (-1, np.nan, np.inf)
    ],
    *[(name, {"eps": -1e-8}, f"{name}: eps = -1e-08: give {LEAST}") for name in NAMES],
    *[(name, {"weight_decay": -0.5}, f"{name}: weight_decay = -0.5: give {LEAST}") for name in NAMES],
    *[(name, {"betas": (1.0, 0.9)}, f"{name}: betas[0] = 1: give {BELOW}") for name in NAMES[:2]],
    *[(name, {"betas": (0.9, -0.1)}, f"{name}: betas[1] = -0.1: give {BELOW}") for name in NAMES[:2]],
    ("Adam", {"betas": (0.9, np.nan)}, f"Adam: betas[1] = nan: give {BELOW}"),
    ("Adam", {"betas": (0.9,)}, "Adam: betas = (0.9,): give two numbers"),
    ("AdamW", {"betas": 0.9}, "AdamW: betas = 0.9: give two numbers"),
    ("RMSprop", {"alpha": 1}, f"RMSprop: alpha = 1: give {BELOW}"),
    ("RMSprop", {"momentum": 1.5}, f"RMSprop: momentum = 1.5: give {BELOW}"),
    ("Adagrad", {"lr_decay": -1}, f"Adagrad: lr_decay = -1: give {LEAST}"),
    (
        "Adagrad",
        {"initial_accumulator_value": -0.1},
        f"Adagrad: initial_accumulator_value = -0.1: give {LEAST}",
    ),
]


@pytest.mark.parametrize(("name", "settings", "message"), BAD, ids=lambda v: str(v))
def test_settings_out_of_range(name, settings, message):
    params = parameters(np.float32)
    with pytest.raises(ValueError) as error:
        getattr(cr.optim, name)(params, **settings)
    assert str(error.value) == message
    # Set later they are refused by the step, before it changes anything.
    optimizer = getattr(cr.optim, name)(params)
    give_gradients(params, np.random.default_rng(7))
    before = values(params), optimizer.state_dict()
    optimizer.param_groups[0].update(settings)
    with pytest.raises(ValueError) as error:
        optimizer.step()
    assert str(error.value) == message
    assert_same_bits(values(params), before[0])
    optimizer.param_groups[0].update({key: optimizer.defaults[key] for key in settings})
    after = optimizer.state_dict()
    assert_same_bits([np.asarray(v) for v in after.values()], [np.asarray(v) for v in before[1].values()])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["fast", None, [0.1, 0.2], 1j])
def test_settings_that_are_no_numbers(name, value):
    with pytest.raises(TypeError, match=rf"^{name}: lr = .*: give a number$"):
        getattr(cr.optim, name)(parameters(np.float32), lr=value)


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.array(0.5), 1])
def test_settings_that_are_numbers(value):
    w = cr.tensor([1.0], requires_grad=True)
    w.grad = cr.tensor([1.0])
    cr.optim.Adam([w], lr=value, betas=[value * 0, 0.5]).step()
    np.testing.assert_allclose(w.numpy(), [1 - float(value)], rtol=1e-6, atol=1.2e-7)  # an ulp of 1


@pytest.mark.parametrize("name", [*NAMES, "SGD"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_that_cannot_be_changed_in_place(name, dtype):
    first, second = parameters(dtype, [(4,), (2, 3)])
    optimizer = getattr(cr.optim, name)([first, second], lr=0.1)
    give_gradients([first, second], np.random.default_rng(8))
    before, state = values([first, second]), optimizer.state_dict()
    second.data.flags.writeable = False
    with pytest.raises(ValueError, match=rf"^{name}: parameter 1 is read-only: copy it$"):
        optimizer.step()
    second.value = np.asfortranarray(before[1])
    with pytest.raises(ValueError, match=rf"^{name}: parameter 1 is not C-contiguous: use np.asc"):
        optimizer.step()
    second.value = before[1].astype(np.float64 if dtype is np.float32 else np.float32)
    if name != "SGD":  # which keeps no state here
        with pytest.raises(ValueError, match=rf"^{name}: .* 1 is not an array of its parameter's dtype$"):
            optimizer.step()
    second.value = np.arange(6).reshape(2, 3)
    with pytest.raises(ValueError, match=rf"^{name}: parameter 1 is not an array of float32 or float64$"):
        optimizer.step()
    second.value = before[1].copy()
    assert_same_bits(values([first, second]), before)  # the first had not moved either
    after = optimizer.state_dict()
    assert_same_bits([np.asarray(v) for v in after.values()], [np.asarray(v) for v in state.values()])
    optimizer.step()
    assert (first.numpy() != before[0]).all() and (second.numpy() != before[1]).all()


@pytest.mark.parametrize("name", [*NAMES, "SGD"])
def test_gradients_of_another_shape(name):
    first, second = parameters(np.float32, [(4,), (2, 3)])
    optimizer = getattr(cr.optim, name)([first, second], lr=0.1)
    before = values([first, second])
    first.grad = cr.tensor(np.ones(4, np.float32))
    for shape in [(3, 2), (6,), (7,), ()]:
        second.grad = cr.tensor(np.ones(shape, np.float32))
        with pytest.raises(ValueError) as error:
            optimizer.step()
        assert str(error.value) == f"{name}: gradient 1 has shape {shape}, its parameter (2, 3)"
        assert_same_bits(values([first, second]), before)


@pytest.mark.parametrize("name", [*NAMES, "SGD"])
def test_parameters_that_share_memory(name):
    memory = np.arange(10, dtype=np.float32)
    first, second, third = parameters(np.float32, [(4,), (6,), (5,)])
    first.data, second.data, third.data = memory[:4], memory[4:], memory[3:8]
    optimizer = getattr(cr.optim, name)([first, third, second], lr=0.1)
    give_gradients([first, second, third], np.random.default_rng(9))
    with pytest.raises(ValueError, match=rf"^{name}: parameters [01] and [12] .* share memory: copy one$"):
        optimizer.step()
    np.testing.assert_array_equal(memory, np.arange(10))
    third.grad = None
    optimizer.step()  # neighbours in memory are fine
    assert (memory != np.arange(10)).all()
