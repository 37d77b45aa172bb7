"""Images that a user gives: whatever form they have, pixels of the model's size come of them, or an error."""

import numpy as np
import pytest

from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.deployment.pictures import as_pictures, fed

SPEC = ImageSpec((2, 2, 3), ("a", "b", "c"), (120.0, 110.0, 100.0), (60.0, 50.0, 40.0), None)
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 2, 2, 3), dtype=np.uint8)


def test_what_the_model_is_fed_with_is_pixel_minus_mean_over_deviation():
    white = np.full((1, 2, 2, 3), 255, "uint8")
    np.testing.assert_allclose(fed(white, SPEC)[0, 0, 0], [135 / 60, 145 / 50, 155 / 40], rtol=1e-6)


@pytest.mark.parametrize("given", [PIXELS, PIXELS.astype("int64"), fed(PIXELS, SPEC)], ids=["uint8", "int", "fed"])
def test_pixels_come_back_from_what_the_model_is_fed_with(given):
    np.testing.assert_array_equal(as_pictures(given, SPEC).pixels, PIXELS)


def test_batches_with_classes_are_joined_and_cut():
    batches = [(PIXELS[:2], np.array([0, 2])), (PIXELS[2:], np.array([1, 1, 0]))]
    found = as_pictures(iter(batches), SPEC, most=3)
    np.testing.assert_array_equal(found.pixels, PIXELS[:3])
    np.testing.assert_array_equal(found.labels, [0, 2, 1])


def test_one_hot_classes_are_numbers():
    np.testing.assert_array_equal(as_pictures((PIXELS[:3], np.eye(3)), SPEC).labels, [0, 1, 2])


def test_two_images_are_no_pair_of_images_and_classes():
    assert as_pictures(PIXELS[:2], SPEC).labels is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((4, 3, 2, 3), "uint8"), r"calibration: the model takes images of 2x2x3, these are 3x2x3\. Give"),
        (np.full((1, 2, 2, 3), 256), r"integers are pixels, 0 to 255\. Received values of 0 to 256"),
        (PIXELS.astype("float32"), r"floats are what the model is fed with, .* pixels of .*Give pixels as uint8"),
        (np.full((1, 2, 2, 3), np.nan), r"not finite"),
        (np.zeros((1, 2, 2, 3), bool), r"must be numbers\. Received images of type bool"),
        (np.zeros((0, 2, 2, 3), "uint8"), r"holds no images"),
        ((PIXELS, np.array([0, 1, 2, 3, 0])), r"the model has 3 classes, numbered from 0\. Received classes 0 to 3"),
        ((PIXELS, np.array([0])), r"a class for each image\. Received 5 images, 1 class"),
        (7, r"must be an array of images, .*Received <class 'int'>"),
    ],
    ids=["size", "range", "pixels_as_floats", "nan", "flags", "none", "class", "count", "number"],
)
def test_what_does_not_fit_is_said(given, message):
    with pytest.raises(ValueError, match=message):
        as_pictures(given, SPEC)
