"""Losses: multiclass hinge (SVM), softmax cross-entropy, mean squared error, and elastic-net regularisation."""

from __future__ import annotations

import math

import numpy as np

from chainrule import _core
from chainrule.autodiff.box import Box, as_setting, shape_of, unbox
from chainrule.autodiff.gate import Gate
from chainrule.gates.arithmetic import add, add_tangents, divide, multiply, square, subtract
from chainrule.gates.functions import abs, sign
from chainrule.gates.index import index
from chainrule.gates.reduce import mean
from chainrule.gates.select import where
from chainrule.gates.shape import as_array, reshape
from chainrule.gates.softmax import softmax
from chainrule.gates.summation import is_integer, sum


class RowLoss(Gate):
    """A loss of scores (N, C) and labels (N,): one number a row, then their mean, sum, or all of them."""

    def __init__(self, name, labels, reduction):
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"{name}: reduction {reduction!r} is not one of 'mean', 'sum', 'none'")
        self.name = name
        self.labels = labels
        self.reduction = reduction

    def row_losses(self, scores):
        raise TypeError(f"{type(self).__name__}.row_losses is not defined")

    def forward(self, scores):
        losses = self.row_losses(scores)
        self.kept = (scores,)
        if self.reduction == "none":
            return losses
        rows = losses.size
        if rows == 0 and self.reduction == "mean":
            raise ValueError(f"{self.name}: the mean over 0 rows is undefined: use reduction='sum'")
        total = _core.sum(losses, 1, rows, 1).reshape(())
        return total if self.reduction == "sum" else np.divide(total, rows, dtype=losses.dtype, out=total)

    def row_gradients(self, gradient, rows):
        """The gradient of each row's loss: one number for all rows, or one a row."""
        return multiply(gradient, 1.0 / rows) if self.reduction == "mean" else gradient

    def slopes(self, scores):
        """(N, C): the derivative of each row's loss in its scores, by gates."""
        raise TypeError(f"{type(self).__name__}.slopes is not defined")

    def jvp(self, tangent):
        (scores,) = self.kept
        changes = sum(multiply(self.slopes(scores), tangent), axis=1)
        if self.reduction == "none":
            return changes
        return divide(sum(changes), float(scores.shape[0])) if self.reduction == "mean" else sum(changes)


class SoftmaxCrossEntropy(RowLoss):
    """loss_i = ln sum_j e^(x_ij) - x_i,label: dx_i = (softmax(x_i) - target_i) g_i."""

    def __init__(self, labels, reduction, label_smoothing):
        super().__init__("softmax_cross_entropy", labels, reduction)
        self.label_smoothing = label_smoothing

    def row_losses(self, scores):
        return _core.softmax_cross_entropy(scores, self.labels, self.label_smoothing)

    def backward(self, gradient):
        (scores,) = self.kept
        rows = self.row_gradients(gradient, scores.shape[0])
        if isinstance(rows, Box) or isinstance(scores, Box):
            return multiply(self.slopes(scores), _column(rows, scores.shape[0]))
        return _core.softmax_cross_entropy_gradient(rows, scores, self.labels, self.label_smoothing)

    def slopes(self, scores):
        classes = scores.shape[1]
        target = one_hot(self.labels, classes, unbox(scores).dtype)
        target = target * (1 - self.label_smoothing) + self.label_smoothing / classes
        return subtract(softmax(scores), target.astype(unbox(scores).dtype))


class MulticlassHinge(RowLoss):
    """loss_i = sum over j != label of max(0, x_ij - x_i,label + delta), or of its square."""

    def __init__(self, labels, delta, squared, reduction):
        super().__init__("multiclass_hinge", labels, reduction)
        self.delta = delta
        self.squared = squared

    def row_losses(self, scores):
        return _core.multiclass_hinge(scores, self.labels, self.delta, self.squared)

    def backward(self, gradient):
        (scores,) = self.kept
        rows = self.row_gradients(gradient, scores.shape[0])
        if isinstance(rows, Box) or isinstance(scores, Box):
            return multiply(self.slopes(scores), _column(rows, scores.shape[0]))
        return _core.multiclass_hinge_gradient(rows, scores, self.labels, self.delta, self.squared)

    def slopes(self, scores):
        own = one_hot(self.labels, scores.shape[1], unbox(scores).dtype)
        # Picked, and not the sum of products with `own`: a masked score, -inf, times 0 is NaN.
        correct = index(scores, (np.arange(len(own)), np.asarray(self.labels)))
        margins = add(subtract(scores, reshape(correct, (len(own), 1))), self.delta)
        m = unbox(margins)
        violated = ~(m <= 0) & (own == 0)  # NaN goes through, as in the loss
        steep = multiply(margins, 2.0) if self.squared else np.where(np.isnan(m), m, own.dtype.type(1))
        slopes = where(violated, steep, np.zeros_like(own))
        return subtract(slopes, multiply(own, sum(slopes, axis=1, keepdims=True)))


class ElasticNet(Gate):
    """y = l1 sum |w| + l2 sum w^2: dw = (l1 sign w + 2 l2 w) g, where sign 0 is 0."""

    def __init__(self, l1, l2):
        self.l1 = l1
        self.l2 = l2

    def forward(self, w):
        self.kept = (w,)
        return self.combine(lambda: sum(abs(w)), lambda: sum(square(w)), self.l1, self.l2)

    def combine(self, absolute, squared, l1, l2):
        """l1 absolute() + l2 squared(), without the part whose strength is 0."""
        first = multiply(absolute(), l1) if self.l1 else None
        return add_tangents(first, multiply(squared(), l2) if self.l2 else None)

    def backward(self, gradient):
        (w,) = self.kept
        return self.combine(
            lambda: sign(w), lambda: w, multiply(gradient, self.l1), multiply(gradient, 2 * self.l2)
        )

    def jvp(self, tangent):
        (w,) = self.kept
        return sum(multiply(self.combine(lambda: sign(w), lambda: w, self.l1, 2 * self.l2), tangent))


def one_hot(labels, classes, dtype):
    """(N, classes): 1 at each row's label, else 0."""
    target = np.zeros((len(labels), classes), dtype)
    target[np.arange(len(labels)), np.asarray(labels)] = 1
    return target


def _column(rows, count):
    return reshape(rows, (count, 1)) if shape_of(rows) else rows


def _labels(operation, labels):
    """Class numbers as an array of integers."""
    try:
        array = as_setting(labels)
    except ValueError:
        array = np.asarray(None)
    if array.size == 0 and isinstance(labels, (list, tuple)):
        return array.astype(np.int64)  # an empty list has no kind of its own
    if array.dtype.kind not in "iu":
        got = f"a {type(labels).__name__}" if array.ndim == 0 else f"an array of {array.dtype}"
        raise TypeError(f"{operation}: labels are {got}: give class numbers as an integer array")
    return array


def _strength(operation, name, value) -> float:
    """A setting as a float; TypeError when it is no number."""
    if not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{operation}: {name} {value!r} is no number")
    return float(value)


def softmax_cross_entropy(logits, labels, reduction="mean", label_smoothing=0.0):
    """The softmax classifier's loss: the cross-entropy of softmax(logits) against the labels, from the scores.

    loss_i = ln sum_j e^(x_ij) - x_i,label. With label smoothing s the target is 1 - s + s/C for the label and
    s/C for the rest (Szegedy et al., Rethinking the Inception Architecture, 2016, section 7).

    Args:
        logits: (N, C) scores, float32 or float64.
        labels: (N,) integers in [0, C).
        reduction: 'mean' over the rows, 'sum', or 'none' for (N,) losses.
        label_smoothing: in [0, 1].

    At the edges: scores of any size are stable. Without smoothing a masked score (-inf) that is not the label's sends
    no gradient; as the label's it gives an infinite loss and the gradient -1. With smoothing, which wants every class,
    any masked score gives an infinite loss (NaN where 1 - s is 0 and it is the label's), as a row of nothing but
    masked scores gives NaN. The mean over 0 rows is an error.

    Errors: ValueError naming the row and label out of range, or shapes that clash; TypeError for labels that
    are not integers.

    >>> import chainrule as cr
    >>> scores = cr.tensor([[3.2, 5.1, -1.7]])
    >>> round(cr.softmax_cross_entropy(scores, [0]).item(), 4)
    2.0404
    """
    name = "softmax_cross_entropy"
    label_smoothing = _strength(name, "label_smoothing", label_smoothing)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing {label_smoothing} is not in [0, 1]")
    logits = as_array(logits, name, "logits")
    return SoftmaxCrossEntropy(_labels(name, labels), reduction, label_smoothing)(logits)


def multiclass_hinge(scores, labels, delta=1.0, squared=False, reduction="mean"):
    """The multiclass SVM loss: sum over wrong classes j of max(0, x_j - x_label + delta), or of its square.

    Weston and Watkins, Support Vector Machines for Multi-Class Pattern Recognition, 1999; the lectures' SVM.

    Args:
        scores: (N, C), float32 or float64.
        labels: (N,) integers in [0, C).
        delta: the margin.
        squared: square each violation (the L2-SVM).
        reduction: 'mean' over the rows, 'sum', or 'none' for (N,) losses.

    At the edges: a margin of exactly 0 sends no gradient; NaN scores give NaN; the mean over 0 rows is an error.

    Errors: ValueError naming the row and label out of range, or shapes that clash; TypeError for labels that
    are not integers.

    >>> import chainrule as cr
    >>> cr.multiclass_hinge(cr.tensor([[13.0, -7.0, 11.0]]), [0], delta=10.0).item()
    8.0
    """
    name = "multiclass_hinge"
    delta = _strength(name, "delta", delta)
    if not math.isfinite(delta):
        raise ValueError(f"{name}: delta {delta} is not finite")
    scores = as_array(scores, name, "scores")
    return MulticlassHinge(_labels(name, labels), delta, bool(squared), reduction)(scores)


def mean_squared_error(predictions, targets, reduction="mean"):
    """The mean over all elements of (prediction - target)^2, or their sum, or all of them ('none').

    Args:
        predictions, targets: arrays or Tensors of one shape.

    Errors: ValueError when the shapes differ (they do not broadcast: that is nearly always a mistake), or for
    the mean of nothing.

    >>> import chainrule as cr, numpy as np
    >>> float(cr.mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    2.0
    """
    name = "mean_squared_error"
    predictions, targets = as_array(predictions, name, "predictions"), as_array(targets, name, "targets")
    if shape_of(predictions) != shape_of(targets):
        raise ValueError(
            f"mean_squared_error: predictions {shape_of(predictions)} and targets {shape_of(targets)} differ in shape"
        )
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"mean_squared_error: reduction {reduction!r} is not one of 'mean', 'sum', 'none'")
    if is_integer(predictions) and is_integer(targets):
        raise TypeError(
            f"{name}: predictions and targets are integer arrays: convert them with .astype(np.float32)"
        )
    if reduction == "mean" and unbox(predictions).size == 0:
        raise ValueError(f"{name}: the mean over {shape_of(predictions)} is undefined: use reduction='sum'")
    errors = square(subtract(predictions, targets))
    return errors if reduction == "none" else sum(errors) if reduction == "sum" else mean(errors)


def elastic_net(parameters, l1=0.0, l2=0.0):
    """l1 sum|w| + l2 sum w^2 over all parameters (Zou and Hastie, Regularization via the Elastic Net, 2005).

    Args:
        parameters: one array or Tensor, or an iterable of them.
        l1, l2: the strengths, at least 0. The gradient is l1 sign(w) + 2 l2 w, with sign(0) = 0.

    Returns a scalar. With both strengths 0, or no parameters, it is 0.

    Errors: ValueError for a negative or non-finite strength.

    >>> import chainrule as cr, numpy as np
    >>> float(cr.elastic_net(np.array([1.0, -2.0]), l1=0.5, l2=0.1))
    2.0
    """
    l1, l2 = _strength("elastic_net", "l1", l1), _strength("elastic_net", "l2", l2)
    for name, strength in (("l1", l1), ("l2", l2)):
        if not (math.isfinite(strength) and strength >= 0):
            raise ValueError(f"elastic_net: {name} = {strength}: give a finite number of at least 0")
    if isinstance(parameters, (Box, np.ndarray)):
        parameters = [parameters]
    try:
        parameters = list(parameters)
    except TypeError:
        raise TypeError(
            f"elastic_net: parameters is a {type(parameters).__name__}: give an array, a Tensor, or an iterable of them"
        ) from None
    terms = []
    for i, w in enumerate(parameters):
        w = as_array(w, "elastic_net", f"parameter {i}")
        if is_integer(w):
            raise TypeError(
                f"elastic_net: parameter {i} is an integer array: convert it with .astype(np.float32)"
            )
        if l1 or l2:
            terms.append(ElasticNet(l1, l2)(w))
    if not terms:
        return np.zeros((), np.float32)
    total = terms[0]
    for term in terms[1:]:
        total = add(total, term)
    return total
