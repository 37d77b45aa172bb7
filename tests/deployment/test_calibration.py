"""The images that quantization looks at are drawn by a seed and checked."""

import keras
import numpy as np
import pytest

from dirac_keras.deployment.quantization import calibration_set


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((4, 4, 3))
    return keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(inputs)))


def images(count=40):
    """Image k is filled with noise around k."""
    noise = np.random.default_rng(0).normal(scale=0.01, size=(count, 4, 4, 3))
    return (noise + np.arange(count)[:, None, None, None]).astype("float32")


def test_the_seed_draws_the_same_images_and_another_seed_others(model):
    draws = [calibration_set(images(), model, count=16, seed=seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0].images, draws[1].images)
    assert not np.array_equal(draws[0].images, draws[2].images)
    assert (len(draws[0]), draws[0].available, draws[0].seed) == (16, 40, 1)


def test_labels_go_with_their_images_through_draw_and_split(model):
    labels = np.arange(40) % 5
    batches = [(images()[k : k + 7], labels[k : k + 7]) for k in range(0, 40, 7)]
    drawn = calibration_set(batches, model, count=24)
    fit, held_out = drawn.split()
    assert (len(fit), len(held_out)) == (18, 6)
    for part in (fit, held_out):
        number = np.rint(part.images.mean(axis=(1, 2, 3))).astype(int)
        np.testing.assert_array_equal(part.labels, number % 5)
    assert not set(np.rint(fit.images[:, 0, 0, 0])) & set(np.rint(held_out.images[:, 0, 0, 0]))


def test_few_images_and_missing_classes_are_noted(model):
    notes = calibration_set((images(), np.zeros(40, int)), model).notes
    assert notes == (
        "the calibration images are of 1 of the 5 classes",
        "40 images are few to calibrate on; 512 are usual",
    )


def _with_nan(array):
    array[3, 0, 0, 0] = np.nan
    return array


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((40, 8, 8, 3)), r"calibration images must be 4x4x3, as the model takes them\. Received .*\(40, 8, 8"),
        (images(5), r"calibration needs at least 16 images, better 512\. Received 5\. Give more `calibration`"),
        (_with_nan(images()), "must be finite. 1 of 40 hold NaN or infinity, the first is image 3"),
        (np.full((40, 4, 4, 3), 7.0), "all the constant 7: they say nothing"),
        ((images(), np.arange(40)), "labels must be below 5, the classes of the model. Received labels from 0 to 39"),
        ((images(), np.zeros((40, 5), int)), r"labels must be class numbers, one an image\. Received int64 of shape"),
        ("cifar10", "must be images or batches of them. Received str"),
    ],
)
def test_images_that_do_not_fit_are_refused(model, data, message):
    with pytest.raises(ValueError, match=message):
        calibration_set(data, model)


def test_a_count_that_says_nothing_is_refused(model):
    with pytest.raises(ValueError, match=r"count must be a whole number of at least 16 images\. Received count=3"):
        calibration_set(images(), model, count=3)
