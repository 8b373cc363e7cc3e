"""A model on labelled examples: loss, accuracy, and what it said of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.view.confusion import confusion_matrix

ROWS = 1024  # at a time: enough to keep the kernels busy, little memory


@dataclass(frozen=True)
class Evaluation:
    """What a model makes of N examples.

    Attributes:
        loss: the mean of `losses`, plus the penalty if one was given.
        accuracy: the share of examples whose highest score is their label's, from 0 to 1.
        labels: (N,) int64, those of the examples.
        predictions: (N,) int64, the class of the highest score; the first of equals.
        losses: (N,) the loss of each example, without penalty.
        scores: (N, classes).
    """

    loss: float
    accuracy: float
    labels: np.ndarray
    predictions: np.ndarray
    losses: np.ndarray
    scores: np.ndarray

    @property
    def correct(self) -> int:
        """How many predictions are right."""
        return int(np.count_nonzero(self.predictions == self.labels))

    def confusion(self) -> np.ndarray:
        """Counts (classes, classes): row the true class, column the predicted one."""
        return confusion_matrix(self.labels, self.predictions, self.scores.shape[1])


def evaluate(
    model: Any,
    inputs: np.ndarray,
    labels: np.ndarray,
    row_losses: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    penalty: float = 0.0,
) -> Evaluation:
    """Run a model over examples in batches, without recording a graph.

    Args:
        model: gives scores (n, classes) of inputs (n, ...).
        inputs: (N, ...) float, already normalised; N at least 1.
        labels: (N,) integers.
        row_losses: the losses (n,) of scores (n, classes) and labels (n,).
        penalty: added to the mean loss.

    The model is left in the mode, training or evaluation, that it was in.

    Errors: ValueError for no examples, or when inputs and labels differ in number.
    """
    if len(inputs) == 0 or len(inputs) != len(labels):
        raise ValueError(
            f"evaluate: {len(inputs)} inputs, {len(labels)} labels: give as many of each, at least 1"
        )
    was_training = model.training
    model.eval()
    try:
        with cr.no_grad():
            scores = np.concatenate(
                [model(inputs[i : i + ROWS]).numpy() for i in range(0, len(inputs), ROWS)]
            )
    finally:
        model.train(was_training)
    labels = np.asarray(labels, dtype=np.int64)
    losses = np.asarray(row_losses(scores, labels))
    predictions = scores.argmax(axis=1)
    return Evaluation(
        loss=float(losses.mean(dtype=np.float64)) + penalty,
        accuracy=float(np.mean(predictions == labels)),
        labels=labels,
        predictions=predictions,
        losses=losses,
        scores=scores,
    )
