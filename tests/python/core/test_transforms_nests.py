"""Arguments and results as nests of dicts, lists and tuples, with None, and modules as functions."""

import numpy as np
import pytest

import chainrule as cr

ONE = np.array(1.0)


def model(p, x):
    """One hidden layer; the second has no bias."""
    hidden = cr.tanh(cr.matmul(x, p["layers"][0]["w"]) + p["layers"][0]["b"])
    scores = cr.matmul(hidden, p["layers"][1]["w"])
    if p["layers"][1]["b"] is not None:
        scores = scores + p["layers"][1]["b"]
    return {"scores": scores, "nothing": None, "hidden": [hidden, (cr.sum(hidden),)]}


def params(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "layers": [
            {"w": rng.normal(size=(3, 4)), "b": rng.normal(size=4)},
            {"w": rng.normal(size=(4, 2)), "b": None},
        ]
    }


X = np.random.default_rng(5).normal(size=(6, 3))


def leaves(nest):
    if nest is None:
        return []
    if isinstance(nest, dict):
        return [leaf for key in sorted(nest) for leaf in leaves(nest[key])]
    if isinstance(nest, (list, tuple)):
        return [leaf for part in nest for leaf in leaves(part)]
    return [nest]


def inner(a, b):
    return sum(float(np.vdot(x, y)) for x, y in zip(leaves(a), leaves(b), strict=True))


def test_a_model_of_nests_with_none_in_both_modes():
    p, t = params(), params(1)
    value, pullback = cr.vjp(lambda p: model(p, X), p)
    same_value, tangent = cr.jvp(lambda p: model(p, X), (p,), (t,))
    linear_value, linear = cr.linearize(lambda p: model(p, X), p)
    for result in (value, same_value, linear_value, tangent, linear(t)):
        assert result["nothing"] is None
        assert isinstance(result["hidden"], list) and isinstance(result["hidden"][1], tuple)
    for a, b in zip(leaves(value), leaves(same_value), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(leaves(tangent), leaves(linear(t)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    rng = np.random.default_rng(2)
    u = {
        "scores": rng.normal(size=(6, 2)),
        "nothing": None,
        "hidden": [rng.normal(size=(6, 4)), (np.array(0.7),)],
    }
    (cotangent,) = pullback(u)
    assert cotangent["layers"][1]["b"] is None
    assert inner(u, tangent) == pytest.approx(inner(cotangent, t), rel=1e-12)
    # Along t, against central differences.
    h = 1e-6
    up, down = (
        {
            "layers": [
                {k: None if v is None else v + s * h * t["layers"][i][k] for k, v in layer.items()}
                for i, layer in enumerate(p["layers"])
            ]
        }
        for s in (1, -1)
    )
    difference = [
        (a - b) / (2 * h) for a, b in zip(leaves(model(up, X)), leaves(model(down, X)), strict=True)
    ]
    for a, b in zip(leaves(tangent), difference, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-7)


def test_gradients_hessian_products_and_jacobians_have_the_arguments_nest():
    p, t = params(), params(1)
    loss = lambda p: cr.mean_squared_error(model(p, X)["scores"], np.ones((6, 2)))  # noqa: E731
    gradient = cr.grad(loss)(p)
    assert gradient["layers"][1]["b"] is None and gradient["layers"][0]["w"].shape == (3, 4)
    product = cr.hvp(loss, (p,), (t,))
    assert product["layers"][1]["b"] is None
    assert inner(product, params(2)) == pytest.approx(inner(cr.hvp(loss, (p,), (params(2),)), t), rel=1e-9)
    jacobian = cr.jacobian(lambda p: model(p, X))(p)
    assert jacobian["nothing"] is None
    assert jacobian["scores"]["layers"][0]["w"].shape == (6, 2, 3, 4)
    assert jacobian["hidden"][1][0]["layers"][0]["b"].shape == (4,)
    for mode in ("forward", "reverse"):
        other = cr.jacobian(lambda p: model(p, X), mode=mode)(p)
        for a, b in zip(leaves(jacobian), leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_a_hessian_of_a_nest_is_a_nest_of_nests():
    f = lambda p: p["a"] ** 2 * p["b"][0] + p["b"][0] ** 3  # noqa: E731
    h = cr.hessian(f)({"a": np.array(2.0), "b": (np.array(3.0), None)})
    # f_aa = 2 b, f_ab = 2 a, f_bb = 6 b
    assert float(h["a"]["a"]) == 6 and float(h["a"]["b"][0]) == 4
    assert float(h["b"][0]["a"]) == 4 and float(h["b"][0]["b"][0]) == 18
    assert h["b"][1] is None


def test_transforms_nest_over_nests():
    f = lambda p: cr.sum(cr.sin(p["x"]) * p["y"][0])  # noqa: E731
    p = {"x": np.array([0.3, -0.5]), "y": [np.array([1.0, 2.0]), None]}
    squared = lambda p: sum(cr.sum(g**2) for g in leaves(cr.grad(f)(p)))  # noqa: E731
    outer = cr.grad(squared)(p)
    # |grad|^2 = sum y^2 cos^2 x + sin^2 x
    x, y = p["x"], p["y"][0]
    np.testing.assert_allclose(outer["x"], 2 * (1 - y**2) * np.sin(x) * np.cos(x), rtol=1e-12)
    np.testing.assert_allclose(outer["y"][0], 2 * y * np.cos(x) ** 2, rtol=1e-12)
    assert outer["y"][1] is None


def test_checkpoint_takes_nests_and_none():
    p = params()
    plain = lambda p: cr.sum(cr.square(model(p, X)["scores"]))  # noqa: E731
    recomputed = lambda p: cr.sum(cr.square(cr.checkpoint(lambda p: model(p, X)["scores"])(p)))  # noqa: E731
    for a, b in zip(leaves(cr.grad(recomputed)(p)), leaves(cr.grad(plain)(p)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    w = cr.tensor(np.ones(3), requires_grad=True)
    cr.sum(
        cr.checkpoint(lambda p, bias: p["w"][0] * 2.0 if bias is None else None)({"w": [w]}, None)
    ).backward()
    assert w.grad.numpy().tolist() == [2, 2, 2]


def test_none_where_a_value_is_needed():
    f = lambda p: p["x"] * 2.0  # noqa: E731
    with pytest.raises(ValueError, match="nested otherwise"):
        cr.jvp(f, ({"x": ONE},), ({"x": None},))
    with pytest.raises(ValueError, match="nested otherwise"):
        cr.vjp(f, {"x": ONE})[1](None)
    with pytest.raises(ValueError, match="not one number"):
        cr.grad(lambda p: None)({"x": ONE})


def test_stop_gradient_and_aux_keep_a_nest():
    p = {"x": np.array(3.0), "none": None}
    kept = cr.stop_gradient({"a": [ONE, None]})
    assert kept["a"][1] is None and float(kept["a"][0]) == 1
    gradient, aux = cr.grad(lambda p: (p["x"] * cr.stop_gradient(p)["x"], {"p": p, "n": None}), has_aux=True)(
        p
    )
    assert float(gradient["x"]) == 3 and gradient["none"] is None
    assert aux["n"] is None and float(aux["p"]["x"]) == 3


def test_several_arguments_of_nests_and_keywords():
    f = lambda a, b, scale=1.0: scale * cr.sum(a["x"] * b[0])  # noqa: E731
    a, b = {"x": np.array([1.0, 2.0])}, (np.array([3.0, 4.0]),)
    of_b, of_a = cr.grad(f, argnums=(1, 0))(a, b, scale=2.0)
    assert of_b[0].tolist() == [2, 4] and of_a["x"].tolist() == [6, 8]
    value, pullback, aux = cr.vjp(lambda a: (a["x"] * 2.0, "note"), a, has_aux=True)
    assert aux == "note" and pullback(value)[0]["x"].tolist() == [4, 8]


# ---- Modules ------------------------------------------------------------------------------------------------


def net():
    return cr.nn.Sequential(cr.nn.Linear(3, 4, rng=0), cr.nn.Tanh(), cr.nn.Linear(4, 2, rng=1))


def test_functional_call_under_every_transform():
    module = net()
    state = {name: value.astype(np.float64) for name, value in module.state_dict().items()}
    labels = np.array([0, 1, 1, 0, 1, 0])
    loss = lambda p: cr.softmax_cross_entropy(cr.functional_call(module, p, X), labels)  # noqa: E731
    gradient = cr.grad(loss)(state)
    assert set(gradient) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    direction = {name: np.ones_like(value) for name, value in state.items()}
    slope = cr.jvp(loss, (state,), (direction,))[1]
    assert float(slope) == pytest.approx(sum(float(g.sum()) for g in gradient.values()), rel=1e-12)
    for name in state:
        numerical = cr.numerical_gradient(lambda v, name=name: loss({**state, name: v}), state[name])
        np.testing.assert_allclose(gradient[name], numerical, rtol=1e-6, atol=1e-9)
    product = cr.hvp(loss, (state,), (direction,))
    h = 1e-6
    up = cr.grad(loss)({n: v + h for n, v in state.items()})
    down = cr.grad(loss)({n: v - h for n, v in state.items()})
    for name in state:
        np.testing.assert_allclose(product[name], (up[name] - down[name]) / (2 * h), rtol=1e-5, atol=1e-8)
    assert cr.hessian(loss)(state)["2.bias"]["0.weight"].shape == (2, 3, 4)


def test_functional_call_in_a_part_of_the_parameters():
    module = net()
    bias = module.state_dict()["2.bias"]
    jacobian = cr.jacobian(lambda b: cr.functional_call(module, {"2.bias": b}, X.astype(np.float32)))(bias)
    np.testing.assert_array_equal(jacobian, np.broadcast_to(np.eye(2), (6, 2, 2)))
    assert all(isinstance(p, cr.nn.Parameter) and p.grad is None for p in module.parameters())


def test_functional_call_restores_the_model_after_an_error():
    module = net()
    before = [id(p) for p in module.parameters()]
    with pytest.raises(ValueError, match=r"functional_call: 0.bias has shape \(4,\), the value given \(5,\)"):
        cr.functional_call(module, {"0.weight": np.ones((3, 4)), "0.bias": np.ones(5)}, X)
    with pytest.raises(ValueError, match=r"\(2, 7\)"):
        cr.functional_call(module, module.state_dict(), np.ones((2, 7), np.float32))
    assert [id(p) for p in module.parameters()] == before
