"""chainrule: a deep-learning engine for CPUs. `import chainrule as cr`.

Functions of Tensors give Tensors and record a graph; functions of NumPy arrays give NumPy arrays.
"""

__version__ = "0.1.0"

from chainrule import openmp  # noqa: F401, I001  (before anything that loads the extension)
from chainrule import data, models, nn, optim
from chainrule.autodiff.box import no_grad
from chainrule.autodiff.custom import checkpoint, custom_gradient
from chainrule.autodiff.evaluation_trace import trace
from chainrule.autodiff.gate import Gate
from chainrule.autodiff.graph import Graph
from chainrule.autodiff.jacobian import hessian, jacobian
from chainrule.autodiff.numerical import GradientError, check_gradients, numerical_gradient
from chainrule.autodiff.transforms import (
    directional_derivative,
    grad,
    hvp,
    jvp,
    linearize,
    stop_gradient,
    value_and_grad,
    vjp,
)
from chainrule.gates.activations import elu, gelu, leaky_relu, silu, softplus
from chainrule.gates.arithmetic import (
    add,
    divide,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    multiply,
    negative,
    not_equal,
    power,
    square,
    subtract,
)
from chainrule.gates.bias_trick import append_ones, fold_bias
from chainrule.gates.convolution import conv2d, conv2d_relu, conv_transpose2d
from chainrule.gates.dropout import dropout
from chainrule.gates.functions import abs, cos, exp, log, relu, sigmoid, sign, sin, sqrt, tanh
from chainrule.gates.index import index
from chainrule.gates.information import cross_entropy, entropy, kl_divergence
from chainrule.gates.losses import (
    elastic_net,
    mean_squared_error,
    multiclass_hinge,
    softmax_cross_entropy,
)
from chainrule.gates.matmul import linear, linear_relu, matmul
from chainrule.gates.normalise import batch_norm, layer_norm
from chainrule.gates.pool import average_pool2d, global_average_pool2d, global_max_pool2d, max_pool2d
from chainrule.gates.reduce import max, mean, min, var
from chainrule.gates.select import clip, maximum, minimum, where
from chainrule.gates.shape import concatenate, pad, reshape, stack, transpose
from chainrule.gates.softmax import log_softmax, logsumexp, softmax
from chainrule.gates.summation import broadcast_to, sum
from chainrule.nn.functional_call import functional_call
from chainrule.precision import autocast
from chainrule.random import get_rng_state, manual_seed, set_rng_state
from chainrule.runtime import (
    get_conv_algorithm,
    get_num_threads,
    set_conv_algorithm,
    set_num_threads,
    show_config,
)
from chainrule.serialise import load, save
from chainrule.tensor import Tensor, tensor

__all__ = [
    "Gate",
    "GradientError",
    "Graph",
    "Tensor",
    "abs",
    "add",
    "append_ones",
    "autocast",
    "average_pool2d",
    "batch_norm",
    "broadcast_to",
    "check_gradients",
    "checkpoint",
    "clip",
    "concatenate",
    "conv2d",
    "conv2d_relu",
    "conv_transpose2d",
    "cos",
    "cross_entropy",
    "custom_gradient",
    "data",
    "directional_derivative",
    "divide",
    "dropout",
    "elastic_net",
    "elu",
    "entropy",
    "equal",
    "exp",
    "fold_bias",
    "functional_call",
    "gelu",
    "get_conv_algorithm",
    "get_num_threads",
    "get_rng_state",
    "global_average_pool2d",
    "global_max_pool2d",
    "grad",
    "greater",
    "greater_equal",
    "hessian",
    "hvp",
    "index",
    "jacobian",
    "jvp",
    "kl_divergence",
    "layer_norm",
    "leaky_relu",
    "less",
    "less_equal",
    "linear",
    "linear_relu",
    "linearize",
    "load",
    "log",
    "log_softmax",
    "logsumexp",
    "manual_seed",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "mean_squared_error",
    "min",
    "minimum",
    "models",
    "multiclass_hinge",
    "multiply",
    "negative",
    "nn",
    "no_grad",
    "not_equal",
    "numerical_gradient",
    "optim",
    "pad",
    "power",
    "relu",
    "reshape",
    "save",
    "set_conv_algorithm",
    "set_num_threads",
    "set_rng_state",
    "show_config",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "sqrt",
    "square",
    "stack",
    "stop_gradient",
    "subtract",
    "sum",
    "tanh",
    "tensor",
    "trace",
    "transpose",
    "value_and_grad",
    "var",
    "vjp",
    "where",
]
