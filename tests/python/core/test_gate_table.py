"""Walks the gate table: each gate against PyTorch and against numerical differences, and at odd memory layouts."""

import inspect

import numpy as np
import pytest
import torch
from gate_table import ABSTRACT, COMPARISONS, COMPOSITIONS, GATES, all_cases, gate_subclasses

import chainrule as cr

CASES = [pytest.param(case, id=f"{name}-{case.label}") for name, case in all_cases()]
GATE_CASES = [
    pytest.param(gate, case, id=f"{gate.__name__}-{case.label}")
    for gate, cases in GATES.items()
    for case in cases
]
DTYPES = [np.float32, np.float64]


def leaf(array):
    """A Tensor on this very array, however it lies in memory: cr.tensor would copy it."""
    result = cr.Tensor(array)
    result.requires_grad = True
    return result


def weights_like(array):
    """Gradients for an output: different in each entry, of the output's dtype."""
    return np.random.default_rng(7).uniform(0.5, 1.5, array.shape).astype(array.dtype)


def torch_gradients(case, values):
    """The gradients of sum(weights * output) in float64 by torch's autograd; zeros where nothing depends."""
    inputs = [torch.tensor(v.astype(np.float64), requires_grad=True) for v in values]
    output = case.reference(*inputs).double()
    weights = torch.tensor(np.random.default_rng(7).uniform(0.5, 1.5, output.shape))
    gradients = torch.autograd.grad((output * weights).sum(), inputs, allow_unused=True)
    return [np.zeros(v.shape) if g is None else g.numpy() for g, v in zip(gradients, values, strict=True)]


def run_with_gradients(case, arrays):
    """The value and the gradients that the library gives; None where it sends none."""
    leaves = [leaf(array) for array in arrays]
    output = case.function(*leaves)
    output.backward(weights_like(output.data))
    return output.data, [None if x.grad is None else x.grad.data for x in leaves]


def test_every_gate_has_a_row():
    missing = set(gate_subclasses()) - GATES.keys() - ABSTRACT
    assert not missing, f"gates without a row in the gate table: {sorted(g.__name__ for g in missing)}"


def test_every_public_function_has_a_row():
    tooling = {"check_gradients", "get_num_threads", "manual_seed", "no_grad", "numerical_gradient"}
    tooling |= {"get_rng_state", "set_num_threads", "set_rng_state", "show_config", "tensor"}
    functions = {n for n in cr.__all__ if inspect.isfunction(getattr(cr, n))} - tooling
    of_gates = {gate.__name__.lower() for gate in GATES}
    without = {
        n
        for n in functions
        if n.replace("_", "") not in of_gates and n not in COMPOSITIONS.keys() | COMPARISONS
    }
    # Data sets and the like are no functions of arrays.
    without = {n for n in without if getattr(cr, n).__module__.startswith("chainrule.gates")}
    assert not without, f"public functions without a row in the gate table: {sorted(without)}"


@pytest.mark.parametrize("gate, case", GATE_CASES)
def test_a_row_applies_its_gate(gate, case):
    output = case.function(*[leaf(v) for v in case.values()])
    assert gate in {type(node.gate) for node in cr.Graph(output).nodes}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_forward_is_the_reference(case, dtype):
    values = case.values(dtype)
    result = case.function(*values)
    expected = case.reference(*[torch.tensor(v.astype(np.float64)) for v in values]).numpy()
    result_dtype = np.dtype(case.result_dtype or dtype)
    assert type(result) is np.ndarray
    assert result.shape == expected.shape
    assert result.dtype == result_dtype
    eps = max(np.finfo(result_dtype).eps, np.finfo(expected.dtype).eps)
    np.testing.assert_allclose(result, expected, rtol=16 * eps, atol=16 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_tensors_give_what_arrays_give(case, dtype):
    values = case.values(dtype)
    plain = case.function(*values)
    boxed = case.function(*[leaf(v) for v in values])
    assert isinstance(boxed, cr.Tensor)
    assert boxed.dtype == plain.dtype and boxed.shape == plain.shape
    np.testing.assert_array_equal(boxed.numpy(), plain)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_torchs(case, dtype):
    values = case.values(dtype)
    _, gradients = run_with_gradients(case, values)
    single = dtype is np.float32 or case.result_dtype is np.float32
    tolerance = 1e-5 if single else 1e-12
    for value, gradient, expected in zip(values, gradients, torch_gradients(case, values), strict=True):
        if gradient is None:
            assert not expected.any()
            continue
        assert type(gradient) is np.ndarray
        assert gradient.shape == value.shape
        assert gradient.dtype == value.dtype
        np.testing.assert_allclose(gradient, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", [p for p in CASES if p.values[0].result_dtype is not np.float32])
def test_gradients_are_the_numerical_ones(case):
    cr.check_gradients(case.function, case.values(), rtol=1e-7, atol=1e-8)


# ---- Memory: any layout is read right and none is written --------------------------------------------------


def strided(x):
    """Every second element of a larger array."""
    room = np.full(tuple(2 * n + 1 for n in x.shape), np.nan, x.dtype)
    view = room[(..., *(slice(1, None, 2) for _ in x.shape))]
    view[...] = x
    return view


def fortran(x):
    return np.array(x, order="F")


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def backwards(x):
    """Negative strides along every axis."""
    flip = (..., *(slice(None, None, -1) for _ in x.shape))
    return x[flip].copy()[flip]


def unaligned(x):
    """At an odd address."""
    room = np.zeros(x.nbytes + 1, np.uint8)
    view = np.ndarray(x.shape, x.dtype, buffer=room.data, offset=1)
    view[...] = x
    return view


@pytest.mark.parametrize("layout", [strided, fortran, read_only, backwards, unaligned])
@pytest.mark.parametrize("case", CASES)
def test_memory_layout_changes_nothing(case, layout):
    for dtype in DTYPES:
        values = case.values(dtype)
        arrays = [layout(v) for v in values]
        result, gradients = run_with_gradients(case, arrays)
        expected, expected_gradients = run_with_gradients(case, values)
        np.testing.assert_array_equal(result, expected)
        np.testing.assert_array_equal(case.function(*arrays), expected)
        for gradient, wanted in zip(gradients, expected_gradients, strict=True):
            assert (gradient is None) == (wanted is None)
            if wanted is not None:
                np.testing.assert_array_equal(gradient, wanted)
        for array, value in zip(arrays, values, strict=True):
            np.testing.assert_array_equal(array, value)


@pytest.mark.parametrize("case", CASES)
def test_big_endian_arrays_are_read_right(case):
    values = case.values()
    swapped = [np.asarray(v.astype(">f8")) for v in values]
    result = case.function(*swapped)
    np.testing.assert_array_equal(result, case.function(*values))


# ---- NaN and mixed dtypes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [p for p in CASES if p.values[0].nan])
def test_nan_goes_where_the_reference_has_it(case):
    values = case.values()
    for i, value in enumerate(values):
        if value.size == 0:
            continue
        changed = [v.copy() for v in values]
        changed[i].reshape(-1)[0] = np.nan
        result = case.function(*changed)
        expected = case.reference(*[torch.tensor(v) for v in changed]).numpy()
        np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
        tolerance = 1e-6 if case.result_dtype is np.float32 else 1e-13
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"])
def test_float32_with_float64_gives_float64_and_each_gradient_its_inputs_dtype(name):
    single = leaf(np.array([1.5, 2.5], np.float32))
    double = leaf(np.array([[0.7], [1.1]]))
    function = getattr(cr, name)
    result = function(single, double)
    assert result.dtype == np.float64
    np.testing.assert_allclose(
        result.numpy(), function(single.data.astype(np.float64), double.data), rtol=1e-15
    )
    result.sum().backward()
    assert single.grad.dtype == np.float32 and single.grad.shape == (2,)
    assert double.grad.dtype == np.float64 and double.grad.shape == (2, 1)


def test_python_numbers_do_not_promote():
    for number in (2, 2.5, True):
        assert (cr.tensor([1.0]) * number).dtype == np.float32
        assert cr.multiply(number, np.ones(2)).dtype == np.float64


def test_numpy_scalars_keep_their_dtype():
    assert cr.exp(np.float64(0.1)).dtype == np.float64
    for function in (cr.sum, cr.mean, cr.max, cr.min, cr.logsumexp):
        result = function(np.float64(0.1))
        assert result.dtype == np.float64, function.__name__
        assert float(result) == pytest.approx(0.1, rel=1e-15)


def test_integer_arrays_beside_floating_ones_are_converted():
    for dtype in DTYPES:
        x = np.array([1.5, 2.5], dtype)
        for function, reference in ((cr.add, np.add), (cr.multiply, np.multiply), (cr.divide, np.divide)):
            result = function(x, np.array([2, 3]))
            assert result.dtype == dtype
            np.testing.assert_array_equal(result, reference(x, np.array([2, 3], dtype)))


@pytest.mark.parametrize("name, reference", COMPARISONS.items())
def test_comparisons_are_numpys(name, reference):
    x = np.array([[1.0, 2.0, np.nan], [3.0, -1.0, np.inf]])
    y = np.array([1.0, 3.0, np.nan])
    result = getattr(cr, name)(x, y)
    assert result.dtype == bool
    np.testing.assert_array_equal(result, reference(x, y))
    boxed = getattr(cr, name)(leaf(x), y)
    assert isinstance(boxed, cr.Tensor) and not boxed.requires_grad
    np.testing.assert_array_equal(boxed.numpy(), reference(x, y))


# ---- Kinks and ties, as the docstrings have them -----------------------------------------------------------


def gradient_of(function, *values):
    leaves = [leaf(np.asarray(v, dtype=np.float64)) for v in values]
    function(*leaves).sum().backward()
    return [None if x.grad is None else x.grad.data.tolist() for x in leaves]


def test_relu_abs_and_sign_at_zero():
    assert gradient_of(cr.relu, [0.0, -0.0, 1.0, -1.0]) == [[0, 0, 1, 0]]
    assert gradient_of(cr.abs, [0.0, -0.0, 2.0, -2.0]) == [[0, 0, 1, -1]]
    np.testing.assert_array_equal(cr.sign(np.array([0.0, -3.0, 3.0, np.nan])), [0, -1, 1, np.nan])


def test_max_and_min_send_the_gradient_to_the_first_of_equal_values():
    x = [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]
    assert gradient_of(lambda x: cr.max(x, axis=1), x) == [[[0, 1, 0], [1, 0, 0]]]
    assert gradient_of(lambda x: cr.min(x, axis=1), x) == [[[1, 0, 0], [1, 0, 0]]]
    assert gradient_of(cr.max, x) == [[[0, 1, 0], [0, 0, 0]]]
    assert gradient_of(lambda x: cr.max(x, axis=0), x) == [[[0, 1, 1], [1, 0, 0]]]


def test_max_of_nan_and_infinities():
    nan, inf = np.nan, np.inf
    assert np.isnan(cr.max(np.array([1.0, nan, 5.0]))) and np.isnan(cr.min(np.array([1.0, nan, 5.0])))
    assert gradient_of(cr.max, [1.0, nan, 5.0, nan]) == [[0, 1, 0, 0]]
    assert gradient_of(cr.max, [-inf, -inf]) == [[1, 0]]
    assert cr.max(np.full(70, -inf)) == -inf and cr.min(np.full(70, inf)) == inf
    for position in range(70):  # in the vector part and in the tail
        x = np.zeros(70, np.float32)
        x[position] = nan
        assert np.isnan(cr.max(x)) and np.isnan(cr.min(x))


def test_maximum_and_minimum_send_ties_to_the_first_argument():
    assert gradient_of(cr.maximum, [1.0, 2.0], [1.0, 3.0]) == [[1, 0], [0, 1]]
    assert gradient_of(cr.minimum, [1.0, 2.0], [1.0, 3.0]) == [[1, 1], [0, 0]]
    assert gradient_of(cr.maximum, [np.nan, 1.0], [1.0, np.nan]) == [[1, 0], [0, 1]]
    assert gradient_of(lambda x: cr.maximum(x, x), [1.0]) == [[1]]


def test_clip_passes_the_gradient_inside_and_at_the_limits():
    assert gradient_of(lambda x: cr.clip(x, -1, 1), [-2.0, -1.0, 0.0, 1.0, 2.0]) == [[0, 1, 1, 1, 0]]
    assert np.isnan(cr.clip(np.array([np.nan]), 0, 1)).all()


def test_where_sends_nothing_to_the_value_not_chosen_even_where_it_is_nan():
    bad = np.array([np.nan, 1.0, np.inf])
    assert gradient_of(lambda x: cr.where(x > 0.5, x, 0.0), bad) == [[0, 1, 1]]
    x = leaf(np.array([0.0, 4.0]))
    safe = cr.where(x > 0, x, 1.0)
    cr.where(x > 0, cr.sqrt(safe), 0.0).sum().backward()
    assert x.grad.numpy().tolist() == [0, 0.25]


def test_power_at_zero():
    assert gradient_of(lambda x: x**2, [0.0]) == [[0]]
    assert gradient_of(lambda x: x**0, [0.0, 2.0]) == [[0, 0]]
    assert gradient_of(lambda x, y: cr.power(x, y), [0.0, 0.0], [2.0, 0.0]) == [[0, 0], [0, 0]]
    assert np.isnan(cr.power(np.array([-2.0]), 0.5)).all()
    assert cr.power(np.array([-2.0]), 3).tolist() == [-8.0]


def test_division_by_zero_log_and_sqrt_follow_ieee_without_a_warning():
    x = np.array([1.0, 0.0, -1.0])
    np.testing.assert_array_equal(cr.divide(x, 0.0), [np.inf, np.nan, -np.inf])
    np.testing.assert_array_equal(cr.log(x), [0, -np.inf, np.nan])
    np.testing.assert_array_equal(cr.sqrt(x), [1, 0, np.nan])
    assert gradient_of(cr.sqrt, [0.0]) == [[np.inf]]


def test_sigmoid_and_tanh_saturate_without_overflow():
    x = np.array([-np.inf, -1e4, -800.0, 800.0, 1e4, np.inf])
    np.testing.assert_array_equal(cr.sigmoid(x), [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(cr.tanh(x), [-1, -1, -1, 1, 1, 1])
    assert gradient_of(cr.sigmoid, x) == [[0] * 6]
    assert gradient_of(cr.tanh, x) == [[0] * 6]


def test_variance_of_values_with_a_large_mean_keeps_its_digits():
    # By hand: 1e8 + (4, 7, 13, 16) has mean 1e8 + 10 and variance (36 + 9 + 9 + 36) / 4 = 22.5.
    assert cr.var(np.array([4.0, 7.0, 13.0, 16.0]) + 1e8) == 22.5
    assert cr.var(np.full(1000, 0.1, np.float32)) >= 0


def test_long_float32_sums_keep_their_digits():
    x = np.full(10_000_000, 0.1, np.float32)
    assert cr.sum(x) == pytest.approx(float(np.float32(0.1)) * 1e7, rel=1e-7)


def test_integer_and_boolean_reductions_carry_no_gradient():
    x = np.array([[1, 5], [7, 2]])
    assert cr.sum(x, axis=0).tolist() == [8, 7] and cr.sum(x).dtype == np.int64
    assert cr.max(x).item() == 7 and cr.min(x, axis=1).tolist() == [1, 2]
    assert cr.mean(x).item() == 3.75 and cr.mean(x).dtype == np.float32
    assert cr.sum(x > 2).item() == 2
    assert not cr.sum(cr.tensor(x)).requires_grad


def test_results_of_index_have_memory_of_their_own():
    x = np.arange(12.0).reshape(3, 4)
    for where in (0, slice(0, 2), (slice(None), 1), Ellipsis, [0, 1], x > 3):
        assert not np.shares_memory(cr.index(x, where), x), where


def test_an_index_of_nested_sequences_adds_where_it_repeats():
    x = leaf(np.array([1.0, 2.0, 3.0]))
    cr.index(x, ((0, 0, 2),)).sum().backward()
    assert x.grad.numpy().tolist() == [2, 0, 1]
    y = leaf(np.array([1.0, 2.0, 3.0]))
    y[range(2)].sum().backward()
    assert y.grad.numpy().tolist() == [1, 1, 0]


def test_matmul_reads_repeated_rows_and_overlapping_windows():
    x = np.broadcast_to(np.arange(4.0), (3, 4))
    w = np.random.default_rng(0).standard_normal((4, 5))
    np.testing.assert_allclose(cr.matmul(x, w), np.array(x) @ w, rtol=1e-14)
    windows = np.lib.stride_tricks.sliding_window_view(np.arange(10.0), 4)
    np.testing.assert_allclose(cr.matmul(windows, w), np.array(windows) @ w, rtol=1e-14)


def test_matmul_of_nan_and_infinity():
    x = np.array([[np.inf, 1.0], [np.nan, 0.0]])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(cr.matmul(x, np.eye(2)), x @ np.eye(2))


def test_matmul_over_an_empty_inner_dimension_is_zero():
    np.testing.assert_array_equal(cr.matmul(np.ones((2, 0)), np.ones((0, 3))), np.zeros((2, 3)))


def test_the_bias_trick_is_the_affine_map():
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((5, 3)), rng.standard_normal((3, 4)), rng.standard_normal(4)
    np.testing.assert_allclose(
        cr.matmul(cr.append_ones(x), cr.fold_bias(w, b)), x @ w + b, rtol=1e-13, atol=1e-13
    )
