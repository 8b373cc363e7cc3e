"""Observing a model: every layer's output by name, replaced where asked, and nothing left behind."""

import threading

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

RNG = np.random.default_rng(0)


def net():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, rng=0),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(4, 4, 3, rng=1), nn.BatchNorm2d(4), nn.ReLU()),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 3, rng=2),
    )


def into(outputs):
    """Keeps every output under its layer's name."""
    return lambda name, inputs, output: outputs.update({name: output})


X = RNG.standard_normal((5, 8, 8, 2)).astype(np.float32)


def test_every_layer_is_seen_in_the_order_of_its_end():
    model, seen = net(), []
    with nn.observe(model, lambda name, inputs, output: seen.append((name, output.shape))):
        model(X)
    assert seen == [
        ("0", (5, 8, 8, 4)),
        ("1", (5, 8, 8, 4)),
        ("2.0", (5, 6, 6, 4)),
        ("2.1", (5, 6, 6, 4)),
        ("2.2", (5, 6, 6, 4)),
        ("2", (5, 6, 6, 4)),
        ("3", (5, 3, 3, 4)),
        ("4", (5, 36)),
        ("5", (5, 3)),
        ("", (5, 3)),
    ]


@pytest.mark.parametrize("training", [True, False])
def test_layers_that_run_as_one_give_the_same_numbers_apart(training):
    model, outputs = net().train(training), {}
    expected = model(X).numpy()
    with nn.observe(model, into(outputs)):
        assert np.array_equal(model(X).numpy(), expected)
    y = X
    for i, layer in enumerate(model.layers):
        y = layer(y)
        assert np.array_equal(outputs[str(i)].numpy(), y.numpy())
    assert (outputs["0"].numpy() < 0).any() and (outputs["1"].numpy() >= 0).all()


def test_the_layers_asked_for_are_seen_alone():
    model, outputs = net(), {}
    with nn.observe(model, into(outputs), layers=["2.0", "3"]):
        model(X)
    assert list(outputs) == ["2.0", "3"]


def test_a_layer_is_seen_with_its_inputs():
    model, seen = net(), {}
    with nn.observe(model, lambda name, inputs, output: seen.update({name: (inputs, output)})):
        model(X)
    assert seen["0"][0][0] is X
    for before, after in zip("01234", "12345", strict=True):
        assert seen[after][0] == (seen[before][1],)


def test_gradients_flow_through_what_is_observed():
    model, outputs = net(), {}
    plain = net()
    plain(X).backward(np.ones((5, 3)))
    with nn.observe(model, into(outputs)):
        y = model(X)
    y.backward(np.ones((5, 3)))
    for (name, p), q in zip(model.named_parameters(), plain.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-5, atol=1e-5, err_msg=name)


def test_what_the_function_returns_goes_on():
    model = net()
    zeros = np.zeros((5, 3, 3, 4), np.float32)
    with nn.observe(model, lambda name, inputs, output: zeros, layers=["3"]):
        y = model(X)
    np.testing.assert_array_equal(y.numpy(), np.broadcast_to(model[5].bias.numpy(), (5, 3)))


def test_contexts_nest_and_other_models_are_left_alone():
    model, other, order = net(), net(), []
    with nn.observe(model, lambda name, inputs, output: order.append(("outer", output)), layers=["5"]):
        with nn.observe(
            model, lambda name, inputs, output: order.append(("inner", output)) or output * 2, ["5"]
        ):
            model(X)
            other(X)
        model(X)
    assert [who for who, _ in order] == ["inner", "outer", "outer"]
    np.testing.assert_array_equal(order[1][1].numpy(), 2 * order[0][1].numpy())


def test_a_layer_in_several_places_goes_by_its_first_name():
    shared = nn.Linear(3, 3, rng=0)
    model, seen = nn.Sequential(shared, nn.Tanh(), shared), []
    with nn.observe(model, lambda name, inputs, output: seen.append(name), layers=["2"]):
        model(np.ones((1, 3), np.float32))
    assert seen == ["0", "0"]


def test_nothing_is_left_behind_even_after_an_error():
    model, seen = net(), []
    with pytest.raises(ValueError, match="Conv2d"), nn.observe(model, lambda *a: seen.append(a)):
        model(X[..., :1])
    model(X)
    assert seen == []


def test_another_thread_is_left_alone():
    model, seen = net(), []
    with nn.observe(model, lambda *a: seen.append(a)):
        thread = threading.Thread(target=model, args=(X,))
        thread.start()
        thread.join()
    assert seen == []


def test_wrong_names_and_models_are_refused():
    with pytest.raises(
        ValueError, match=r"observe: the model has no layer '2\.9': it has 0, 1, 2, 2\.0, 2\.1"
    ):
        nn.observe(net(), print, layers=["0", "2.9"])
    with pytest.raises(TypeError, match="observe: model is a function, not a Module"):
        nn.observe(lambda x: x, print)


def test_modules_have_names():
    assert [name for name, _ in net().named_modules()] == [
        "",
        "0",
        "1",
        "2",
        "2.0",
        "2.1",
        "2.2",
        "3",
        "4",
        "5",
    ]
    assert [name for name, _ in net()[2].named_modules("a")] == ["a", "a.0", "a.1", "a.2"]
    model = net()
    assert [module for _, module in model.named_modules()] == list(model.modules())


def test_a_graph_free_pass_is_observed_too():
    model, outputs = net().eval(), {}
    with cr.no_grad(), nn.observe(model, into(outputs), ["1"]):
        model(X)
    assert not outputs["1"].requires_grad
