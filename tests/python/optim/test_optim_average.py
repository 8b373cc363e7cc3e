"""The moving average of weights beside PyTorch's, as a lookahead, and resumed."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.optim import SGD, ExponentialMovingAverage, Lookahead

torch = pytest.importorskip("torch")


class Net(nn.Module):
    def __init__(self):
        self.linear = nn.Linear(3, 2, rng=0)
        self.norm = nn.BatchNorm2d(2)
        self.calls = np.zeros((), np.int64)

    def forward(self, x):
        self.calls += 1
        return self.norm(self.linear(x))


def train_step(net, optimizer, rng):
    optimizer.zero_grad()
    (
        net(rng.normal(size=(8, 3)).astype(np.float32)) * rng.normal(size=(8, 2)).astype(np.float32)
    ).sum().backward()
    optimizer.step()


def test_average_is_pytorchs():
    net, rng = Net(), np.random.default_rng(0)
    optimizer = SGD(net.parameters(), lr=0.1)
    average = ExponentialMovingAverage(net, 0.9)
    theirs = torch.nn.ParameterList(torch.tensor(p.numpy().copy()) for p in net.parameters())
    swa = torch.optim.swa_utils.AveragedModel(
        theirs, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    swa.update_parameters(theirs)  # its first update is a copy
    buffers = {name: buffer.copy() for name, buffer in net.named_buffers()}
    for _ in range(20):
        train_step(net, optimizer, rng)
        average.update()
        with torch.no_grad():
            for p, q in zip(net.parameters(), theirs, strict=True):
                q.copy_(torch.tensor(p.numpy()))
        swa.update_parameters(theirs)
        for name, buffer in net.named_buffers():
            buffers[name] = 0.9 * buffers[name] + 0.1 * buffer if buffer.dtype.kind == "f" else buffer.copy()
    state = average.state_dict()
    for (name, _), q in zip(net.named_parameters(), swa.module, strict=True):
        np.testing.assert_allclose(state[name], q.detach().numpy(), rtol=1e-5, atol=1e-6)
    for name, value in buffers.items():
        assert state[name].dtype == value.dtype
        np.testing.assert_allclose(state[name], value, rtol=1e-5, atol=1e-6)
    assert state["calls"] == 20


def test_average_of_decay_0_is_the_last_value_and_of_1_the_first():
    net, rng = Net(), np.random.default_rng(0)
    first = net.state_dict()
    last, still = ExponentialMovingAverage(net, 0), ExponentialMovingAverage(net, 1)
    train_step(net, SGD(net.parameters(), lr=0.1), rng)
    last.update(), still.update()
    for name, value in net.state_dict().items():
        np.testing.assert_allclose(last.averages[name], value, rtol=1e-6, atol=1e-7)
        if value.dtype.kind == "f":
            assert np.array_equal(still.averages[name], first[name])


def test_applied_gives_the_average_and_then_its_own_values_back_to_the_bit():
    net, rng = Net(), np.random.default_rng(0)
    average = ExponentialMovingAverage(net, 0.5)
    train_step(net, SGD(net.parameters(), lr=0.1), rng)
    average.update()
    own, places = net.state_dict(), [p.value for p in net.parameters()]
    with pytest.raises(KeyError), average.applied() as model:
        assert model is net
        assert all(np.array_equal(v, average.averages[k]) for k, v in net.state_dict().items())
        raise KeyError
    assert all(np.array_equal(v, own[k]) for k, v in net.state_dict().items())
    assert all(p.value is place for p, place in zip(net.parameters(), places, strict=True))


def test_copied_back_every_few_steps_it_is_the_lookahead_of_its_paper():
    net = nn.Linear(3, 2, rng=0)
    slow, fast = (net.weight.numpy().copy() for _ in range(2))
    optimizer, average = SGD(net.parameters(), lr=0.1), ExponentialMovingAverage(net, decay=0.5)
    rng = np.random.default_rng(1)
    for step in range(1, 13):
        g = rng.normal(size=(3, 2)).astype(np.float32)
        net.weight.grad = cr.tensor(g)
        optimizer.step()
        fast = fast - np.float32(0.1) * g
        if step % 4 == 0:
            average.update()
            average.copy_to()
            slow = fast = slow + np.float32(0.5) * (fast - slow)
    np.testing.assert_allclose(net.weight.numpy(), fast, rtol=1e-6)


def test_copy_to_between_forward_and_backward_is_found():
    net = Net()
    average = ExponentialMovingAverage(net)
    loss = net(np.ones((4, 3), np.float32)).sum()
    average.copy_to()
    with pytest.raises(RuntimeError, match="was changed in place since"):
        loss.backward()


def test_average_resumes_with_the_same_bits():
    net, rng = Net(), np.random.default_rng(0)
    optimizer, average = SGD(net.parameters(), lr=0.1), ExponentialMovingAverage(net, 0.9)
    for _ in range(3):
        train_step(net, optimizer, rng)
        average.update()
    other = ExponentialMovingAverage(net, 0.9)
    other.load_state_dict(average.state_dict())
    train_step(net, optimizer, rng)
    average.update(), other.update()
    assert all(v.tobytes() == other.averages[k].tobytes() for k, v in average.averages.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("norm.bias"), r"missing \['norm.bias'\], not known \[\]"),
        (lambda s: s.update(more=np.zeros(2)), r"missing \[\], not known \['more'\]"),
        (
            lambda s: s.update({"norm.bias": np.zeros(2)}),
            r"norm.bias is float64 \(2,\), the model's is float32",
        ),
        (lambda s: s.update({"norm.bias": np.zeros(3, np.float32)}), r"norm.bias is float32 \(3,\)"),
    ],
)
def test_averages_that_do_not_fit_change_nothing(change, message):
    average = ExponentialMovingAverage(Net())
    before = average.state_dict()
    state = {name: value + 1 for name, value in before.items()}
    change(state)
    with pytest.raises(ValueError, match=f"ExponentialMovingAverage.load_state_dict: {message}"):
        average.load_state_dict(state)
    assert all(np.array_equal(v, before[k]) for k, v in average.state_dict().items())


def test_average_refuses_wrong_arguments():
    for decay in (-0.1, 1.1, np.nan):
        with pytest.raises(
            ValueError, match=r"ExponentialMovingAverage: decay = .*: give a number from 0 to 1"
        ):
            ExponentialMovingAverage(Net(), decay)
    with pytest.raises(ValueError, match="decay = 2"):
        ExponentialMovingAverage(Net()).update(2)
    with pytest.raises(TypeError, match=r"model is a list: give a chainrule\.nn\.Module"):
        ExponentialMovingAverage([])


# ---- Lookahead ---------------------------------------------------------------------------------------------


def test_lookahead_is_that_of_its_paper():
    net = nn.Linear(3, 2, rng=0)
    slow = fast = net.weight.numpy().copy()
    optimizer, lookahead = SGD(net.parameters(), lr=0.1), Lookahead(net, every=4, alpha=lambda step: 1 / step)
    rng = np.random.default_rng(1)
    for step in range(1, 15):
        g = rng.normal(size=(3, 2)).astype(np.float32)
        net.weight.grad = cr.tensor(g)
        optimizer.step()
        lookahead.update()
        fast = fast - np.float32(0.1) * g
        if step % 4 == 0:
            slow = fast = slow + np.float32(1 / step) * (fast - slow)
    np.testing.assert_allclose(net.weight.numpy(), fast, rtol=1e-5)
    with lookahead.applied():
        np.testing.assert_allclose(net.weight.numpy(), slow, rtol=1e-5)


@pytest.mark.parametrize("stop", [0, 3, 5, 7])
def test_lookahead_resumes_with_the_same_bits(stop):
    def run(net, lookahead, rng, steps):
        optimizer = SGD(net.parameters(), lr=0.1)
        for _ in range(steps):
            train_step(net, optimizer, rng)
            lookahead.update()

    whole, rng = Net(), np.random.default_rng(0)
    one = Lookahead(whole, 5, 0.5)
    run(whole, one, rng, stop)
    part = Net()
    part.load_state_dict(whole.state_dict())
    other = Lookahead(part, 5, 0.5)
    other.load_state_dict(one.state_dict())
    again = np.random.default_rng()
    again.bit_generator.state = rng.bit_generator.state
    run(whole, one, rng, 9), run(part, other, again, 9)
    assert all(v.tobytes() == part.state_dict()[k].tobytes() for k, v in whole.state_dict().items())


def test_lookahead_of_a_model_with_a_count_of_its_own():
    class Counting(nn.Module):
        def __init__(self, value):
            self.count = nn.Parameter(np.full(3, value, np.float32))

    model = Counting(2.0)
    lookahead = Lookahead(model, 2, 0.5)
    model.count.data += 1
    lookahead.update()
    state = lookahead.state_dict()
    assert state.keys() == {"count", "average.count"} and state["count"] == 1
    other = Lookahead(Counting(0.0), 2, 0.5)
    other.load_state_dict(state)
    assert other.count == 1 and (other.averages["count"] == 2).all()
    with pytest.raises(
        ValueError, match=r"Lookahead\.load_state_dict: missing \['average\.count'\], not known"
    ):
        other.load_state_dict({"count": np.array(1), "more": np.zeros(3, np.float32)})


def test_lookahead_refuses():
    for every, alpha, message in [(0, 0.5, "every = 0"), (5, 1.5, r"alpha = 1\.5"), (5, -1, "alpha = -1")]:
        with pytest.raises(ValueError, match=f"Lookahead: {message}: give"):
            Lookahead(Net(), every, alpha)
    lookahead = Lookahead(Net(), 1, lambda step: 2.0)
    with pytest.raises(ValueError, match=r"Lookahead: alpha = 2\.0: give a number from 0 to 1"):
        lookahead.update()
    state = lookahead.state_dict()
    for count in (None, -1, 1.5, np.zeros(2, int)):
        wrong = {k: v for k, v in (state | {"count": count}).items() if v is not None}
        with pytest.raises(ValueError, match=r"Lookahead\.load_state_dict: count is missing or no whole"):
            lookahead.load_state_dict(wrong)
