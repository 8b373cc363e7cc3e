"""The confusion matrix and its rates, against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.view import confusion_matrix, precision_recall

metrics = pytest.importorskip("sklearn.metrics")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=50))
def test_confusion_matrix_agrees_with_scikit_learn(pairs):
    labels, predictions = np.array(pairs).T
    counts = confusion_matrix(labels, predictions, 5)
    assert counts.dtype == np.int64
    assert np.array_equal(counts, metrics.confusion_matrix(labels, predictions, labels=range(5)))
    expected = metrics.precision_recall_fscore_support(
        labels, predictions, labels=range(5), zero_division=np.nan
    )
    for found, wanted in zip(precision_recall(counts), expected, strict=False):
        np.testing.assert_allclose(found, wanted)


def test_confusion_matrix_of_nothing_and_of_other_integers():
    assert confusion_matrix(np.zeros(0, int), np.zeros(0, int), 3).tolist() == [[0] * 3] * 3
    assert confusion_matrix(np.array([255], np.uint8), np.array([0], np.int16), 256)[255, 0] == 1
    assert confusion_matrix([0, 1], [1, 1], 2).tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("labels", "predictions", "classes", "error", "message"),
    [
        ([0, 1], [0], 2, ValueError, r"labels \(2,\) and predictions \(1,\)"),
        ([[0]], [[0]], 2, ValueError, "give \\(N,\\) twice"),
        ([0], [0], 0, ValueError, "0 classes: give at least 1"),
        ([0.0], [0], 2, TypeError, "labels are float64: give integers"),
        ([0], [True], 2, TypeError, "predictions are bool"),
        ([-1], [0], 2, ValueError, r"labels span -1\.\.-1: give 0\.\.1"),
        ([0], [2], 2, ValueError, r"predictions span 2\.\.2"),
    ],
)
def test_confusion_matrix_refuses_what_are_no_classes(labels, predictions, classes, error, message):
    with pytest.raises(error, match=f"^confusion_matrix: .*{message}"):
        confusion_matrix(np.array(labels), np.array(predictions), classes)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 2, 2)])
def test_precision_recall_wants_a_square(shape):
    with pytest.raises(ValueError, match=r"^precision_recall: counts"):
        precision_recall(np.zeros(shape, int))
