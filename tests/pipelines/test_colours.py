"""Images with the channels that a model takes."""

import numpy as np
from PIL import Image

from pipelines import load_splits
from pipelines.colours import convert, in_channels
from pipelines.examples import Examples
from pipelines.readers.raw import Raw


def test_channels_are_those_that_are_asked_for_whatever_the_data_set_has():
    own, coloured = (load_splits("digits", channels=channels, max_test=20) for channels in (1, 3))
    grey, colour = (next(iter(splits.test()))[0] for splits in (own, coloured))
    assert coloured.spec.image_shape == (8, 8, 3) and coloured.spec.mean == own.spec.mean * 3
    np.testing.assert_array_equal(np.asarray(colour), np.repeat(np.asarray(grey), 3, axis=-1))


def test_grey_levels_of_colours_are_pillow_s_luminance():
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
    expected = [np.asarray(Image.fromarray(image).convert("L")) for image in images]
    np.testing.assert_array_equal(convert(images, 1)[..., 0], expected)
    assert convert(np.array([[[[255, 0, 0]]]], np.uint8), 1).item() == 76  # 0.299 of 255


def test_statistics_of_a_luminance_are_measured_and_parts_share_its_images():
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    examples = Examples.in_memory(images, np.arange(6) % 2)
    raw = Raw(examples.take([0, 1, 2]), examples.take([3, 4, 5]), ("a", "b"), (5, 4, 3), (1.0,) * 3, (2.0,) * 3, "none")
    grey = in_channels(raw, 1)
    assert grey.image_shape == (5, 4, 1) and grey.mean is None and grey.std is None
    assert grey.train.images is grey.test.images
    assert in_channels(raw, 3) is raw and in_channels(raw, None) is raw
