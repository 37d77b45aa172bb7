"""The decoder without TensorFlow: what Pillow shows of odd files, to the grey level, and why others are refused."""

import numpy as np
import pytest

from pipelines.arrays import crops, decoder, exif
from pipelines.decoding.rule import Rule
from tests.pipelines import odd_images as odd

simplejpeg = pytest.importorskip("simplejpeg")

# In grey, Pillow's user adds up red, green and blue, where a JPEG has the luminance itself.
GREY_JPEG_LEVELS = 2


@pytest.mark.parametrize("kind", odd.FORMATS)
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_pixels_are_those_that_pillow_shows(kind):
    assert odd.wrong_pixels(decoder.read, kind, GREY_JPEG_LEVELS) == {}


def test_refused_files_have_their_reasons():
    assert odd.wrong_refusals(decoder.read) == {}
    bomb = odd.BOMBS["PNG of 20,000 x 20,000"]
    assert decoder.read(bomb, 3)[1] == "too large: 20000 x 20000 pixels, more than 134,217,728 (`max_pixels`)"


def test_check_refuses_what_the_decoder_refuses():
    for case, (data, reason) in odd.REFUSED.items():
        with pytest.raises(decoder.Refused, match=reason.split(",")[0]):
            decoder.check_whole(data, Rule())
            pytest.fail(case)
    for data in odd.GOOD.values():
        decoder.check_whole(data, Rule())


def test_limit_is_the_number_of_pixels():
    """Of the canvas, where a frame is smaller."""
    sizes = {"JPEG plain": 37 * 53, "PNG plain": 37 * 53, "BMP plain": 37 * 53, "GIF frame on a canvas": 50 * 70,
             "WebP animated on a larger canvas": 45 * 63}  # fmt: skip
    for limit in (37 * 53 - 1, 45 * 63):
        taken = {case for case in sizes if decoder.read(odd.GOOD[case], 3, Rule(max_pixels=limit))[1] is None}
        assert taken == {case for case, pixels in sizes.items() if pixels <= limit}


def test_images_between_our_limit_and_pillows_own_are_taken_in_silence(monkeypatch):
    """Pillow warns of more pixels than its own limit, one for the whole process; warnings fail this test."""
    from PIL import Image

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)  # of 1,961; Pillow refuses some kinds above twice its limit
    for case in ("JPEG plain", "JPEG CMYK", "PNG plain", "GIF plain", "BMP plain", "WebP lossy"):
        assert decoder.read(odd.GOOD[case], 3)[1] is None


def test_orientation_is_left_on_request():
    for case in (case for case in odd.GOOD if "orientation" in case):
        image, _ = decoder.read(odd.GOOD[case], 3, Rule(exif_orientation=False))
        np.testing.assert_array_equal(image, odd.shown(odd.GOOD[case], turned=False), case)


@pytest.mark.parametrize("case", odd.BAD_EXIF)
def test_exif_that_says_nothing_turns_nothing(case):
    assert exif.in_exif(odd.BAD_EXIF[case]) == exif.UPRIGHT


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [3, 4])
def test_orientation_is_read_in_both_orders_and_types(order, kind):
    assert [exif.in_exif(odd.exif(k, order, kind)[6:]) for k in range(1, 9)] == list(range(1, 9))


def test_stored_window_of_a_turned_image_holds_the_same_pixels():
    stored = np.arange(5 * 7).reshape(5, 7, 1)
    for k in range(1, 9):
        seen = exif.turn(stored, k)
        top, left, height, width = exif.stored_window((1, 2, 3, 2), seen.shape[:2], k)
        part = exif.turn(stored[top : top + height, left : left + width], k)
        np.testing.assert_array_equal(part, seen[1:4, 2:4])


def test_16_bits_of_grey_become_the_upper_eight():
    from PIL import Image

    levels = (np.arange(37 * 53) * 30 + 77).astype(np.uint16).reshape(37, 53)
    image, _ = decoder.read(odd.saved(Image.fromarray(levels), "PNG"), 1)
    np.testing.assert_array_equal(image[..., 0], levels >> 8)


# random resized crops of encoded images


def crop(data, heights, widths, place, shape=(16, 16, 3)):
    return crops.random_resized_crop(data, *map(np.float32, (heights, widths, place)), shape, Rule())


def test_random_crop_is_the_window_of_the_picture_as_shown():
    """A window of the size of the result is cut and not scaled."""
    side = 16 / np.sqrt(37 * 53)
    for case in ("JPEG plain", *(f"JPEG orientation {k}" for k in range(2, 9)), "JPEG CMYK turned", "PNG plain"):
        image = odd.shown(odd.GOOD[case])
        top, left = int(0.3 * (image.shape[0] - 15)), int(0.6 * (image.shape[1] - 15))
        window = image[top : top + 16, left : left + 16]
        np.testing.assert_array_equal(crop(odd.GOOD[case], [side], [side], [0.3, 0.6]), window, case)


def test_random_crop_is_scaled_to_the_shape_that_is_asked_for():
    """A turned image, other sides than its view, colour and grey: the middle of a smooth picture keeps its colours."""
    for case in ("JPEG orientation 6", "PNG orientation 6", "JPEG grey"):
        for channels in (3, 1):
            view = crop(odd.GOOD[case], [9.0], [9.0], [0.5, 0.5], (20, 14, channels))  # too large: all or nearly all
            image = odd.shown(odd.GOOD[case], channels)
            assert view.shape == (20, 14, channels) and view.dtype == np.uint8
            middle = image[image.shape[0] // 2, image.shape[1] // 2].astype(int)
            assert np.abs(view[10, 7].astype(int) - middle).max() <= 12, case


@pytest.mark.parametrize("times", [2, 4, 8])
def test_crop_of_a_large_jpeg_looks_at_every_pixel(times):
    """Noise of pixels: the mean of n x n of them has an n-th of its deviation; of two by two, half."""
    from PIL import Image

    noise = np.random.default_rng(0).normal(128, 40, (32 * times, 32 * times)).clip(0, 255).astype(np.uint8)
    data = odd.saved(Image.fromarray(noise), "JPEG", quality=95)
    assert np.std(crop(data, [1.0], [1.0], [0.0, 0.0])) < 1.3 * 40 / (2 * times)


def test_crop_of_a_reduced_jpeg_is_near_the_crop_of_the_whole(monkeypatch):
    """A smooth picture at a half, a quarter and an eighth of its size: within 6 grey levels of the antialiased one.

    The window's corner is that of a pixel of the smaller image, up to seven of the whole away from where it was drawn.
    """
    data = odd.saved(odd.picture(400, 300), "JPEG", quality=95)
    for side in (33, 65, 140):
        share = side / np.sqrt(400 * 300)
        near = crop(data, [share], [share], [0.4, 0.7])
        with monkeypatch.context() as context:
            context.setattr(crops, "JPEG_SIGNATURE", b"none is")
            exact = crop(data, [share], [share], [0.4, 0.7])
        assert np.abs(near.astype(int) - exact).max() < 6 and np.ptp(exact) > 15
