"""The gate table: every gate with sample inputs and an independent reference, for the tests that walk it.

A case is a function of the library, the same function in PyTorch, and inputs drawn from domains where the
function is smooth (gate_cases.py). `GATES` has a row for each gate class, `COMPOSITIONS` one for each public
function that is made of gates; those of images are in gate_table_images.py.
"""

from __future__ import annotations

import gate_table_images
import numpy as np
import torch
from gate_cases import (
    EQUAL_SHAPES,
    UNARY_SHAPES,
    Case,
    away_from_zero,
    binary,
    case,
    distinct,
    distinct_too,
    distribution,
    inside_one,
    normal,
    positive,
    unary,
    with_number,
)

import chainrule as cr
from chainrule.autodiff import custom
from chainrule.gates import (
    arithmetic,
    epilogue,
    functions,
    index,
    losses,
    matmul,
    normalise,
    reduce,
    select,
    shape,
    softmax,
    summation,
)

REDUCTIONS = [
    ((), None, False),
    ((5,), 0, False),
    ((3, 4), None, False),
    ((3, 4), 1, True),
    ((2, 3, 4), 1, False),
    ((2, 3, 4), (0, 2), False),
    ((2, 3, 4), (-1, 0), True),
    ((2, 3, 4), (), False),
    ((2, 3, 2, 3), (0, 1, 3), False),
    ((70, 3), 0, False),
    ((3, 150), -1, False),
]
EMPTY_REDUCTIONS = [((0, 3), 0, False), ((0, 3), None, True), ((2, 0, 3), 1, False), ((2, 0, 3), 2, False)]
EMPTY_BESIDE = [((0, 3), 1, False), ((2, 0, 3), (0, 2), True)]  # nothing is reduced away: the result is empty


def axes_of(x, axis):
    if axis is None:
        return tuple(range(x.ndim))
    return tuple(a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,)))


def reduction(function, reference, domain=normal, samples=REDUCTIONS + EMPTY_REDUCTIONS + EMPTY_BESIDE):
    def make(size, axis, keepdims):
        def expected(x):
            axes = axes_of(x, axis)
            return reference(x, axes, keepdims) if axes else reference(x[..., None], (x.ndim,), False)

        return case(
            f"axis={axis},keepdims={keepdims}",
            lambda x: function(x, axis=axis, keepdims=keepdims),
            expected,
            (domain, size),
        )

    return [make(*sample) for sample in samples]


def along(function, reference):
    """softmax and log_softmax over several axes."""

    def make(size, axis):
        def expected(x):
            axes = axes_of(x, axis)
            return reference(x, axes) if axes else reference(x[..., None], (x.ndim,))[..., 0]

        return case(f"axis={axis}", lambda x: function(x, axis=axis), expected, (normal, size))

    samples = [
        ((5,), -1),
        ((3, 4), 0),
        ((2, 3, 4), 1),
        ((2, 3, 4), (0, 2)),
        ((2, 3, 4), None),
        ((), None),
        ((2, 3), ()),
        ((0, 3), -1),
        ((2, 0), 0),
        ((3, 70), -1),
        ((33, 5), 0),
    ]
    return [make(*sample) for sample in samples]


def torch_log_softmax(x, axes):
    return x - torch.logsumexp(x, axes, keepdim=True)


def hinge(scores, labels, delta, squared):
    """The multiclass hinge loss from its definition."""
    rows = torch.arange(len(labels))
    margins = (scores - scores[rows, labels][:, None] + delta).clamp(min=0)
    own = torch.zeros(scores.shape, dtype=torch.bool)
    own[rows, labels] = True
    margins = torch.where(own, torch.zeros((), dtype=scores.dtype), margins)
    return (margins**2 if squared else margins).sum(1)


REDUCE = {"mean": torch.mean, "sum": torch.sum, "none": lambda losses: losses}
LABELS = np.array([2, 0, 4, 1, 1, 3, 0])


def loss_cases():
    cross_entropy, svm = [], []
    for reduction_name in REDUCE:
        for smoothing in (0.0, 0.1):
            cross_entropy.append(
                case(
                    f"{reduction_name},{smoothing}",
                    lambda x, r=reduction_name, s=smoothing: cr.softmax_cross_entropy(x, LABELS, r, s),
                    lambda x, r=reduction_name, s=smoothing: torch.nn.functional.cross_entropy(
                        x, torch.tensor(LABELS), reduction=r, label_smoothing=s
                    ),
                    (normal, (7, 5)),
                )
            )
        for squared in (False, True):
            svm.append(
                case(
                    f"{reduction_name},squared={squared}",
                    lambda x, r=reduction_name, q=squared: cr.multiclass_hinge(x, LABELS, 0.93, q, r),
                    lambda x, r=reduction_name, q=squared: REDUCE[r](hinge(x, LABELS, 0.93, q)),
                    (normal, (7, 5)),
                )
            )
    empty = np.zeros(0, np.int64)
    for reduction_name in ("sum", "none"):
        cross_entropy.append(
            case(
                f"{reduction_name},no rows",
                lambda x, r=reduction_name: cr.softmax_cross_entropy(x, empty, r),
                lambda x, r=reduction_name: REDUCE[r](x.sum(1)),
                (normal, (0, 5)),
            )
        )
        svm.append(
            case(
                f"{reduction_name},no rows",
                lambda x, r=reduction_name: cr.multiclass_hinge(x, empty, reduction=r),
                lambda x, r=reduction_name: REDUCE[r](x.sum(1)),
                (normal, (0, 5)),
            )
        )
    return cross_entropy, svm


CROSS_ENTROPY, HINGE = loss_cases()


def linear_cases():
    return [
        case(
            f"{'bias' if bias else 'no bias'}{', relu' if relu else ''}",
            cr.linear_relu if relu else cr.linear,
            lambda x, w, b=0, relu=relu: torch.relu(x @ w + b) if relu else x @ w + b,
            (normal, size),
            (normal, (4, outputs)),
            *[(normal, (outputs,))] * bias,
        )
        for size, outputs in [((4,), 3), ((5, 4), 3), ((5, 4), 1), ((2, 3, 4), 3), ((0, 4), 3)]
        for bias in (True, False)
        for relu in (True, False)
    ]


def matmul_cases():
    shapes = [
        ((3, 4), (4, 5)),
        ((4,), (4,)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((3, 4), (2, 4, 5)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 4, 3)),
        ((1, 1), (1, 1)),
        ((0, 4), (4, 5)),
        ((3, 0), (0, 5)),
        ((3, 4), (4, 0)),
        ((0, 3, 4), (4, 5)),
        ((17, 19), (19, 23)),
    ]
    return [case("", cr.matmul, torch.matmul, (normal, a), (normal, b)) for a, b in shapes]


MASK = np.array([[True, False, True], [False, True, True]])


def index_cases():
    everywhere = [
        ((5,), 2),
        ((5,), -1),
        ((4, 3), 1),
        ((4, 3), (1, -1)),
        ((4, 3), (slice(None), 1)),
        ((4, 3), (slice(1, 3), slice(None))),
        ((4, 6), (slice(None, None, 2), slice(4, 1, -1))),
        ((4, 3), (Ellipsis, 0)),
        ((4, 3), (None, slice(None), None)),
        ((4, 3), [0, 2, 0, 0]),
        ((4, 3), np.array([[-1, 0], [3, 0]])),
        ((4, 3), (np.array([0, 1, 1]), np.array([2, 0, 0]))),
        ((4, 3), (slice(None), [0, 0, 2])),
        ((2, 3), MASK),
        ((2, 3, 2), MASK),
        ((2, 3), np.zeros((2, 3), bool)),
        ((4, 3), slice(0, 0)),
        ((4, 3), np.zeros(0, np.int64)),
        ((), ()),
        ((), None),
    ]

    def torch_index(x, where):
        # Torch has no negative steps: its values and gradients are taken through a table of positions.
        positions = np.array(np.arange(x.numel()).reshape(x.shape)[where])
        return x.reshape(-1)[torch.tensor(positions)]

    return [
        case(
            repr(where),
            lambda x, where=where: cr.index(x, where),
            lambda x, where=where: torch_index(x, where),
            (normal, size),
        )
        for size, where in everywhere
    ]


def index_add_cases():
    def make(where, size, values):
        def expected(x):
            positions = torch.tensor(np.asarray(np.arange(int(np.prod(size))).reshape(size)[where]))
            flat = torch.zeros(int(np.prod(size)), dtype=x.dtype)
            return flat.index_put((positions,), x, accumulate=True).reshape(size)

        return case(repr(where), lambda x: index.IndexAdd(where, size)(x), expected, (normal, values))

    return [
        make(slice(1, 3), (5,), (2,)),
        make((slice(None), 1), (3, 4), (3,)),
        make(np.array([0, 2, 0]), (4, 3), (3, 3)),
        make((np.array([1, 1]), np.array([0, 0])), (2, 2), (2,)),
        make(MASK, (2, 3), (4,)),
    ]


INDICES = np.array([[0, 2, 1, 1], [2, 2, 0, 1]])  # (outer, inner) into n = 3


def astype_cases():
    return [
        case(
            f"to {np.dtype(dtype)}",
            lambda x, dtype=dtype: shape.Astype(np.dtype(dtype))(x),
            lambda x, kind=kind: x.to(kind),
            (normal, (2, 3)),
            result_dtype=dtype,
        )
        for dtype, kind in ((np.float32, torch.float32), (np.float64, torch.float64))
    ]


CONDITION = np.array([[True, False, True], [False, False, True]])


@cr.custom_gradient
def _softplus(x):
    e = cr.exp(x)
    return cr.log(1.0 + e), lambda g: g * (1.0 - 1.0 / (1.0 + e))


def _bend(x):
    return cr.tanh(x * x) + x


def _torch_bend(x):
    return torch.tanh(x * x) + x


def _blend(x, y):
    return cr.sin(x * y) * y


def _torch_blend(x, y):
    return torch.sin(x * y) * y


GATES: dict[type, list[Case]] = {
    custom.CustomGradient: [
        case("softplus", _softplus, torch.nn.functional.softplus, (normal, (4,))),
        case("0-d", _softplus, torch.nn.functional.softplus, (normal, ())),
    ],
    custom.Checkpoint: [
        case("one input", cr.checkpoint(_bend), _torch_bend, (normal, (3,))),
        case("two inputs", cr.checkpoint(_blend), _torch_blend, (normal, (2, 3)), (normal, (3,))),
    ],
    arithmetic.Add: binary(cr.add, torch.add) + with_number(cr.add, torch.add, 0.3),
    arithmetic.Subtract: binary(cr.subtract, torch.subtract) + with_number(cr.subtract, torch.subtract, 0.3),
    arithmetic.Multiply: binary(cr.multiply, torch.multiply) + with_number(cr.multiply, torch.multiply, 0.3),
    arithmetic.Divide: binary(cr.divide, torch.divide, right=away_from_zero)
    + with_number(cr.divide, torch.divide, 0.3, away_from_zero),
    arithmetic.Negative: unary(cr.negative, torch.negative),
    arithmetic.Power: binary(cr.power, torch.pow, positive, normal)
    + [
        case(
            f"x**{exponent}",
            lambda x, e=exponent: cr.power(x, e),
            lambda x, e=exponent: torch.pow(x, e),
            (away_from_zero, (2, 3)),
        )
        for exponent in (-2, -1, 0, 1, 2, 3, 2.0)
    ]
    + [
        case(
            f"x**{exponent}",
            lambda x, e=exponent: cr.power(x, e),
            lambda x, e=exponent: torch.pow(x, e),
            (positive, (5,)),
        )
        for exponent in (0.5, -0.5, 2.5)
    ]
    + [
        case(
            "2**x",
            lambda x: cr.power(2.0, x),
            lambda x: torch.pow(torch.tensor(2.0).to(x), x),
            (normal, (5,)),
        ),
        case("same twice", lambda x: cr.power(x, x), lambda x: torch.pow(x, x), (positive, (5,))),
        case(
            "integer array above",
            lambda x: cr.power(x, np.array([2, 3, 0])),
            lambda x: torch.pow(x, torch.tensor([2.0, 3.0, 0.0]).to(x)),
            (positive, (3,)),
        ),
        case(
            "integer array below",
            lambda x: cr.power(np.array([2, 3, 1]), x),
            lambda x: torch.pow(torch.tensor([2.0, 3.0, 1.0]).to(x), x),
            (positive, (3,)),
        ),
    ],
    functions.Exp: unary(cr.exp, torch.exp),
    functions.Log: unary(cr.log, torch.log, positive),
    functions.Sqrt: unary(cr.sqrt, torch.sqrt, positive),
    functions.Abs: unary(cr.abs, torch.abs, away_from_zero),
    # torch.sign(NaN) is 0; here NaN stays.
    functions.Sign: unary(
        cr.sign, lambda x: torch.where(torch.isnan(x), x, torch.sign(x)).detach() + 0 * x, away_from_zero
    ),
    functions.Sin: unary(cr.sin, torch.sin),
    functions.Cos: unary(cr.cos, torch.cos),
    functions.Tanh: unary(cr.tanh, torch.tanh),
    functions.TanhGradient: binary(
        functions.tanh_gradient, lambda g, y: g * (1 - y * y), normal, inside_one, EQUAL_SHAPES
    ),
    functions.Sigmoid: unary(cr.sigmoid, torch.sigmoid),
    functions.SigmoidGradient: binary(
        functions.sigmoid_gradient, lambda g, y: g * y * (1 - y), normal, inside_one, EQUAL_SHAPES
    ),
    functions.Relu: unary(cr.relu, torch.relu, away_from_zero),
    functions.ReluGradient: [
        case(
            "",
            functions.relu_gradient,
            lambda g, y: torch.where(y > 0, g, torch.zeros_like(g)),
            (normal, size),
            (away_from_zero, size),
        )
        for size in UNARY_SHAPES
    ],
    matmul.Matmul: matmul_cases(),
    matmul.Linear: linear_cases(),
    summation.Sum: reduction(cr.sum, lambda x, axes, keepdims: torch.sum(x, axes, keepdim=keepdims)),
    summation.BroadcastTo: [
        case(
            f"to {to}",
            lambda x, to=to: cr.broadcast_to(x, to),
            lambda x, to=to: x.expand(to),
            (normal, size),
        )
        for size, to in [
            ((), (3,)),
            ((), (2, 3)),
            ((4,), (3, 4)),
            ((3, 1), (3, 4)),
            ((1, 1), (2, 3, 4)),
            ((1,), (0,)),
            ((1, 3), (0, 3)),
        ]
    ],
    reduce.Max: reduction(
        cr.max,
        lambda x, axes, keepdims: torch.amax(x, axes, keepdim=keepdims),
        distinct,
        REDUCTIONS + EMPTY_BESIDE,
    ),
    reduce.Min: reduction(
        cr.min,
        lambda x, axes, keepdims: torch.amin(x, axes, keepdim=keepdims),
        distinct,
        REDUCTIONS + EMPTY_BESIDE,
    ),
    reduce.Var: [
        *reduction(
            cr.var,
            lambda x, axes, keepdims: torch.mean(
                (x - x.mean(axes, keepdim=True)) ** 2, axes, keepdim=keepdims
            ),
            samples=REDUCTIONS + EMPTY_BESIDE,
        ),
        case(
            "ddof=1",
            lambda x: cr.var(x, axis=0, ddof=1),
            lambda x: torch.var(x, 0, correction=1),
            (normal, (5, 3)),
        ),
    ],
    reduce.Scatter: [
        case(
            "",
            lambda x: reduce.Scatter(INDICES, (2, 3, 4))(x),
            lambda x: (
                torch.zeros(2, 3, 4, dtype=x.dtype)
                .scatter(1, torch.tensor(INDICES)[:, None], x.reshape(2, 1, 4))
                .reshape(2, 3, 4)
            ),
            (normal, (2, 4)),
        )
    ],
    reduce.Gather: [
        case(
            "",
            lambda x: reduce.Gather(INDICES, (2, 3, 4))(x),
            lambda x: torch.gather(x, 1, torch.tensor(INDICES)[:, None]).reshape(2, 4),
            (normal, (2, 3, 4)),
        )
    ],
    select.Where: [
        case(
            "",
            lambda x, y: cr.where(CONDITION, x, y),
            lambda x, y: torch.where(torch.tensor(CONDITION), x, y),
            (normal, a),
            (normal, b),
        )
        for a, b in [
            ((2, 3), (2, 3)),
            ((3,), (2, 1)),
            ((), (2, 3)),
            ((2, 3), ()),
            ((), ()),
            ((4, 2, 3), (3,)),
        ]
    ]
    + [
        case(
            "0-d condition",
            lambda x, y: cr.where(np.array(True), x, y),
            lambda x, y: torch.where(torch.tensor(True), x, y),
            (normal, ()),
            (normal, ()),
        ),
        case(
            "nothing",
            lambda x, y: cr.where(np.zeros((0, 3), bool), x, y),
            lambda x, y: torch.where(torch.zeros(0, 3, dtype=torch.bool), x, y),
            (normal, (0, 3)),
            (normal, (3,)),
        ),
        case(
            "number",
            lambda x: cr.where(CONDITION, x, 0.5),
            lambda x: torch.where(torch.tensor(CONDITION), x, torch.tensor(0.5, dtype=x.dtype)),
            (normal, (2, 3)),
        ),
    ],
    select.Maximum: binary(cr.maximum, torch.maximum, distinct, distinct_too)
    + with_number(cr.maximum, lambda x, y: torch.maximum(*_tensors(x, y)), 0.03, distinct),
    select.Minimum: binary(cr.minimum, torch.minimum, distinct, distinct_too)
    + with_number(cr.minimum, lambda x, y: torch.minimum(*_tensors(x, y)), 0.03, distinct),
    shape.Reshape: [
        case(
            f"to {to}",
            lambda x, to=to: cr.reshape(x, to),
            lambda x, to=to: x.reshape(to),
            (normal, size),
        )
        for size, to in [
            ((6,), (2, 3)),
            ((2, 3), 6),
            ((2, 3, 4), (4, -1)),
            ((1,), ()),
            ((), (1, 1)),
            ((0, 3), (3, 0)),
            ((2, 3), (2, 3)),
        ]
    ],
    shape.Transpose: [
        case(
            f"{axes}",
            lambda x, axes=axes: cr.transpose(x, axes),
            lambda x, axes=axes: x.permute(axes or tuple(range(x.ndim))[::-1]),
            (normal, size),
        )
        for size, axes in [
            ((), None),
            ((3,), None),
            ((2, 3), None),
            ((2, 3, 4), (2, 0, 1)),
            ((2, 3, 4), (-1, 0, -2)),
            ((2, 0, 3), (1, 2, 0)),
        ]
    ],
    shape.Astype: astype_cases(),
    shape.Concatenate: [
        case(
            f"axis={axis}",
            lambda *xs, axis=axis: cr.concatenate(xs, axis),
            lambda *xs, axis=axis: torch.cat(xs, axis),
            *((normal, size) for size in sizes),
        )
        for sizes, axis in [
            (((3,), (2,)), 0),
            (((2, 3), (2, 1), (2, 4)), 1),
            (((2, 3), (1, 3)), -2),
            (((0, 3), (2, 3)), 0),
            (((2, 3),), 0),
            (((2, 2, 2), (2, 2, 1)), -1),
        ]
    ],
    shape.Pad: [
        case(
            f"{widths}",
            lambda x, widths=widths: cr.pad(x, widths, 0.5),
            lambda x, torch_widths=torch_widths: torch.nn.functional.pad(x, torch_widths, value=0.5),
            (normal, size),
        )
        for size, widths, torch_widths in [
            ((3,), ((1, 2),), (1, 2)),
            ((2, 3), ((1, 0), (0, 2)), (0, 2, 1, 0)),
            ((2, 3), 1, (1, 1, 1, 1)),
            ((2, 3), 0, (0, 0, 0, 0)),
            ((0, 3), ((1, 1), (0, 0)), (0, 0, 1, 1)),
        ]
    ],
    index.Index: index_cases(),
    index.IndexAdd: index_add_cases(),
    softmax.Softmax: along(cr.softmax, lambda x, axes: torch.exp(torch_log_softmax(x, axes))),
    softmax.LogSoftmax: along(cr.log_softmax, torch_log_softmax),
    softmax.Logsumexp: reduction(
        cr.logsumexp,
        lambda x, axes, keepdims: torch.logsumexp(x, axes, keepdim=keepdims),
        samples=REDUCTIONS + EMPTY_BESIDE,
    ),
    losses.SoftmaxCrossEntropy: CROSS_ENTROPY,
    losses.MulticlassHinge: HINGE,
    losses.ElasticNet: [
        case(
            f"{l1},{l2}",
            lambda w, l1=l1, l2=l2: losses.ElasticNet(l1, l2)(w),
            lambda w, l1=l1, l2=l2: l1 * w.abs().sum() + l2 * (w * w).sum(),
            (away_from_zero, size),
        )
        for l1, l2 in [(0.5, 0.0), (0.0, 0.3), (0.5, 0.3)]
        for size in [(), (7,), (3, 4)]
    ],
    **gate_table_images.GATES,
}

# What gates share; never applied itself.
ABSTRACT = {epilogue.WithEpilogue, losses.RowLoss, normalise.Normalise, normalise.NormaliseChannels}


def _tensors(x, y):
    like = x if isinstance(x, torch.Tensor) else y
    return tuple(v if isinstance(v, torch.Tensor) else torch.tensor(v, dtype=like.dtype) for v in (x, y))


def _xlogy(p, q):
    return torch.special.xlogy(p, q)


COMPOSITIONS: dict[str, list[Case]] = {
    "mean": reduction(
        cr.mean,
        lambda x, axes, keepdims: torch.mean(x, axes, keepdim=keepdims),
        samples=REDUCTIONS + EMPTY_BESIDE,
    ),
    "square": unary(cr.square, torch.square, away_from_zero),
    "clip": [
        case(
            f"{low},{high}",
            lambda x, low=low, high=high: cr.clip(x, low, high),
            lambda x, low=low, high=high: torch.clamp(x, low, high),
            (distinct, (5, 7)),
        )
        for low, high in [(-0.53, 0.72), (None, 0.22), (0.12, None), (0.22, 0.22)]
    ],
    "stack": [
        case(
            f"axis={axis}",
            lambda *xs, axis=axis: cr.stack(xs, axis),
            lambda *xs, axis=axis: torch.stack(xs, axis),
            (normal, size),
            (normal, size),
        )
        for size, axis in [((3,), 0), ((3,), 1), ((2, 3), -1), ((), 0), ((0, 2), 1)]
    ],
    "append_ones": [
        case(
            "",
            cr.append_ones,
            lambda x: torch.cat([x, torch.ones((*x.shape[:-1], 1), dtype=x.dtype)], -1),
            (normal, size),
        )
        for size in [(3,), (2, 3), (2, 3, 4), (0, 3)]
    ],
    "fold_bias": [
        case(
            "",
            cr.fold_bias,
            lambda w, b: torch.cat([w, b[None]]),
            (normal, (3, 4)),
            (normal, (4,)),
        )
    ],
    "linear": [c for c in linear_cases() if "relu" not in c.label],
    "linear_relu": [c for c in linear_cases() if "relu" in c.label],
    "entropy": [
        case("", cr.entropy, lambda p: -_xlogy(p, p).sum(-1), (distribution, size), nan=False)
        for size in [(4,), (3, 4), (0, 4)]
    ],
    "cross_entropy": [
        case(
            "",
            cr.cross_entropy,
            lambda p, q: -_xlogy(p, q).sum(-1),
            (distribution, a),
            (distribution, b),
            nan=False,
        )
        for a, b in [((4,), (4,)), ((3, 4), (3, 4)), ((3, 4), (4,))]
    ],
    "kl_divergence": [
        case(
            "",
            cr.kl_divergence,
            lambda p, q: (_xlogy(p, p) - _xlogy(p, q)).sum(-1),
            (distribution, a),
            (distribution, b),
            nan=False,
        )
        for a, b in [((4,), (4,)), ((3, 4), (3, 4)), ((3, 4), (4,))]
    ],
    "mean_squared_error": [
        case(
            reduction_name,
            lambda x, y, r=reduction_name: cr.mean_squared_error(x, y, r),
            lambda x, y, r=reduction_name: torch.nn.functional.mse_loss(x, y, reduction=r),
            (normal, size),
            (normal, size),
        )
        for reduction_name in REDUCE
        for size in [(), (4,), (3, 4)]
    ],
    "elastic_net": [
        case(
            f"{l1},{l2}",
            lambda *ws, l1=l1, l2=l2: cr.elastic_net(ws, l1, l2),
            lambda *ws, l1=l1, l2=l2: sum(l1 * w.abs().sum() + l2 * (w * w).sum() for w in ws),
            (away_from_zero, (3, 4)),
            (away_from_zero, (4,)),
        )
        for l1, l2 in [(0.5, 0.0), (0.0, 0.3), (0.5, 0.3)]
    ],
    **gate_table_images.COMPOSITIONS,
}

# Public functions whose gate has another name, or that have no gradient and their own tests.
COMPARISONS = {
    name: getattr(np, name)
    for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
}


def gate_subclasses(base=cr.Gate):
    """Every gate class that the library defines, however deep."""
    for cls in base.__subclasses__():
        if cls.__module__.startswith("chainrule."):
            yield cls
        yield from gate_subclasses(cls)


def all_cases():
    for gate, cases in GATES.items():
        yield from ((gate.__name__, c) for c in cases)
    for name, cases in COMPOSITIONS.items():
        yield from ((name, c) for c in cases)
