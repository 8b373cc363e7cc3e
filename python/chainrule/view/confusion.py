"""The confusion matrix, with NumPy alone."""

from __future__ import annotations

import numpy as np


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """How often each class was predicted as each.

    Args:
        labels, predictions: (N,) integers in [0, classes).
        classes: their number.

    Returns: (classes, classes) int64; row: the true class, column: the predicted one.

    Errors: TypeError for what is not integers; ValueError for shapes that differ or values out of range.

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape:
        raise ValueError(
            f"confusion_matrix: labels {labels.shape} and predictions {predictions.shape}: give (N,) twice"
        )
    if classes < 1:
        raise ValueError(f"confusion_matrix: {classes} classes: give at least 1")
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values.dtype.kind not in "iu":
            raise TypeError(f"confusion_matrix: {name} are {values.dtype}: give integers")
        if values.size and (values.min() < 0 or values.max() >= classes):
            raise ValueError(
                f"confusion_matrix: {name} span {values.min()}..{values.max()}: give 0..{classes - 1}"
            )
    cells = labels.astype(np.int64) * classes + predictions.astype(np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)
