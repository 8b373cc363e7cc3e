"""What every public function does with wrong input: an error that names the operation and what clashes.

`BAD` has for each name of `chainrule.__all__` calls that must fail, with the error and its message;
`ELEMENTWISE` and `REDUCTIONS` get the same calls for all. `test_bad_labels` has more of the losses.
"""

import inspect
import re

import numpy as np
import pytest

import chainrule as cr

NAN, HUGE = float("nan"), 10**30
X = np.ones((2, 3))
RAGGED = [[1.0], [1.0, 2.0]]

# What is no array of numbers, and how messages call it.
NOT_NUMBERS = [
    ("abc", "a str"),
    (None, "a NoneType"),
    ({}, "a dict"),
    (RAGGED, "a list"),
    (np.ones(3, complex), "an array of complex128"),
    (np.array([1, None]), "an array of object"),
    (np.ones(3, np.float16), "an array of float16"),
    (np.ones(3, np.longdouble), f"an array of {np.dtype(np.longdouble)}"),
    (np.array(["2020-01-01"], "M8[D]"), "an array of datetime64[D]"),
    (np.array(["a"]), "an array of <U1"),
    (np.zeros(2, [("a", "f4")]), "an array of [('a', '<f4')]"),
]
WANTED = "give a float32 or float64 array, a Tensor of one, or a number"

ELEMENTWISE = ["abs", "cos", "exp", "log", "negative", "relu", "sigmoid", "sign", "sin", "sqrt", "tanh"]
ELEMENTWISE += ["elu", "gelu", "leaky_relu", "silu", "softplus"]
ARITHMETIC = ["add", "divide", "maximum", "minimum", "multiply", "power", "subtract"]
COMPARISONS = ["equal", "greater", "greater_equal", "less", "less_equal", "not_equal"]
REDUCTIONS = ["logsumexp", "max", "mean", "min", "sum", "var"]
ALONG_AXES = [*REDUCTIONS, "softmax", "log_softmax"]

# Functions of one array (with other arguments that are right): they refuse everything in NOT_NUMBERS.
OF_ONE_ARRAY = {
    "append_ones": lambda x: cr.append_ones(x),
    "broadcast_to": lambda x: cr.broadcast_to(x, (2, 3)),
    "clip": lambda x: cr.clip(x, 0, 1),
    "index": lambda x: cr.index(x, 0),
    "pad": lambda x: cr.pad(x, 1),
    "reshape": lambda x: cr.reshape(x, (3,)),
    "transpose": lambda x: cr.transpose(x),
    **{name: getattr(cr, name) for name in ELEMENTWISE + ALONG_AXES},
}
# The same, where the argument has another name.
NAMED = {
    "cross_entropy: p": lambda x: cr.cross_entropy(x, np.ones(3)),
    "cross_entropy: q": lambda x: cr.cross_entropy(np.ones(3), x),
    "entropy: p": cr.entropy,
    "fold_bias: bias": lambda x: cr.fold_bias(X, x),
    "fold_bias: weight": lambda x: cr.fold_bias(x, np.ones(3)),
    "kl_divergence: q": lambda x: cr.kl_divergence(np.ones(3), x),
    "matmul: x": lambda x: cr.matmul(x, np.ones((3, 2))),
    "matmul: y": lambda x: cr.matmul(X, x),
    "mean_squared_error: predictions": lambda x: cr.mean_squared_error(x, X),
    "mean_squared_error: targets": lambda x: cr.mean_squared_error(X, x),
    "multiclass_hinge: scores": lambda x: cr.multiclass_hinge(x, [0, 0]),
    "softmax_cross_entropy: logits": lambda x: cr.softmax_cross_entropy(x, [0, 0]),
    "where: x": lambda x: cr.where(True, x, X),
    "where: y": lambda x: cr.where(True, 1.0, x),
    "stack: array 1": lambda x: cr.stack([np.ones(3), x]),
    "concatenate: array 0": lambda x: cr.concatenate([x, np.ones(3)]),
    **{f"{name}: x": lambda x, name=name: getattr(cr, name)(x, 2.0) for name in ARITHMETIC},
    **{f"{name}: y": lambda x, name=name: getattr(cr, name)(np.ones(()), x) for name in ARITHMETIC},
}


def square_sum(x):
    return cr.sum(x * x)


def linear_layer():
    return cr.nn.Linear(3, 2, rng=0)


# name: [(call, error, message)]
BAD = {
    "append_ones": [
        (lambda: cr.append_ones(1.0), ValueError, "append_ones: x is a number: give (..., features)")
    ],
    "broadcast_to": [
        (
            lambda: cr.broadcast_to(X, (7,)),
            ValueError,
            "broadcast_to: shapes (2, 3) and (7,) do not broadcast",
        ),
        (lambda: cr.broadcast_to(X, ()), ValueError, "broadcast_to: (2, 3) does not broadcast to ()"),
        (lambda: cr.broadcast_to(X, (-1, 3)), ValueError, "broadcast_to: (2, 3) to (-1, 3): sizes must be"),
        (lambda: cr.broadcast_to(X, (HUGE, 2, 3)), ValueError, "sizes must be from 0 to 2^63 - 1"),
        (lambda: cr.broadcast_to(1.0, (2**40, 2**40)), ValueError, "elements overflow 64 bits"),
        (lambda: cr.broadcast_to(1.0, (2**31, 2**31)), ValueError, "overflow 64 bits"),
        (lambda: cr.broadcast_to(X, (2.5, 3)), TypeError, "broadcast_to: shape (2.5, 3) must hold integers"),
        (lambda: cr.broadcast_to(X, "ab"), TypeError, "broadcast_to: shape 'ab' must hold integers"),
        (lambda: cr.broadcast_to(X, None), TypeError, "broadcast_to: shape None must hold integers"),
    ],
    "clip": [
        (lambda: cr.clip(X), ValueError, "clip: both limits are None"),
        (lambda: cr.clip(X, 1, 0), ValueError, "clip: low 1 is above high 0"),
        (lambda: cr.clip(X, np.ones(4)), ValueError, "clip: shapes [(2, 3), (4,)] do not broadcast"),
        (lambda: cr.clip(X, np.ones(2), np.ones(3)), ValueError, "clip: shapes [(2, 3), (2,), (3,)] do not"),
        (lambda: cr.clip(X, "a"), TypeError, "clip: low is a str"),
        (lambda: cr.clip(X, 0, 1j), TypeError, "clip: high is a complex"),
        (lambda: cr.clip(np.ones(3, int), 0, 1), TypeError, "clip: x is an integer array: convert it with"),
    ],
    "concatenate": [
        (lambda: cr.concatenate([]), ValueError, "concatenate: no arrays given"),
        (lambda: cr.concatenate(None), TypeError, "concatenate: arrays is a NoneType: give a sequence"),
        (lambda: cr.concatenate(3.0), TypeError, "concatenate: arrays is a float: give a sequence"),
        (
            lambda: cr.concatenate([X, np.ones((2, 4))]),
            ValueError,
            "shapes [(2, 3), (2, 4)] differ elsewhere than",
        ),
        (lambda: cr.concatenate([X, np.ones(3)]), ValueError, "concatenate: shapes [(2, 3), (3,)] differ"),
        (
            lambda: cr.concatenate([1.0, 2.0]),
            ValueError,
            "concatenate: axis 0 does not exist in an array of 0",
        ),
        (
            lambda: cr.concatenate([X, X], 2),
            ValueError,
            "concatenate: axis 2 does not exist in an array of 2",
        ),
        (lambda: cr.concatenate([X, X], -HUGE), ValueError, f"axis -{HUGE} does not exist"),
        (lambda: cr.concatenate([X, X], None), TypeError, "concatenate: axis None is not an integer"),
        (lambda: cr.concatenate([X, X], (0, 1)), TypeError, "concatenate: axis (0, 1) is not an integer"),
        (lambda: cr.concatenate([X, X], 0.5), TypeError, "concatenate: axis 0.5 is not an integer"),
    ],
    "cross_entropy": [
        (lambda: cr.cross_entropy(np.ones(3), np.ones(2)), ValueError, "p (3,) and q (2,) do not broadcast"),
        (
            lambda: cr.cross_entropy([0.5, -0.5], [0.5, 0.5]),
            ValueError,
            "p has the entry -0.5: probabilities are 0",
        ),
        (lambda: cr.cross_entropy([0.5, 0.5], [NAN, 0.5]), ValueError, "cross_entropy: q has the entry nan"),
        (lambda: cr.cross_entropy(np.array([0, 1]), X), TypeError, "cross_entropy: p is an array of int64"),
        (
            lambda: cr.cross_entropy(1.0, X),
            ValueError,
            "cross_entropy: p is a number: give probabilities along",
        ),
        (lambda: cr.cross_entropy(X, X, axis=2), ValueError, "cross_entropy: axis 2 does not exist"),
    ],
    "elastic_net": [
        (lambda: cr.elastic_net(X, l1=-0.1), ValueError, "elastic_net: l1 = -0.1: give a finite number"),
        (lambda: cr.elastic_net(X, l2=NAN), ValueError, "elastic_net: l2 = nan: give a finite number"),
        (lambda: cr.elastic_net(X, l1="strong"), TypeError, "elastic_net: l1 'strong' is no number"),
        (lambda: cr.elastic_net(X, l2=None), TypeError, "elastic_net: l2 None is no number"),
        (lambda: cr.elastic_net(2.0), TypeError, "elastic_net: parameters is a float: give an array"),
        (lambda: cr.elastic_net([X, "w"]), TypeError, "elastic_net: parameter 1 is a str"),
        (lambda: cr.elastic_net([X, np.ones(2, int)], l2=1.0), TypeError, "parameter 1 is an integer array"),
    ],
    "entropy": [
        (lambda: cr.entropy([0.5, -0.5]), ValueError, "entropy: p has the entry -0.5"),
        (lambda: cr.entropy(0.5), ValueError, "entropy: p is a number: give probabilities along an axis"),
        (lambda: cr.entropy(X, axis=-3), ValueError, "entropy: axis -3 does not exist in an array of 2"),
    ],
    "fold_bias": [
        (
            lambda: cr.fold_bias(X, np.ones(2)),
            ValueError,
            "fold_bias: weight (2, 3) and bias (2,): give (D, C)",
        ),
        (lambda: cr.fold_bias(np.ones(3), np.ones(3)), ValueError, "fold_bias: weight (3,) and bias (3,)"),
    ],
    "functional_call": [
        (lambda: cr.functional_call(3, {}, X), TypeError, "functional_call: model is a int, not a Module"),
        (lambda: cr.functional_call(linear_layer(), [1], X), TypeError, "functional_call: params is a list"),
        (
            lambda: cr.functional_call(linear_layer(), {"v": X}, X),
            ValueError,
            "['v'] are no parameters of the model",
        ),
        (
            lambda: cr.functional_call(linear_layer(), {"weight": X}, X),
            ValueError,
            "functional_call: weight has shape (3, 2), the value given (2, 3)",
        ),
        (
            lambda: cr.functional_call(linear_layer(), {"bias": 1.0}, X),
            ValueError,
            "bias has shape (2,), the value",
        ),
    ],
    "index": [
        (
            lambda: cr.index(X, 5),
            IndexError,
            "index 5 is out of bounds for axis 0 with size 2 (an array of shape (2, 3)",
        ),
        (lambda: cr.index(X, -3), IndexError, "index: index -3 is out of bounds for axis 0"),
        (
            lambda: cr.index(X, (0, [0, -4])),
            IndexError,
            "index: index -4 is out of bounds for axis 1 with size 3",
        ),
        (lambda: cr.index(X, np.array([2**62])), IndexError, f"index {2**62} is out of bounds"),
        (lambda: cr.index(X, HUGE), IndexError, "index: "),
        (lambda: cr.index(X, (0, 0, 0)), IndexError, "index: too many indices"),
        (lambda: cr.index(X, np.ones(4, bool)), IndexError, "index: boolean index did not match"),
        (lambda: cr.index(X, 1.5), IndexError, "index: only integers, slices"),
        (lambda: cr.index(X, "a"), IndexError, "index: only integers, slices"),
        (
            lambda: cr.index(X, np.array([0.5])),
            IndexError,
            "index: arrays used as indices must be of integer",
        ),
        (lambda: cr.index(X, slice("a", 2)), TypeError, "index: slice indices must be integers"),
    ],
    "kl_divergence": [
        (
            lambda: cr.kl_divergence(np.ones(3), np.ones(2)),
            ValueError,
            "kl_divergence: p (3,) and q (2,) do not",
        ),
        (lambda: cr.kl_divergence([1.0], [-1.0]), ValueError, "kl_divergence: q has the entry -1.0"),
        (
            lambda: cr.kl_divergence(X, X, axis=(0, 0)),
            ValueError,
            "kl_divergence: axis (0, 0) names an axis twice",
        ),
    ],
    "linear": [
        (
            lambda: cr.linear(X, np.ones((3, 4)), np.ones(5)),
            ValueError,
            "linear: weight (3, 4) and bias (5,): give",
        ),
        (
            lambda: cr.linear(X, np.ones((3, 4)), np.ones((7, 2, 4))),
            ValueError,
            "weight (3, 4) and bias (7, 2, 4)",
        ),
        (
            lambda: cr.linear(X, np.ones((4, 4)), np.ones(4)),
            ValueError,
            "linear: x (2, 3), weight (4, 4): give (..., in) and (in, out)",
        ),
        (
            lambda: cr.linear(X, np.ones((7, 3, 4))),
            ValueError,
            "linear: x (2, 3), weight (7, 3, 4): give",
        ),
        (lambda: cr.linear(1.0, np.ones((3, 4))), ValueError, "linear: x (), weight (3, 4): give"),
        (lambda: cr.linear(X, np.ones((3, 4)), "b"), TypeError, "linear: bias is a str"),
    ],
    "linear_relu": [
        (
            lambda: cr.linear_relu(X, np.ones((3, 4)), np.ones(5)),
            ValueError,
            "linear: weight (3, 4) and bias (5,)",
        ),
        (lambda: cr.linear_relu(X, np.ones((4, 4))), ValueError, "linear: x (2, 3), weight (4, 4): give"),
        (lambda: cr.linear_relu(X, "w"), TypeError, "linear: weight is a str"),
    ],
    "autocast": [
        (
            lambda: cr.autocast("float16"),
            ValueError,
            "autocast: dtype 'float16': give one of float32, bfloat16",
        ),
        (lambda: cr.autocast(None), ValueError, "autocast: dtype None: give"),
    ],
    "set_rng_state": [
        (lambda: cr.set_rng_state(np.zeros(6)), TypeError, "set_rng_state: the state is of float64: give"),
        (lambda: cr.set_rng_state(None), TypeError, "set_rng_state: the state is of object: give"),
        (lambda: cr.set_rng_state(np.zeros(5, np.uint64)), ValueError, "the state has shape (5,): give"),
        (lambda: cr.set_rng_state(np.zeros(6, np.uint64)), ValueError, "these numbers are no state"),
    ],
    "manual_seed": [
        (lambda: cr.manual_seed(-1), ValueError, "manual_seed: -1 is negative"),
        (lambda: cr.manual_seed(1.5), TypeError, "manual_seed: 1.5 is not an integer"),
        (lambda: cr.manual_seed(None), TypeError, "manual_seed: None is not an integer"),
    ],
    "matmul": [
        (
            lambda: cr.matmul(np.ones((64, 784)), np.ones((700, 100))),
            ValueError,
            "matmul: (64, 784) x (700, 100): inner dimensions 784 and 700 differ",
        ),
        (
            lambda: cr.matmul(np.ones(3), np.ones(4)),
            ValueError,
            "matmul: (3,) x (4,): inner dimensions 3 and 4 differ",
        ),
        (
            lambda: cr.matmul(X, np.ones(2)),
            ValueError,
            "matmul: (2, 3) x (2,): inner dimensions 3 and 2 differ",
        ),
        (
            lambda: cr.matmul(np.ones((2, 4, 5)), np.ones((3, 5, 6))),
            ValueError,
            "matmul: (2, 4, 5) x (3, 5, 6): batch dimensions 2 and 3 do not broadcast",
        ),
        (lambda: cr.matmul(X, 2.0), ValueError, "matmul: (2, 3) x (): an operand is a number: use multiply"),
        (lambda: cr.matmul(np.array(1.0), X), ValueError, "matmul: () x (2, 3): an operand is a number"),
        (
            lambda: cr.matmul(np.ones((2, 3), int), np.ones((3, 2), int)),
            TypeError,
            "matmul: x is an integer array",
        ),
        (
            lambda: cr.matmul(np.broadcast_to(1.0, (2**40, 1)), np.broadcast_to(1.0, (1, 2**40))),
            ValueError,
            f"{2**40} x {2**40} elements overflow 64 bits",
        ),
    ],
    "mean_squared_error": [
        (
            lambda: cr.mean_squared_error(X, np.ones(3)),
            ValueError,
            "predictions (2, 3) and targets (3,) differ in shape",
        ),
        (
            lambda: cr.mean_squared_error(X, X, "max"),
            ValueError,
            "reduction 'max' is not one of 'mean', 'sum', 'none'",
        ),
        (
            lambda: cr.mean_squared_error(X[:0], X[:0]),
            ValueError,
            "mean_squared_error: the mean over (0, 3) is undefined",
        ),
        (
            lambda: cr.mean_squared_error(np.ones(2, int), np.ones(2, int)),
            TypeError,
            "mean_squared_error: predictions and targets are integer arrays",
        ),
    ],
    "multiclass_hinge": [
        (
            lambda: cr.multiclass_hinge(X, [0, 0], delta=NAN),
            ValueError,
            "multiclass_hinge: delta nan is not finite",
        ),
        (
            lambda: cr.multiclass_hinge(X, [0, 0], delta="wide"),
            TypeError,
            "multiclass_hinge: delta 'wide' is no number",
        ),
    ],
    "pad": [
        (lambda: cr.pad(X, -1), ValueError, "pad: widths -1 must be at least 0"),
        (
            lambda: cr.pad(X, ((1, -1), (0, 0))),
            ValueError,
            "pad: widths ((1, -1), (0, 0)) must be at least 0",
        ),
        (lambda: cr.pad(X, ((1, 1),) * 3), ValueError, "are not one (before, after) for each of 2 axes"),
        (lambda: cr.pad(X, 1.5), TypeError, "pad: widths 1.5 must be integers"),
        (lambda: cr.pad(X, None), TypeError, "pad: widths None must be integers"),
        (lambda: cr.pad(X, HUGE), TypeError, f"pad: widths {HUGE} must be integers"),
        (lambda: cr.pad(X, 2**62), ValueError, "too large to exist"),
        (lambda: cr.pad(X, ((2**62, 2**62), (0, 0))), ValueError, "too large to exist"),
        (lambda: cr.pad(X, ((2**40, 0), (2**40, 0))), ValueError, "too large to exist"),
        (lambda: cr.pad(X, 1, "a"), TypeError, "pad: value 'a' is no number"),
        (lambda: cr.pad(X, 1, None), TypeError, "pad: value None is no number"),
        (lambda: cr.pad(X, 1, np.ones(3)), TypeError, "is no number"),
        (
            lambda: cr.pad(np.ones(3, int), 1, 1.5),
            TypeError,
            "pad: value 1.5 for an array of int64: give a whole",
        ),
    ],
    "reshape": [
        (
            lambda: cr.reshape(X, (7,)),
            ValueError,
            "reshape: (2, 3) does not fit (7,): the number of values differs",
        ),
        (lambda: cr.reshape(X, (4, -1)), ValueError, "reshape: (2, 3) does not fit (4, -1)"),
        (lambda: cr.reshape(X, (-1, -1)), ValueError, "reshape: (2, 3) to (-1, -1): one size may be -1"),
        (lambda: cr.reshape(X, (-2, 3)), ValueError, "reshape: (2, 3) to (-2, 3): one size may be -1"),
        (lambda: cr.reshape(X, (2**62, 2**62)), ValueError, "does not fit"),
        (lambda: cr.reshape(X, HUGE), ValueError, "does not fit"),
        (lambda: cr.reshape(X[:0], (0, -1)), ValueError, "reshape: (0, 3) does not fit (0, -1)"),
        (lambda: cr.reshape(X, (1.5, 4)), TypeError, "reshape: shape (1.5, 4) must hold integers"),
        (lambda: cr.reshape(X, None), TypeError, "reshape: shape None must hold integers"),
        (lambda: cr.reshape(X, "ab"), TypeError, "reshape: shape 'ab' must hold integers"),
    ],
    "set_num_threads": [
        (
            lambda: cr.set_num_threads(0),
            ValueError,
            "set_num_threads: 0 threads: give a number from 1 to 1024",
        ),
        (lambda: cr.set_num_threads(-3), ValueError, "set_num_threads: -3 threads"),
        (lambda: cr.set_num_threads(1025), ValueError, "set_num_threads: 1025 threads"),
        (lambda: cr.set_num_threads(HUGE), ValueError, f"set_num_threads: {HUGE} threads"),
        (lambda: cr.set_num_threads(1.5), TypeError, "set_num_threads: 1.5 is not an integer"),
        (lambda: cr.set_num_threads("two"), TypeError, "set_num_threads: 'two' is not an integer"),
        (lambda: cr.set_num_threads(None), TypeError, "set_num_threads: None is not an integer"),
    ],
    "softmax_cross_entropy": [
        (
            lambda: cr.softmax_cross_entropy(X, [0, 0], label_smoothing=1.1),
            ValueError,
            "softmax_cross_entropy: label_smoothing 1.1 is not in [0, 1]",
        ),
        (
            lambda: cr.softmax_cross_entropy(X, [0, 0], label_smoothing=NAN),
            ValueError,
            "label_smoothing nan is not in",
        ),
        (
            lambda: cr.softmax_cross_entropy(X, [0, 0], label_smoothing="a"),
            TypeError,
            "label_smoothing 'a' is no number",
        ),
    ],
    "square": [
        (lambda: cr.square("a"), TypeError, "x is a str"),
        (lambda: cr.square(None), TypeError, "x is a NoneType"),
    ],
    "stack": [
        (lambda: cr.stack([]), ValueError, "stack: no arrays given"),
        (lambda: cr.stack(3.0), TypeError, "stack: arrays is a float: give a sequence"),
        (lambda: cr.stack([X, np.ones((2, 4))]), ValueError, "stack: shapes [(2, 3), (2, 4)] differ"),
        (lambda: cr.stack([X, X], 3), ValueError, "stack: axis 3 does not exist in an array of 3 dimensions"),
        (lambda: cr.stack([X, X], None), TypeError, "stack: axis None is not an integer"),
    ],
    "tensor": [
        (lambda: cr.tensor("a"), TypeError, "tensor: dtype <U1 is not float32, float64, int64 or bool"),
        (lambda: cr.tensor(None), TypeError, "tensor: dtype object is not float32"),
        (lambda: cr.tensor(1j), TypeError, "tensor: dtype complex128 is not float32"),
        (lambda: cr.tensor(HUGE), TypeError, "tensor: dtype object is not float32"),
        (lambda: cr.tensor(RAGGED), TypeError, "tensor: the data are no regular array"),
        (lambda: cr.tensor(np.ones(2, np.float16)), TypeError, "tensor: dtype float16 is not float32"),
        (lambda: cr.tensor([1.0], dtype="float16"), TypeError, "tensor: dtype float16 is not float32"),
        (lambda: cr.tensor([1.0], dtype="abc"), TypeError, "tensor: dtype 'abc' is not float32"),
        (
            lambda: cr.tensor([1, 2], requires_grad=True),
            TypeError,
            "tensor: whole numbers become int64, which carries no",
        ),
        (
            lambda: cr.tensor([True], requires_grad=True),
            TypeError,
            "tensor: a gradient needs float32 or float64, not bool",
        ),
        (
            lambda: cr.tensor([NAN], dtype=np.int64),
            ValueError,
            "tensor: a value is no int64: it is NaN, infinite or",
        ),
        (lambda: cr.tensor([1e30], dtype=np.int64), ValueError, "tensor: a value is no int64"),
        (lambda: cr.tensor(np.uint64(2**63)), ValueError, "tensor: a value is no int64"),
    ],
    "transpose": [
        (
            lambda: cr.transpose(X, (0,)),
            ValueError,
            "transpose: axes (0,) are no permutation of 2 dimensions",
        ),
        (lambda: cr.transpose(X, (0, 0)), ValueError, "transpose: axis (0, 0) names an axis twice"),
        (
            lambda: cr.transpose(X, (0, 2)),
            ValueError,
            "transpose: axis 2 does not exist in an array of 2 dimensions",
        ),
        (lambda: cr.transpose(X, (HUGE, 0)), ValueError, f"transpose: axis {HUGE} does not exist"),
        (lambda: cr.transpose(X, (0.5, 0)), TypeError, "transpose: axis 0.5 is not an integer"),
        (lambda: cr.transpose(X, "ab"), TypeError, "transpose: axis 'a' is not an integer"),
        (lambda: cr.transpose(X, 5), ValueError, "transpose: axis 5 does not exist"),
    ],
    "var": [
        (
            lambda: cr.var(X, ddof=6),
            ValueError,
            "var: 6 values with ddof=6: there must be more values than ddof",
        ),
        (lambda: cr.var(X, axis=0, ddof=2), ValueError, "var: 2 values with ddof=2"),
    ],
    "where": [
        (
            lambda: cr.where(X, 1.0, 2.0),
            TypeError,
            "where: the condition is an array of float64: give booleans",
        ),
        (lambda: cr.where(None, X, X), TypeError, "where: the condition is an array of object"),
        (
            lambda: cr.where(RAGGED, X, X),
            TypeError,
            "where: the condition is a list of lists of different lengths",
        ),
        (
            lambda: cr.where(X > 0, np.ones(4), X),
            ValueError,
            "where: shapes (4,) and (2, 3) do not broadcast",
        ),
        (
            lambda: cr.where(np.ones(4, bool), X, X),
            ValueError,
            "where: shapes (2, 3) and (4,) do not broadcast",
        ),
    ],
    # Functions of functions.
    "Graph": [(lambda: cr.Graph(X), ValueError, "Graph: no recorded graph leads to this value")],
    "directional_derivative": [
        (lambda: cr.directional_derivative(square_sum, (X,), (np.ones(3),)), ValueError, "shape")
    ],
    "grad": [
        (
            lambda: cr.grad(square_sum)(np.ones(3, int)),
            TypeError,
            "grad: an input is int64, which has no derivative",
        ),
        (lambda: cr.grad(lambda x: x)(X), ValueError, "grad: the function returned (2, 3), not one number"),
        (lambda: cr.grad(lambda x: "a")(X), TypeError, "grad: the function returned"),
        (
            lambda: cr.grad(square_sum, argnums=3)(X),
            IndexError,
            "grad: argnums 3: there are 1 positional arguments",
        ),
    ],
    "hessian": [(lambda: cr.hessian(square_sum)("a"), TypeError, "an input is str, which has no derivative")],
    "hvp": [
        (
            lambda: cr.hvp(square_sum, (X,), (np.ones(3),)),
            ValueError,
            "shape (3,) for a value of shape (2, 3)",
        )
    ],
    "jacobian": [
        (
            lambda: cr.jacobian(square_sum, mode="x")(X),
            ValueError,
            "jacobian: mode 'x' is not 'auto', 'forward'",
        ),
        (lambda: cr.jacobian(square_sum)("a"), TypeError, "jacobian: an input is str"),
    ],
    "jvp": [
        (
            lambda: cr.jvp(square_sum, (X,), (np.ones(3),)),
            ValueError,
            "tangents of shape (3,) for a value of shape (2, 3)",
        ),
        (lambda: cr.jvp(square_sum, X, X), TypeError, "jvp: give the primals and the tangents as tuples"),
    ],
    "linearize": [
        (lambda: cr.linearize(square_sum, X)[1](np.ones(4)), ValueError, "linearize: tangents of shape (4,)")
    ],
    "trace": [
        (
            lambda: cr.trace(square_sum, X, mode="a"),
            ValueError,
            "trace: mode 'a' is not 'forward' or 'reverse'",
        ),
        (
            lambda: cr.trace(square_sum, np.ones(3, int)),
            TypeError,
            "trace: an input is int64: give float32 or float64",
        ),
    ],
    "value_and_grad": [
        (lambda: cr.value_and_grad(lambda x: x)(X), ValueError, "returned (2, 3), not one number")
    ],
    "vjp": [(lambda: cr.vjp(square_sum, X)[1](np.ones(3)), ValueError, "vjp: cotangents of shape (3,)")],
}

# Tested for bad input elsewhere, or with no input that could be bad.
ELSEWHERE = {
    "Gate": "test_graph.py",
    "GradientError": "an exception",
    "Tensor": "below",
    "check_gradients": "test_numerical.py",
    "checkpoint": "test_transforms.py",
    "custom_gradient": "test_transforms.py",
    "data": "tests/python/data",
    "get_conv_algorithm": "no argument",
    "get_num_threads": "no argument",
    "get_rng_state": "no argument",
    "load": "test_serialise.py",
    "models": "tests/python/models",
    "nn": "tests/python/nn",
    "no_grad": "no argument",
    "numerical_gradient": "test_numerical.py",
    "optim": "tests/python/optim",
    "save": "test_serialise.py",
    "set_conv_algorithm": "the tests of convolution",
    "show_config": "no argument",
    "stop_gradient": "takes anything",
}


def test_every_public_name_has_a_row():
    rows = BAD.keys() | ELSEWHERE.keys() | set(ARITHMETIC + COMPARISONS) | OF_ONE_ARRAY.keys()
    missing = {name for name in cr.__all__ if name not in rows and _module(name) in MODULES_OF_THIS_TABLE}
    assert not missing, f"public names without a row of bad input: {sorted(missing)}"


# Convolution, pooling, normalisation and dropout have tables of their own.
_WITH_TABLES_OF_THEIR_OWN = {"convolution", "pool", "normalise", "dropout"}


def _module(name):
    return getattr(getattr(cr, name), "__module__", "").rpartition(".")[2]


MODULES_OF_THIS_TABLE = {_module(name) for name in cr.__all__} - _WITH_TABLES_OF_THEIR_OWN


@pytest.mark.parametrize(
    "call, error, message",
    [pytest.param(*row, id=f"{name}-{i}") for name, rows in BAD.items() for i, row in enumerate(rows)],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


# ---- What is no array of numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", OF_ONE_ARRAY)
def test_what_is_no_array_of_numbers_is_named(name):
    for value, called in NOT_NUMBERS:
        with pytest.raises(TypeError, match=re.escape(f"{name}: x is {called}: {WANTED}")):
            OF_ONE_ARRAY[name](value)


@pytest.mark.parametrize("named", NAMED)
def test_the_argument_that_is_no_array_of_numbers_is_named(named):
    for value, called in NOT_NUMBERS:
        with pytest.raises(TypeError, match=re.escape(f"{named} is {called}: {WANTED}")):
            NAMED[named](value)


@pytest.mark.parametrize("name", [*ELEMENTWISE, "logsumexp", "softmax", "log_softmax"])
def test_integers_have_no_derivative_and_are_refused(name):
    for array in (np.ones(3, np.int64), np.ones(3, np.uint8), np.ones(3, bool)):
        with pytest.raises(TypeError, match=f"{name}: x is an integer array: convert it with .astype"):
            getattr(cr, name)(array)


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_of_two_integer_arrays_is_refused(name):
    with pytest.raises(TypeError, match=f"{name}: x is an integer array: convert it with .astype"):
        getattr(cr, name)(np.ones(3, int), np.ones(3, int))


@pytest.mark.parametrize("name", ARITHMETIC + COMPARISONS)
def test_shapes_that_do_not_broadcast_are_named(name):
    for x, y in [((2, 3), (4, 3)), ((2, 3), (2,)), ((0, 3), (2, 3)), ((3, 1, 2), (2, 4, 2))]:
        message = re.escape(f"{name}: shapes {x} and {y} do not broadcast")
        with pytest.raises(ValueError, match=message):
            getattr(cr, name)(np.ones(x), np.ones(y))
        with pytest.raises(ValueError, match=message):
            getattr(cr, name)(cr.tensor(np.ones(x), requires_grad=True), np.ones(y))


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_of_what_cannot_be_compared(name):
    with pytest.raises(TypeError, match=f"{name}: float64 and <U1 cannot be compared"):
        getattr(cr, name)(X, "a")
    with pytest.raises(TypeError, match=f"{name}: x or y is a list of lists of different lengths"):
        getattr(cr, name)(X, RAGGED)


def test_a_list_of_tensors_is_no_tensor():
    tensors = [cr.tensor(1.0, requires_grad=True)]
    for name in ("sum", "reshape", "matmul", "softmax"):
        arguments = {"reshape": ((1,),), "matmul": (X,)}.get(name, ())
        with pytest.raises(
            TypeError, match=f"{name}: x is a list of Tensors, not a Tensor: join them with stack"
        ):
            getattr(cr, name)(tensors, *arguments)


# ---- Axes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALONG_AXES)
@pytest.mark.parametrize(
    "axis, error, message",
    [
        (2, ValueError, "axis 2 does not exist in an array of 2 dimensions"),
        (-3, ValueError, "axis -3 does not exist in an array of 2 dimensions"),
        (HUGE, ValueError, f"axis {HUGE} does not exist"),
        (-HUGE, ValueError, f"axis -{HUGE} does not exist"),
        ((0, 5), ValueError, "axis 5 does not exist"),
        ((0, 0), ValueError, "axis (0, 0) names an axis twice"),
        ((1, -1), ValueError, "axis (1, -1) names an axis twice"),
        ("a", TypeError, "axis 'a' is not an integer"),
        (0.0, TypeError, "axis 0.0 is not an integer"),
        ((0, None), TypeError, "axis None is not an integer"),
    ],
)
def test_bad_axes(name, axis, error, message):
    for x in (X, cr.tensor(X, requires_grad=True)):
        with pytest.raises(error, match=re.escape(f"{name}: {message}")):
            getattr(cr, name)(x, axis=axis)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_number_has_no_axis_to_be_normalised_along(name):
    with pytest.raises(ValueError, match=f"{name}: axis -1 does not exist in an array of 0 dimensions"):
        getattr(cr, name)(1.0)


# ---- Empty, 0-d and NaN ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max", "mean", "min", "var"])
def test_reductions_over_nothing_that_have_no_value(name):
    for shape, axis in [((0,), None), ((0, 3), 0), ((2, 0), 1), ((0, 3), (0, 1))]:
        with pytest.raises(ValueError, match=re.escape(f"{name}: {shape} has no values along ax")):
            getattr(cr, name)(np.ones(shape), axis=axis)
    assert getattr(cr, name)(np.ones((0, 3)), axis=1).shape == (0,)


def test_reductions_over_nothing_that_have_a_value():
    assert cr.sum(np.ones((0, 3)), axis=0).tolist() == [0, 0, 0]
    assert cr.logsumexp(np.ones((0, 3)), axis=0).tolist() == [-np.inf] * 3
    assert cr.softmax(np.ones((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_empty_0d_and_nan_go_through_elementwise_functions(name):
    f = getattr(cr, name)
    for dtype in (np.float32, np.float64):
        for shape in [(0,), (0, 3), (2, 0)]:
            result = f(np.ones(shape, dtype))
            assert (result.shape, result.dtype) == (shape, dtype)
        assert f(np.ones((), dtype)).shape == ()
        assert np.isnan(f(np.full(5, NAN, dtype))).all()


def test_one_row_and_no_row_go_through_a_classifier():
    weight = cr.tensor(np.ones((3, 4)), requires_grad=True)
    for loss in (cr.softmax_cross_entropy, cr.multiclass_hinge):
        weight.zero_grad()
        total = loss(cr.linear(np.ones((0, 3)), weight), [], reduction="sum")
        total.backward()
        assert total.item() == 0 and not weight.grad.numpy().any()


# ---- Tensor's own methods ----------------------------------------------------------------------------------


def w():
    return cr.tensor([1.0, 2.0], requires_grad=True)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: w().item(), ValueError, "item: a Tensor of shape (2,) has 2 values: index one first"),
        (lambda: float(w()), ValueError, "has 2 values"),
        (lambda: bool(w()), ValueError, "the truth of a Tensor of shape (2,) is not one value"),
        (lambda: len(cr.tensor(1.0)), TypeError, "a 0-d Tensor has no length"),
        (lambda: w().astype("abc"), TypeError, "astype: dtype 'abc' is not float32, float64, int64 or bool"),
        (lambda: w().astype(complex), TypeError, "astype: dtype complex128 is not float32"),
        (lambda: w() @ cr.tensor([1.0]), ValueError, "matmul: (2,) x (1,): inner dimensions 2 and 1 differ"),
        (lambda: w()[5], IndexError, "index: index 5 is out of bounds"),
        (lambda: w().reshape(3), ValueError, "reshape: (2,) does not fit (3,)"),
        (lambda: w().transpose(1), ValueError, "transpose: axis 1 does not exist"),
        (lambda: w() ** "a", TypeError, "power: y is a str"),
        (lambda: "a" + w(), TypeError, "add: x is a str"),
        (lambda: w() + None, TypeError, "add: y is a NoneType"),
        (lambda: w().argmax(3), ValueError, "argmax: axis 3 does not exist in an array of 1 dimensions"),
        (lambda: cr.tensor([]).argmax(), ValueError, "argmax: (0,) has no values along axis None"),
        (lambda: w().__setitem__(0, 1.0), TypeError, "a Tensor's entries are not assigned one by one"),
        (
            lambda: setattr(w(), "data", np.ones(2)),
            TypeError,
            "data: an array of float64 for a Tensor of float32",
        ),
        (lambda: setattr(w(), "data", "a"), TypeError, "data: an array of <U1 for a Tensor of float32"),
        (lambda: w().backward(), ValueError, "backward: a Tensor of shape (2,) is no scalar"),
        (lambda: cr.tensor(1.0).backward(), RuntimeError, "requires a gradient"),
    ],
)
def test_bad_use_of_a_tensor(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_signatures_take_no_unknown_argument():
    for name in cr.__all__:
        function = getattr(cr, name)
        if inspect.isfunction(function) and "kwargs" not in str(inspect.signature(function)):
            with pytest.raises(TypeError):
                function(no_such_argument=1)
