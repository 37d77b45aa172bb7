"""Each image operation against a plain numpy form, and eagerly against itself in tf.data."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import augment

SEED = (3, 7)
NUMPY_MODES = {"REFLECT": "reflect", "CONSTANT": "constant"}


def random_images(batch=6, height=9, width=7, channels=3):
    return np.random.default_rng(0).integers(0, 256, (batch, height, width, channels), dtype=np.uint8)


def shift_and_flip_by_image(images, rows, columns, flips, padding, mode):
    """Pad, crop and mirror one image after the other."""
    height, width = images.shape[1:3]
    views = []
    for image, row, column, flip in zip(images, rows, columns, flips, strict=True):
        padded = np.pad(image, [(padding, padding), (padding, padding), (0, 0)], NUMPY_MODES[mode])
        view = padded[row : row + height, column : column + width]
        views.append(view[:, ::-1] if flip else view)
    return np.stack(views)


@settings(max_examples=40, deadline=None)
@given(
    padding=st.integers(0, 4),
    mode=st.sampled_from(sorted(NUMPY_MODES)),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**16),
)
def test_shift_and_flip_equals_pad_crop_flip_image_by_image(padding, mode, channels, seed):
    images = random_images(channels=channels)
    generator = np.random.default_rng(seed)
    rows, columns = generator.integers(0, 2 * padding + 1, (2, len(images)), dtype=np.int32)
    flips = generator.integers(0, 2, len(images)).astype(bool)
    result = augment.shift_and_flip(images, rows, columns, flips, padding, mode)
    np.testing.assert_array_equal(result, shift_and_flip_by_image(images, rows, columns, flips, padding, mode))


@pytest.mark.parametrize("mode", sorted(NUMPY_MODES))
def test_shift_and_flip_reaches_every_corner(mode):
    """The largest and smallest shifts, where an index that is off by one leaves the image."""
    extreme = np.array([0, 8], np.int32)
    rows, columns, flips = (grid.ravel() for grid in np.meshgrid(extreme, extreme, [0, 1], indexing="ij"))
    images = random_images(batch=8, height=5, width=5)
    result = augment.shift_and_flip(images, rows, columns, flips, 4, mode)
    np.testing.assert_array_equal(result, shift_and_flip_by_image(images, rows, columns, flips, 4, mode))


def test_random_shift_and_flip_uses_every_window_and_both_mirrorings():
    """A gradient image tells its window; 1,000 draws miss one of 18 with probability below 1e-23."""
    image = np.add.outer(10 * np.arange(4), np.arange(4)).astype(np.uint8)[..., None]
    views = augment.random_shift_and_flip(np.repeat(image[None], 1000, axis=0), SEED, 1, "REFLECT", True)
    wanted = shift_and_flip_by_image(
        np.repeat(image[None], 18, axis=0), np.tile([0, 1, 2], 6), np.tile(np.repeat([0, 1, 2], 3), 2),
        np.repeat([0, 1], 9), 1, "REFLECT",
    )  # fmt: skip
    assert {v.numpy().tobytes() for v in views} == {v.tobytes() for v in wanted}


def test_random_shift_without_flip_never_mirrors():
    image = np.tile(np.arange(8, dtype=np.uint8), (8, 1))[..., None]  # grey rises to the right in every window
    views = augment.random_shift_and_flip(np.repeat(image[None], 200, axis=0), SEED, 2, "CONSTANT", False)
    assert np.all(np.diff(views.numpy().astype(int)[:, 4, 2:6, 0], axis=1) > 0)


def test_flip_alone_mirrors_about_half_of_the_images():
    """The tolerance is four standard deviations of 2,000 fair coins."""
    images = np.tile(np.arange(4, dtype=np.uint8)[:, None], (2000, 4, 1, 1))
    mirrored = augment.augment_batch(images, SEED, augment.AUGMENTATIONS["flip"]).numpy()[:, 0, 0, 0] == 3
    assert abs(mirrored.mean() - 0.5) < 4 * 0.5 / np.sqrt(2000)


def test_no_augmentation_is_the_identity():
    images = random_images()
    np.testing.assert_array_equal(augment.augment_batch(images, SEED, augment.AUGMENTATIONS["none"]), images)


def test_normalize_gives_the_paper_formula_in_float32():
    """Two float32 roundings separate `x * (1 / s) - m / s` from `(x - m) / s`."""
    images, mean, std = random_images(), (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
    result = augment.normalize(images, mean, std)
    assert result.dtype == tf.float32
    np.testing.assert_allclose(result, (images - np.array(mean)) / std, atol=1e-6)


def test_normalize_refuses_a_deviation_for_each_channel_that_is_not_there():
    with pytest.raises(ValueError):
        augment.normalize(random_images(), (1.0, 2.0, 3.0), (1.0,))


def test_resize_of_a_constant_is_constant():
    result = augment.resize(np.full((2, 5, 7, 3), 200, np.uint8), 9, 4)
    np.testing.assert_allclose(result, np.full((2, 9, 4, 3), 200.0), rtol=1e-6)


@pytest.mark.parametrize(("shape", "expected"), [((20, 40), (16, 32)), ((40, 20), (32, 16)), ((7, 7), (16, 16))])
def test_shorter_side_target_keeps_the_aspect_ratio(shape, expected):
    assert tuple(augment.shorter_side_target(tf.constant(shape), 16).numpy()) == expected


@pytest.mark.parametrize("target", [(9, 7), (5, 12), (20, 3), (8, 8)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resize_and_cut_gives_the_same_floats_as_tensorflows_resize(target, dtype):
    image = random_images(1, 11, 6)[0].astype(dtype)
    whole = tf.image.resize(image, target, antialias=True).numpy()
    part = augment.resize_and_cut(image, target, (2, 1), (3, 2))
    np.testing.assert_array_equal(part, whole[2:5, 1:3])
    np.testing.assert_array_equal(augment.resize_and_cut(image, target, (0, 0), target), whole)


@pytest.mark.parametrize("target", [(9, 7), (5, 12), (20, 3), (8, 8)])
def test_what_is_not_looked_at_changes_nothing(target):
    image = random_images(1, 11, 6)[0]
    whole, corner, size = tf.shape(image)[:2], (1, 0), (3, 2)
    height, width = augment.looked_at(whole, target, corner, size).numpy()
    part = augment.resize_and_cut(image[:height, :width], target, corner, size, whole)
    np.testing.assert_array_equal(part, augment.resize_and_cut(image, target, corner, size))


def test_looked_at_leaves_out_the_lower_rows_and_the_right_columns():
    """Scaled by a half, rows 0..3 of the result lie over 0..7 of the image, and the kernel reaches 2 further."""
    assert tuple(augment.looked_at(tf.constant((40, 12)), (20, 6), (1, 0), (3, 6)).numpy()) == (10, 12)


def test_evaluation_view_cuts_the_centre_of_a_wide_image():
    """A bright centre between dark ends fills the view."""
    image = np.zeros((16, 48, 3), np.uint8)
    image[:, 12:36] = 250
    view = augment.evaluation_view(image, (14, 14, 3), 16)
    assert view.dtype == tf.uint8
    np.testing.assert_array_equal(view, np.full((14, 14, 3), 250))


def test_evaluation_view_without_resize_keeps_all_of_the_image():
    image = np.zeros((8, 16, 1), np.uint8)
    image[:, 8:] = 255
    view = augment.evaluation_view(image, (8, 8, 1)).numpy()
    assert view[:, 0].max() == 0 and view[:, -1].min() == 255


@pytest.mark.slow
def test_random_resized_crop_stays_within_the_asked_area():
    """In an image whose value is its column, the spread of a view is the crop's width."""
    image = np.tile(np.arange(240, dtype=np.uint8), (240, 1))[..., None]
    spreads = []
    for k in range(60):
        view = augment.random_resized_crop(image, (k, 1), (24, 24, 1)).numpy()
        spreads.append(view.max() - view.min())
    # sqrt(0.08 * 3/4) = 0.245 of the width, less up to one output pixel lost to interpolation at the borders
    assert min(spreads) > 0.245 * 240 * 22 / 24 - 2
    assert max(spreads) > 0.8 * 240 * 22 / 24
    assert len(set(spreads)) > 30


def test_crop_that_never_fits_becomes_the_largest_centred_one_of_an_allowed_aspect():
    """Worked by hand: of 400x30 (wide), 4/3 of the height; of 30x400 (tall), 4/3 of the width; else all of it."""
    for size, window in (((30, 400), (0, 180, 30, 40)), ((400, 30), (180, 0, 40, 30)), ((90, 100), (0, 0, 90, 100))):
        nothing_fits = np.full(10, 9.0, np.float32)
        place = np.array([0.1, 0.9], np.float32)
        assert augment.crop_window(tf.constant(size), nothing_fits, nothing_fits, place).numpy().tolist() == [*window]


def test_first_crop_that_fits_is_taken_at_its_place():
    """In an image of 50x200, whose area has the root 100; the first proposal is too high, the second is 20x150."""
    heights, widths = np.float32([0.6, 0.2, 0.1]), np.float32([0.5, 1.5, 0.1])
    for place, corner in (((0.0, 0.0), (0, 0)), ((0.999, 0.999), (30, 50)), ((0.5, 0.5), (15, 25))):
        window = augment.crop_window(tf.constant((50, 200)), heights, widths, np.float32(place))
        assert window.numpy().tolist() == [*corner, 20, 150]


def test_crops_are_spread_as_the_paper_says():
    """In a large square, where nearly all proposals fit: area even on its range, log aspect even, place even.

    Means and deviations of 20,000 draws; the tolerance is four standard errors.
    """
    draws = augment.crop_draws(tf.constant(SEED), 20000, area=(0.08, 0.5), attempts=1)
    heights, widths = draws.heights.numpy()[:, 0], draws.widths.numpy()[:, 0]
    area, aspect = heights * widths, np.log(widths / heights) / np.log(4 / 3)
    for sample, low, high in ((area, 0.08, 0.5), (aspect, -1, 1), (draws.place.numpy()[:, 0], 0, 1)):
        deviation = (high - low) / np.sqrt(12)
        assert low - 1e-5 <= sample.min() and sample.max() <= high + 1e-5
        assert abs(sample.mean() - (low + high) / 2) < 4 * deviation / np.sqrt(20000)
        assert abs(sample.std() - deviation) < 4 * deviation / np.sqrt(20000)
    assert abs(np.corrcoef(area, aspect)[0, 1]) < 4 / np.sqrt(20000)


@pytest.mark.slow
def test_random_resized_crop_reaches_the_last_row_and_column():
    image = np.zeros((12, 12, 1), np.uint8)
    image[-1, -1] = 255
    views = [augment.random_resized_crop(image, (k, 0), (12, 12, 1)).numpy().max() for k in range(200)]
    assert max(views) > 200


OPERATIONS = {
    "normalize": lambda x, seed: augment.normalize(x, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    "resize": lambda x, seed: augment.resize(x, 5, 4),
    "evaluation_view": lambda x, seed: augment.evaluation_view(x[0], (6, 6, 3), 7),
    "random_resized_crop": lambda x, seed: augment.random_resized_crop(x[0], seed, (5, 5, 3)),
    "random_resized_crops": lambda x, seed: augment.random_resized_crops(x, seed, (5, 5, 3)),
    **{
        name: lambda x, seed, value=value: augment.augment_batch(x, seed, value)
        for name, value in augment.AUGMENTATIONS.items()
    },
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_is_the_same_eagerly_and_in_tf_data(name):
    images, operation = random_images(), OPERATIONS[name]
    eager = operation(tf.constant(images), tf.constant(SEED, tf.int64))
    dataset = tf.data.Dataset.from_tensors((images, np.array(SEED))).map(operation)
    (staged,) = dataset.as_numpy_iterator()
    # Resizing may fuse a product and a sum in one of the two; the rest moves pixels and is exact.
    np.testing.assert_allclose(staged, eager, rtol=1e-5, atol=1e-4 if "crop" in name or name == "resize" else 0)


@pytest.mark.parametrize(
    "name", [n for n in OPERATIONS if n in augment.AUGMENTATIONS and n not in ("none", "imagenet")]
)
def test_augmentation_depends_on_its_seed_alone(name):
    images, operation = tf.constant(random_images(batch=32)), OPERATIONS[name]
    first, again, other = (operation(images, tf.constant(seed)) for seed in (SEED, SEED, (4, 7)))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
