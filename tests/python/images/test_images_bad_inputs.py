"""Settings and shapes that are refused, with what the message says."""

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule import _core

X = np.ones((1, 4, 4, 2), np.float32)
W = np.ones((3, 3, 2, 3), np.float32)
WT = np.ones((3, 3, 3, 2), np.float32)  # of a transposed convolution from 2 channels to 3
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def ones(*shape):
    return np.ones(shape, np.float32)


def read_only(array):
    array.flags.writeable = False
    return array


CONV2D = [
    ({"stride": 0}, ValueError, "conv2d: stride 0 along the height: give 1 or more"),
    ({"stride": (1, -2)}, ValueError, "conv2d: stride -2 along the width: give 1 or more"),
    ({"stride": 1.0}, TypeError, "conv2d: stride 1.0 is not an integer"),
    ({"stride": (1, 2, 3)}, ValueError, "conv2d: stride (1, 2, 3): give a number, or a pair"),
    ({"stride": None}, TypeError, "conv2d: stride None is not an integer"),
    ({"stride": 2**63}, ValueError, "conv2d: stride 9223372036854775808 overflows 64 bits"),
    ({"dilation": 0}, ValueError, "conv2d: dilation 0 along the height: give 1 or more"),
    ({"dilation": 2.5}, TypeError, "conv2d: dilation 2.5 is not an integer"),
    ({"dilation": 5}, ValueError, "conv2d: a kernel of 3 with dilation 5 spans 11, the padded height is 4: pad more"),
    ({"dilation": 2**62}, ValueError, "overflow 64 bits: use smaller"),
    ({"dilation": 2**63}, ValueError, "conv2d: dilation 9223372036854775808 overflows 64 bits"),
    ({"dilation": 2**62, "padding": "same"}, ValueError, "overflow"),
    ({"padding": -1}, ValueError, "conv2d: padding -1 along the height: give 0 or more"),
    ({"padding": ((0, 0), (0, -3))}, ValueError, "conv2d: padding -3 along the width: give 0 or more"),
    ({"padding": 0.5}, TypeError, "conv2d: padding 0.5 is not an integer"),
    ({"padding": float("nan")}, TypeError, "conv2d: padding nan is not an integer"),
    ({"padding": "Same"}, ValueError, "conv2d: padding 'Same' is not 'same' or 'valid'"),
    ({"padding": ((1, 2), 3)}, ValueError, "conv2d: padding ((1, 2), 3): give ((top, bottom), (left, right))"),
    ({"padding": ((1, 2, 3), (1, 2))}, ValueError, "give ((top, bottom), (left, right))"),
    ({"padding": (1, 2, 3, 4)}, ValueError, "conv2d: padding (1, 2, 3, 4): give a number, or a pair"),
    ({"padding": 2**62}, ValueError, "overflows 64 bits: use smaller shapes"),
    ({"padding": 2**40}, ValueError, "overflow 64 bits: use smaller shapes"),
    ({"padding": 2**64}, ValueError, "conv2d: padding 18446744073709551616 overflows 64 bits"),
    ({"padding": 2**62, "stride": 2**62}, ValueError, "overflows 64 bits"),
    ({"groups": 0}, ValueError, "conv2d: x (1, 4, 4, 2), weights (3, 3, 2, 3): 0 groups: give 1 or more"),
    ({"groups": -1}, ValueError, "-1 groups: give 1 or more"),
    ({"groups": 2}, ValueError, "2 groups do not divide 2 channels and 3 filters evenly"),
    ({"groups": 1.0}, TypeError, "conv2d: groups 1.0 is not an integer"),
    ({"groups": 2**63}, ValueError, "conv2d: groups 9223372036854775808 overflows 64 bits"),
    ({"bias": ones(2)}, ValueError, "conv2d: bias (2,) for 3 filters: give (3,)"),
    ({"bias": ones(1, 3)}, ValueError, "conv2d: bias (1, 3) for 3 filters: give (3,)"),
    ({"bias": 1.0}, ValueError, "conv2d: bias () for 3 filters: give (3,)"),
    ({"bias": "b"}, TypeError, "conv2d: bias is a str: give a float32 or float64 array"),
    ({"x": X[0]}, ValueError, "conv2d: x (4, 4, 2), weights (3, 3, 2, 3): give x (N, height, width, channels)"),
    ({"w": W[0]}, ValueError, "conv2d: x (1, 4, 4, 2), weights (3, 2, 3): give x (N, height, width, channels)"),
    ({"w": ones(3, 3, 1, 3)}, ValueError, "weights of 1 channels for x of 2 in 1 group"),
    ({"w": ones(3, 3, 2, 4), "groups": 2}, ValueError, "weights of 2 channels for x of 2 in 2 groups"),
    ({"w": ones(5, 1, 2, 3)}, ValueError, "a kernel of 5 with dilation 1 spans 5, the padded height is 4"),
    ({"w": ones(1, 7, 2, 3), "padding": 1}, ValueError, "spans 7, the padded width is 6: pad more or use a smaller"),
    ({"w": ones(0, 3, 2, 3)}, ValueError, "conv2d: kernel size 0 along the height: give 1 or more"),
    ({"x": ones(1, 0, 4, 2)}, ValueError, "spans 3, the padded height is 0: pad more"),
    ({"w": None}, TypeError, "conv2d: weights is a NoneType: give a float32 or float64 array"),
    ({"x": X.astype(int), "w": W.astype(int)}, TypeError, "conv2d: x is an integer array: convert it"),
]  # fmt: skip

TRANSPOSED = [
    ({"stride": 0}, ValueError, "conv_transpose2d: stride 0 along the height: give 1 or more"),
    ({"stride": (1, -2)}, ValueError, "conv_transpose2d: stride -2 along the width: give 1 or more"),
    ({"stride": 2**62}, ValueError, "conv_transpose2d: an output height of 13835058055282163715 overflows 64 bits"),
    ({"stride": 2**60}, ValueError, "overflow 64 bits"),
    ({"dilation": 0}, ValueError, "conv_transpose2d: dilation 0 along the height: give 1 or more"),
    ({"dilation": 2**62}, ValueError, "conv_transpose2d: an output height of"),
    ({"padding": -1}, ValueError, "conv_transpose2d: padding -1 along the height: give 0 or more"),
    ({"padding": 4}, ValueError, "conv_transpose2d: padding 4 + 4 cuts more than the 6 along the height"),
    ({"padding": 2**62}, ValueError, "cuts more than the 6 along the height"),
    ({"padding": "same"}, ValueError, "conv_transpose2d: padding 'same': give numbers, for the output's size"),
    ({"output_padding": 1}, ValueError, "output_padding 1 is not from 0 to below stride 1 or dilation 1"),
    ({"output_padding": 2, "stride": 2}, ValueError, "output_padding 2 is not from 0 to below stride 2 or dilation 1"),
    ({"output_padding": -1}, ValueError, "output_padding -1 is not from 0"),
    ({"output_padding": 0.5}, TypeError, "conv_transpose2d: output_padding 0.5 is not an integer"),
    ({"groups": 0}, ValueError, "0 groups: give 1 or more"),
    ({"groups": 3}, ValueError, "3 groups do not divide 9 channels and 2 filters evenly"),
    ({"bias": ones(2)}, ValueError, "conv_transpose2d: bias (2,) for 3 filters: give (3,)"),
    ({"x": X[0]}, ValueError, "conv_transpose2d: x (4, 4, 2), weights (3, 3, 3, 2): give x (N, height, width"),
    ({"w": ones(3, 3, 3, 5)}, ValueError, "(height, width, filters / groups, channels) of 5 channels for x of 2"),
    ({"x": ones(1, 0, 4, 2)}, ValueError, "there is nothing along the height"),
    ({"w": ones(3, 0, 3, 2)}, ValueError, "there is nothing along the width"),
]  # fmt: skip

POOLS = [
    ({"size": 0}, ValueError, "kernel size 0 along the height: give 1 or more"),
    ({"size": (2, -1)}, ValueError, "kernel size -1 along the width: give 1 or more"),
    ({"size": 2.0}, TypeError, "size 2.0 is not an integer"),
    ({"size": None}, TypeError, "size None is not an integer"),
    ({"size": (2, 2, 2)}, ValueError, "size (2, 2, 2): give a number, or a pair"),
    ({"size": 5}, ValueError, "spans 5, the padded height is 4"),
    ({"size": 2**62}, ValueError, "the padded height is 4"),
    ({"size": 2**63}, ValueError, "size 9223372036854775808 overflows 64 bits"),
    ({"size": 2**62, "padding": 2**61}, ValueError, "overflow"),
    ({"size": 2**40, "padding": 2**39}, ValueError, "overflow"),
    ({"stride": 0}, ValueError, "stride 0 along the height: give 1 or more"),
    ({"stride": (2, -1)}, ValueError, "stride -1 along the width: give 1 or more"),
    ({"stride": 1.5}, TypeError, "stride 1.5 is not an integer"),
    ({"padding": 2}, ValueError, "padding 2 is not below the window's size 2: a window would hold padding alone"),
    ({"padding": -1}, ValueError, "padding -1 along the height: give 0 or more"),
    ({"padding": 2**62}, ValueError, "overflows 64 bits"),
    ({"padding": "same"}, TypeError, "padding 'same' is not an integer"),
    ({"x": X[0]}, ValueError, "x (4, 4, 2) is not (N, height, width, channels)"),
    ({"x": ones(1, 0, 4, 2), "size": 1}, ValueError, "the padded height is 0"),
    ({"x": X.astype(int)}, TypeError, "x is an integer array: convert it"),
]  # fmt: skip

BATCH_NORM = [
    ({"weight": ones(2)}, ValueError, "batch_norm: weight (2,) for x (4, 3): give (3,)"),
    ({"weight": 2.0}, ValueError, "batch_norm: weight () for x (4, 3): give (3,)"),
    ({"bias": ones(1, 3)}, ValueError, "batch_norm: bias (1, 3) for x (4, 3): give (3,)"),
    ({"running_mean": ones(2)}, ValueError, "batch_norm: running_mean (2,) for x (4, 3): give (3,)"),
    ({"running_var": ones(3, 1)}, ValueError, "batch_norm: running_var (3, 1) for x (4, 3): give (3,)"),
    ({"running_mean": [0.0, 0.0, 0.0]}, TypeError, "batch_norm: running_mean is a list: give a NumPy array"),
    ({"running_mean": np.zeros(3, int)}, TypeError, "batch_norm: running_mean is a int64: give a NumPy array of"),
    ({"running_var": cr.tensor(ones(3))}, TypeError, "batch_norm: running_var is a Tensor: give a NumPy array"),
    ({"running_mean": read_only(ones(3))}, ValueError, "batch_norm: running_mean is read-only: training writes"),
    ({"training": False}, ValueError, "batch_norm: outside training running_mean and running_var are needed"),
    ({"training": False, "running_mean": ones(3)}, ValueError, "outside training running_mean and running_var"),
    ({"momentum": 1.1}, ValueError, "batch_norm: momentum = 1.1: give a number from 0 to 1"),
    ({"momentum": -0.1}, ValueError, "batch_norm: momentum = -0.1: give a number from 0 to 1"),
    ({"momentum": float("nan")}, ValueError, "batch_norm: momentum = nan: give a number from 0 to 1"),
    ({"momentum": None}, TypeError, "batch_norm: momentum = None is not a number"),
    ({"epsilon": float("nan")}, ValueError, "batch_norm: epsilon = nan: give a finite number of at least 0"),
    ({"epsilon": -1e-5}, ValueError, "batch_norm: epsilon = -1e-05: give a finite number of at least 0"),
    ({"epsilon": float("inf")}, ValueError, "batch_norm: epsilon = inf: give a finite number of at least 0"),
    ({"epsilon": "1"}, TypeError, "batch_norm: epsilon = '1' is not a number"),
    ({"x": ROWS[:1]}, ValueError, "batch_norm: x (1, 3) has 1 values a channel: training needs two or more"),
    ({"x": ones(1, 1, 1, 3)}, ValueError, "has 1 values a channel"),
    ({"x": ROWS[:0]}, ValueError, "batch_norm: x (0, 3) has 0 values a channel: training needs two or more"),
    ({"x": ROWS[0]}, ValueError, "batch_norm: x (3,) is not (N, ..., channels)"),
    ({"x": ROWS.astype(int)}, TypeError, "batch_norm: x is an integer array"),
]  # fmt: skip

LAYER_NORM = [
    ({"dimensions": 0}, ValueError, "layer_norm: dimensions 0 of x (4, 3): give 1 to 2"),
    ({"dimensions": 3}, ValueError, "layer_norm: dimensions 3 of x (4, 3): give 1 to 2"),
    ({"dimensions": 1.5}, TypeError, "layer_norm: dimensions 1.5 is not an integer"),
    ({"weight": ones(2)}, ValueError, "layer_norm: weight (2,) for x (4, 3): give (3,)"),
    ({"bias": ones(3), "dimensions": 2}, ValueError, "layer_norm: bias (3,) for x (4, 3): give (4, 3)"),
    ({"epsilon": float("nan")}, ValueError, "layer_norm: epsilon = nan: give a finite number of at least 0"),
    ({"x": ROWS[:, :0]}, ValueError, "layer_norm: no values to take a mean of"),
    ({"x": np.float32(1)}, ValueError, "layer_norm: dimensions 1 of x ()"),
]  # fmt: skip

DROPOUT = [
    ({"p": 1.5}, ValueError, "dropout: p = 1.5: give a number from 0 to 1"),
    ({"p": -0.1}, ValueError, "dropout: p = -0.1: give a number from 0 to 1"),
    ({"p": float("nan")}, ValueError, "dropout: p = nan: give a number from 0 to 1"),
    ({"p": "half"}, TypeError, "dropout: p = 'half' is not a number"),
    ({"key": -1}, ValueError, "dropout: key -1: give an integer from 0 to 2^64 - 1"),
    ({"key": 2**64}, ValueError, "dropout: key 18446744073709551616: give an integer from 0 to 2^64 - 1"),
    ({"key": 1.5}, TypeError, "dropout: key 1.5 is not an integer"),
    ({"x": ROWS.astype(int)}, TypeError, "dropout: x is an integer array"),
]

TABLE = [
    (cr.conv2d, {"x": X, "w": W}, CONV2D),
    (cr.conv2d_relu, {"x": X, "w": W}, CONV2D),
    (cr.conv_transpose2d, {"x": X, "w": WT}, TRANSPOSED),
    (cr.max_pool2d, {"x": X, "size": 2}, POOLS),
    (cr.average_pool2d, {"x": X, "size": 2}, POOLS),
    (cr.batch_norm, {"x": ROWS}, BATCH_NORM),
    (cr.layer_norm, {"x": ROWS}, LAYER_NORM),
    (cr.dropout, {"x": ROWS}, DROPOUT),
    (cr.global_average_pool2d, {"x": X}, [({"x": X[0]}, ValueError, "global_average_pool2d: x (4, 4, 2) is not (N,")]),
    (cr.global_max_pool2d, {"x": X}, [({"x": X[:, :, :0]}, ValueError, "global_max_pool2d: x (1, 4, 0, 2) is not")]),
    (cr.leaky_relu, {"x": X}, [({"slope": float("inf")}, ValueError, "leaky_relu: slope = inf is not finite")]),
    (cr.elu, {"x": X}, [({"alpha": float("nan")}, ValueError, "elu: alpha = nan is not finite")]),
]  # fmt: skip


@pytest.mark.parametrize(
    "function, arguments, error, message",
    [
        pytest.param(function, {**base, **change}, error, message, id=f"{function.__name__}-{i}")
        for function, base, rows in TABLE
        for i, (change, error, message) in enumerate(rows)
    ],
)
def test_bad_input(function, arguments, error, message):
    with pytest.raises(error, match=re.escape(message)) as caught:
        function(**arguments)
    name = function.__name__.replace("conv2d_relu", "conv2d")
    assert str(caught.value).startswith(f"{name}: ")


def test_the_arguments_of_these_rows_are_otherwise_sound():
    for function, arguments, _ in TABLE:
        function(**arguments)


def test_a_refused_batch_leaves_the_running_values_alone():
    mean, variance = np.zeros(3), read_only(np.ones(3))
    with pytest.raises(ValueError, match="running_var is read-only"):
        cr.batch_norm(ROWS, running_mean=mean, running_var=variance)
    assert not mean.any()
    # Evaluation only reads them.
    cr.batch_norm(ROWS, running_mean=read_only(mean), running_var=variance, training=False)


def test_strides_past_all_there_is_give_one_window():
    assert cr.conv2d(X, W, stride=2**62).shape == (1, 1, 1, 3)
    assert cr.max_pool2d(X, 2, stride=2**62).shape == (1, 1, 1, 2)
    assert cr.max_pool2d(X, 3, stride=2**62, padding=1, ceil_mode=True).shape == (1, 1, 1, 2)
    assert cr.average_pool2d(X, 2, stride=2**62).shape == (1, 1, 1, 2)


# ---- The core itself, which trusts nobody --------------------------------------------------------------------


def core_window(**changes):
    return (2, 2, 2, 2, 0, 0, 0) if not changes else tuple(changes["window"])


def test_the_core_refuses_indices_that_are_not_its_own():
    window = core_window()
    _, indices = _core.max_pool2d(X, window)
    g = ones(1, 2, 2, 2)
    for wrong in (indices.astype(np.int32), indices.astype(np.int64), indices.astype(float)):
        with pytest.raises(TypeError, match="indices are not those that max_pool2d gave"):
            _core.max_pool2d_scatter(g, wrong, X.shape, window)
        with pytest.raises(TypeError, match="indices are not those that max_pool2d gave"):
            _core.max_pool2d_gather(X, wrong, window)
    with pytest.raises(
        ValueError, match=r"max_pool2d_scatter: \(1, 2, 2, 1\) for an output of \(1, 2, 2, 2\)"
    ):
        _core.max_pool2d_scatter(g, indices[..., :1], X.shape, window)
    with pytest.raises(
        ValueError, match=r"max_pool2d_scatter: \(1, 1, 2, 2\) for an output of \(1, 2, 2, 2\)"
    ):
        _core.max_pool2d_scatter(g[:, :1], indices, X.shape, window)
    outside = np.full_like(indices, 200)
    with pytest.raises(ValueError, match="max_pool2d_gather: index 200 of window 0 lies outside the image"):
        _core.max_pool2d_gather(X, outside, window)
    assert not _core.max_pool2d_scatter(g, outside, X.shape, window).any()


def test_the_core_refuses_gradients_of_other_shapes():
    window = (1, 1, 0, 0, 0, 0, 1, 1, 1)
    g = ones(1, 2, 2, 3)
    with pytest.raises(ValueError, match=r"conv2d_input_gradient: gradient \(1, 2, 2, 3\) for an output of"):
        _core.conv2d_input_gradient(g, W, None, 9, 4, window, False)
    with pytest.raises(ValueError, match=r"conv2d_weight_gradient: gradient \(1, 2, 2, 3\) for an output of"):
        _core.conv2d_weight_gradient(X, g, 2, 3, window)
    with pytest.raises(ValueError, match=r"epilogue_gradient: gradient \(1, 1, 2, 3\) for an output of"):
        _core.epilogue_gradient(g[:, :1], g)
    with pytest.raises(ValueError, match="size -1 along the height: give 0 or more"):
        _core.conv2d_input_gradient(g, W, None, -1, 4, window, False)
    with pytest.raises(ValueError, match="average_pool2d_adjoint"):
        _core.average_pool2d_adjoint(g, (1, -4, 4, 3), core_window())
    with pytest.raises(ValueError, match="average_pool2d_adjoint"):
        _core.average_pool2d_adjoint(g, (2**31, 2**31, 2**31, 3), core_window())


def test_the_core_refuses_normalisations_that_do_not_fit():
    vector = ones(3)
    with pytest.raises(ValueError, match=r"batch_norm: weight \(2,\) for 3 values: give \(3,\)"):
        _core.batch_norm(ROWS, ones(2), vector, 1e-5, None)
    with pytest.raises(ValueError, match=r"batch_norm: x \(1, 4, 4, 2\) is not a matrix"):
        _core.batch_norm(X, vector, vector, 1e-5, None)
    with pytest.raises(ValueError, match=r"batch_norm_gradient: gradient .* and x .* differ"):
        _core.batch_norm_gradient(ROWS[:2], ROWS, vector, vector, None, vector, vector)
    with pytest.raises(ValueError, match=r"batch_norm_gradient: mean .* for 3 values"):
        _core.batch_norm_gradient(ROWS, ROWS, vector, vector, None, ones(2), vector)
    with pytest.raises(ValueError, match=r"batch_norm_gradient: bias .* for 3 values"):
        _core.batch_norm_gradient(ROWS, ROWS, vector, ones(4), "relu", vector, vector)
    with pytest.raises(ValueError, match="activation 'tanh' is not one of None, 'relu', 'gelu'"):
        _core.batch_norm(ROWS, vector, vector, 1e-5, "tanh")
    with pytest.raises(ValueError, match=r"standardise: scale \(2,\) for 3 values"):
        _core.standardise(ROWS, vector, ones(2), vector, None)
    with pytest.raises(ValueError, match=r"standardise: x .* is not a matrix"):
        _core.standardise(X, vector, vector, vector, None)
    with pytest.raises(ValueError, match=r"layer_norm_gradient: mean .* for 4 values"):
        _core.layer_norm_gradient(ROWS, ROWS, vector, vector, ones(4))
