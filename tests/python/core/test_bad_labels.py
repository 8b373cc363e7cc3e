"""The losses of scores and labels at wrong labels, wrong scores, and the odd ones that are right."""

import re

import numpy as np
import pytest

import chainrule as cr

LOSSES = {"multiclass_hinge": "scores", "softmax_cross_entropy": "logits"}
SCORES = np.array([[0.5, -1.0, 2.0], [1.0, 3.0, -0.5]])


@pytest.fixture(params=LOSSES)
def name(request):
    return request.param


@pytest.mark.parametrize(
    "labels, label, row",
    [
        ([0, 3], 3, 1),
        ([-1, 0], -1, 0),
        ([0, -1], -1, 1),
        ([2**62, 0], 2**62, 0),
        ([-(2**63), 0], -(2**63), 0),
        (np.array([0, 255], np.uint8), 255, 1),
        (np.array([0, -128], np.int8), -128, 1),
        (np.array([7, 0], np.int32), 7, 0),
    ],
)
def test_a_label_out_of_range_is_named_with_its_row(name, labels, label, row):
    message = f"{name}: label {label} in row {row} is not one of the 3 classes: labels run from 0 to 2"
    for reduction in ("mean", "sum", "none"):
        with pytest.raises(ValueError, match=re.escape(message)):
            getattr(cr, name)(SCORES, labels, reduction=reduction)


def test_unsigned_labels_beyond_int64_are_out_of_range(name):
    for label in (2**63, 2**64 - 1):
        with pytest.raises(ValueError, match=f"{name}: label .* in row 1 is not one of the 3 classes"):
            getattr(cr, name)(SCORES, np.array([0, label], np.uint64))


@pytest.mark.parametrize(
    "labels, called",
    [
        ([0.0, 1.0], "an array of float64"),
        (np.array([0, 1], np.float32), "an array of float32"),
        ([True, False], "an array of bool"),
        (np.array([True, False]), "an array of bool"),
        (np.array([0, 1], complex), "an array of complex128"),
        (np.array([0, 1], object), "an array of object"),
        (["0", "1"], "an array of <U1"),
        ([None, 0], "an array of object"),
        ([10**30, 0], "an array of object"),
        ("ab", "a str"),
        (None, "a NoneType"),
        (0.5, "a float"),
        ([[0], [0, 1]], "a list"),
        (np.zeros(0), "an array of float64"),
    ],
)
def test_labels_that_are_no_integers_are_refused(name, labels, called):
    message = f"{name}: labels are {called}: give class numbers as an integer array"
    with pytest.raises(TypeError, match=re.escape(message)):
        getattr(cr, name)(SCORES, labels)


@pytest.mark.parametrize("labels", [[0, 1, 2], [0], [], [[0, 1]], [[0], [1]], 0, np.int64(1)])
def test_other_than_one_label_a_row_is_refused(name, labels):
    message = f"{name}: {LOSSES[name]} (2, 3) with labels {np.shape(labels)}: give one label a row"
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(cr, name)(SCORES, labels)


@pytest.mark.parametrize(
    "scores, message",
    [
        (np.ones(3), "(3,) with labels (2,): give (rows, classes)"),
        (np.ones((2, 3, 1)), "(2, 3, 1) with labels (2,): give (rows, classes)"),
        (np.array(1.0), "() with labels (2,): give (rows, classes)"),
        (1.0, "() with labels (2,): give (rows, classes)"),
        (np.ones((2, 0)), "(2, 0) with labels (2,): there are no classes"),
    ],
)
def test_scores_that_are_no_rows_of_classes_are_refused(name, scores, message):
    with pytest.raises(ValueError, match=re.escape(f"{name}: {LOSSES[name]} {message}")):
        getattr(cr, name)(scores, [0, 0])


def test_integer_scores_are_refused(name):
    message = f"{name}: {LOSSES[name]} is an integer array: convert it with .astype"
    with pytest.raises(TypeError, match=re.escape(message)):
        getattr(cr, name)(np.ones((2, 3), int), [0, 1])


@pytest.mark.parametrize("reduction", ["max", None, 1, "MEAN", True])
def test_an_unknown_reduction_is_named(name, reduction):
    message = f"{name}: reduction {reduction!r} is not one of 'mean', 'sum', 'none'"
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(cr, name)(SCORES, [0, 1], reduction=reduction)


def test_no_rows(name):
    loss, empty = getattr(cr, name), np.ones((0, 3), np.float32)
    for labels in ([], (), np.zeros(0, int), cr.tensor(np.zeros(0, int))):
        assert loss(empty, labels, reduction="sum") == 0
        assert loss(empty, labels, reduction="none").shape == (0,)
        with pytest.raises(
            ValueError, match=f"{name}: the mean over 0 rows is undefined: use reduction='sum'"
        ):
            loss(empty, labels)


@pytest.mark.parametrize(
    "labels",
    [
        (2, 0),
        np.array([2, 0], np.uint8),
        np.array([2, 0], np.int8),
        np.array([2, 0], np.int32),
        np.array([2, 0], np.uint64),
        np.array([2, 0], ">i8"),
        np.array([2, 1, 0, 1])[::2],
        np.array([0, 2])[::-1],
        cr.tensor([2, 0]),
        np.frombuffer(np.array([2, 0], np.int64).tobytes(), np.int64),
    ],
    ids=lambda labels: f"{type(labels).__name__}-{getattr(labels, 'dtype', '')}",
)
def test_integer_labels_of_every_kind_and_layout(name, labels):
    loss = getattr(cr, name)
    for dtype in (np.float32, np.float64):
        x, y = (cr.tensor(SCORES, dtype=dtype, requires_grad=True) for _ in range(2))
        got, expected = loss(x, labels), loss(y, np.array([2, 0]))
        got.backward(), expected.backward()
        assert got.item() == expected.item()
        np.testing.assert_array_equal(x.grad.numpy(), y.grad.numpy())


def test_labels_are_read_when_the_loss_is_made_and_again_by_backward(name):
    labels = np.array([2, 0])
    x = cr.tensor(SCORES, requires_grad=True)
    loss = getattr(cr, name)(x, labels)
    labels[:] = 99  # now out of range: backward must not read or write out of bounds
    with pytest.raises(ValueError, match="label 99 in row 0"):
        loss.backward()


def test_nan_scores_give_nan_in_their_row_alone(name):
    scores = SCORES.copy()
    scores[1, 0] = np.nan
    losses = getattr(cr, name)(scores, [0, 1], reduction="none")
    assert np.isfinite(losses[0]) and np.isnan(losses[1])
    scores[1] = [3.0, np.nan, 0.0]  # the label's own score
    losses = getattr(cr, name)(scores, [0, 1], reduction="none")
    assert np.isfinite(losses[0]) and np.isnan(losses[1])


def test_one_class_and_one_row(name):
    assert getattr(cr, name)(np.array([[3.0]]), [0]) == 0
    x = cr.tensor([[3.0]], requires_grad=True)
    getattr(cr, name)(x, [0]).backward()
    assert x.grad.numpy().tolist() == [[0]]


def test_masked_scores_of_the_softmax_loss():
    x = cr.tensor([[1.0, -np.inf, 1.0]], dtype=np.float64, requires_grad=True)
    loss = cr.softmax_cross_entropy(x, [0])
    loss.backward()
    assert loss.item() == pytest.approx(np.log(2), rel=1e-15)
    np.testing.assert_allclose(x.grad.numpy(), [[-0.5, 0, 0.5]], rtol=1e-15)
    assert cr.softmax_cross_entropy(np.array([[1.0, -np.inf]]), [1]) == np.inf
