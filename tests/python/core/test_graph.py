"""The graph of gates: `cr.Graph`, gates that a user writes, and how deep and how fine a graph may be."""

import gc
import sys

import numpy as np
import pytest

import chainrule as cr


def leaf(value):
    return cr.tensor(value, dtype=np.float64, requires_grad=True)


class Same(cr.Gate):
    """The cheapest gate: it keeps nothing and passes on what it gets."""

    def forward(self, x):
        return x

    def backward(self, gradient):
        return gradient


# ---- Topological order -------------------------------------------------------------------------------------


def test_nodes_stand_after_what_they_read():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    a = x * y
    b = cr.exp(a)
    c = a + b
    graph = cr.Graph(cr.sum(c * b - a))
    place = {id(node): i for i, node in enumerate(graph.nodes)}
    assert len(place) == 6
    for i, node in enumerate(graph.nodes):
        for read in node.inputs:
            if id(read) in place:
                assert place[id(read)] < i, f"{node.name} stands before {read}"
    assert [node.name for node in graph.nodes].count("Multiply") == 2
    assert graph.nodes[-1].name == "Sum"
    assert {id(v) for v in graph.leaves} == {id(x), id(y)}


def test_a_node_knows_its_gate_value_inputs_and_gradient():
    x, y = leaf(-2.0), leaf(5.0)
    graph = cr.Graph((x + y) * 3.0)
    add, multiply = graph.nodes
    assert add.name == "Add" and isinstance(add.gate, cr.Gate)
    assert add.inputs == (x, y) and multiply.inputs[0] is add and multiply.inputs[1] == 3.0
    assert float(add.value) == 3 and float(multiply.value) == 9
    assert add.gradient is None
    graph.backward()
    assert float(multiply.gradient) == 1 and float(add.gradient) == 3
    assert repr(add) == "Node(Add)"


def test_a_value_read_many_times_is_one_node():
    x = leaf(1.0)
    y = x + x
    for _ in range(50):
        y = y + y  # 2^51 paths, 51 gates
    graph = cr.Graph(y)
    assert len(graph.nodes) == 51
    assert graph.forward() == 2.0**51
    graph.backward()
    assert x.grad.item() == 2.0**51
    y.backward()
    assert x.grad.item() == 2.0**52  # a tensor's backward adds; a graph's sets


@pytest.mark.parametrize("value", [cr.tensor(1.0, requires_grad=True), np.ones(2), 3.0, None])
def test_a_value_without_a_recorded_gate_has_no_graph(value):
    with pytest.raises(ValueError, match="Graph: no recorded graph leads to this value"):
        cr.Graph(value)


# ---- Forward and backward again ----------------------------------------------------------------------------


def test_forward_with_new_values_and_backward_again():
    x, y, z = leaf(-2.0), leaf(5.0), leaf(-4.0)
    graph = cr.Graph((x + y) * z)
    for a, b, c in [(-2.0, 5.0, -4.0), (1.0, 2.0, 3.0), (0.0, -1.0, 0.5)]:
        assert graph.forward({x: a, y: b, z: c}) == (a + b) * c
        assert (x.item(), y.item(), z.item()) == (a, b, c)
        graph.backward()
        assert (x.grad.item(), y.grad.item(), z.grad.item()) == (c, c, a + b)


def test_forward_follows_leaves_that_were_changed():
    x = leaf([1.0, 2.0, 3.0])
    graph = cr.Graph(cr.sum(x * x))
    x.data[:] = [2.0, 0.0, 1.0]
    assert graph.forward() == 5
    graph.backward()
    assert x.grad.tolist() == [4, 0, 2]


def test_every_gate_of_a_network_runs_again_as_if_it_were_recorded_anew():
    rng = np.random.default_rng(0)
    x, w, v = leaf(rng.standard_normal((5, 4))), leaf(rng.standard_normal((4, 3))), leaf(np.ones(3))

    def loss(x, w, v):
        return cr.softmax_cross_entropy(cr.tanh(cr.relu(x @ w) + v) * -v, [0, 1, 2, 0, 1])

    graph = cr.Graph(loss(x, w, v))
    new = {x: rng.standard_normal((5, 4)), w: rng.standard_normal((4, 3)), v: rng.standard_normal(3)}
    again = graph.forward(new)
    graph.backward()
    anew = [leaf(value) for value in new.values()]
    expected = loss(*anew)
    expected.backward()
    assert again == expected.item()
    for old, fresh in zip((x, w, v), anew, strict=True):
        np.testing.assert_array_equal(old.grad.numpy(), fresh.grad.numpy())


def test_one_gate_at_a_time():
    x, y, z = leaf(-2.0), leaf(5.0), leaf(-4.0)
    graph = cr.Graph((x + y) * z)
    x.data[...] = 0.0
    assert [float(node.forward()) for node in graph.nodes] == [5, -20]
    graph.start_backward()
    add, multiply = graph.nodes
    multiply.backward()
    assert float(add.gradient) == -4 and z.grad.item() == 5 and x.grad is None
    add.backward()
    assert x.grad.item() == -4 and y.grad.item() == -4


def test_gradients_add_where_a_value_branches():
    # By hand: f = a b + a + a^2 with a = x + 1, at x = 2, b = 5: df/da = 5 + 1 + 6.
    x, b = leaf(2.0), leaf(5.0)
    a = x + 1.0
    f = a * b + a + a * a
    graph = cr.Graph(f)
    graph.backward()
    assert float(graph.nodes[0].gradient) == 12
    assert x.grad.item() == 12 and b.grad.item() == 3
    x.zero_grad(), b.zero_grad()
    f.backward()
    assert x.grad.item() == 12 and b.grad.item() == 3


def test_a_graph_runs_after_backward_freed_what_its_gates_kept():
    x = leaf([1.0, 2.0])
    y = cr.sum(Same()(-cr.exp(x)))  # Negative and Same keep nothing, Exp does
    graph = cr.Graph(y)
    graph.forward()
    y.backward()
    with pytest.raises(RuntimeError, match=r"kept values were freed: run forward first"):
        graph.backward()
    graph.forward()
    graph.backward()
    np.testing.assert_array_equal(x.grad.numpy(), -cr.exp(np.array([1.0, 2.0])))


def test_a_leaf_that_no_gradient_reaches_gets_zeros():
    x, y = leaf([1.0, 2.0]), leaf(3.0)
    graph = cr.Graph(cr.sum(cr.sign(x)) * y)
    graph.backward()
    assert x.grad.tolist() == [0, 0] and y.grad.item() == 2


def test_new_values_must_be_of_leaves_and_of_their_shape():
    x, stranger = leaf([1.0, 2.0]), leaf(1.0)
    y = x * 2.0
    graph = cr.Graph(cr.sum(y))
    for tensor in (stranger, y):
        with pytest.raises(ValueError, match="a Tensor that is no leaf of this graph"):
            graph.forward({tensor: 1.0})
    with pytest.raises(ValueError, match=r"a value of shape \(3,\) for a leaf of shape \(2,\)"):
        graph.forward({x: [1.0, 2.0, 3.0]})
    assert x.tolist() == [1, 2], "a refused forward has changed a leaf"


def test_a_refused_forward_changes_no_leaf():
    x, y = leaf(1.0), leaf([1.0, 2.0])
    graph = cr.Graph(cr.sum(x * y))
    with pytest.raises(ValueError, match=r"Graph\.forward"):
        graph.forward({x: 7.0, y: [1.0]})
    assert x.item() == 1


def test_backward_of_a_graph_whose_output_is_no_scalar():
    x = leaf([1.0, 2.0])
    graph = cr.Graph(x * 3.0)
    with pytest.raises(ValueError, match=r"Graph.backward: the output has shape \(2,\): give its gradient"):
        graph.backward()
    with pytest.raises(ValueError, match=r"a gradient of shape \(3,\) for an output of shape \(2,\)"):
        graph.backward(np.ones(3))
    graph.backward(np.array([1.0, 10.0]))
    assert x.grad.tolist() == [3, 30]


def test_printing_shows_leaves_gates_what_they_read_and_shapes():
    x, w = leaf(np.ones((2, 3))), leaf(np.ones((3, 4)))
    lines = str(cr.Graph(cr.sum(cr.relu(x @ w) * 2.0))).splitlines()
    assert [line.split() for line in lines] == [
        ["x0", "leaf", "(2,", "3)", "float64"],
        ["x1", "leaf", "(3,", "4)", "float64"],
        ["%0", "Matmul(x0,", "x1)", "(2,", "4)"],
        ["%1", "Relu(%0)", "(2,", "4)"],
        ["%2", "Multiply(%1,", "2.0)", "(2,", "4)"],
        ["%3", "Sum(%2)", "()"],
    ]


# ---- Gates that a user writes ------------------------------------------------------------------------------


def test_a_gate_in_under_ten_lines():
    class Softplus(cr.Gate):
        def forward(self, x):
            self.keep(x)
            return np.log1p(np.exp(x))

        def backward(self, gradient):
            (x,) = self.kept
            return gradient * cr.sigmoid(x)

    cr.check_gradients(lambda x: Softplus()(x), np.linspace(-3, 3, 12).reshape(3, 4))
    x = leaf([0.0, 1.0])
    cr.sum(Softplus()(cr.exp(x)) * 2.0).backward()
    expected = 2 / (1 + np.exp(-np.exp([0.0, 1.0]))) * np.exp([0.0, 1.0])
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-15)
    assert type(Softplus()(np.ones(2))) is np.ndarray, "a gate of arrays gives an array"


def test_gates_of_any_granularity_have_the_same_gradients():
    def in_gates(x, w, b):
        return 1.0 / (1.0 + cr.exp(-(x @ w + b)))

    class Neuron(cr.Gate):
        """The whole neuron as one gate, its rule by hand."""

        def forward(self, x, w, b):
            y = 1 / (1 + np.exp(-(x @ w + b)))
            self.keep(x, w, y)
            return y

        def backward(self, gradient):
            x, w, y = self.kept
            score = gradient * y * (1 - y)
            return score @ w.T, x.T @ score, score.sum(0)

    rng = np.random.default_rng(0)
    values = [rng.standard_normal(shape) for shape in ((5, 4), (4, 3), (3,))]
    results = []
    for neuron in (in_gates, lambda x, w, b: cr.sigmoid(cr.linear(x, w, b)), lambda *v: Neuron()(*v)):
        leaves = [leaf(v) for v in values]
        cr.sum(neuron(*leaves) ** 2).backward()
        results.append([x.grad.numpy() for x in leaves])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def test_a_gate_may_skip_what_nobody_wants_and_send_none():
    asked = []

    class Product(cr.Gate):
        def forward(self, x, y):
            self.keep(x, y)
            return x * y

        def backward(self, gradient):
            x, y = self.kept
            asked.append((self.wants(0), self.wants(1)))
            return gradient * y if self.wants(0) else None, gradient * x if self.wants(1) else None

    x = leaf(2.0)
    Product()(x, 3.0).backward()
    Product()(cr.tensor(3.0, dtype=np.float64), x).backward()
    assert asked == [(True, False), (False, True)]
    assert x.grad.item() == 6


def test_a_gate_is_applied_once():
    gate, x = Same(), leaf(1.0)
    gate(x)
    with pytest.raises(ValueError, match="Same: this gate is applied already"):
        gate(x)


def test_a_gate_without_its_rules_says_so():
    class Nothing(cr.Gate):
        pass

    class ForwardOnly(cr.Gate):
        def forward(self, x):
            return x

    with pytest.raises(TypeError, match=r"Nothing\.forward is not defined"):
        Nothing()(leaf(1.0))
    with pytest.raises(TypeError, match=r"ForwardOnly\.backward is not defined"):
        ForwardOnly()(leaf(1.0)).backward()


@pytest.mark.parametrize("gradients", [(1.0,), (1.0, 2.0, 3.0), 1.0])
def test_a_wrong_number_of_gradients_is_named(gradients):
    class Wrong(cr.Gate):
        def forward(self, x, y):
            return x + y

        def backward(self, gradient):
            return gradients

    count = len(gradients) if isinstance(gradients, tuple) else 1
    message = rf"Wrong.backward gave {count} gradients for 2 inputs"
    with pytest.raises(ValueError, match=message):
        Wrong()(leaf(1.0), leaf(2.0)).backward()
    with pytest.raises(ValueError, match=message):
        cr.Graph(Wrong()(leaf(1.0), leaf(2.0))).backward()


@pytest.mark.parametrize("below", [False, True], ids=["to a leaf", "to another gate"])
def test_a_gradient_of_a_wrong_shape_is_named(below):
    class Wrong(cr.Gate):
        def forward(self, x):
            return x

        def backward(self, gradient):
            return np.ones((3, 2))

    x = leaf([1.0, 2.0])
    y = cr.sum(Wrong()(Same()(x) if below else x))
    with pytest.raises(ValueError, match=r"a gradient of shape \(3, 2\) reached a Tensor of shape \(2,\)"):
        y.backward()
    assert x.grad is None


# ---- Depth -------------------------------------------------------------------------------------------------


def test_a_million_gates_go_forward_backward_and_out_of_memory():
    x = leaf(2.0)
    y = x
    limit = sys.getrecursionlimit()
    for _ in range(1_000_000):
        y = Same()(y)
    y.backward()
    assert x.grad.item() == 1
    del y
    assert sys.getrecursionlimit() == limit


def test_deep_graphs_of_real_gates_step_and_go_out_of_memory():
    x = leaf(2.0)
    y = x
    for _ in range(50_000):
        y = -y
    graph = cr.Graph(y)
    assert len(graph.nodes) == 50_000
    assert graph.forward({x: 3.0}) == 3
    graph.backward()
    assert x.grad.item() == 1
    del y, graph
    z = x
    for _ in range(50_000):
        z = z + x  # never run backward: freed with all that its gates kept
    del z


def test_a_long_chain_with_a_branch_at_every_gate():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = 0.5 * y + 0.5 * y
    y.backward()
    assert x.grad.item() == 1


def test_what_backward_used_is_freed_without_the_collector():
    x = cr.tensor(np.ones((100, 1000)), requires_grad=True)
    gc.collect()
    gc.disable()
    try:
        before = cr._core.memory_statistics()["bytes_in_use"]
        for _ in range(3):
            y = cr.sum(cr.exp(cr.tanh(x)) * x)
            assert cr._core.memory_statistics()["bytes_in_use"] - before > 1_000_000
            y.backward()
            del y
            x.zero_grad()
        after = cr._core.memory_statistics()["bytes_in_use"]
        assert after == before, f"{after - before} bytes are still held"
        z = cr.exp(x)
        z = cr.sum(z * x)
        del z  # without a backward
        assert cr._core.memory_statistics()["bytes_in_use"] == before
    finally:
        gc.enable()
