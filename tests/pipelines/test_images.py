"""The decoder: what Pillow shows of odd files, to the grey level, and a reason for those that are refused."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines import augment, encoded
from pipelines.decoding import decoder, orientation
from pipelines.decoding.rule import Rule
from tests.pipelines import odd_images as odd

# libjpeg-turbo decodes in Pillow and in TensorFlow, by the same method: no tolerance. In grey, Pillow's user adds up
# red, green and blue, where the file has the luminance itself: two roundings and the rounded conversion between.
GREY_JPEG_LEVELS = 2
USUAL = Rule(only_usual=True)


def test_there_are_sixty_odd_images_and_more():
    assert len(odd.GOOD) >= 60 and len(odd.REFUSED) >= 20


# Many files in one test: between tests TensorFlow forgets what it has made of a graph, seconds for the decoder's.
@pytest.mark.slow
@pytest.mark.parametrize("kind", odd.FORMATS)
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_pixels_are_those_that_pillow_shows(kind):
    assert odd.wrong_pixels(decoder.read, kind, GREY_JPEG_LEVELS) == {}


def test_inks_under_black_are_within_a_level_of_what_pillow_shows():
    """TensorFlow rounds the product of an ink and black down, Pillow to the nearest."""
    data = odd.saved(Image.merge("CMYK", (*odd.CMYK.split()[:3], odd.GREY)), "JPEG", quality=95)
    image, _ = decoder.read(data, 3)
    difference = np.abs(image.numpy().astype(int) - odd.shown(data))
    assert difference.max() == 1 and np.ptp(odd.shown(data)) > 100


@pytest.mark.slow
def test_refused_files_have_their_reasons():
    assert odd.wrong_refusals(decoder.read) == {}
    bomb = odd.BOMBS["PNG of 20,000 x 20,000"]
    assert len(bomb) < 10**6
    assert decoder.read(bomb, 3)[1] == "too large: 20000 x 20000 pixels, more than 134,217,728 (`max_pixels`)"


def test_every_orientation_is_another_picture():
    """Else the test against Pillow could not fail."""
    images = {decoder.read(odd.GOOD[f"JPEG orientation {k}"], 3)[0].numpy().tobytes() for k in range(2, 9)}
    assert len(images | {decoder.read(odd.JPEG, 3)[0].numpy().tobytes()}) == 8


@pytest.mark.slow
def test_orientation_is_left_on_request():
    for case in (case for case in odd.GOOD if "orientation" in case):
        image, _ = decoder.read(odd.GOOD[case], 3, Rule(exif_orientation=False))
        np.testing.assert_array_equal(image, odd.shown(odd.GOOD[case], turned=False), case)


@pytest.mark.parametrize("case", odd.BAD_EXIF)
def test_exif_that_says_nothing_turns_nothing(case):
    assert orientation.in_exif(tf.constant(odd.BAD_EXIF[case])) == orientation.UPRIGHT


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [3, 4])
def test_orientation_is_read_in_both_orders_and_types(order, kind):
    assert [int(orientation.in_exif(odd.exif(k, order, kind)[6:])) for k in range(1, 9)] == list(range(1, 9))


def test_stored_window_of_a_turned_image_holds_the_same_pixels():
    stored = tf.constant(np.arange(5 * 7).reshape(5, 7, 1))
    for k in range(1, 9):
        seen = orientation.turn(stored, tf.constant(k)).numpy()
        top, left, height, width = orientation.stored_window(tf.constant([1, 2, 3, 2]), seen.shape[:2], tf.constant(k))
        part = orientation.turn(stored[top : top + height, left : left + width], tf.constant(k))
        np.testing.assert_array_equal(part, seen[1:4, 2:4])


@pytest.mark.slow
def test_limit_is_the_number_of_pixels():
    """Of the canvas, where a frame is smaller."""
    sizes = {"JPEG plain": 37 * 53, "PNG plain": 37 * 53, "BMP plain": 37 * 53, "GIF frame on a canvas": 50 * 70,
             "WebP animated on a larger canvas": 45 * 63}  # fmt: skip
    for limit in (37 * 53 - 1, 45 * 63):
        taken = {case for case in sizes if decoder.read(odd.GOOD[case], 3, Rule(max_pixels=limit))[1] is None}
        assert taken == {case for case, pixels in sizes.items() if pixels <= limit}


@pytest.mark.slow
def test_decoder_of_jpeg_and_png_alone_gives_the_same():
    for case in ("JPEG plain", "PNG palette", "JPEG orientation 5", "JPEG CMYK", "PNG orientation 6"):
        usual = decoder.decode(odd.GOOD[case], 3, Rule(only_usual=True))
        np.testing.assert_array_equal(usual, decoder.decode(odd.GOOD[case], 3, Rule()), case)


@pytest.mark.slow
@pytest.mark.parametrize("only_usual", [False, True])
def test_check_refuses_what_the_decoder_refuses(only_usual):
    for case in ("JPEG cut", "PNG cut", "JPEG cut and ended", "PNG turned over in its middle"):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decoder.is_whole(odd.REFUSED[case][0], Rule(only_usual=only_usual))


# encoded: what a stream makes of one file


@pytest.mark.slow
def test_evaluation_sees_the_picture_as_shown():
    for case in ("JPEG plain", "JPEG orientation 6", "JPEG CMYK turned", "JPEG grey", "PNG palette, orientation 5"):
        expected = augment.evaluation_view(odd.shown(odd.GOOD[case]), (24, 20, 3), 26)
        pixels = encoded.evaluation_pixels(odd.GOOD[case], (24, 20, 3), 26, USUAL)
        np.testing.assert_array_equal(pixels, expected, case)


@pytest.mark.slow
def test_random_crop_is_the_window_of_the_picture_as_shown():
    """A window of the size of the result is cut and not scaled. A JPEG's colours are stored at half its size: a window
    that is decoded alone lacks their neighbours at its border."""
    side = 16 / float(np.sqrt(37 * 53))
    for case in (*(f"JPEG orientation {k}" for k in range(2, 9)), "JPEG CMYK turned"):
        image = odd.shown(odd.GOOD[case])
        crop = encoded.random_resized_crop(odd.GOOD[case], [side], [side], [0.3, 0.6], False, (16, 16, 3), USUAL)
        top, left = int(0.3 * (image.shape[0] - 15)), int(0.6 * (image.shape[1] - 15))
        window = image[top : top + 16, left : left + 16]
        np.testing.assert_allclose(crop[1:-1, 1:-1], window[1:-1, 1:-1], atol=2, err_msg=case)


LONG = {"a row": (1, 2500), "a column": (2500, 1), "a strip": (3, 1001)}


@pytest.mark.parametrize("case", LONG)
def test_long_image_is_cut_to_its_middle_before_it_is_scaled(case, monkeypatch):
    """The middle of a ramp is its mean level; nothing larger than 16 times the shorter side is computed."""
    height, width = LONG[case]
    ramp = np.linspace(0, 250, max(LONG[case])).round().astype(np.uint8)
    image = np.broadcast_to(ramp.reshape((1, -1) if width > height else (-1, 1)), LONG[case])
    image = np.repeat(image[..., None], 3, -1)
    largest = []
    resize = augment.resize_and_cut

    def watched(image, target, *rest):
        largest.append(int(np.prod(target)))
        return resize(image, target, *rest)

    monkeypatch.setattr(augment, "resize_and_cut", watched)
    view = augment.evaluation_view(image, (224, 224, 3), 256).numpy().astype(int)
    assert view.shape == (224, 224, 3) and np.abs(view - 125).max() <= 1
    assert largest[0] <= 256 * 256 * augment.LARGEST_ASPECT


def test_image_up_to_the_largest_aspect_is_not_cut():
    assert augment.middle(tf.constant([10, 160])).numpy().tolist() == [0, 0, 10, 160]
    assert augment.middle(tf.constant([10, 161])).numpy().tolist() == [0, 1, 10, 159]  # the middle stays: odd as before
    assert augment.middle(tf.constant([2500, 1])).numpy().tolist() == [1242, 0, 16, 1]


def test_rule_is_hashable_and_its_own_key():
    """Settings of traced functions are keys of a cache."""
    assert dataclasses.replace(Rule(), only_usual=True) != Rule() and hash(Rule()) == hash(Rule())


@pytest.mark.slow
def test_image_cut_anywhere_in_its_head_is_refused_with_its_reason():
    """Also where TensorFlow's own message quotes the bytes, which Python cannot read as text."""
    from pipelines.arrays.decoder import read as read_array

    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP"):
        file = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)).save(file, kind)
        for size in range(1, 40):
            pixels, reason = decoder.read(file.getvalue()[:size], 3)
            assert pixels is None and reason, (kind, size)
            assert read_array(file.getvalue()[:size], 3)[0] is None, (kind, size)
