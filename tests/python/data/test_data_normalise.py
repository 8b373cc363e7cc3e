"""Input normalisation against scikit-learn, NumPy and the statements it makes."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from chainrule.data import (
    GCN,
    ZCA,
    Identity,
    Pipeline,
    Scale,
    Standardise,
    Whiten,
    load_digits,
    normaliser_from_state,
)

EVERY = {
    "none": Identity,
    "scale": lambda: Scale(3.0, 0.25),
    "standard": Standardise,
    "standard channel": lambda: Standardise("channel"),
    "standard all": lambda: Standardise("all"),
    "whiten": Whiten,
    "rotate 4": lambda: Whiten(components=4, whiten=False),
    "gcn": lambda: GCN(2.0, 0.5),
    "zca": ZCA,
    "gcn+zca": lambda: Pipeline(GCN(), ZCA()),
    "standard+rotate 4": lambda: Pipeline(Standardise("channel"), Whiten(components=4, whiten=False)),
}
OUTPUT = {"whiten": (12,), "rotate 4": (4,), "standard+rotate 4": (4,)}
every = pytest.mark.parametrize("name", EVERY)


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture
def images():
    """Correlated images (40, 2, 3, 2), float64."""
    rng = np.random.default_rng(5)
    return (rng.normal(size=(40, 12)) @ rng.normal(size=(12, 12)) + 5).reshape(40, 2, 3, 2)


# Formulas


def test_identity_and_scale_follow_their_formulas(images):
    assert np.array_equal(Identity().fit(images)(images), images.astype(np.float32))
    scaled = Scale(127.5, 1 / 127.5).fit(images)(images)
    np.testing.assert_allclose(scaled, (images - 127.5) / 127.5, rtol=1e-6)


def test_standardise_agrees_with_scikit_learn(digits):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x, test = digits.train.images, digits.test.images
    reference = preprocessing.StandardScaler().fit(x.reshape(len(x), -1))
    varying = x.reshape(len(x), -1).std(axis=0) > 0
    assert not varying.all()  # the digits have constant pixels
    for inputs in (x, test):
        found = Standardise().fit(x)(inputs).reshape(len(inputs), -1)
        expected = reference.transform(inputs.reshape(len(inputs), -1))
        np.testing.assert_allclose(found[:, varying], expected[:, varying], rtol=1e-5, atol=1e-5)
    assert (Standardise().fit(x)(x).reshape(len(x), -1)[:, ~varying] == 0).all()


@pytest.mark.parametrize(("per", "axes"), [("feature", 0), ("channel", (0, 1, 2)), ("all", None)])
def test_standardised_training_set_has_mean_0_and_deviation_1(images, per, axes):
    fitted = Standardise(per).fit(images)
    np.testing.assert_allclose(fitted.mean, images.mean(axis=axes), rtol=1e-12)
    np.testing.assert_allclose(fitted.deviation, images.std(axis=axes), rtol=1e-12)
    found = fitted(images).astype(np.float64)
    np.testing.assert_allclose(found.mean(axis=axes), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=axes), 1, rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=4, max_side=5)),
    st.sampled_from(["feature", "channel", "all"]),
)
def test_standardised_bytes_are_bounded_whatever_they_are(x, per):
    # No value of a group of n lies further than sqrt(n - 1) deviations from its mean.
    found = Standardise(per).fit(x)(x)
    assert np.abs(found).max() <= np.sqrt(x.size) * (1 + 1e-5)


@pytest.mark.parametrize("components", [None, 3])
def test_whiten_agrees_with_scikit_learn_up_to_sign(images, components):
    decomposition = pytest.importorskip("sklearn.decomposition")
    flat = images.reshape(len(images), -1)
    rotated = decomposition.PCA(components, svd_solver="full").fit_transform(flat)
    # scikit-learn divides the covariance by N - 1, Whiten by N.
    whitened = decomposition.PCA(components, whiten=True, svd_solver="full").fit_transform(flat)
    whitened *= np.sqrt(len(flat) / (len(flat) - 1))
    for expected, whiten in ((rotated, False), (whitened, True)):
        found = Whiten(components, whiten, epsilon=0.0).fit(images)(images)
        np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-4, atol=1e-4)


def test_decorrelated_training_set_has_a_diagonal_descending_covariance(digits):
    x = digits.train.images
    covariance = np.cov(Whiten(whiten=False).fit(x)(x).astype(np.float64).T, bias=True)
    variances = np.diag(covariance)
    np.testing.assert_allclose(covariance, np.diag(variances), atol=1e-4)
    assert (np.diff(variances) <= 1e-6).all()
    total = x.reshape(len(x), -1).astype(np.float64).var(axis=0).sum()
    np.testing.assert_allclose(variances.sum(), total, rtol=1e-6)  # a rotation keeps the trace


def test_whitened_training_set_has_the_identity_for_covariance(digits):
    x = digits.train.images
    covariance = np.cov(Whiten(epsilon=0.0).fit(x)(x).astype(np.float64).T, bias=True)
    constant_pixels = int((x.reshape(len(x), -1).std(axis=0) == 0).sum())
    assert constant_pixels > 0
    expected = np.ones(64)
    expected[64 - constant_pixels :] = 0  # directions without variance come last and are 0
    np.testing.assert_allclose(covariance, np.diag(expected), atol=1e-5)


def test_epsilon_leaves_each_direction_the_variance_v_over_v_plus_epsilon(images):
    plain = Whiten(whiten=False).fit(images)(images).astype(np.float64).var(axis=0)
    damped = Whiten(epsilon=2.0).fit(images)(images).astype(np.float64).var(axis=0)
    np.testing.assert_allclose(damped, plain / (plain + 2), rtol=1e-4)


def test_full_rotation_preserves_distances(images):
    found = Whiten(whiten=False).fit(images[:5])(images)  # 5 inputs: 8 directions do not vary
    flat = images.reshape(len(images), -1)
    expected = np.linalg.norm(flat[1:] - flat[:-1], axis=1)
    np.testing.assert_allclose(np.linalg.norm(found[1:] - found[:-1], axis=1), expected, rtol=1e-4)


@pytest.mark.parametrize("epsilon", [0.0, 1e-8])
def test_whitened_directions_without_variance_are_0(images, epsilon):
    found = Whiten(epsilon=epsilon).fit(images[:5])(images)
    assert (np.abs(found[:, :4]).max(axis=0) > 0).all()  # 5 points span 4 dimensions
    assert (found[:, 4:] == 0).all()


# What holds for all of them


@every
def test_normaliser_fit_returns_itself_and_results_are_float32(name, images):
    normaliser = EVERY[name]()
    assert normaliser.fit(images) is normaliser
    assert normaliser.input_shape == (2, 3, 2)
    for dtype in (np.float64, np.float32, np.uint8, np.int64):
        found = normaliser(np.abs(images).astype(dtype))
        assert found.dtype == np.float32 and found.flags.c_contiguous
        assert found.shape == (40, *OUTPUT.get(name, (2, 3, 2)))


@every
def test_normaliser_leaves_its_inputs_alone(name, images):
    images.flags.writeable = False
    before = images.copy()
    EVERY[name]().fit(images)(images)
    assert np.array_equal(images, before)


@every
def test_normaliser_takes_non_contiguous_inputs(name, images):
    view = images[::2].transpose(0, 2, 1, 3)
    found, expected = EVERY[name]().fit(view)(view), EVERY[name]().fit(view.copy())(view.copy())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@every
def test_normaliser_is_fitted_by_the_training_set_alone(name, digits):
    normaliser = EVERY[name]().fit(digits.train.images)
    before = {key: value.copy() for key, value in normaliser.state_dict().items()}
    normaliser(digits.test.images)
    normaliser(255 - digits.test.images)
    after = normaliser.state_dict()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    # An input's result does not depend on which others it comes with.
    alone = normaliser(digits.test.images[:1])
    np.testing.assert_allclose(normaliser(digits.test.images)[:1], alone, rtol=1e-5, atol=1e-5)


@every
def test_normaliser_state_round_trip_is_exact(name, images):
    fitted = EVERY[name]().fit(images)
    state = fitted.state_dict()
    assert all(value.dtype.kind in "fi" for value in state.values())
    restored = normaliser_from_state(fitted.kind, state)
    assert type(restored) is type(fitted) and restored.input_shape == fitted.input_shape
    assert {*restored.state_dict()} == {*state}
    for key, value in restored.state_dict().items():
        assert value.dtype == state[key].dtype and np.array_equal(value, state[key])
    assert restored(images).tobytes() == fitted(images).tobytes()


@every
def test_normaliser_refuses_use_before_fit(name, images):
    with pytest.raises(ValueError, match="fit it on the training inputs first"):
        EVERY[name]()(images)
    with pytest.raises(ValueError, match="has not been fitted"):
        EVERY[name]().state_dict()


@every
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((0, 2, 3, 2)), ValueError, r"shape \(0, 2, 3, 2\): give"),
        (np.zeros((4, 0)), ValueError, r"shape \(4, 0\): give"),
        (np.zeros(4), ValueError, r"shape \(4,\): give"),
        (np.float64(1), ValueError, r"shape \(\): give"),
        (np.zeros((2, 2), complex), TypeError, "inputs are complex128"),
        (np.full((2, 2), "a"), TypeError, "inputs are <U1"),
        (np.zeros((2, 2), object), TypeError, "inputs are object"),
    ],
)
def test_normaliser_refuses_to_fit_what_are_no_inputs(name, x, error, message):
    with pytest.raises(error, match=message):
        EVERY[name]().fit(x)


@every
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normaliser_refuses_values_that_are_not_finite(name, images, value, dtype):
    bad = images.astype(dtype)
    bad[3, 1, 0, 1] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        EVERY[name]().fit(bad)
    with pytest.raises(ValueError, match="NaN or infinite"):
        EVERY[name]().fit(images)(bad)


@every
def test_normaliser_refuses_inputs_of_another_shape(name, images):
    fitted = EVERY[name]().fit(images)
    with pytest.raises(ValueError, match=r"shape \(2, 2, 3\), it was fitted on \(2, 3, 2\)"):
        fitted(images.reshape(40, 2, 2, 3))
    with pytest.raises(ValueError, match=r"shape \(12,\), it was fitted on \(2, 3, 2\)"):
        fitted(images.reshape(40, 12))


# Arguments


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Standardise("pixel"), "Standardise: per='pixel' is not"),
        (lambda: Whiten(0), "Whiten: components=0 is below 1"),
        (lambda: Whiten(epsilon=-1e-9), "Whiten: epsilon=-1e-09 is below 0"),
        (lambda: Whiten(epsilon=np.nan), "Whiten: epsilon=nan is below 0"),
        (lambda: Whiten(5).fit(np.eye(4)), "Whiten: 5 components of inputs with 4 features"),
        (lambda: normaliser_from_state("fourier", {}), "normaliser_from_state: kind 'fourier' is not known"),
        (lambda: normaliser_from_state("standard", {"input_shape": np.array([2])}), ".*lacks"),
        (lambda: normaliser_from_state("none", {}), ".*lacks .'input_shape'"),
    ],
)
def test_normaliser_refuses_bad_arguments(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


@pytest.mark.parametrize(
    "make", [Identity, Scale, Standardise, lambda: Standardise("channel"), Whiten, GCN, ZCA]
)
def test_normaliser_of_data_in_many_blocks_gives_what_one_block_gives(make, monkeypatch):
    x = np.random.default_rng(0).integers(0, 256, (50, 3, 2, 2), dtype=np.uint8)
    whole = make().fit(x)
    expected = whole(x)
    module = sys.modules["chainrule.data.normalise"]
    monkeypatch.setattr(module, "blocks", lambda x: (x[i : i + 7] for i in range(0, len(x), 7)))
    parts = make().fit(x)
    result = parts(x)
    assert result.shape == expected.shape and result.dtype == np.float32
    if make is Whiten:  # the signs of its directions are arbitrary
        result, expected = np.abs(result), np.abs(expected)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_normaliser_of_data_beyond_a_block_fills_every_row():
    x = np.random.default_rng(0).integers(0, 256, (1500, 3000), dtype=np.uint8)  # a block holds 2^22 values
    scaled = Scale(0, 1 / 255).fit(x)(x)
    np.testing.assert_allclose(scaled, x / 255, rtol=1e-6)
    assert Scale().fit(x)(x[:0]).shape == (0, 3000)
