"""Input normalisation against scikit-learn, NumPy and the statements it makes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import chainrule.data.normaliser as normaliser_module
from chainrule.data import (
    Identity,
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
    "rotate 4": lambda: Whiten(components=4, whiten=False, epsilon=0.0),
}
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY.keys())


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture
def images():
    """Correlated float64 images (40, 2, 3, 2), far from mean 0."""
    rng = np.random.default_rng(5)
    return (rng.normal(size=(40, 12)) @ rng.normal(size=(12, 12)) + 50).reshape(40, 2, 3, 2)


# Formulas


def test_identity_and_scale_follow_their_formulas(images):
    assert np.array_equal(Identity().fit(images)(images), images.astype(np.float32))
    scaled = Scale(127.5, 1 / 127.5).fit(images)(images)
    assert np.array_equal(scaled, ((images - 127.5) * (1 / 127.5)).astype(np.float32))


def test_standardise_agrees_with_scikit_learn(digits):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x, test = digits.train.images, digits.test.images
    reference = preprocessing.StandardScaler().fit(x.reshape(len(x), -1))
    varying = x.reshape(len(x), -1).std(axis=0) > 0
    assert not varying.all()  # the digits have constant pixels
    for inputs in (x, test):
        found = Standardise().fit(x)(inputs).reshape(len(inputs), -1)
        expected = reference.transform(inputs.reshape(len(inputs), -1))
        np.testing.assert_allclose(found[:, varying], expected[:, varying], rtol=1e-6, atol=1e-6)
        assert (found[:, ~varying] == 0).all()


@pytest.mark.parametrize(("per", "axes"), [("feature", 0), ("channel", (0, 1, 2)), ("all", None)])
def test_standardised_training_set_has_mean_0_and_deviation_1(images, per, axes):
    fitted = Standardise(per).fit(images)
    np.testing.assert_allclose(fitted.mean, images.mean(axis=axes), rtol=1e-13)
    np.testing.assert_allclose(fitted.std, images.std(axis=axes), rtol=1e-12)
    found = fitted(images).astype(np.float64)
    np.testing.assert_allclose(found.mean(axis=axes), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(axis=axes), 1, rtol=1e-6)


def test_standardise_keeps_its_digits_far_from_zero():
    x = np.array([[1e8 + 1], [1e8 + 2], [1e8 + 3]])
    np.testing.assert_allclose(Standardise().fit(x)(x)[:, 0], [-(1.5**0.5), 0, 1.5**0.5], rtol=1e-6)


def test_constant_features_become_0_even_for_other_inputs():
    x = np.full((7, 2), 0.1)  # 0.1 added up seven times is not 0.7
    x[:, 1] = np.arange(7)
    fitted = Standardise().fit(x)
    assert (fitted(x)[:, 0] == 0).all() and fitted.std[0] == 0
    assert fitted(np.array([[99.0, 3.0]])).tolist() == [[0.0, 0.0]]
    assert (Standardise("all").fit(x[:, :1])(x[:, :1]) == 0).all()


def test_deviation_too_small_for_a_reciprocal_counts_as_constant():
    x = np.array([[0.0], [5e-324]])
    assert Standardise().fit(x)(x).tolist() == [[0.0], [0.0]]


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=4, max_side=5),
        elements=st.floats(-1e6, 1e6, width=32),
    ),
    st.sampled_from(["feature", "channel", "all"]),
)
def test_standardised_training_set_is_bounded_whatever_it_is(x, per):
    # No value of a group of n lies further than sqrt(n - 1) deviations from its mean.
    found = Standardise(per).fit(x)(x)
    assert np.abs(found).max() <= np.sqrt(x.size) * (1 + 1e-5)


@pytest.mark.parametrize("components", [None, 3])
def test_whiten_agrees_with_scikit_learn_up_to_sign(images, components):
    decomposition = pytest.importorskip("sklearn.decomposition")
    flat = images.reshape(len(images), -1)
    for whiten in (False, True):
        reference = decomposition.PCA(components, whiten=whiten, svd_solver="full").fit(flat)
        fitted = Whiten(components, whiten, epsilon=0.0).fit(images)
        np.testing.assert_allclose(fitted.variances, reference.explained_variance_, rtol=1e-9)
        np.testing.assert_allclose(
            np.abs(fitted(images)), np.abs(reference.transform(flat)), rtol=1e-4, atol=1e-4
        )


def test_decorrelated_training_set_has_a_diagonal_covariance(digits):
    x = digits.train.images
    fitted = Whiten(whiten=False).fit(x)
    covariance = np.cov(fitted(x).astype(np.float64).T)
    np.testing.assert_allclose(covariance, np.diag(fitted.variances), atol=1e-4)
    assert (np.diff(fitted.variances) <= 0).all()


def test_whitened_training_set_has_the_identity_for_covariance(digits):
    x = digits.train.images
    fitted = Whiten(epsilon=0.0).fit(x)
    varying = fitted.variances > 0
    covariance = np.cov(fitted(x).astype(np.float64).T)
    np.testing.assert_allclose(covariance, np.diag(varying.astype(float)), atol=1e-5)
    constant_pixels = (x.reshape(len(x), -1).std(axis=0) == 0).sum()
    assert (~varying).sum() == constant_pixels > 0


def test_epsilon_leaves_each_direction_the_variance_v_over_v_plus_epsilon(images):
    fitted = Whiten(epsilon=2.0).fit(images)
    variances = fitted(images).astype(np.float64).var(axis=0, ddof=1)
    np.testing.assert_allclose(variances, fitted.variances / (fitted.variances + 2), rtol=1e-5)


def test_full_rotation_preserves_distances(images):
    found = Whiten(whiten=False).fit(images[:5])(images)  # 5 inputs: 8 directions do not vary
    flat = images.reshape(len(images), -1)
    np.testing.assert_allclose(
        np.linalg.norm(found[1:] - found[:-1], axis=1),
        np.linalg.norm(flat[1:] - flat[:-1], axis=1),
        rtol=1e-4,
    )


@pytest.mark.parametrize("epsilon", [0.0, 1e-5])
def test_whitened_directions_without_variance_are_0(images, epsilon):
    fitted = Whiten(epsilon=epsilon).fit(images[:5])
    assert (fitted.variances > 0).sum() == 4  # 5 points span 4 dimensions
    assert (fitted(images)[:, 4:] == 0).all()
    same = np.full((3, 4), 0.1)
    assert (Whiten(epsilon=epsilon).fit(same)(same) == 0).all()


def test_direction_signs_are_fixed_by_the_greatest_entry(images):
    directions = Whiten().fit(images).directions
    assert (directions.max(axis=0) == np.abs(directions).max(axis=0)).all()
    np.testing.assert_allclose(directions.T @ directions, np.eye(12), atol=1e-12)


# What holds for all of them


@every
def test_normaliser_fit_returns_itself_and_results_are_float32(make, images):
    normaliser = make()
    assert normaliser.fit(images) is normaliser
    assert normaliser.input_shape == (2, 3, 2)
    for dtype in (np.float64, np.float32, np.uint8, np.int64):
        found = normaliser(images.astype(dtype))
        assert found.dtype == np.float32 and found.flags.c_contiguous
        expected = {"rotate 4": (40, 4), "whiten": (40, 12)}
        name = next(name for name, maker in EVERY.items() if maker is make)
        assert found.shape == expected.get(name, images.shape)


@every
def test_normaliser_leaves_its_inputs_alone(make, images):
    images.flags.writeable = False
    before = images.copy()
    make().fit(images)(images)
    assert np.array_equal(images, before)
    view = images[::2].transpose(0, 2, 1, 3)
    found = make().fit(view)(view)
    assert np.array_equal(found, make().fit(view.copy())(view.copy()))


@every
def test_normaliser_is_fitted_by_the_training_set_alone(make, digits):
    normaliser = make().fit(digits.train.images)
    before = normaliser.state_dict()
    of_train = normaliser(digits.train.images)
    normaliser(digits.test.images)
    normaliser(255 - digits.test.images)
    assert all(np.array_equal(before[name], now) for name, now in normaliser.state_dict().items())
    assert np.array_equal(normaliser(digits.train.images), of_train)
    # An input's result does not depend on which others it comes with.
    alone = normaliser(digits.test.images[:1])
    np.testing.assert_allclose(normaliser(digits.test.images)[:1], alone, rtol=1e-5, atol=1e-5)


@every
def test_normaliser_works_in_blocks_with_the_same_result(make, images, monkeypatch):
    whole = make().fit(images)
    monkeypatch.setattr(normaliser_module, "_BLOCK", 7 * 12)  # 40 rows: 5 blocks of 7, one of 5
    blocked = make().fit(images)
    for name, value in whole.state_dict().items():
        np.testing.assert_allclose(blocked.state_dict()[name], value, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(blocked(images), whole(images), rtol=1e-5, atol=1e-5)


@every
def test_normaliser_state_round_trip_is_exact(make, images):
    fitted = make().fit(images)
    state = fitted.state_dict()
    assert all(value.dtype.kind in "fi" for value in state.values())
    restored = normaliser_from_state(fitted.kind, state)
    assert type(restored) is type(fitted)
    for name in ("per", "components", "whiten", "epsilon", "offset", "factor"):
        assert getattr(restored, name, None) == getattr(fitted, name, None)
    assert {*restored.state_dict()} == {*state}
    for name, value in restored.state_dict().items():
        assert value.dtype == state[name].dtype and np.array_equal(value, state[name])
    assert restored(images).tobytes() == fitted(images).tobytes()


@every
def test_normaliser_state_is_a_copy(make, images):
    fitted = make().fit(images)
    before = fitted(images)
    for value in fitted.state_dict().values():
        value[...] = 0
    assert np.array_equal(fitted(images), before)


@every
def test_normaliser_refuses_use_before_fit(make, images):
    for use in (lambda n: n(images), lambda n: n.state_dict(), lambda n: n.input_shape):
        with pytest.raises(ValueError, match="not fitted"):
            use(make())


@every
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((0, 2, 3, 2)), ValueError, r"shape \(0, 2, 3, 2\): give"),
        (np.zeros((4, 0)), ValueError, r"shape \(4, 0\): give"),
        (np.zeros(4), ValueError, r"shape \(4,\): give"),
        (np.float64(1), ValueError, r"shape \(\): give"),
        (np.zeros((2, 2), bool), TypeError, "dtype bool"),
        (np.zeros((2, 2), complex), TypeError, "dtype complex128"),
        (np.full((2, 2), "a"), TypeError, "dtype <U1"),
        (np.zeros((2, 2), object), TypeError, "dtype object"),
    ],
)
def test_normaliser_refuses_what_are_no_inputs(make, images, x, error, message):
    with pytest.raises(error, match=message):
        make().fit(x)
    with pytest.raises(error, match=message):
        make().fit(images)(x)


@every
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normaliser_refuses_values_that_are_not_finite(make, images, value, dtype):
    bad = images.astype(dtype)
    bad[3, 1, 0, 1] = value
    with pytest.raises(ValueError, match=rf"input \(3, 1, 0, 1\) is {value}: give finite"):
        make().fit(bad)
    with pytest.raises(ValueError, match=rf"input \(3, 1, 0, 1\) is {value}: give finite"):
        make().fit(images)(bad)


def test_nan_in_a_constant_feature_is_refused():
    with pytest.raises(ValueError, match=r"input \(0, 0\) is nan"):
        Standardise().fit(np.ones((3, 1)))(np.array([[np.nan]]))


@every
def test_normaliser_refuses_inputs_of_another_shape(make, images):
    with pytest.raises(ValueError, match=r"shape \(2, 2, 3\), fitted to \(2, 3, 2\)"):
        make().fit(images)(images.reshape(40, 2, 2, 3))
    with pytest.raises(ValueError, match=r"shape \(12,\), fitted to \(2, 3, 2\)"):
        make().fit(images)(images.reshape(40, 12))


@every
def test_normaliser_refuses_results_beyond_float32(make, images):
    with pytest.raises(ValueError, match="results beyond float32"):
        make().fit(images)(images * 1e60)


@pytest.mark.parametrize("make", [Standardise, Whiten])
def test_failed_fit_keeps_the_earlier_one(make, images):
    fitted = make().fit(images)
    before = fitted(images)
    for bad in (np.full((3, 2), np.nan), np.array([[1e308, 1.0], [-1e308, 1.0], [1e308, 2.0]])):
        with pytest.raises(ValueError, match="give finite|overflow"):
            fitted.fit(bad)
    assert np.array_equal(fitted(images), before)


# Arguments


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Standardise("pixel"), ValueError, "Standardise: per is 'pixel': give one of"),
        (lambda: Scale(np.nan, 1.0), ValueError, "Scale: offset is nan"),
        (lambda: Scale(0.0, np.inf), ValueError, "Scale: factor is inf"),
        (lambda: Scale("0", 1.0), TypeError, "Scale: offset is '0'"),
        (lambda: Scale(0.0, np.ones(3)), TypeError, "Scale: factor is array"),
        (lambda: Whiten(0), ValueError, "Whiten: components is 0"),
        (lambda: Whiten(2.5), TypeError, "Whiten: components is 2.5"),
        (lambda: Whiten(whiten=1), TypeError, "Whiten: whiten is 1"),
        (lambda: Whiten(epsilon=-1e-9), ValueError, "Whiten: epsilon is -1e-09"),
        (lambda: Whiten(epsilon=np.nan), ValueError, "Whiten: epsilon is nan"),
        (lambda: Whiten(epsilon=None), TypeError, "Whiten: epsilon is None"),
        (lambda: Whiten(5).fit(np.eye(4)), ValueError, "Whiten: 5 components of 4 features"),
        (lambda: Whiten().fit(np.ones((1, 4))), ValueError, "Whiten: 1 training input"),
    ],
)
def test_normaliser_refuses_bad_arguments(make, error, message):
    with pytest.raises(error, match=f"^{message}"):
        make()


STANDARD = Standardise().fit(np.arange(6.0).reshape(3, 2)).state_dict()
WHITE = Whiten(1).fit(np.arange(6.0).reshape(3, 2)).state_dict()


@pytest.mark.parametrize(
    ("kind", "arrays", "message"),
    [
        ("zca", STANDARD, "kind 'zca' is unknown: give one of none, scale, standard, whiten"),
        ("none", {}, "none holds nothing: it needs shape"),
        ("none", STANDARD, "none holds mean, per, shape, std: it needs shape"),
        ("standard", {"shape": [2]}, "it needs mean, per, shape, std"),
        ("standard", STANDARD | {"shape": [3]}, r"mean is float64 \(2,\): needs .* \(3,\)"),
        ("standard", STANDARD | {"shape": [0]}, "shape is"),
        ("standard", STANDARD | {"shape": 2}, "shape is"),
        ("standard", STANDARD | {"shape": [2.0]}, "shape is float64"),
        ("standard", STANDARD | {"per": 3}, "per is int64 3: needs one integer from 0 to 2"),
        ("standard", STANDARD | {"per": "all"}, "per is"),
        ("standard", STANDARD | {"mean": [0, 1]}, "mean is int64"),
        ("standard", STANDARD | {"mean": [0.0, np.nan]}, "mean is .* needs finite"),
        ("standard", STANDARD | {"std": [1.0, -1.0]}, "std is .* needs finite values of 0"),
        ("scale", {"shape": [2], "offset": [1.0], "factor": 1.0}, "offset is"),
        ("scale", {"shape": [2], "offset": 1.0, "factor": np.inf}, "factor is"),
        ("whiten", WHITE | {"components": 2}, r"directions is float64 \(2, 1\): needs .*\(2, 2\)"),
        ("whiten", WHITE | {"components": 3}, "components is int64 3"),
        ("whiten", WHITE | {"whiten": 2}, "whiten is int64 2"),
        ("whiten", WHITE | {"epsilon": -1.0}, "epsilon is"),
        ("whiten", WHITE | {"variances": [-1.0]}, "variances is"),
        ("whiten", WHITE | {"mean": [[0.0, 0.0]]}, "mean is"),
    ],
)
def test_damaged_state_is_refused(kind, arrays, message):
    with pytest.raises(ValueError, match=f"^normaliser_from_state: .*{message}") as caught:
        normaliser_from_state(kind, arrays)
    assert "\n" not in str(caught.value)
