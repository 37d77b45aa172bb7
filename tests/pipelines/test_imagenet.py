"""ImageNet: where its records are, what is made of images that are odd or broken, and exact streams of them."""

import io
import logging

import numpy as np
import pytest
import tensorflow as tf

from pipelines import DataError, augment, encoded, load_splits, streams
from pipelines.examples import Examples, View
from pipelines.readers import imagenet, records
from pipelines.tensorflow_engine import read_images
from tests.marks import slow_but
from tests.pipelines.odd_images import as_ycck, without_adobe

Image = pytest.importorskip("PIL.Image")
SIDE = 48  # of the test's views; a multiple of 8 keeps JPEG's blocks whole


def picture(height=96, width=128, seed=0):
    """A smooth colour picture, which JPEG keeps to a few grey levels."""
    y, x = np.mgrid[0:height, 0:width] / 64.0
    shift = np.random.default_rng(seed).uniform(0, 6, 3)
    return np.stack([127 + 100 * np.sin(x * (k + 1) + y + shift[k]) for k in range(3)], -1).round().astype(np.uint8)


def saved(image, kind="JPEG", **options):
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 95} if kind == "JPEG" else {}), **options)
    return file.getvalue()


def jpeg(seed=0, **size):
    return saved(Image.fromarray(picture(seed=seed, **size)))


RGB = Image.fromarray(picture())
CMYK = RGB.convert("CMYK")
ODD = {  # bytes, and the picture they hold
    "CMYK as Adobe writes it": (saved(CMYK, subsampling=0), RGB),
    "YCCK as Adobe writes it": (as_ycck(CMYK), RGB),
    "CMYK without Adobe's marker, inverted too, as viewers and Pillow read it": (
        without_adobe(saved(CMYK, subsampling=0)),
        RGB,
    ),
    "grey": (saved(RGB.convert("L")), RGB.convert("L").convert("RGB")),
    "PNG": (saved(RGB, "PNG"), RGB),
    "PNG with a palette": (saved(RGB.convert("P"), "PNG"), RGB.convert("P").convert("RGB")),
    "PNG with transparency": (saved(RGB.convert("RGBA"), "PNG"), RGB),
    "progressive": (saved(RGB, progressive=True), RGB),
}
BROKEN = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "text": lambda data: b"404 Not Found" * 9,
}


def middle(data, **options):
    """The whole image as the training's crop, not mirrored."""
    all_of_it = {"heights": [96 / 110.85], "widths": [128 / 110.85], "place": [0.0, 0.0]}  # 110.85 is the area's root
    return encoded.random_resized_crop(data, **all_of_it, mirrored=False, image_shape=(SIDE, SIDE, 3), **options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ODD)
def test_odd_image_has_the_colours_of_its_picture(kind):
    """JPEG of quality 95, and colours at half the resolution in one: within 12 grey levels, 3 in the mean."""
    data, expected = ODD[kind]
    difference = np.abs(encoded.decode(data, 3).numpy().astype(float) - np.asarray(expected))
    assert difference.max() <= 12 and difference.mean() < 3


@pytest.mark.slow
def test_cmyk_is_converted_as_pillow_does():
    """Pillow takes every CMYK file for Adobe's. One level: the product's rounding."""
    data = saved(CMYK, subsampling=0)
    theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(encoded.decode(data, 3).numpy() - theirs).max() <= 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ODD)
def test_odd_image_gives_the_crop_of_its_picture(kind):
    """Plain bilinear by a factor of 2 and 2.7 against antialiasing: on a smooth picture 12 levels at most."""
    data, expected = ODD[kind]
    expected = tf.image.resize(np.asarray(expected), (SIDE, SIDE), antialias=True)
    assert np.abs(middle(data) - expected).max() <= 14


@pytest.mark.slow
@pytest.mark.parametrize("times", [2, 4])
def test_crop_of_a_large_jpeg_looks_at_every_pixel(times):
    """Noise of pixels: the mean of n x n of them has an n-th of its deviation; of two by two, half."""
    noise = np.random.default_rng(0).normal(128, 40, (2 * SIDE * times, 2 * SIDE * times)).clip(0, 255)
    data = saved(Image.fromarray(noise.astype(np.uint8)))
    draws = {"heights": [1.0], "widths": [1.0], "place": [0.0, 0.0]}
    crop = encoded.random_resized_crop(data, **draws, mirrored=False, image_shape=(SIDE, SIDE, 3))
    assert np.std(crop) < 1.3 * 40 / (2 * times)


@pytest.mark.slow
def test_crop_is_the_window_mirrored_on_request():
    """A window of the size of the result is cut and not scaled: its pixels are the decoded ones."""
    data = saved(RGB, subsampling=0)
    unit = (96 * 128) ** 0.5
    draws = {"heights": [SIDE / unit], "widths": [SIDE / unit], "place": [0.5, 0.5]}
    window = encoded.decode(data, 3).numpy()[24 : 24 + SIDE, 40 : 40 + SIDE]
    for mirrored, expected in ((False, window), (True, window[:, ::-1])):
        crop = encoded.random_resized_crop(data, **draws, mirrored=mirrored, image_shape=(SIDE, SIDE, 3))
        np.testing.assert_array_equal(crop, expected)


@pytest.mark.slow
def test_evaluation_pixels_are_those_of_the_image_decoded_whole():
    data = jpeg()
    whole = tf.image.resize(encoded.decode(data, 3), (64, 85), antialias=True)  # 96x128, shorter side 64
    expected = tf.round(whole[(64 - SIDE) // 2 :][:SIDE, (85 - SIDE) // 2 :][:, :SIDE])
    np.testing.assert_array_equal(encoded.evaluation_pixels(data, (SIDE, SIDE, 3), 64), expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ODD)
def test_evaluation_of_an_odd_image_sees_its_picture_decoded_whole(kind):
    data, _ = ODD[kind]
    expected = augment.evaluation_pixels(encoded.decode(data, 3), (SIDE, SIDE, 3), 64)
    np.testing.assert_array_equal(encoded.evaluation_pixels(data, (SIDE, SIDE, 3), 64), expected)


@pytest.mark.slow
@pytest.mark.parametrize("size", slow_but([(96, 128), (131, 97), (75, 300), (61, 64)], (131, 97)))
@pytest.mark.parametrize(
    "options", slow_but([{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}], {"subsampling": 1})
)
def test_evaluation_decodes_a_part_to_the_same_pixels(size, options):
    """Noise in all colours: one that is missing at the border of the part, or lacks a neighbour there, would show."""
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), **options)
    for sides, resize_to in (((32, 32), 40), ((48, 32), None), ((64, 64), 64), ((33, 35), 160), ((33, 35), 250)):
        expected = augment.evaluation_pixels(encoded.decode(data, 3), (*sides, 3), resize_to)
        np.testing.assert_array_equal(encoded.evaluation_pixels(data, (*sides, 3), resize_to), expected)


# records


def write_imagenet(folder, train, validation, classes=1000):
    """A small imagenet2012 in the format of tensorflow-datasets, the bytes of the images as they are given."""
    tfds = pytest.importorskip("tensorflow_datasets")
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=[f"n{k:08}" for k in range(classes)]),
            "file_name": tfds.features.Text(),
        }
    )
    splits = {
        split: [
            (k, {"image": io.BytesIO(data), "label": k % classes, "file_name": f"{split}_{k}.JPEG"})
            for k, data in enumerate(images)
        ]
        for split, images in (("train", train), ("validation", validation))
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name="imagenet2012", version="5.1.0", features=features, split_datasets=splits, data_dir=str(folder),
        disable_shuffling=True,
    )  # fmt: skip
    return folder


def load(folder, **options):
    return load_splits("imagenet2012", data_dir=folder, **{"batch_size": 2, "image_size": SIDE, **options})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Nine images of several sizes in train, three in validation."""
    images = [jpeg(k, height=64 + 8 * k, width=120 - 8 * k) for k in range(12)]
    return write_imagenet(tmp_path_factory.mktemp("imagenet"), images[:9], images[9:]), images


def test_index_finds_the_bytes_the_label_and_the_name_of_every_record(written):
    folder, images = written
    (path,) = (folder / "imagenet2012" / "5.1.0").glob("*train.tfrecord*")
    index = records.index_records([path])
    assert list(read_images(index.records, np.arange(9))) == images[:9]
    assert list(read_images(index.records, np.array([7, 2]))) == [images[7], images[2]]
    assert index.labels.tolist() == list(range(9)) and index.names[8] == "train_8.JPEG"
    (ends,) = records.read_ends(index.records, np.array([5]), head=3, tail=2)
    assert ends == (images[5][:3], images[5][-2:])


@pytest.mark.slow
def test_imagenet_is_described_as_its_authors_do(written):
    spec = load_splits("imagenet2012", data_dir=written[0], batch_size=2).spec
    assert (spec.num_train, spec.num_test, spec.num_classes) == (9, 3, 1000)
    assert (spec.image_shape, spec.resize) == ((224, 224, 3), 256)
    assert spec.class_names[1] == "n00000001"
    np.testing.assert_allclose(np.array(spec.mean) / 255, (0.485, 0.456, 0.406), atol=1e-5)
    np.testing.assert_allclose(np.array(spec.std) / 255, (0.229, 0.224, 0.225), atol=1e-5)


def batches(stream):
    return list(stream.as_numpy_iterator())


def assert_same(first, second):
    for (images, labels), (other, other_labels) in zip(first, second, strict=True):
        np.testing.assert_array_equal(images, other)
        np.testing.assert_array_equal(labels, other_labels)


@pytest.mark.slow
def test_images_read_from_the_files_give_the_batches_of_those_in_memory(written, monkeypatch):
    stored = load(written[0])
    monkeypatch.setattr(imagenet, "ENCODED_LIMIT_BYTES", 0)
    streamed = load(written[0])
    assert stored.train_examples.records is None and streamed.train_examples.encoded is None
    assert_same(batches(stored.train().take(9)), batches(streamed.train().take(9)))
    assert_same(batches(stored.test()), batches(streamed.test()))


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0, 2**30])
def test_stream_started_late_is_the_stream_started_at_zero(written, monkeypatch, limit):
    monkeypatch.setattr(imagenet, "ENCODED_LIMIT_BYTES", limit)
    splits = load(written[0])
    assert_same(batches(splits.train().take(9))[6:], batches(splits.train(6).take(3)))


@pytest.mark.slow
def test_shards_of_a_batch_are_the_batch(written):
    splits = load(written[0], batch_size=5)
    whole = batches(splits.train().take(2))
    parts = [batches(splits.train(shard=(index, 2)).take(2)) for index in range(2)]
    assert [len(part[0][1]) for part in parts] == [2, 3]
    joined = [tuple(np.concatenate(both) for both in zip(*step, strict=True)) for step in zip(*parts, strict=True)]
    assert_same(whole, joined)


@pytest.mark.slow
def test_epoch_visits_every_image_once_and_crops_it_differently_the_next_time(written):
    splits = load(written[0], batch_size=3)
    images, labels = zip(*batches(splits.train().take(6)), strict=True)
    for epoch in (labels[:3], labels[3:]):
        assert sorted(np.concatenate(epoch)) == list(range(9))
    first = dict(zip(np.concatenate(labels[:3]), np.concatenate(images[:3]), strict=True))
    second = dict(zip(np.concatenate(labels[3:]), np.concatenate(images[3:]), strict=True))
    assert not any(np.array_equal(first[k], second[k]) for k in range(9))


@pytest.mark.slow
def test_half_of_the_crops_are_mirrored():
    """Of an image that grows brighter to the right; 400 fair coins, four standard deviations."""
    ramp = np.tile(np.arange(128, dtype=np.uint8)[:, None] * 2, (128, 1, 3))
    examples = Examples.in_bytes([saved(Image.fromarray(ramp))], [0])
    stream = streams.train_stream(
        examples.take(np.zeros(400, int)), View((8, 8, 3), (0.0,) * 3, (1.0,) * 3),
        augmentation=augment.AUGMENTATIONS["imagenet"], batch_size=400, steps_per_epoch=1, seed=0,
    )  # fmt: skip
    ((images, _),) = batches(stream.take(1))
    mirrored = images[:, 0, 0, 0] > images[:, 0, -1, 0]
    assert abs(mirrored.mean() - 0.5) < 4 * 0.5 / np.sqrt(400)


@pytest.mark.slow
@pytest.mark.parametrize("limit", slow_but([0, 2**30], 0))
@pytest.mark.parametrize("kind", slow_but([*BROKEN], "cut"))
def test_broken_image_is_named_or_skipped(tmp_path, caplog, monkeypatch, kind, limit):
    monkeypatch.setattr(imagenet, "ENCODED_LIMIT_BYTES", limit)
    write_imagenet(tmp_path, [jpeg(0), BROKEN[kind](jpeg(1)), jpeg(2)], [jpeg(3)])
    with pytest.raises(
        DataError, match=r'1 of 3 image files cannot be decoded: train_1\.JPEG \([^)]+\)\. .*`on_broken="skip"`'
    ):
        load(tmp_path)
    with caplog.at_level(logging.WARNING, "pipelines"):
        splits = load(tmp_path, on_broken="skip")
    assert "Skipped 1 of 3 image files, which cannot be decoded: train_1.JPEG (" in caplog.text
    assert splits.spec.num_train == 2
    assert set(np.concatenate([labels for _, labels in batches(splits.train().take(4))])) == {0, 2}


@pytest.mark.slow
def test_odd_images_among_others_are_read_from_records_and_folders(tmp_path):
    """PNGs named .JPEG too: the same training batches, but for where the images come from."""
    images = [data for data, _ in ODD.values()]
    records_of_them = load(write_imagenet(tmp_path / "records", images, images), batch_size=8)
    for split in ("train", "val"):
        for k, data in enumerate(images):
            path = tmp_path / "folder" / split / f"n{k:08}" / "0.JPEG"
            path.parent.mkdir(parents=True)
            path.write_bytes(data)
    folder = load_splits(f"folder:{tmp_path / 'folder'}", batch_size=8, image_size=SIDE, augmentation="imagenet")
    (images, labels), (other, other_labels) = (
        batches(splits.train().take(1))[0] for splits in (records_of_them, folder)
    )
    np.testing.assert_array_equal(labels, other_labels)
    images, other = (
        pixels * np.array(splits.spec.std) + np.array(splits.spec.mean)
        for pixels, splits in ((images, records_of_them), (other, folder))
    )
    np.testing.assert_allclose(images, other, atol=0.01)  # grey levels; float32 rounding


def test_cut_record_file_is_named(tmp_path):
    folder = write_imagenet(tmp_path, [jpeg()] * 3, [jpeg()])
    (path,) = (folder / "imagenet2012" / "5.1.0").glob("*train.tfrecord*")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(
        DataError, match=r"5\.1\.0 is damaged: .*train.*: the record at byte .* cannot .*: it is truncated"
    ):
        load(tmp_path)


def test_file_of_something_else_is_named(tmp_path):
    folder = write_imagenet(tmp_path, [jpeg()], [jpeg()])
    (path,) = (folder / "imagenet2012" / "5.1.0").glob("*train.tfrecord*")
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"no example")
    with pytest.raises(DataError, match=r"is damaged: .*holds something else than examples at byte 0"):
        load(tmp_path)


def test_missing_records_are_counted(tmp_path):
    folder = write_imagenet(tmp_path, [jpeg()] * 3, [jpeg()])
    train, validation = sorted((folder / "imagenet2012" / "5.1.0").glob("*.tfrecord*"))
    train.write_bytes(validation.read_bytes())
    with pytest.raises(DataError, match=r"train.*tfrecord.* holds 1 of 3 examples"):
        load(tmp_path)


def test_absent_imagenet_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"imagenet2012 was not found in .*image-net\.org.*`data_dir`"):
        load(tmp_path)
    with pytest.raises(DataError, match="`download=True` cannot fetch it"):
        load(tmp_path, download=True)


@pytest.mark.data
def test_real_photographs_are_read(data_dir):
    if not (data_dir / "imagenet2012").is_dir():
        pytest.skip(f"imagenet2012 is not in {data_dir}; shared/data/prepare.py writes it there")
    splits = load_splits("imagenet2012", batch_size=16)
    ((images, labels),) = batches(splits.train().take(1))
    assert images.shape == (16, 224, 224, 3) and np.isfinite(images).all() and labels.max() < 1000
    assert abs(images.mean()) < 0.5 and 0.7 < images.std() < 1.5  # by the statistics of all of ImageNet
    assert len(splits.spec.class_names) == 1000 and splits.spec.class_names[0] == "n01440764"
