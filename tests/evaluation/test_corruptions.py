import colorsys
import hashlib

import numpy as np
import pytest

from dirac_keras.evaluation.corruptions import blur, noise, weather
from dirac_keras.evaluation.corruptions.applying import corrupt, find_corruptions, skipped
from dirac_keras.evaluation.corruptions.table import CORRUPTIONS, STRENGTHS

IMAGE = np.random.default_rng(1).integers(0, 256, (32, 32, 3), "uint8")
FLOATS = IMAGE / 255.0


def smooth(height, width, channels=3):
    """An image like a photo: neighbours are alike."""
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / 5 + k) + np.cos(columns / 7 - k) for k in range(channels)]
    return np.uint8(np.stack(waves, axis=-1) * 60 + 128)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_pixels_depend_on_seed_and_index_alone(name):
    first = corrupt(IMAGE, name, 3, seed=1, index=7)
    corrupt(IMAGE, name, 2, seed=5, index=1)
    assert first.dtype == np.uint8
    assert np.array_equal(first, corrupt(IMAGE.copy(), name, 3, seed=1, index=7))
    fixed = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression", "gaussian_blur"}
    is_same = np.array_equal(first, corrupt(IMAGE, name, 3, seed=1, index=8))
    assert is_same == (name in fixed | {"saturate"})


@pytest.mark.parametrize("shape", [(8, 8, 1), (20, 40, 3), (65, 70, 3), (5, 3, 1)])
def test_any_shape_and_grey_stay_what_they_are(shape):
    image = smooth(*shape)
    before = hashlib.sha256(image).digest()
    for corruption in find_corruptions("all", shape[-1]):
        for strength in (1, 2, 5):
            assert corrupt(image, corruption.name, strength).shape == shape, corruption.name
    assert hashlib.sha256(image).digest() == before  # the image itself is not written to


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "defocus_blur",
                                  "zoom_blur", "gaussian_blur", "brightness", "contrast", "pixelate"])  # fmt: skip
@pytest.mark.parametrize("side", [32, 64])
def test_the_stronger_the_further_from_the_image(name, side):
    image = smooth(side, side)
    far = [np.abs(corrupt(image, name, s).astype(float) - image).mean() for s in STRENGTHS]
    assert far == sorted(far)
    assert far[-1] > 1.5 * far[0]


def test_every_corruption_has_five_strengths_for_each_table():
    assert {len(c.small) for c in CORRUPTIONS.values()} == {len(c.large) for c in CORRUPTIONS.values()} == {5}
    assert sum(c.is_common for c in CORRUPTIONS.values()) == 14  # the paper's 15 without frost


def test_small_images_have_the_constants_of_cifar():
    contrast = CORRUPTIONS["contrast"]
    assert contrast.constants((32, 32, 3), 5) == 0.15
    assert contrast.constants((224, 224, 3), 5) == 0.05


def test_gaussian_noise_has_its_deviation():
    found = noise.gaussian_noise(np.full((200, 200, 1), 0.5), 0.1, np.random.default_rng(0)) - 0.5
    assert np.std(found) == pytest.approx(0.1, rel=0.02)  # of 40,000 draws: a deviation of 0.4 %


def test_shot_noise_keeps_the_mean_and_has_poissons_variance():
    found = noise.shot_noise(np.full((200, 200, 1), 0.5), 100, np.random.default_rng(0))
    assert np.mean(found) == pytest.approx(0.5, rel=0.01)
    assert np.var(found) == pytest.approx(0.5 / 100, rel=0.03)


def test_impulse_noise_is_salt_and_pepper_alike():
    found = noise.impulse_noise(np.full((200, 200, 1), 0.5), 0.2, np.random.default_rng(0))
    assert np.mean(found == 0.0) == pytest.approx(0.1, abs=0.01)
    assert np.mean(found == 1.0) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(("function", "constants", "channel"), [
    (weather.brightness, 0.3, lambda h, s, v: (h, s, min(v + 0.3, 1))),
    (weather.saturate, (2, 0.1), lambda h, s, v: (h, min(2 * s + 0.1, 1), v)),
    (weather.saturate, (0.3, 0), lambda h, s, v: (h, 0.3 * s, v)),
])  # fmt: skip
def test_colours_change_as_in_hsv(function, constants, channel):
    pixels = np.concatenate([FLOATS[:2].reshape(-1, 3), [[0, 0, 0], [0.5, 0.5, 0.5], [1, 1, 1], [1, 0, 0]]])
    expected = [colorsys.hsv_to_rgb(*channel(*colorsys.rgb_to_hsv(*pixel))) for pixel in pixels]
    assert function(pixels[None], constants, None)[0] == pytest.approx(np.array(expected), abs=1e-12)


def test_contrast_by_hand():
    image = np.array([[[0.0], [1.0]]])
    assert weather.contrast(image, 0.4, None).ravel() == pytest.approx([0.3, 0.7])


def test_blurs_keep_a_plain_image():
    plain = np.full((32, 32, 3), 0.25)
    rng = np.random.default_rng(0)
    for name in ("gaussian_blur", "defocus_blur", "motion_blur", "zoom_blur"):
        corruption = CORRUPTIONS[name]
        assert corruption.apply(plain, corruption.constants(plain.shape, 5), rng) == pytest.approx(plain)


@pytest.mark.parametrize("constants", [(0.3, 0.4), (1, 0.2), (3, 0.1), (10, 0.5)])
def test_a_disk_sums_to_one_and_is_as_wide_as_its_radius(constants):
    kernel = blur.disk(*constants)
    assert kernel.sum() == pytest.approx(1.0)
    assert kernel == pytest.approx(kernel.T)
    assert kernel.shape[0] <= 2 * (int(constants[0]) + 2) + 1


def test_motion_along_a_line_by_hand():
    """Weights 1, e^-1/2, e^-2 over the pixel itself and two to its right; the last pixel is repeated."""
    row = np.array([1.0, 0.0, 0.0, 8.0])[None, :, None]
    weights = np.exp([0.0, -0.5, -2.0])
    weights /= weights.sum()
    found = blur.moved(row, 1, 1.0, 0.0)[0, :, 0]
    assert found == pytest.approx([weights[0], 8 * weights[2], 8 * (weights[1] + weights[2]), 8.0])


def test_an_enlargement_by_one_changes_nothing():
    assert blur.zoomed(FLOATS, 1.0) == pytest.approx(FLOATS)


def test_glass_takes_pixels_of_the_neighbourhood_alone():
    """With a reach of one pixel, each takes the value of itself, or of the one left, above, or both."""
    values = np.arange(256).reshape(16, 16)
    found = blur.glass_blur((values[..., None] + 0.5) / 255, (0.01, 1, 1), np.random.default_rng(0))  # no Gaussian
    found = np.rint(found[..., 0] * 255).astype(int)
    assert np.array_equal(found[:2], values[:2])
    assert np.array_equal(found[:, :2], values[:, :2])
    steps = (values - found)[2:, 2:]
    assert set(np.unique(steps)) == {0, 1, 16, 17}


def test_plasma_fills_zero_to_one_on_the_next_power_of_two():
    found = weather.plasma(20, 2, np.random.default_rng(0))
    assert found.shape == (32, 32)
    assert (found.min(), found.max()) == (0.0, 1.0)
    assert weather.plasma(32, 2, np.random.default_rng(0)).shape == (32, 32)


def test_no_shear_and_no_field_is_the_image():
    elastic = CORRUPTIONS["elastic_transform"].apply
    assert elastic(FLOATS, (0, 0, 0), np.random.default_rng(0)) == pytest.approx(FLOATS, abs=1e-9)


@pytest.mark.parametrize(("names", "channels", "message"), [
    (("fogg",), 3, "Did you mean fog"),
    (("frost",), 3, "photographs of frost"),
    (("saturate",), 1, "needs images in colour"),
    ((), 3, "must be all, or of"),
])  # fmt: skip
def test_what_there_is_not_is_refused(names, channels, message):
    with pytest.raises(ValueError, match=message):
        find_corruptions(names, channels)


def test_all_of_grey_images_says_what_it_leaves_out():
    assert "saturate" not in {c.name for c in find_corruptions("all", 1)}
    assert set(skipped(1)) == {"frost", "spatter", "saturate"}
    assert set(skipped(3)) == {"frost", "spatter"}


def test_strengths_are_one_to_five():
    with pytest.raises(ValueError, match="strength must be 1 to 5"):
        corrupt(IMAGE, "fog", 6)
