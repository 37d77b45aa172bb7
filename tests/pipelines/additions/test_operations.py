"""Each operation on pixels worked by hand."""

import numpy as np
import pytest

from pipelines.additions.operations import OPERATIONS, apply
from pipelines.additions.policies import CHOICES, POLICIES

GREY = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8)[..., None]
FILL = (70,)


def grey(name, number, image=GREY):
    return apply(image, [(name, number)], FILL)[..., 0].tolist()


def row(name, number, *levels):
    return grey(name, number, np.array([levels], np.uint8)[..., None])[0]


def colour(name, number, *levels):
    return apply(np.array([[levels]], np.uint8), [(name, number)], (1, 2, 3))[0, 0].tolist()


def test_identity_and_no_operation_at_all_change_nothing():
    assert grey("identity", 0) == GREY[..., 0].tolist() == apply(GREY, [], FILL)[..., 0].tolist()


def test_translation_takes_the_pixel_that_is_so_far_away_and_fills_the_rest():
    assert grey("translate_x", 1) == [[2, 3, 70], [5, 6, 70], [8, 9, 70]]
    assert grey("translate_y", -1) == [[70, 70, 70], [1, 2, 3], [4, 5, 6]]


def test_an_image_upside_down():
    assert grey("flip_y", 0) == [[7, 8, 9], [4, 5, 6], [1, 2, 3]]


def test_a_blur_spreads_a_point_by_its_deviation_and_leaves_an_even_image():
    """The variance of the spread point is that of the deviation; Pillow's three boxes come near it."""
    image = np.zeros((41, 41, 1), np.uint8)
    image[:, 20] = 255  # a line: the blur across it is that of one dimension
    point = apply(image, [("blur", 2.0)], FILL)[20, :, 0].astype(np.float64)
    place = np.arange(41) - 20
    assert (point * place**2).sum() / point.sum() == pytest.approx(2.0**2, rel=0.1)
    assert np.all(apply(np.full((5, 5, 3), 9, np.uint8), [("blur", 2.0)], (1, 2, 3)) == 9)


def test_shear_shifts_a_row_by_its_middle_times_the_slope():
    # Row y reads column floor(x + 1/2 + y + 1/2): one further for the first, two for the second.
    assert grey("shear_x", 1.0) == [[2, 3, 70], [6, 70, 70], [70, 70, 70]]
    assert grey("shear_y", 1.0) == [[4, 8, 70], [7, 70, 70], [70, 70, 70]]


def test_rotation_is_counter_clockwise():
    assert grey("rotate", 90.0) == [[3, 6, 9], [2, 5, 8], [1, 4, 7]]


def test_empty_places_of_colour_images_take_the_colour_that_fills():
    image = np.full((1, 2, 3), 50, np.uint8)
    assert apply(image, [("translate_x", 1)], (1, 2, 3))[0].tolist() == [[50, 50, 50], [1, 2, 3]]


def test_inverted_solarized_and_posterized_levels():
    assert row("invert", 0, 0, 50, 255) == [255, 205, 0]
    assert row("solarize", 100, 0, 99, 100, 200) == [0, 99, 155, 55]
    assert row("posterize", 2, 0, 63, 100, 200) == [0, 0, 64, 192]  # the upper two bits


def test_solarize_at_256_and_posterize_at_8_bits_change_nothing():
    assert row("solarize", 256.0, 0, 128, 255) == row("posterize", 8, 0, 128, 255) == [0, 128, 255]


def test_brightness_is_towards_black_and_contrast_towards_the_mean_level():
    assert row("brightness", 0.5, 0, 50, 100, 200) == [0, 25, 50, 100]
    # The mean 87.5 is 88 for Pillow: 88 + (x - 88) / 2.
    assert row("contrast", 0.5, 0, 50, 100, 200) == [44, 69, 94, 144]


def test_color_is_towards_the_luminance():
    # 0.299 * 255 = 76: the grey level of pure red; a factor of 2 goes as far to the other side, cut at 0 and 255.
    assert colour("color", 0.0, 255, 0, 0) == [76, 76, 76]
    assert colour("color", 2.0, 255, 0, 0) == [255, 0, 0]
    assert row("color", 0.0, 10, 200) == [10, 200]  # grey images have none


def test_sharpness_is_towards_the_smoothed_image():
    image = np.zeros((3, 3, 1), np.uint8)
    image[1, 1] = 130  # smoothed by 5/13 of itself: 50; the border is copied
    assert [grey("sharpness", factor, image)[1][1] for factor in (0.0, 1.0, 1.5)] == [50, 130, 170]


def test_autocontrast_spreads_the_levels_and_equalize_their_numbers():
    assert row("autocontrast", 0, 50, 100, 150) == [0, 127, 255]  # 255 * 50 / 100 = 127.5, cut
    # 520 pixels, 255 of 0 and of 10, 10 of 20: a step of (520 - 10) // 255 = 2, and (2 // 2 + pixels below) // 2.
    levels = [0] * 255 + [10] * 255 + [20] * 10
    found = row("equalize", 0, *levels)
    assert (found[0], found[255], found[510]) == (0, 128, 255)


def test_a_third_of_a_turn_makes_red_green_and_a_whole_one_leaves_it():
    assert colour("hue", 1 / 3, 255, 0, 0) == [0, 255, 0]
    assert colour("hue", 0.0, 255, 0, 0) == colour("hue", 1.0, 255, 0, 0) == [255, 0, 0]


def test_operations_follow_each_other():
    assert apply(GREY, [("translate_x", 1), ("invert", 0)], FILL)[0, :, 0].tolist() == [253, 252, 185]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_operation_keeps_shape_and_type(channels):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    names = {name for policy in POLICIES.values() for pair in policy for name, *_ in pair} | set(CHOICES)
    assert names | {"hue", "flip_y", "blur"} == set(OPERATIONS)
    for name in OPERATIONS:
        found = apply(image, [(name, 2)], (9,) * channels)
        assert (found.shape, found.dtype) == (image.shape, np.uint8)
