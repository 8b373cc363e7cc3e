"""What a model makes of labelled inputs: scores, predictions, loss and accuracy, and its worst mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule import no_grad
from chainrule.models.classifier import Classifier


@dataclass(frozen=True)
class Evaluation:
    """Results on N labelled inputs.

    Attributes:
        loss: the mean loss, without penalties on the weights.
        scores: (N, classes) float32.
        labels: (N,) int64.
    """

    loss: float
    scores: np.ndarray
    labels: np.ndarray

    @property
    def predictions(self) -> np.ndarray:
        """(N,): the class with the highest score; the first of several."""
        return self.scores.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """The share of predictions that are right."""
        return float((self.predictions == self.labels).mean())

    def class_accuracies(self) -> list[tuple[int, int]]:
        """For each class: how many of its inputs are predicted right, and how many there are."""
        classes = self.scores.shape[1]
        right = np.bincount(self.labels[self.predictions == self.labels], minlength=classes)
        total = np.bincount(self.labels, minlength=classes)
        return list(zip(right.tolist(), total.tolist(), strict=True))


def scores_of(model: Classifier, inputs: np.ndarray, batch_size: int = 1024) -> np.ndarray:
    """Scores (N, classes) of normalised inputs (N, ...), without recording a graph."""
    with no_grad():
        return np.concatenate(
            [model(inputs[i : i + batch_size]).numpy() for i in range(0, len(inputs), batch_size)]
        )


def evaluate(model: Classifier, inputs: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Loss and scores on normalised inputs (N, ...) with labels (N,)."""
    scores = scores_of(model, inputs)
    return Evaluation(float(model.loss(scores, labels)), scores, labels)


def worst_mistakes(model: Classifier, result: Evaluation, count: int) -> np.ndarray:
    """The indices of the wrongly predicted inputs with the highest losses, highest first, at most `count`."""
    wrong = np.flatnonzero(result.predictions != result.labels)
    losses = [float(model.loss(result.scores[i : i + 1], result.labels[i : i + 1])) for i in wrong]
    return wrong[np.argsort(losses, kind="stable")[::-1]][:count]
