import numpy as np
import pytest

from dirac_keras.evaluation.corruptions.applying import corrupt, find_corruptions
from dirac_keras.evaluation.outcomes import choose
from dirac_keras.evaluation.robustness import drawn_batches, measure, seen
from pipelines.arrays.pixels import pixel_table
from tests.evaluation.networks import batches_of, spec_of

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), "uint8")
SPEC = spec_of("ab")
TABLE = pixel_table(SPEC.mean, SPEC.std)
TRUTH = (IMAGES.mean(axis=(1, 2, 3)) > 128).astype("int32")


def bright(images):
    """Probabilities of a network that calls an image bright (class 1) by its mean."""
    pixels = np.asarray(images) * SPEC.std[0] + SPEC.mean[0]
    is_bright = pixels.mean(axis=(1, 2, 3)) > 128
    return np.stack([1.0 - is_bright, is_bright], axis=-1)


def measured(names, size=7, most=None):
    found = find_corruptions(names, 1)
    return measure(bright, batches_of(IMAGES, TRUTH, SPEC, size), SPEC, TABLE, len(IMAGES), found, most)


def test_right_answers_are_counted_on_the_corrupted_pixels():
    found = measured(("brightness", "gaussian_noise"))
    for name in ("brightness", "gaussian_noise"):
        for strength in (1, 5):
            changed = np.stack([corrupt(image, name, strength, 0, k) for k, image in enumerate(IMAGES)])
            expected = np.sum((changed.mean(axis=(1, 2, 3)) > 128) == TRUTH)
            assert found.right[name][strength - 1] == expected
    assert (found.clean, found.images, found.constants) == (30, 30, "CIFAR-10-C")


def test_the_batch_does_not_matter():
    assert measured(("gaussian_noise", "fog"), size=4) == measured(("gaussian_noise", "fog"), size=30)


def test_some_images_are_drawn_once_for_all():
    found = measured(("brightness",), most=10)
    chosen = choose(30, 10, 0)
    changed = np.stack([corrupt(IMAGES[k], "brightness", 5, 0, int(k)) for k in chosen])
    assert found.images == 10
    assert found.right["brightness"][4] == np.sum((changed.mean(axis=(1, 2, 3)) > 128) == TRUTH[chosen])


def test_the_mean_is_over_common_corruptions_and_strengths():
    found = measured(("brightness", "speckle_noise"))
    assert found.common == ("brightness",)
    assert found.mean() == pytest.approx(np.mean(found.right["brightness"]) / 30)
    assert found.to_dict()["corruptions"]["speckle_noise"]["mean"] == pytest.approx(
        np.mean(found.right["speckle_noise"]) / 30
    )
    assert measured(("speckle_noise",)).mean() is None


def test_pixels_are_seen_as_the_data_set_scales_them():
    ((scaled, _),) = batches_of(IMAGES[:5], TRUTH[:5], SPEC)
    assert seen(IMAGES[:5], TABLE) == pytest.approx(scaled, abs=1e-6)


@pytest.mark.parametrize("most", [1, 8, 15, 16, 30])
def test_drawn_images_come_in_batches_of_one_size(most):
    chosen = choose(30, most, 0)
    found = list(drawn_batches(batches_of(IMAGES, TRUTH, SPEC, 8), chosen))
    sizes = [len(places) for _, _, places in found]
    assert set(sizes[:-1]) <= {8} and 1 <= sizes[-1] <= 8
    assert np.array_equal(np.concatenate([places for _, _, places in found]), chosen)
    ((scaled, _),) = batches_of(IMAGES, TRUTH, SPEC, 30)
    assert np.array_equal(np.concatenate([images for images, _, _ in found]), scaled[chosen])
    assert np.array_equal(np.concatenate([truth for _, truth, _ in found]), TRUTH[chosen])
