"""The streams of the reader without TensorFlow: exact to resume, shards that are the batch, the draws' very images."""

import itertools
import pathlib
import threading
import time

import keras
import numpy as np
import pytest

import pipelines
from pipelines import DataError, load_splits, scaling
from pipelines.arrays import pixels, resizing, streams, tfrecords, threads
from pipelines.augmentation import AUGMENTATIONS, Augmentation
from pipelines.draws import BatchDraws
from pipelines.examples import Examples, Records, View
from tests.pipelines import odd_images as odd


def load(**options):
    return load_splits("digits", reader="numpy", **{"batch_size": 100, **options})


@pytest.fixture(scope="module")
def digits():
    return load(validation=200)


def take(stream, count):
    return list(itertools.islice(stream, count))


def assert_same(first, second):
    for (images, labels), (other, other_labels) in zip(first, second, strict=True):
        np.testing.assert_array_equal(images, other)
        np.testing.assert_array_equal(labels, other_labels)


def pngs(count, shape=(9, 8, 3)):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
    from PIL import Image

    return images, [odd.saved(Image.fromarray(image), "PNG") for image in images]


def test_package_has_both_kinds_of_splits_by_name(digits):
    assert isinstance(digits, pipelines.ArraySplits) and digits.reader == "numpy"
    with pytest.raises(AttributeError, match="no attribute 'Split'"):
        _ = pipelines.Split


def test_reader_follows_the_backend_of_keras():
    expected = "tensorflow" if keras.backend.backend() == "tensorflow" else "numpy"
    assert load_splits("digits").reader == expected
    with pytest.raises(DataError, match=r"reader must be one of 'auto', .*Received reader='torch'"):
        load_splits("digits", reader="torch")


@pytest.mark.parametrize("start", [0, 1, 9, 10, 11, 25])
def test_stream_started_at_step_k_equals_the_stream_after_k_batches(digits, start):
    """Within an epoch of 12 steps, at its ends and later; indexed or iterated, in any order."""
    whole = take(digits.train(), start + 3)
    late = digits.train(start)
    assert_same(take(late, 3), whole[start:])
    assert_same([late[2], late[0], late[1]], [whole[start + k] for k in (2, 0, 1)])


def test_batch_is_made_of_its_draws(digits):
    """Of 1,238 images the 14th batch, by hand: drawn, padded with zeros, cut, normalised."""
    draws, (images, rows, labels) = digits.draws(13), digits.stored("train")
    found, found_labels = digits.train(13)[0]
    for k in range(100):
        image = np.pad(images[rows[draws.positions[k]]], [(1, 1), (1, 1), (0, 0)])
        cut = image[draws.rows[k] :, draws.columns[k] :][:8, :8]
        expected = digits.pixel_table()[cut[..., 0].astype(int), 0]
        np.testing.assert_array_equal(found[k, ..., 0], expected)
    np.testing.assert_array_equal(found_labels, labels[draws.positions])
    assert found.dtype == np.float32 and found_labels.dtype == np.int32


def test_pixel_table_is_the_formula(digits):
    expected = (np.arange(256) - digits.spec.mean[0]) / digits.spec.std[0]
    np.testing.assert_allclose(digits.pixel_table()[:, 0], expected, atol=1e-6)  # two float32 roundings apart
    three = pixels.pixel_table((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert three.shape == (256, 3)
    np.testing.assert_allclose(three[7], [6 / 4, 5 / 5, 4 / 6], rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_of_a_batch_are_the_batch(digits, count):
    whole = take(digits.train(3), 2)
    parts = [take(digits.train(3, shard=(index, count)), 2) for index in range(count)]
    joined = [tuple(np.concatenate(both) for both in zip(*step, strict=True)) for step in zip(*parts, strict=True)]
    assert_same(joined, whole)


def test_epoch_visits_every_example_once_in_full_batches(digits):
    labels = np.concatenate([labels for _, labels in take(digits.train(), 12)])
    assert len(labels) == 1200 and digits.steps_per_epoch == 12
    assert len(set(digits.batch_draws.chunk(0, 12).positions.ravel())) == 1200


def test_evaluation_is_in_order_and_can_be_read_again(digits):
    test = digits.test()
    assert len(test) == 4 and [len(labels) for _, labels in test] == [100, 100, 100, 59]
    assert_same(list(test), list(test))
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in test]), digits.test_examples.labels)
    assert len(digits.validation()) == 2 and load().validation() is None
    limited = digits.train_in_order(limit=30)
    np.testing.assert_array_equal(limited[0][1], next(iter(digits.train_in_order(limit=30)))[1])
    assert len(limited) == 1 and len(limited[0][1]) == 30
    with pytest.raises(IndexError, match="no batch 4"):
        test[4]
    with pytest.raises(TypeError, match="no end"):
        len(digits.train())


def test_keras_trains_and_evaluates_on_them_in_order(digits):
    """`fit` with steps_per_epoch goes through the batches in order, over the ends of its epochs.

    It looks at the first of them once more, to build the model.
    """
    seen = []

    class Sum(keras.layers.Layer):
        def call(self, inputs):
            return keras.ops.sum(keras.ops.reshape(inputs, (-1, 64)), axis=1, keepdims=True)

    model = keras.Sequential([keras.Input((8, 8, 1)), Sum(), keras.layers.Dense(10)])
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=keras.backend.backend() != "jax")
    stream = digits.train(5)
    get = stream._window.get

    def watched(number):
        seen.append(number)
        return get(number)

    stream._window.get = watched
    model.fit(stream, epochs=2, steps_per_epoch=3, shuffle=False, verbose=0)
    last = len(seen) - seen[::-1].index(0) - 1
    assert seen[last : last + 6] == list(range(6)) and seen == sorted(seen[:last]) + seen[last:]
    assert set(model.evaluate(digits.test(), verbose=0, return_dict=True)) == {"loss"}
    assert model.predict(digits.test(), verbose=0).shape == (359, 10)


def test_batches_that_follow_are_prepared_meanwhile():
    """No batch is waited for twice as long as it takes: the ones behind it have been started with it."""
    started, gate = [], threading.Event()

    def start(number):
        started.append(number)
        return threads.Whole(lambda: gate.wait(10) and (number,))

    window = threads.Window(start, count=9, ahead=3)
    gate.set()
    assert window.get(0) == (0,) and started == [0, 1, 2, 3]
    assert window.get(1) == (1,) and started == [0, 1, 2, 3, 4]
    assert window.get(7) == (7,) and sorted(window.waiting) == [8]  # what lies between is given up


def test_failure_of_one_image_is_the_batchs():
    def make(k):
        if k == 3:
            raise DataError("the fourth")
        time.sleep(0.01)
        return np.zeros((2, 2, 1), np.float32)

    with pytest.raises(DataError, match="the fourth"):
        threads.ImageByImage((6, 2, 2, 1), make, np.arange(6)).result()


@pytest.mark.parametrize("name", ["cifar", "alternating", "flip", "imagenet", "none"])
def test_every_augmentation_resumes_exactly(name):
    splits = load(augmentation=name, batch_size=400)
    assert_same(take(splits.train(), 6)[4:], take(splits.train(4), 2))


def test_shift_and_flip_equals_pad_crop_flip_image_by_image():
    images = np.random.default_rng(0).integers(0, 256, (36, 9, 7, 3), dtype=np.uint8)
    extreme = np.array([0, 3, 8])
    rows, columns, flips = (grid.ravel()[:36] for grid in np.meshgrid(extreme, extreme, [0, 1, 1, 0], indexing="ij"))
    for mode in ("REFLECT", "CONSTANT"):
        result = pixels.shift_and_flip(images, rows, columns, flips, 4, mode)
        for k, image in enumerate(images):
            padded = np.pad(image, [(4, 4), (4, 4), (0, 0)], mode.lower())
            view = padded[rows[k] : rows[k] + 9, columns[k] : columns[k] + 7]
            np.testing.assert_array_equal(result[k], view[:, ::-1] if flips[k] else view)


def test_images_kept_at_another_size_are_scaled_by_the_batch(monkeypatch):
    scaled = load(image_size=12, augmentation="none")
    monkeypatch.setattr(scaling, "CACHE_LIMIT_BYTES", 1000)
    by_batch = load(image_size=12, augmentation="none")
    assert by_batch.stored("train") is None and scaled.stored("train").images.shape[1:] == (12, 12, 1)
    assert_same(list(scaled.test()), list(by_batch.test()))
    assert_same(take(scaled.train(2), 2), take(by_batch.train(2), 2))


def write_records(path, encoded):
    """A TFRecord file by hand, and where its images lie: behind six bytes of each record."""
    with open(path, "wb") as file:
        for data in encoded:
            record = b"before" + data + b"after"
            head = len(record).to_bytes(8, "little")
            file.write(head + tfrecords.checksum(head).to_bytes(4, "little"))
            file.write(record + tfrecords.checksum(record).to_bytes(4, "little"))
    sizes = np.array([len(data) for data in encoded])
    lengths = sizes + 11
    starts = np.cumsum(lengths + 16) - lengths - 16
    count = len(encoded)
    where = (np.zeros(count, np.int64), starts, lengths, np.full(count, 6), sizes)
    return Records(np.array([str(path).encode()], object), *where)


@pytest.fixture
def everywhere(tmp_path):
    """The same twelve images in bytes, files and records."""
    pytest.importorskip("google_crc32c")
    images, encoded = pngs(12)
    for k, data in enumerate(encoded):
        (tmp_path / f"{k}.png").write_bytes(data)
    labels = np.arange(12)
    return images, {
        "bytes": Examples.in_bytes(encoded, labels),
        "files": Examples.in_files([str(tmp_path / f"{k}.png") for k in range(12)], labels),
        "records": Examples.in_records(write_records(tmp_path / "all", encoded), labels),
    }


VIEW = View((9, 8, 3), (0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize("name", ["cifar", "none", "imagenet"])
def test_images_in_bytes_files_and_records_give_the_same_batches(everywhere, name):
    images, examples = everywhere
    augmentation = Augmentation(padding=2, flip=True) if name == "cifar" else AUGMENTATIONS[name]
    draws = BatchDraws(12, 5, 3, augmentation)
    found = {kind: take(streams.train_stream(item, VIEW, augmentation, draws, 1), 3) for kind, item in examples.items()}
    assert_same(found["bytes"], found["files"])
    assert_same(found["bytes"], found["records"])
    stored = Examples.in_memory(images, np.arange(12))
    assert_same(found["bytes"], take(streams.train_stream(stored, VIEW, augmentation, draws, 1), 3))
    for item in examples.values():
        assert_same(
            list(streams.evaluation_stream(item, VIEW, 5)), list(streams.evaluation_stream(examples["files"], VIEW, 5))
        )


def test_damage_that_comes_later_stops_the_run_and_says_where(everywhere):
    _, examples = everywhere
    item = examples["records"]
    path = item.records.paths[0].decode()
    data = bytearray(pathlib.Path(path).read_bytes())
    start = int(item.records.starts[7])
    data[start + 30] ^= 4
    with open(path, "wb") as file:
        file.write(data)
    message = rf"data_record: {path}: the record at byte {start} is damaged: its checksum is wrong"
    with pytest.raises(DataError, match=message):
        list(streams.evaluation_stream(item, VIEW, 5))
    broken = examples["files"].paths[3].decode()
    with open(broken, "wb") as file:
        file.write(b"no image")
    with pytest.raises(DataError, match=rf"{broken} is no JPEG, PNG, GIF, BMP or WebP image"):
        list(streams.evaluation_stream(examples["files"], VIEW, 5))


BAD = {
    "shard": (lambda splits: splits.train(shard=(2, 2)), r"shard must be \(index, count\).*Received shard=\(2, 2\)"),
    "start": (lambda splits: splits.train(-1), r"start_step must be 0 or more\. Received start_step=-1"),
    "service": (lambda splits: splits.train(data_service="grpc://a:1"), r"data_service is tf\.data's.*grpc://a:1"),
}


@pytest.mark.parametrize("case", BAD)
def test_stream_that_cannot_be_is_an_error(digits, case):
    call, message = BAD[case]
    with pytest.raises(DataError, match=message):
        call(digits)


def test_batch_larger_than_the_training_part_is_an_error():
    message = r"must be at most the number of training examples of digits, 5.*give a smaller `batch_size`"
    with pytest.raises(DataError, match=message):
        load(max_train=5, batch_size=6).train()


def test_resize_of_a_ramp_is_worked_by_hand():
    """Two rows to one: each weighs a half. One column to three: all of it. Rows 0..3 to two: weights 3, 3, 1 of 7."""
    image = np.array([[[10.0]], [[20.0]]])
    np.testing.assert_array_equal(resizing.resize(image, 1, 3), np.full((1, 3, 1), 15.0))
    ramp = np.array([0.0, 7.0, 14.0, 21.0]).reshape(4, 1, 1)
    np.testing.assert_allclose(
        resizing.resize(ramp, 2, 1).ravel(), [(3 * 7 + 14) / 7, 21 - (3 * 7 + 14) / 7], rtol=1e-6
    )
