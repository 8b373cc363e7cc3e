"""Tensor: a value and its place in a graph, with operators and NumPy-like methods."""

from __future__ import annotations

import numpy as np

from chainrule.autodiff.box import Box, unbox, use_result_type
from chainrule.autodiff.change import announce, handed_out
from chainrule.autodiff.reverse import backward, send_to_leaf
from chainrule.gates import arithmetic, functions, reduce, shape, summation
from chainrule.gates.arithmetic import Add, Divide, Multiply, Negative, Power, Subtract
from chainrule.gates.axes import normalise_axis
from chainrule.gates.index import index
from chainrule.gates.matmul import matmul

_floats = (np.dtype(np.float32), np.dtype(np.float64))
_dtypes = (*_floats, np.dtype(np.int64), np.dtype(np.bool_))


@use_result_type
class Tensor(Box):
    """A NumPy array that remembers the gates that made it. Make one with `chainrule.tensor`.

    Attributes:
        data: the NumPy array. A leaf's may be changed in place between steps (`w.data -= lr * w.grad.data`); a
            change between forward and backward is an error that backward reports. The result of a recorded gate
            is read-only, for a graph may have kept it: change a copy. `chainrule.autodiff.change` tells more.
        grad: after `backward`, the gradient as a Tensor; None before.
        requires_grad: whether gradients are sent here. Set it on leaves.
        gate: the gate that made it, None for a leaf.
    """

    __slots__ = ()
    __array_ufunc__ = None  # NumPy's operators leave the work to ours
    __hash__ = object.__hash__

    # ---- The value -----------------------------------------------------------------------------------------

    @property
    def data(self) -> np.ndarray:
        if self.gate is None and self.trace is None:
            handed_out(self)
            return self.value
        view = unbox(self).view()
        view.flags.writeable = False
        return view

    @data.setter
    def data(self, array):
        array = np.asarray(array)
        if self.gate is not None or self.trace is not None:
            raise ValueError(
                "data: a gate made this Tensor, and its graph may have kept the value: make a new Tensor"
            )
        if array.dtype != self.value.dtype:
            raise TypeError(
                f"data: an array of {array.dtype} for a Tensor of {self.value.dtype}: convert it with .astype first"
            )
        self.value = array
        announce((self,))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def dtype(self) -> np.dtype:
        return self.value.dtype

    @property
    def ndim(self) -> int:
        return self.value.ndim

    @property
    def size(self) -> int:
        return self.value.size

    def numpy(self) -> np.ndarray:
        """The value as a NumPy array: the Tensor's own memory, no copy. Read-only where a recorded gate made it."""
        return self.data

    def item(self):
        """The value of a Tensor of one element as a Python number. ValueError for any other size."""
        if self.value.size != 1:
            raise ValueError(
                f"item: a Tensor of shape {self.shape} has {self.value.size} values: index one first"
            )
        return self.value.item()

    def tolist(self):
        """The values as nested lists."""
        return self.value.tolist()

    def __array__(self, dtype=None, copy=None):
        value = unbox(self)
        if copy is False and dtype is not None and np.dtype(dtype) != value.dtype:
            raise ValueError(f"a Tensor of {value.dtype} cannot become {np.dtype(dtype)} without a copy")
        if dtype is not None and np.dtype(dtype) != value.dtype:
            return value.astype(dtype)
        return value.copy() if copy else self.data

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        if self.value.size != 1:
            raise ValueError(
                f"the truth of a Tensor of shape {self.shape} is not one value: use .numpy().any() or all()"
            )
        return bool(self.value.item())

    def __len__(self):
        if self.value.ndim == 0:
            raise TypeError("a 0-d Tensor has no length")
        return self.value.shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __repr__(self):
        text = np.array2string(unbox(self), separator=", ", prefix="tensor(")
        tail = "" if self.value.dtype == np.float32 else f", dtype={self.value.dtype}"
        if self.gate is not None:
            tail += f", gate={type(self.gate).__name__}"
        elif self.requires_grad:
            tail += ", requires_grad=True"
        return f"tensor({text}{tail})"

    # ---- The graph -----------------------------------------------------------------------------------------

    def backward(self, gradient=None, retain_graph=False) -> None:
        """Send a gradient back through the graph: every leaf that requires one gets it added to its `.grad`.

        Args:
            gradient: the gradient of the loss in this Tensor, of its shape; 1 when it is left out, which needs
                a Tensor of one element.
            retain_graph: keep what the gates kept, so that backward can run again.

        Errors: RuntimeError when nothing leads here that requires a gradient, or the graph was freed by an
        earlier backward; ValueError for a gradient of another shape or none for a larger Tensor.
        """
        if self.trace is not None:
            raise RuntimeError(
                "backward: this Tensor belongs to a transform (grad, jvp, ...), which differentiates it itself: nest "
                "chainrule.grad in it for a derivative inside a derivative"
            )
        if not self.requires_grad:
            raise RuntimeError(
                "backward: nothing that led to this Tensor requires a gradient: make the parameters with "
                "requires_grad=True, and not inside no_grad"
            )
        if gradient is None:
            if self.value.size != 1:
                raise ValueError(
                    f"backward: a Tensor of shape {self.shape} is no scalar: sum it, or give its gradient"
                )
            gradient = np.array(1, self.value.dtype).reshape(self.shape)
        else:
            gradient = np.asarray(gradient, dtype=self.value.dtype)
            if gradient.shape != self.shape:
                raise ValueError(
                    f"backward: a gradient of shape {gradient.shape} for a Tensor of shape {self.shape}"
                )
        if self.gate is None:
            send_to_leaf(self, gradient, gradient)
        else:
            backward(self.gate, gradient, retain_graph)

    def detach(self) -> Tensor:
        """The same value, in the same memory, without its graph."""
        return Tensor(self.data)

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = None

    def astype(self, dtype) -> Tensor:
        """The value in another dtype. Between float32 and float64 gradients flow; to integers they end."""
        dtype = _dtype("astype", dtype)
        if dtype == self.value.dtype:
            return self
        return (
            shape.Astype(dtype)(self)
            if dtype in _floats and self.dtype in _floats
            else Tensor(self.value.astype(dtype))
        )

    # ---- Operators -----------------------------------------------------------------------------------------

    def __add__(self, other):
        return Add()(self, other)

    def __radd__(self, other):
        return Add()(other, self)

    def __sub__(self, other):
        return Subtract()(self, other)

    def __rsub__(self, other):
        return Subtract()(other, self)

    def __mul__(self, other):
        return Multiply()(self, other)

    def __rmul__(self, other):
        return Multiply()(other, self)

    def __truediv__(self, other):
        return Divide()(self, other)

    def __rtruediv__(self, other):
        return Divide()(other, self)

    def __neg__(self):
        return Negative()(self)

    def __pos__(self):
        return self

    def __abs__(self):
        return functions.abs(self)

    def __pow__(self, other):
        return Power()(self, other)

    def __rpow__(self, other):
        return Power()(other, self)

    def __matmul__(self, other):
        return matmul(self, other)

    def __rmatmul__(self, other):
        return matmul(other, self)

    def __getitem__(self, where):
        return index(self, where)

    def __setitem__(self, where, values):
        raise TypeError(
            "a Tensor's entries are not assigned one by one, for a graph may have kept them: make a new Tensor with "
            "chainrule.where or concatenate, or change a leaf between steps through its .data"
        )

    __eq__ = arithmetic.equal
    __ne__ = arithmetic.not_equal
    __lt__ = arithmetic.less
    __le__ = arithmetic.less_equal
    __gt__ = arithmetic.greater
    __ge__ = arithmetic.greater_equal

    # ---- Methods, as NumPy's arrays have them --------------------------------------------------------------

    @property
    def T(self):
        """The axes reversed."""
        return shape.transpose(self)

    def reshape(self, *sizes):
        """As `chainrule.reshape`; takes a tuple or the sizes themselves."""
        return shape.reshape(self, sizes[0] if len(sizes) == 1 else sizes)

    def transpose(self, *axes):
        """As `chainrule.transpose`; takes a tuple or the axes themselves."""
        given = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        return shape.transpose(self, given)

    def sum(self, axis=None, keepdims=False):
        return summation.sum(self, axis, keepdims)

    def mean(self, axis=None, keepdims=False):
        return reduce.mean(self, axis, keepdims)

    def var(self, axis=None, keepdims=False, ddof=0):
        return reduce.var(self, axis, keepdims, ddof)

    def max(self, axis=None, keepdims=False):
        return reduce.max(self, axis, keepdims)

    def min(self, axis=None, keepdims=False):
        return reduce.min(self, axis, keepdims)

    def argmax(self, axis=None) -> np.ndarray:
        """The index of the largest value, the first of equal ones, as a NumPy integer array."""
        if axis is not None:
            axis = normalise_axis("argmax", axis, self.ndim)
        if self.size == 0 and (axis is None or self.shape[axis] == 0):
            raise ValueError(f"argmax: {self.shape} has no values along axis {axis}")
        return np.argmax(self.value, axis=axis)

    def exp(self):
        return functions.exp(self)

    def log(self):
        return functions.log(self)

    def sqrt(self):
        return functions.sqrt(self)

    def tanh(self):
        return functions.tanh(self)

    def sigmoid(self):
        return functions.sigmoid(self)

    def relu(self):
        return functions.relu(self)


def _dtype(operation, dtype) -> np.dtype:
    """A dtype of Tensors; TypeError for any other."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{operation}: dtype {dtype!r} is not float32, float64, int64 or bool") from None
    if found not in _dtypes:
        raise TypeError(f"{operation}: dtype {found} is not float32, float64, int64 or bool")
    return found


def _fits_int64(array) -> bool:
    return bool(((array >= -(2.0**63)) & (array < 2.0**63)).all())


def tensor(data, dtype=None, requires_grad=False) -> Tensor:
    """A Tensor that holds a copy of `data`.

    Args:
        data: a number, nested lists, array or Tensor.
        dtype: float32, float64, int64 or bool, as NumPy names them. When it is left out, arrays keep theirs
            (other integers become int64); Python numbers become float32, or int64 or bool when they are all
            integers or booleans.
        requires_grad: whether `backward` sends a gradient here.

    Errors: TypeError for data that are no numbers, another dtype, or a gradient asked of integers.

    >>> import chainrule as cr
    >>> cr.tensor([1.0, 2.0])
    tensor([1., 2.])
    """
    source = data.value if isinstance(data, Tensor) else data
    has_dtype = hasattr(source, "dtype")
    try:
        if isinstance(source, (list, tuple)):
            source = [np.asarray(item) if isinstance(item, Box) else item for item in source]
        array = np.array(source, order="C")
    except ValueError as error:
        raise TypeError(f"tensor: the data are no regular array: {error}") from None
    kind = array.dtype.kind
    if dtype is None:
        dtype = {"b": np.bool_, "i": np.int64, "u": np.int64}.get(
            kind, array.dtype if has_dtype else np.float32
        )
        if requires_grad and dtype is np.int64 and not has_dtype:
            raise TypeError(
                "tensor: whole numbers become int64, which carries no gradient: write 3.0, or give dtype=np.float32"
            )
    if kind not in "biuf":
        _dtype("tensor", array.dtype)
    dtype = _dtype("tensor", dtype)
    if dtype == np.int64 and kind in "uf" and not _fits_int64(array):
        raise ValueError("tensor: a value is no int64: it is NaN, infinite or beyond 2^63")
    if requires_grad and dtype not in _floats:
        raise TypeError(f"tensor: a gradient needs float32 or float64, not {dtype}")
    result = Tensor(array.astype(dtype, copy=False))
    result.requires_grad = bool(requires_grad)
    return result
