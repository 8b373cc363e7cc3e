"""Rows of the gate table for convolution, pooling, normalisation, dropout and activations."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch_images as reference
from gate_cases import EQUAL_SHAPES, away_from_zero, binary, case, distinct, normal, unary
from torch.nn import functional
from torch_images import NO_PADDING

import chainrule as cr
from chainrule.gates import activations, convolution, convolution_pool, dropout, normalise, pool

# ---- Convolution --------------------------------------------------------------------------------------------

# The label, sizes of x and of the weights, and settings; small, for the tests that go to second order.
CONVOLUTIONS = [
    ("plain", (2, 4, 3, 2), (2, 2, 2, 3), {}),
    ("stride", (1, 5, 4, 1), (2, 3, 1, 2), {"stride": (2, 1)}),
    ("stride over kernel", (1, 5, 7, 1), (2, 1, 1, 2), {"stride": 3}),
    ("asymmetric padding", (1, 3, 3, 2), (2, 2, 2, 2), {"padding": ((0, 1), (2, 0))}),
    ("dilation", (1, 5, 4, 1), (3, 2, 1, 2), {"dilation": (2, 3)}),
    ("all of these", (1, 4, 5, 1), (2, 3, 1, 2), {"stride": 2, "padding": ((1, 2), (2, 2)), "dilation": 2}),
    ("groups", (1, 3, 3, 4), (2, 2, 2, 6), {"groups": 2}),
    ("depthwise", (1, 4, 3, 3), (3, 2, 1, 3), {"groups": 3}),
    ("depthwise, two filters each", (1, 3, 3, 3), (2, 2, 1, 6), {"groups": 3}),
    ("1x1", (2, 2, 3, 3), (1, 1, 3, 4), {}),
    ("kernel over the image", (2, 3, 2, 2), (3, 2, 2, 3), {}),
    ("3x3", (1, 4, 5, 2), (3, 3, 2, 2), {"padding": ((1, 1), (1, 1))}),
    ("5x5", (1, 3, 5, 1), (5, 5, 1, 2), {"padding": ((2, 2), (2, 2))}),
    ("no images", (0, 4, 4, 2), (3, 3, 2, 3), {}),
    ("no channels", (1, 3, 3, 0), (2, 2, 0, 2), {}),
    ("no filters", (1, 3, 3, 2), (2, 2, 2, 0), {}),
]  # fmt: skip


def window(settings):
    """The settings as the gates take them."""

    def pair(value):
        return value if isinstance(value, tuple) else (value, value)

    (top, bottom), (left, right) = settings.get("padding", NO_PADDING)
    stride, dilation = pair(settings.get("stride", 1)), pair(settings.get("dilation", 1))
    return (*stride, top, bottom, left, right, *dilation, settings.get("groups", 1))


def output_shape(x, w, settings):
    stride_height, stride_width, top, bottom, left, right, *dilation, _ = window(settings)
    height = (x[1] + top + bottom - (w[0] - 1) * dilation[0] - 1) // stride_height + 1
    width = (x[2] + left + right - (w[1] - 1) * dilation[1] - 1) // stride_width + 1
    return x[0], height, width, w[3]


def torch_convolution(x, w, bias=None, **settings):
    """PyTorch has no convolution without channels or filters: zeros that depend on the inputs stand in."""
    if x.numel() and w.numel():
        return reference.conv2d(x, w, bias, **settings)
    shape = output_shape(x.shape, w.shape, settings)
    return torch.zeros(shape, dtype=x.dtype) + x.sum() * w.sum() + (0 if bias is None else bias)


def convolution_cases():
    forward, input_gradient, weight_gradient = [], [], []
    for label, x, w, settings in CONVOLUTIONS:
        y = output_shape(x, w, settings)
        forward.append(
            case(
                label,
                lambda x, w, s=settings: cr.conv2d(x, w, **s),
                lambda x, w, s=settings: torch_convolution(x, w, **s),
                (normal, x),
                (normal, w),
            )
        )
        if 0 in x + w:
            continue
        input_gradient.append(
            case(
                label,
                lambda g, w, s=settings, size=x[1:3]: convolution.Conv2dInputGradient(size, window(s))(g, w),
                lambda g, w, s=settings, size=x[1:3]: reference.conv2d_input_gradient(g, w, size, **s),
                (normal, y),
                (normal, w),
                nan=False,  # a weight that is NaN meets the zeros around the gradient too
            )
        )
        weight_gradient.append(
            case(
                label,
                lambda x, g, s=settings, size=w[:2]: convolution.Conv2dWeightGradient(size, window(s))(x, g),
                lambda x, g, s=settings, size=w[:2]: reference.conv2d_weight_gradient(x, g, size, **s),
                (normal, x),
                (normal, y),
            )
        )
    return forward, input_gradient, weight_gradient


def bias_cases(function, reference_of, domain=normal):
    samples = [
        ("bias", (1, 3, 3, 2), (2, 2, 2, 2), {}),
        ("bias, stride, padding", (1, 3, 4, 1), (2, 3, 1, 3), {"stride": 2, "padding": ((1, 0), (0, 1))}),
        ("bias, groups", (1, 2, 3, 2), (2, 2, 1, 2), {"groups": 2}),
        ("bias, 1x1", (1, 2, 3, 2), (1, 1, 2, 3), {}),
        ("bias, a stride past the kernel", (1, 4, 4, 1), (1, 1, 1, 2), {"stride": 3}),
    ]
    return [
        case(
            label,
            lambda x, w, b, s=settings: function(x, w, b, **s),
            lambda x, w, b, s=settings: reference_of(x, w, b, **s),
            (domain, x),
            (domain, w),
            (domain, w[3:]),
        )
        for label, x, w, settings in samples
    ]


def convolution_pool_cases():
    samples = [
        ("pooled", (2, 5, 4, 2), (2, 1, 2, 3), {}, (2, 2, 2, 2, 0, 0, 0), False),
        ("pooled, overlap", (1, 5, 5, 1), (1, 1, 1, 2), {}, (3, 3, 2, 2, 1, 1, 0), False),
        (
            "relu, pooled",
            (1, 4, 4, 2),
            (3, 3, 2, 2),
            {"padding": ((1, 1), (1, 1))},
            (2, 2, 2, 2, 0, 0, 0),
            True,
        ),
    ]
    cases = []
    for label, x, w, settings, (*sizes, _), relu in samples:

        def gate(x, w, b, settings=settings, sizes=sizes, relu=relu):
            return convolution_pool.Conv2dMaxPool2d(window(settings), (*sizes, 0), relu)(x, w, b)

        def peer(x, w, b, settings=settings, sizes=sizes, relu=relu):
            y = reference.conv2d(x, w, b, **settings)
            y = functional.relu(y) if relu else y
            return reference.max_pool2d(y, sizes[:2], sizes[2:4], sizes[4:])

        cases.append(case(label, gate, peer, (normal, x), (normal, w), (normal, w[3:])))
    return cases


def off_the_kink(cases, before):
    """The cases, whose outputs before relu, given by `before`, all lie away from 0 and on both sides of it."""
    for c in cases:
        values = before(c)
        assert np.abs(values).min() > 0.01 and values.min() < 0 < values.max(), c.label
    return cases


def fused_convolution_cases():
    plain = bias_cases(cr.conv2d, reference.conv2d)
    fused = bias_cases(cr.conv2d_relu, lambda x, w, b, **s: torch.relu(reference.conv2d(x, w, b, **s)))
    before = {c.label: c.reference(*[torch.tensor(v) for v in c.values()]).numpy() for c in plain}
    return off_the_kink(fused, lambda c: before[c.label])


CONV2D, INPUT_GRADIENT, WEIGHT_GRADIENT = convolution_cases()

# The label, sizes of x and of the weights, and settings.
TRANSPOSED = [
    ("plain", (1, 2, 3, 2), (2, 2, 3, 2), {}),
    ("stride", (1, 2, 3, 1), (2, 3, 2, 1), {"stride": (2, 3)}),
    ("stride over kernel", (1, 2, 2, 2), (1, 2, 2, 2), {"stride": 3}),
    ("padding", (1, 3, 3, 1), (3, 2, 2, 1), {"stride": 2, "padding": 1}),
    ("output padding", (1, 2, 3, 1), (3, 3, 2, 1), {"stride": 2, "padding": 1, "output_padding": 1}),
    ("output padding of a stride and more", (1, 2, 2, 1), (2, 2, 2, 1), {"dilation": 3, "output_padding": (2, 1)}),
    ("dilation", (1, 3, 2, 1), (2, 3, 2, 1), {"dilation": 2}),
    ("groups", (1, 2, 2, 4), (2, 2, 3, 4), {"groups": 2}),
    ("no images", (0, 2, 2, 2), (2, 2, 3, 2), {}),
]  # fmt: skip


def transposed_cases():
    rows = [
        case(
            label,
            lambda x, w, s=settings: cr.conv_transpose2d(x, w, **s),
            lambda x, w, s=settings: reference.conv_transpose2d(x, w, **s),
            (normal, x),
            (normal, w),
            nan=False,
        )
        for label, x, w, settings in TRANSPOSED
    ]
    rows += [
        case(
            f"bias, {label}",
            lambda x, w, b, s=settings: cr.conv_transpose2d(x, w, b, **s),
            lambda x, w, b, s=settings: reference.conv_transpose2d(x, w, b, **s),
            (normal, x),
            (normal, w),
            (normal, (w[2] * settings.get("groups", 1),)),
            nan=False,
        )
        for label, x, w, settings in TRANSPOSED
        if label in ("plain", "stride over kernel", "output padding", "groups")
    ]
    return rows


# ---- Pooling ------------------------------------------------------------------------------------------------

# The label, the size of x, and settings.
WINDOWS = [
    ("plain", (2, 4, 6, 3), {"size": 2}),
    ("overlap", (1, 5, 5, 2), {"size": 3, "stride": 2}),
    ("stride over size", (1, 7, 5, 2), {"size": 2, "stride": 3}),
    ("padding", (1, 4, 3, 2), {"size": (3, 2), "stride": 1, "padding": (1, 1)}),
    ("one pixel", (1, 3, 2, 2), {"size": 1}),
    ("the whole image", (2, 3, 4, 2), {"size": (3, 4)}),
    ("a window of 17 x 17", (1, 17, 18, 1), {"size": 17, "stride": 1}),
    ("many channels", (1, 2, 4, 19), {"size": 2}),
    ("no images", (0, 4, 4, 2), {"size": 2}),
]
CEIL = [
    ("ceil", (1, 5, 4, 2), {"size": 2, "ceil_mode": True}),
    ("ceil, padding", (1, 4, 6, 1), {"size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
]


def pool_window(size, stride=None, padding=0, ceil_mode=False):
    def pair(value):
        return value if isinstance(value, tuple) else (value, value)

    return (*pair(size), *pair(size if stride is None else stride), *pair(padding), int(ceil_mode))


def max_pool_cases():
    forward, scatter, gather = [], [], []
    for label, shape, settings in WINDOWS + CEIL:
        forward.append(
            case(
                label,
                lambda x, s=settings: cr.max_pool2d(x, **s),
                lambda x, s=settings: reference.max_pool2d(x, **s),
                (distinct, shape),
            )
        )
        # What won is fixed by one image; the gates then move values between its pixels and the windows.
        image = distinct(np.random.default_rng(3), shape)
        gate = pool.MaxPool2d(pool_window(**settings))
        y = gate(image)
        indices = gate.kept[0]
        places = reference.max_positions(image, **settings)

        def put(g, places=places, shape=shape):
            flat = torch.zeros(math.prod(shape), dtype=g.dtype)
            return flat.index_add(0, places.reshape(-1), g.reshape(-1)).reshape(shape)

        scatter.append(
            case(
                label,
                lambda g, at=indices, shape=shape, s=settings: pool.MaxPool2dScatter(
                    at, shape, pool_window(**s)
                )(g),
                put,
                (normal, y.shape),
            )
        )
        gather.append(
            case(
                label,
                lambda x, at=indices, shape=shape, s=settings: pool.MaxPool2dGather(
                    at, shape, pool_window(**s)
                )(x),
                lambda x, places=places: x.reshape(-1)[places],
                (normal, shape),
            )
        )
    return forward, scatter, gather


def average_pool_cases():
    forward, adjoint = [], []
    for label, shape, given in WINDOWS:
        for counted in (True, False) if "padding" in given else (True,):
            settings = {**given, "count_include_pad": counted}
            flags = (*pool_window(**given)[:-1], int(counted))
            name = f"{label}, count_include_pad={counted}"
            forward.append(
                case(
                    name,
                    lambda x, s=settings: cr.average_pool2d(x, **s),
                    lambda x, s=settings: reference.average_pool2d(x, **s),
                    (normal, shape),
                )
            )
            y = cr.average_pool2d(np.zeros(shape), **settings).shape
            if 0 in y:
                continue
            adjoint.append(
                case(
                    name,
                    lambda g, shape=shape, flags=flags: pool.AveragePool2dAdjoint(shape, flags)(g),
                    lambda g, shape=shape, s=settings: reference.average_pool2d_adjoint(g, shape, **s),
                    (normal, y),
                )
            )
    return forward, adjoint


MAX_POOL, MAX_SCATTER, MAX_GATHER = max_pool_cases()
AVERAGE_POOL, AVERAGE_ADJOINT = average_pool_cases()

IMAGES = [(2, 3, 4, 3), (1, 1, 1, 2), (0, 2, 2, 3), (2, 5, 3, 17)]

# ---- Normalisation and dropout ------------------------------------------------------------------------------


def scale(rng, size):
    """Weights of a normalisation: some negative, none near 0."""
    return rng.uniform(0.5, 1.5, size) * np.where(np.arange(math.prod(size)).reshape(size) % 3 == 1, -1, 1)


def batch_norm_cases():
    return [
        case(
            f"epsilon={epsilon}",
            lambda x, w, b, e=epsilon: cr.batch_norm(x, w, b, epsilon=e),
            lambda x, w, b, e=epsilon: reference.batch_norm(x, w, b, e),
            (normal, shape),
            (scale, shape[-1:]),
            (normal, shape[-1:]),
        )
        for shape, epsilon in [
            ((2, 2, 3, 2), 1e-5),
            ((3, 2), 0.1),
            ((4, 1, 1, 1), 1e-3),
            ((2, 5, 3), 1e-5),
            ((2, 3, 3, 17), 1e-5),
        ]
    ] + [
        case(
            "no weight or bias",
            lambda x: cr.batch_norm(x),
            lambda x: reference.batch_norm(x, 1.0, 0.0),
            (normal, (3, 2, 2, 2)),
        )
    ]


def fused_batch_norm_cases():
    def make(shape, activation="relu"):
        return case(
            activation,
            lambda x, w, b: cr.batch_norm(x, w, b, activation=activation),
            lambda x, w, b: getattr(functional, activation)(reference.batch_norm(x, w, b)),
            (normal, shape),
            (scale, shape[-1:]),
            (normal, shape[-1:]),
        )

    def before(c):
        return reference.batch_norm(*[torch.tensor(v) for v in c.values()]).numpy()

    return [
        *off_the_kink([make((2, 2, 2, 2)), make((5, 3))], before),
        make((2, 2, 2, 2), "gelu"),
        make((5, 3), "gelu"),
    ]


def standardise_cases():
    def make(activation, shape=(2, 2, 3, 3)):
        mean, variance = np.array([0.3, -0.2, 1.0]), np.array([0.5, 2.0, 1.5])

        def expected(x, w, b):
            y = (x - torch.tensor(mean).to(x.dtype)) / torch.sqrt(torch.tensor(variance + 1e-5).to(x.dtype))
            return (getattr(functional, activation) if activation else lambda v: v)(y * w + b)

        return case(
            f"activation={activation}",
            lambda x, w, b: cr.batch_norm(x, w, b, mean, variance, training=False, activation=activation),
            expected,
            (normal, shape),
            (scale, shape[-1:]),
            (normal, shape[-1:]),
        )

    def before(c):
        return make(None).reference(*[torch.tensor(v) for v in c.values()]).numpy()

    return [make(None), *off_the_kink([make("relu")], before), make("gelu")]


def layer_norm_cases():
    return [
        case(
            f"dimensions={dimensions}",
            lambda x, w, b, d=dimensions: cr.layer_norm(x, w, b, d),
            lambda x, w, b: functional.layer_norm(x, w.shape, w, b),
            (normal, shape),
            (scale, shape[-dimensions:]),
            (normal, shape[-dimensions:]),
        )
        for shape, dimensions in [
            ((3, 4), 1),
            ((5,), 1),
            ((2, 2, 3), 2),
            ((2, 2, 2, 2), 3),
            ((0, 3), 1),
            ((4, 37), 1),
        ]
    ] + [
        case(
            "no weight or bias",
            lambda x: cr.layer_norm(x, epsilon=0.01),
            lambda x: functional.layer_norm(x, x.shape[-1:], eps=0.01),
            (normal, (3, 5)),
        )
    ]


KEY = 20240607


def dropout_cases():
    def expected(x, p):
        # The mask is what the kernel gives for ones.
        kept = torch.tensor(cr.dropout(np.ones(x.shape), p, key=KEY) != 0)
        return torch.where(kept, x / (1 - p) if p < 1 else x, torch.zeros((), dtype=x.dtype))

    return [
        case(
            f"p={p}",
            lambda x, p=p: dropout.Dropout(p, KEY)(x),
            lambda x, p=p: expected(x, p),
            (normal, shape),
        )
        for p in (0.25, 0.5, 1.0)
        for shape in [(), (7,), (3, 5), (2, 3, 4, 5), (0, 3)]
    ]


# ---- Activations --------------------------------------------------------------------------------------------


def torch_silu_gradient(g, x):
    s = torch.sigmoid(x)
    return g * s * (1 + x * (1 - s))


def torch_gelu_gradient(g, x):
    density = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return g * ((1 + torch.erf(x / math.sqrt(2))) / 2 + x * density)


GATES = {
    convolution.Conv2d: CONV2D + bias_cases(cr.conv2d, reference.conv2d),
    convolution.Conv2dInputGradient: INPUT_GRADIENT,
    convolution.Conv2dWeightGradient: WEIGHT_GRADIENT,
    convolution_pool.Conv2dMaxPool2d: convolution_pool_cases(),
    pool.MaxPool2d: MAX_POOL,
    pool.MaxPool2dScatter: MAX_SCATTER,
    pool.MaxPool2dGather: MAX_GATHER,
    pool.AveragePool2d: AVERAGE_POOL,
    pool.AveragePool2dAdjoint: AVERAGE_ADJOINT,
    normalise.BatchNorm: batch_norm_cases() + fused_batch_norm_cases(),
    normalise.Standardise: standardise_cases(),
    normalise.LayerNorm: layer_norm_cases(),
    dropout.Dropout: dropout_cases(),
    activations.LeakyRelu: unary(cr.leaky_relu, functional.leaky_relu, away_from_zero)
    + unary(lambda x: cr.leaky_relu(x, -0.3), lambda x: functional.leaky_relu(x, -0.3), away_from_zero),
    activations.Elu: unary(cr.elu, functional.elu, away_from_zero)
    + unary(lambda x: cr.elu(x, 0.7), lambda x: functional.elu(x, 0.7), away_from_zero),
    activations.Softplus: unary(cr.softplus, lambda x: torch.logaddexp(x, torch.zeros_like(x))),
    activations.Silu: unary(cr.silu, functional.silu),
    activations.SiluGradient: binary(
        lambda g, x: activations.SiluGradient()(g, x), torch_silu_gradient, pairs=EQUAL_SHAPES
    ),
    activations.Gelu: unary(cr.gelu, functional.gelu),
    activations.GeluGradient: binary(
        lambda g, x: activations.GeluGradient()(g, x), torch_gelu_gradient, pairs=EQUAL_SHAPES
    ),
}

COMPOSITIONS = {
    "conv2d_relu": fused_convolution_cases(),
    "conv_transpose2d": transposed_cases(),
    "global_average_pool2d": [
        case("", cr.global_average_pool2d, lambda x: x.mean((1, 2)), (normal, shape)) for shape in IMAGES
    ],
    "global_max_pool2d": [
        case("", cr.global_max_pool2d, lambda x: x.amax((1, 2)), (distinct, shape)) for shape in IMAGES
    ],
}
