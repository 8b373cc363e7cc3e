"""The confusion matrix and what follows from it, with NumPy alone."""

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


def precision_recall(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each class: the share of its predictions that are right, and of its examples that are found.

    Args:
        counts: (classes, classes) integers; row: the true class.

    Returns: precision and recall, (classes,) float64 each; NaN for a class without predictions or examples.

    Errors: ValueError for a matrix that is not square.

    >>> precision, recall = precision_recall(np.array([[1, 1], [0, 2]]))
    >>> precision.round(3).tolist(), recall.tolist()
    ([1.0, 0.667], [0.5, 1.0])
    """
    counts = np.asarray(counts)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"precision_recall: counts {counts.shape}: give (classes, classes)")
    right = np.diag(counts)

    def share(total: np.ndarray) -> np.ndarray:
        return np.divide(right, total, out=np.full(len(right), np.nan), where=total > 0)

    return share(counts.sum(axis=0)), share(counts.sum(axis=1))
