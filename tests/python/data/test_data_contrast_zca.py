"""GCN, ZCA and pipelines of normalisers against scikit-learn, NumPy and the statements they make."""

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


@pytest.fixture(scope="module")
def digits():
    return load_digits().train.images


@pytest.fixture
def images():
    """Correlated images (60, 2, 3, 2), float64."""
    rng = np.random.default_rng(6)
    return (rng.normal(size=(60, 12)) @ rng.normal(size=(12, 12)) + 5).reshape(60, 2, 3, 2)


# Global contrast normalisation


def test_gcn_gives_each_image_mean_0_and_deviation_scale(digits):
    found = GCN(scale=3.0).fit(digits)(digits).reshape(len(digits), -1).astype(np.float64)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(axis=1), 3, rtol=1e-6)


def test_gcn_agrees_with_scikit_learn_on_rows(images):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    flat = images.reshape(len(images), -1)
    np.testing.assert_allclose(GCN().fit(flat)(flat), preprocessing.scale(flat, axis=1), rtol=1e-5, atol=1e-6)


def test_gcn_of_scale_55_over_root_3072_is_maxouts_norm_of_55():
    photographs = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    found = GCN(scale=55 / np.sqrt(3072)).fit(photographs)(photographs)
    np.testing.assert_allclose(np.linalg.norm(found.reshape(5, -1), axis=1), 55, rtol=1e-6)


def test_gcn_bias_raises_low_contrast_less(images):
    flat = images.reshape(len(images), -1)
    found = GCN(scale=2.0, bias=0.7).fit(images)(images)
    expected = 2 * (flat - flat.mean(axis=1, keepdims=True)) / np.sqrt(0.7 + flat.var(axis=1, keepdims=True))
    np.testing.assert_allclose(found.reshape(len(flat), -1), expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=4, max_side=5)), st.sampled_from([0.0, 1.0]))
def test_gcn_is_blind_to_brightness_and_bounded(x, bias):
    gcn = GCN(bias=bias).fit(x)
    found = gcn(x)
    np.testing.assert_allclose(gcn(x.astype(np.float64) + 40), found, atol=1e-6)
    assert np.abs(found).max() <= np.sqrt(x[0].size) * (1 + 1e-5)


@pytest.mark.parametrize("value", [0, 0.1, -7.3, 1e-30])
@pytest.mark.parametrize("bias", [0.0, 1.0])
def test_gcn_of_an_image_that_does_not_vary_is_0(value, bias):
    flat = np.full((3, 7), value, np.float64)
    flat[1, 2] += 1  # one that varies stands beside them
    found = GCN(bias=bias).fit(flat)(flat)
    assert (found[[0, 2]] == 0).all() and (found[1] != 0).any()


# ZCA


def whitening_matrix(flat, epsilon):
    """(covariance + epsilon)^(-1/2) by the singular values of the centred inputs: another road than eigh."""
    _, s, rows = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    return rows.T @ np.diag(1 / np.sqrt(s**2 / len(flat) + epsilon)) @ rows


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 3.0])
def test_zca_is_the_inverse_root_of_the_covariance(images, epsilon):
    flat = images.reshape(len(images), -1)
    zca = ZCA(epsilon).fit(images)
    matrix = whitening_matrix(flat, epsilon)
    np.testing.assert_allclose(zca.matrix, matrix, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        zca(images).reshape(len(flat), -1), (flat - flat.mean(axis=0)) @ matrix, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(zca.matrix, zca.matrix.T, atol=1e-6)


def test_zca_is_scikit_learns_whitening_turned_back(images):
    decomposition = pytest.importorskip("sklearn.decomposition")
    flat = images.reshape(len(images), -1)
    pca = decomposition.PCA(whiten=True, svd_solver="full").fit(flat)
    # scikit-learn divides the covariance by N - 1, ZCA by N.
    expected = pca.transform(flat) @ pca.components_ * np.sqrt(len(flat) / (len(flat) - 1))
    np.testing.assert_allclose(
        ZCA(0.0).fit(images)(images).reshape(len(flat), -1), expected, rtol=1e-4, atol=1e-4
    )


def test_zca_leaves_the_training_set_without_correlation(digits):
    fitted = ZCA(epsilon=0.0).fit(digits)
    found = fitted(digits)
    assert found.shape == digits.shape
    flat = found.reshape(len(digits), -1).astype(np.float64)
    varying = digits.reshape(len(digits), -1).std(axis=0) > 0
    np.testing.assert_allclose(np.cov(flat.T, bias=True), np.diag(varying.astype(float)), atol=1e-4)
    np.testing.assert_allclose(flat[:, ~varying], 0, atol=1e-9)


def test_zca_epsilon_leaves_each_direction_the_variance_v_over_v_plus_epsilon(images):
    directions = Whiten(whiten=False).fit(images)
    variances = directions(images).astype(np.float64).var(axis=0)
    damped = ZCA(epsilon=2.0).fit(images)(images).reshape(len(images), -1)
    np.testing.assert_allclose(
        (damped.astype(np.float64) @ directions.projection).var(axis=0),
        variances / (variances + 2),
        rtol=1e-3,
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_zca_is_nearer_to_the_inputs_than_any_other_whitening(seed):
    rng = np.random.default_rng(seed)
    flat = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4))
    centred = flat - flat.mean(axis=0)
    white = ZCA(0.0).fit(flat)(flat)
    turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    nearest = np.square(white - centred).sum()
    assert nearest <= np.square(white @ turn - centred).sum() * (1 + 1e-4)


def test_zca_directions_without_variance_are_0(images):
    found = ZCA(epsilon=0.0).fit(images[:5])(images).reshape(60, -1)
    assert np.linalg.matrix_rank(found.astype(np.float64), tol=1e-3) == 4  # 5 points span 4 dimensions


def test_zca_gives_the_same_bits_in_any_batch(digits):
    fitted = ZCA().fit(digits)
    whole = fitted(digits)
    for size in (1, 7, 100):
        assert np.array_equal(
            np.concatenate([fitted(digits[i : i + size]) for i in range(0, 300, size)])[:300], whole[:300]
        )


# Pipelines


def test_pipeline_fits_each_part_on_what_the_parts_before_make(digits):
    gcn, zca = GCN().fit(digits), ZCA().fit(GCN().fit(digits)(digits))
    pipeline = Pipeline(GCN(), ZCA()).fit(digits)
    assert pipeline.kind == "gcn+zca" and pipeline.input_shape == (8, 8, 1)
    np.testing.assert_allclose(pipeline(digits), zca(gcn(digits)), rtol=1e-4, atol=1e-4)
    three = Pipeline(Scale(8.0, 1 / 8), GCN(), Whiten(5)).fit(digits)
    assert three(digits).shape == (len(digits), 5)


def test_pipeline_refuses_other_parts():
    with pytest.raises(ValueError, match=r"^Pipeline: 1 parts: give two or more"):
        Pipeline(GCN())
    with pytest.raises(TypeError, match=r"^Pipeline: function is not a normaliser of one step"):
        Pipeline(GCN(), lambda x: x)
    with pytest.raises(TypeError, match=r"^Pipeline: Pipeline is not a normaliser of one step"):
        Pipeline(Pipeline(GCN(), ZCA()), Identity())


# States and arguments


def test_state_of_other_shapes_or_types_is_refused(images):
    state = ZCA().fit(images).state_dict()
    assert state["matrix"].dtype == np.float32
    for change in (
        {"matrix": state["matrix"][:-1]},
        {"matrix": state["matrix"].astype(np.float64)},
        {"matrix": np.full_like(state["matrix"], np.nan)},
        {"mean": state["mean"].astype(np.float32)},
        {"input_shape": np.array([2, 3, 3])},
    ):
        with pytest.raises(ValueError, match=r"^normaliser_from_state: zca .* belong to another normaliser"):
            normaliser_from_state("zca", {**state, **change})


def test_state_of_a_pipeline_without_a_part_or_with_an_unknown_one_is_refused(images):
    state = Pipeline(GCN(), ZCA()).fit(images).state_dict()
    with pytest.raises(
        ValueError, match=r"^normaliser_from_state: zca lacks \['input_shape', 'matrix', 'mean'\]"
    ):
        normaliser_from_state("gcn+zca", {k: v for k, v in state.items() if k.startswith("0.")})
    for kind in ("gcn+", "+", "gcn+gabor"):
        with pytest.raises(ValueError, match=r"^normaliser_from_state: kind '\w*' is not known"):
            normaliser_from_state(kind, state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GCN(0.0), "GCN: scale=0.0 is not above 0"),
        (lambda: GCN(np.inf), "GCN: scale=inf is not above 0 and finite"),
        (lambda: GCN(np.nan), "GCN: scale=nan is not"),
        (lambda: GCN(bias=-1), "GCN: bias=-1 is not finite and at least 0"),
        (lambda: ZCA(-0.1), "ZCA: epsilon=-0.1 is not finite and at least 0"),
        (lambda: ZCA(np.nan), "ZCA: epsilon=nan is not"),
    ],
)
def test_contrast_and_zca_refuse_bad_arguments(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_byte_table_holds_what_a_call_gives():
    photographs = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
    every_byte = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 4, 4, 3)
    for normaliser in (Identity(), Scale(3, 0.1), Standardise("channel"), Standardise("all")):
        table = normaliser.fit(photographs).byte_table()
        assert table.dtype == np.float32
        assert np.array_equal(table, normaliser(every_byte).reshape(256, 3))


@pytest.mark.parametrize("kind", [ZCA, Whiten])
@pytest.mark.parametrize("value", [0.1, 1e-3, 7.7])
def test_features_that_do_not_vary_become_0_without_an_epsilon(kind, value):
    x = np.full((10, 3), value)
    assert not kind(epsilon=0).fit(x)(x).any() and not kind(epsilon=0).fit(x)(x + 1).any()
    x[:, 0] = np.arange(10.0)
    z = kind(epsilon=0).fit(x)(x)
    np.testing.assert_allclose(np.sort(z.std(axis=0)), [0, 0, 1], atol=1e-6)


NORMALISERS = [
    Identity(),
    Scale(0, 0.5),
    Standardise(),
    Standardise("channel"),
    Standardise("all"),
    GCN(),
    ZCA(),
]


@pytest.mark.parametrize(
    "normaliser", [*NORMALISERS, Whiten(), Pipeline(GCN(), ZCA())], ids=lambda n: type(n).__name__
)
def test_no_inputs_give_no_inputs(normaliser, images):
    normaliser.fit(images)
    assert normaliser(images[:0]).shape == (0, *normaliser(images[:1]).shape[1:])


@pytest.mark.parametrize("per", ["feature", "channel", "all"])
def test_images_of_one_value_have_a_byte_table(per):
    x = np.arange(9, dtype=np.uint8).reshape(9, 1, 1, 1)
    normaliser = Standardise(per).fit(x)
    assert normaliser.byte_table().shape == (256, 1)
    np.testing.assert_array_equal(normaliser.byte_table()[x.ravel(), 0], normaliser(x).ravel())
