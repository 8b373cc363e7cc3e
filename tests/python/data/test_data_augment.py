"""Augment against plain NumPy, and what it promises: the same for any batch, order, thread count and resume."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.data import Augment, DataLoader, Identity, Scale, Standardise

# The reference: Philox 4x32-10 as Salmon et al. give it, and each step as one NumPy function.


def philox(counter, key):
    """The four words of a counter of four words, for a key of 64 bits."""
    words, keys = list(counter), [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * words[0], 0xCD9E8D57 * words[2]
        words = [b >> 32 ^ words[1] ^ keys[0], b & 0xFFFFFFFF, a >> 32 ^ words[3] ^ keys[1], a & 0xFFFFFFFF]
        keys = [(keys[0] + 0x9E3779B9) & 0xFFFFFFFF, (keys[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return words


def test_the_reference_generator_gives_the_known_answers():
    assert philox([0] * 4, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], 0x299F31D0A4093822) == [
        0xD16CFE09,
        0x94FDCCEB,
        0x5001E420,
        0x24126EA1,
    ]


def reference(how, images, index, epoch):
    """One augmented image by np.pad, slices and a mask."""
    image = images[index].astype(np.float32)
    if how.normalise is not None:
        image = how.normalise(images[index : index + 1])[0]
    motion, hole = (philox([index, 0, epoch, draw], how.seed) for draw in (1, 2))
    t = how.translate
    pad = {"mode": "reflect"} if how.padding == "reflect" else {}
    padded = np.pad(image, ((t, t), (t, t), (0, 0)), **pad)
    height, width = how.crop or image.shape[:2]
    top = (padded.shape[0] - height + 1) * motion[1] >> 32
    left = (padded.shape[1] - width + 1) * motion[2] >> 32
    out = padded[top : top + height, left : left + width].copy()
    if how.flip == "random" and motion[0] >> 31:
        out = out[:, ::-1].copy()
    if how.flip == "alternate" and (philox([index, 0, 0, 3], how.seed)[0] >> 31) ^ (epoch & 1):
        out = out[:, ::-1].copy()
    rows, columns = np.arange(height), np.arange(width)
    first_row = (height * hole[0] >> 32) - how.cutout // 2
    first_column = (width * hole[1] >> 32) - how.cutout // 2
    inside = ((rows >= first_row) & (rows < first_row + how.cutout))[:, None]
    out[inside & (columns >= first_column) & (columns < first_column + how.cutout)] = 0
    return out


@st.composite
def problems(draw):
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    channels = draw(st.sampled_from([1, 2, 3, 4]))
    translate = draw(st.integers(0, min(height, width) - 1))
    crop = draw(
        st.none() | st.tuples(st.integers(1, height + 2 * translate), st.integers(1, width + 2 * translate))
    )
    how = Augment(
        flip=draw(st.sampled_from([None, "random", "alternate"])),
        translate=translate,
        padding=draw(st.sampled_from(["zero", "reflect"])),
        crop=crop,
        cutout=draw(st.integers(0, min(crop or (height, width)))),
        seed=draw(st.integers(0, 2**64 - 1)),
    )
    dtype = draw(st.sampled_from([np.float32, np.uint8]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    images = rng.integers(0, 256, (7, height, width, channels)).astype(dtype)
    indices = draw(st.lists(st.integers(0, 6), max_size=9))
    return how, images, indices, draw(st.sampled_from([0, 1, 2, 57, 2**32 - 1]))


@settings(deadline=None, max_examples=300)
@given(problems())
def test_augment_agrees_with_numpy(problem):
    how, images, indices, epoch = problem
    found = how(images, indices, epoch)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    assert found.shape == (len(indices), *(how.crop or images.shape[1:3]), images.shape[3])
    for image, index in zip(found, indices, strict=True):
        np.testing.assert_array_equal(image, reference(how, images, index, epoch))


EVERYTHING = Augment(flip="random", translate=3, padding="reflect", cutout=5, seed=11)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((300, 12, 10, 3), dtype=np.float32)


def test_augment_gives_the_same_bits_on_any_number_of_threads(images):
    before = cr.get_num_threads()
    indices = np.random.default_rng(1).permutation(300)
    results = set()
    for threads in (1, 2, 3, 8):
        cr.set_num_threads(threads)
        results.add(EVERYTHING(images, indices, 4).tobytes())
    cr.set_num_threads(before)
    assert len(results) == 1


def test_augment_of_an_example_does_not_depend_on_its_batch_or_place(images):
    whole = EVERYTHING(images, np.arange(300), 2)
    order = np.random.default_rng(2).permutation(300)
    assert np.array_equal(EVERYTHING(images, order, 2), whole[order])
    for size in (1, 7, 64):
        for i in range(0, 300, size):
            assert np.array_equal(EVERYTHING(images, order[i : i + size], 2), whole[order[i : i + size]])
    twice = EVERYTHING(images, [5, 5], 2)
    assert np.array_equal(twice[0], twice[1])


def test_augment_draws_anew_for_each_epoch_and_seed(images):
    indices = np.arange(300)
    first = EVERYTHING(images, indices, 0)
    other_seed = Augment(flip="random", translate=3, padding="reflect", cutout=5, seed=12)
    for other in (EVERYTHING(images, indices, 1), other_seed(images, indices, 0)):
        same = (other == first).all(axis=(1, 2, 3)).mean()
        assert same < 0.05


def test_augment_never_changes():
    """What a seed gives today it gives in every version: a checkpoint of an older one resumes with the same data."""
    images = np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3, 1)
    how = Augment(flip="random", translate=1, padding="zero", cutout=1, seed=4)
    found = [how(images, [0], epoch)[0, :, :, 0].astype(int).tolist() for epoch in range(3)]
    assert found == [
        [[0, 3, 2], [0, 6, 5], [0, 9, 8]],
        [[2, 1, 0], [5, 4, 0], [0, 7, 0]],
        [[6, 5, 4], [9, 8, 7], [0, 0, 0]],
    ]


# What each setting does


def test_flip_alternate_shows_both_sides_in_any_two_epochs_and_half_of_all_in_one(images):
    how = Augment(flip="alternate", seed=5)
    indices = np.arange(300)
    epochs = [how(images, indices, k) for k in range(4)]
    mirrored = images[:, :, ::-1]
    flipped = (epochs[0] == mirrored).all(axis=(1, 2, 3))
    assert 0.4 < flipped.mean() < 0.6
    for k, batch in enumerate(epochs):
        side = flipped ^ (k % 2 == 1)
        assert np.array_equal(batch, np.where(side[:, None, None, None], mirrored, images))


def test_flip_random_flips_half_of_the_examples_and_of_the_epochs(images):
    how = Augment(flip="random")
    mirrored = images[:, :, ::-1]
    flipped = np.array([(how(images, np.arange(300), k) == mirrored).all(axis=(1, 2, 3)) for k in range(20)])
    assert abs(flipped.mean() - 0.5) < 5 * 0.5 / np.sqrt(flipped.size)
    assert flipped.any(axis=0).all() and not flipped.all(axis=0).any()


def test_translate_reaches_every_position_about_equally_often():
    marker = np.zeros((1, 5, 5, 1), np.float32)
    marker[0, 2, 2] = 1
    how = Augment(translate=2)
    counts = sum(how(marker, [0], k)[0, :, :, 0] for k in range(5000))
    # 25 positions, 200 each on average, to five deviations.
    assert abs(counts - 200).max() < 5 * np.sqrt(200)


def test_crop_takes_windows_of_the_image(images):
    for window in Augment(crop=(5, 7))(images, np.arange(20), 0):
        assert window.shape == (5, 7, 3)
    whole = Augment(crop=(12, 10))(images, [3], 0)
    assert np.array_equal(whole[0], images[3])


def test_cutout_is_centred_on_every_pixel_about_equally_often():
    ones = np.ones((1, 4, 6, 1), np.float32)
    cut = Augment(cutout=1)
    counts = sum(1 - cut(ones, [0], k)[0, :, :, 0] for k in range(4800))
    assert counts.sum() == 4800 and abs(counts - 200).max() < 5 * np.sqrt(200)


def test_augment_without_settings_is_a_gather(images):
    assert np.array_equal(Augment()(images, [4, 2, 2], 9), images[[4, 2, 2]])


def test_nan_and_infinite_pixels_stay_where_they_move_to(images):
    odd = images[:3].copy()
    odd[:, 0, 0] = np.nan
    odd[:, -1, -1] = np.inf
    flipped = Augment(flip="alternate", seed=5)
    for k in (0, 1):
        for i, image in enumerate(flipped(odd, [0, 1, 2], k)):
            np.testing.assert_array_equal(image, reference(flipped, odd, i, k))


# Bytes through a normaliser


@pytest.mark.parametrize(
    "make",
    [Identity, lambda: Scale(127.5, 1 / 127.5), lambda: Standardise("channel"), lambda: Standardise("all")],
)
def test_normalise_gives_the_bits_of_normalising_first(make):
    rng = np.random.default_rng(4)
    photographs = rng.integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
    photographs[..., 2] //= 3
    fitted = make().fit(photographs)
    indices = rng.integers(0, 50, 80)
    for options in (
        {},
        {"flip": "random", "translate": 2, "padding": "reflect"},
        {"translate": 2, "cutout": 4},
    ):
        found = Augment(normalise=fitted, **options)(photographs, indices, 3)
        assert found.tobytes() == Augment(**options)(fitted(photographs), indices, 3).tobytes()


def test_normalise_of_a_channel_that_never_varies_is_0():
    photographs = np.full((3, 2, 2, 2), 7, np.uint8)
    photographs[0, ..., 1] = 9
    found = Augment(normalise=Standardise("channel").fit(photographs))(photographs, [0, 1], 0)
    assert (found[..., 0] == 0).all() and (found[..., 1] != 0).all()


# In a loader


def test_loader_applies_augment_by_example_and_epoch(images):
    labels = np.arange(300)
    for shuffle in (True, False):
        loader = DataLoader(images, labels, 64, seed=3, shuffle=shuffle, augment=EVERYTHING)
        for k in (0, 5):
            for inputs, which in loader.epoch(k):
                assert np.array_equal(inputs, EVERYTHING(images, which, k))


def test_loader_resumed_in_mid_epoch_gives_the_same_bits(images):
    def loader():
        return DataLoader(images, np.arange(300), 64, seed=3, augment=EVERYTHING)

    whole = list(loader().epoch(7))
    assert len(whole) == 5
    before = cr.get_num_threads()
    for start in range(6):
        cr.set_num_threads(1 + start % 3)
        rest = list(loader().epoch(7, start=start))
        assert len(rest) == 5 - start
        for (inputs, which), (expected, labels) in zip(rest, whole[start:], strict=True):
            assert inputs.tobytes() == expected.tobytes() and np.array_equal(which, labels)
    cr.set_num_threads(before)


def test_loader_takes_a_function_around_augment(images):
    def halved(images, indices, epoch):
        return EVERYTHING(images, indices, epoch) / 2

    for inputs, which in DataLoader(images, np.arange(300), 100, augment=halved).epoch(1):
        assert np.array_equal(inputs, EVERYTHING(images, which, 1) / 2)


def test_loader_refuses_what_is_no_augmentation(images):
    with pytest.raises(TypeError, match=r"^DataLoader: augment is a str: give a function"):
        DataLoader(images, np.arange(300), 10, augment="flip")
    loader = DataLoader(images, np.arange(300), 10, augment=lambda images, indices, epoch: images)
    with pytest.raises(ValueError, match=r"^DataLoader: augment gave 300 inputs for 10 examples"):
        next(loader.epoch(0))


@pytest.mark.parametrize(
    ("start", "error", "message"),
    [
        (-1, ValueError, "start -1 is not in 0 to 3"),
        (4, ValueError, "start 4 is not"),
        (1.0, TypeError, "start 1.0"),
    ],
)
def test_loader_refuses_a_start_beyond_the_epoch(start, error, message):
    with pytest.raises(error, match=f"^DataLoader: {message}"):
        DataLoader(np.zeros((5, 2)), np.zeros(5, int), 2).epoch(0, start=start)
