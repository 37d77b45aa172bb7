"""The reader without TensorFlow gives what the one in TensorFlow gives: pixels, specs, refusals, messages."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import DataError, augment, encoded, load_splits, scaling
from pipelines.arrays import decoder, loading, pixels, resizing
from pipelines.decoding import decoder as tensorflow_decoder
from pipelines.decoding.rule import Rule
from pipelines.examples import View
from pipelines.readers import imagenet
from tests.marks import slow_but
from tests.pipelines import odd_images as odd
from tests.pipelines.test_archives import write_cifar10
from tests.pipelines.test_datasets import write_tfds
from tests.pipelines.test_imagenet import jpeg, write_imagenet
from tests.pipelines.test_manual import write_coil, write_usps
from tests.pipelines.test_records import flip, starts_of, train_file

# Where a test says nothing of a tolerance there is none: weights and sums are computed in the same order, see
# `pipelines.arrays.resizing`.


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), to_height=st.integers(1, 40), to_width=st.integers(1, 40))
def test_resized_images_are_the_same_floats(height, width, to_height, to_width):
    images = np.random.default_rng(height).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    expected = augment.resize(images, to_height, to_width)
    np.testing.assert_array_equal(resizing.resize(images, to_height, to_width), expected)


@pytest.mark.parametrize(("size", "target"), [((300, 200), (17, 93)), ((37, 53), (256, 367)), ((480, 640), (256, 341))])
def test_part_of_a_resized_image_is_the_same_floats(size, target):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    corner, sides = (3, 20), (14, 60)
    expected = augment.resize_and_cut(image, target, corner, sides)
    np.testing.assert_array_equal(resizing.resize_and_cut(image, target, corner, sides), expected)


def test_targets_and_middles_are_the_same():
    for height, width in ((10, 161), (2500, 1), (37, 53), (500, 333), (1, 1), (1001, 3)):
        size = tf.constant([height, width])
        assert pixels.middle(height, width) == tuple(augment.middle(size).numpy())
        for shorter in (1, 26, 256):
            target = pixels.shorter_side_target(height, width, shorter)
            assert target == tuple(augment.shorter_side_target(size, shorter).numpy())


@pytest.mark.slow
def test_crop_windows_are_the_same():
    draws = augment.crop_draws(tf.constant((3, 7)), 200)
    heights, widths, place = (values.numpy() for values in (draws.heights, draws.widths, draws.place))
    for k, size in enumerate([(400, 30), (30, 400), (90, 100), (375, 500)] * 50):
        expected = augment.crop_window(tf.constant(size), heights[k], widths[k], place[k])
        assert pixels.crop_window(size, heights[k], widths[k], place[k]) == tuple(expected.numpy())


@pytest.mark.slow  # each reader has a test against Pillow
@pytest.mark.parametrize("channels", [3, 1])
def test_odd_files_have_the_same_pixels_and_views(channels):
    """Of 80 good files; an ink under black is rounded by TensorFlow, see test_images.py: a level there."""
    for case, data in odd.GOOD.items():
        expected = tensorflow_decoder.decode(data, channels).numpy().astype(int)
        assert np.abs(decoder.decode(data, channels) - expected).max() <= ("CMYK" in case or "YCCK" in case), case
    for case in ("JPEG plain", "JPEG 4-2-0", "JPEG orientation 6", "PNG palette", "WebP lossy", "GIF plain"):
        for resize in (26, None):
            expected = encoded.evaluation_pixels(odd.GOOD[case], (24, 20, channels), resize)
            view = View((24, 20, channels), (0.0,), (1.0,), resize)
            np.testing.assert_array_equal(loading.evaluated(odd.GOOD[case], view, Rule()), expected, case)


@pytest.mark.slow
def test_refused_files_are_refused_with_the_same_words():
    for case, (data, _) in odd.REFUSED.items():
        assert decoder.read(data, 3)[1] == tensorflow_decoder.read(data, 3)[1], case


@pytest.mark.slow
def test_damage_within_files_is_seen_by_both():
    """Cut at many places, cut and ended, and bytes turned over: each reader takes what the other takes, but of GIF."""
    generator, differ = np.random.default_rng(0), {}
    names = ("JPEG plain", "PNG plain", "PNG interlaced", "WebP lossy", "WebP lossless", "BMP plain")
    files = {name: odd.GOOD[name] for name in names}
    files["a larger JPEG"] = odd.saved(odd.picture(200, 300), "JPEG")
    files["a larger progressive JPEG"] = odd.saved(odd.picture(200, 300), "JPEG", progressive=True)
    for kind, data in files.items():
        places = generator.integers(len(data) // 3, len(data) - 1, 6)
        spoilt = [odd.cut(data, share) + end for share in (0.3, 0.6, 0.9, 0.99) for end in (b"", b"\xff\xd9")]
        spoilt += [data[:-count] for count in (1, 2, 3, 5, 13)] + [data[:-2] + b"abc" + data[-2:]]
        spoilt += [data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :] for place in places]
        for number, broken in enumerate(spoilt):
            mine, theirs = decoder.read(broken, 3), tensorflow_decoder.read(broken, 3)
            # The blocks that a progressive JPEG lacks are smoothed, by each version of the decoder in its own way.
            same = mine[0] is None or "progressive" in kind or np.array_equal(mine[0], theirs[0])
            if mine[1] != theirs[1] or not same:
                differ[kind, number] = mine[1], theirs[1]
    assert differ == {}


# whole data sets


def both(name, **options):
    return [load_splits(name, reader=reader, **{"batch_size": 2, **options}) for reader in ("tensorflow", "numpy")]


def assert_agree(first, second):
    """The same specs, labels and evaluation batches; TensorFlow may fuse a product and a sum: one rounding."""
    assert first.spec == second.spec and first.found() == second.found()
    assert first.augmentation == second.augmentation and first.steps_per_epoch == second.steps_per_epoch
    for part, examples in first.parts.items():
        np.testing.assert_array_equal(examples.labels, second.parts[part].labels)
    streams = [(splits.train_in_order(), splits.test(), splits.validation()) for splits in (first, second)]
    for stream, other in zip(*streams, strict=True):
        assert (stream is None) == (other is None)
        for (images, labels), (other_images, other_labels) in zip(stream or (), other or (), strict=True):
            np.testing.assert_allclose(images, other_images, rtol=1e-6, atol=1e-6)
            np.testing.assert_array_equal(labels, other_labels)


def assert_same_pixels(first, second):
    for part, examples in first.parts.items():
        other = second.parts[part]
        np.testing.assert_array_equal(np.asarray(examples.images)[examples.rows], other.images[other.rows])


def fill(folder):
    """A small one of every data set that has files."""
    write_tfds(folder, {"train": [3, 1, 4, 1, 5, 9, 2], "test": [9, 2, 0]})
    write_imagenet(folder, [jpeg(k, height=64 + 8 * k) for k in range(7)], [jpeg(8), jpeg(9)])
    write_coil(folder / "downloads" / "manual")
    write_usps(folder / "downloads" / "manual")
    write_cifar10(folder)
    for part in ("train", "val"):
        for k, data in enumerate([*list(odd.GOOD.values())[::4], b"no image"]):
            path = folder / "photos" / part / ("ab"[k % 2]) / f"{k:02}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("data"))


def test_digits_agree():
    first, second = both("digits", batch_size=64, validation=0.2)
    assert_agree(first, second)
    assert_same_pixels(first, second)
    first, second = both("digits", image_size=13, max_train=100, max_test=30, seed=4, validation=7)
    assert_agree(first, second)
    assert_same_pixels(first, second)  # scaled, too


def test_prepared_data_agree(folder):
    first, second = both("mnist", data_dir=folder, validation=2)
    assert_agree(first, second)
    assert_same_pixels(first, second)


@pytest.mark.parametrize("options", [{}, {"image_size": (6, 5)}])
def test_coil20_agrees(folder, monkeypatch, options):
    from pipelines.readers import coil20

    for name, value in (("OBJECTS", 2), ("POSES", 5), ("SIDE", 8), ("DEFAULT_SIZE", (4, 4))):
        monkeypatch.setattr(coil20, name, value)
    first, second = both("coil20", data_dir=folder, **options)
    assert_agree(first, second)
    assert_same_pixels(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("limit", slow_but([0, 2**30], 2**30))
def test_imagenet_agrees(folder, monkeypatch, limit):
    monkeypatch.setattr(imagenet, "ENCODED_LIMIT_BYTES", limit)
    first, second = both("imagenet2012", data_dir=folder, image_size=48)
    assert (second.train_examples.records is None) == (limit > 0)
    assert_agree(first, second)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("case", slow_but(["in memory", "from files", "grey", "not turned"], "in memory"))
def test_folder_agrees(folder, monkeypatch, case):
    if case == "from files":
        monkeypatch.setattr(scaling, "CACHE_LIMIT_BYTES", 0)
    options = {"grey": {"channels": 1}, "not turned": {"exif_orientation": False}}.get(case, {})
    first, second = both(f"folder:{folder / 'photos'}", on_broken="skip", image_size=24, **options)
    if case == "grey":  # a level where a CMYK file's ink meets black
        second = dataclasses.replace(second, spec=dataclasses.replace(first.spec))
    assert_agree(first, second)
    with pytest.raises(DataError, match="1 of 24 image files cannot be decoded"):
        load_splits(f"folder:{folder / 'photos'}", reader="numpy", image_size=24)


def messages(name, **options):
    found = []
    for reader in ("tensorflow", "numpy"):
        with pytest.raises(DataError) as caught:
            load_splits(name, reader=reader, **options)
        found.append(str(caught.value))
    return found


def cut_file(path):
    path.write_bytes(path.read_bytes()[:-10])


SPOIL = {
    "a cut file": cut_file,
    "a bit of a record": lambda path: flip(path, starts_of(path)[1] + 20),
    "a bit of a length": lambda path: flip(path, starts_of(path)[1], 3),
    "a bit of a label": lambda path: flip(path, path.read_bytes().rindex(b"label", 0, starts_of(path)[2]) + 11),
    "no file": lambda path: path.unlink(),
}


@pytest.mark.parametrize("spoil", SPOIL)
@pytest.mark.parametrize("name", slow_but(["mnist", "imagenet2012"], "mnist"))
def test_damaged_records_are_named_in_the_same_words(tmp_path, name, spoil):
    write_tfds(tmp_path, {"train": [3, 1, 4], "test": [9, 2]})
    write_imagenet(tmp_path, [jpeg(0), jpeg(1), jpeg(2)], [jpeg(3)])
    SPOIL[spoil](train_file(tmp_path / name, name))
    first, second = messages(name, data_dir=tmp_path)
    assert first == second


@pytest.mark.parametrize(
    ("old", "new"), [('"3"', '"900000000000"'), ("{SPLIT}", "{SPLOT}"), ("{SPLIT}", "}SPLIT}"), ('"splits"', '"other"')]
)
def test_damaged_description_is_an_error(tmp_path, old, new):
    version = write_tfds(tmp_path, {"train": [1, 2, 3], "test": [0]})
    path = version / "dataset_info.json"
    path.write_text(path.read_text().replace(old, new))
    for message in messages("mnist", data_dir=tmp_path):
        assert message.startswith(f"{version} is damaged: ")


def test_absent_data_is_said_by_both(tmp_path, no_network):
    for name in ("usps", "coil20", "imagenet2012", f"folder:{tmp_path / 'absent'}"):
        first, second = messages(name, data_dir=tmp_path)
        assert first == second
    for name in ("cifar10", "cifar100", "mnist", "fashion_mnist"):
        for message in messages(name, data_dir=tmp_path):
            assert message.startswith(f"{name} was not found in {tmp_path}: looked for {name}/3.0.")


# where TensorFlow is not there


@pytest.mark.slow
def test_every_data_set_is_read_where_tensorflow_cannot_be_imported(folder, monkeypatch):
    pytest.importorskip("jax")
    root = pathlib.Path(__file__).parents[2]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipelines.without_tensorflow", str(folder)],
        capture_output=True, text=True, env=environment, cwd=root, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("refused").startswith("reader='tensorflow' needs TensorFlow, which is not installed")
    assert len(found) == 7 and {entry["reader"] for entry in found.values()} == {"numpy"}
    for name, options in {
        "digits": {"validation": 0.1}, "mnist": {}, "imagenet2012": {"image_size": 48},
        f"folder:{folder}/photos": {"image_size": 24, "on_broken": "skip"},
    }.items():  # fmt: skip
        here, there = (
            load_splits(name, batch_size=2, data_dir=folder, reader="tensorflow", **options),
            found[name.partition(":")[0]],
        )
        assert there["spec"] == json.loads(json.dumps(here.spec.to_dict()))
        assert there["labels"] == here.test_examples.labels.tolist()
        assert there["found"] == here.found()
        sums = [float(images.numpy().astype(np.float64).sum()) for images, _ in here.test()]
        np.testing.assert_allclose(there["test"], sums, rtol=1e-6, atol=1e-2)
    assert found["cifar10"]["spec"]["num_validation"] == 4 and found["cifar10"]["spec"]["num_test"] == 4
