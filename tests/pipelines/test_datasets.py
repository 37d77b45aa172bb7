"""The readers: what they read, and what they say about data that is absent, damaged or laid out otherwise."""

import logging
import shutil
import time

import numpy as np
import pytest
import tensorflow as tf

from pipelines import DataError, load_splits, scaling
from pipelines.examples import Examples
from pipelines.readers import named, storage
from pipelines.readers.drawn import stratified_test
from pipelines.readers.raw import check_labels, some
from pipelines.readers.statistics import measure
from tests.marks import slow_but

ENCODERS = {
    "jpg": lambda image: tf.io.encode_jpeg(image, quality=95).numpy(),
    "png": lambda image: tf.io.encode_png(image).numpy(),
}


def write_image(path, value=128, size=(10, 10)):
    """A picture of one grey value; JPEG and PNG keep it exactly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((*size, 3), value, np.uint8)
    path.write_bytes(ENCODERS[path.suffix.lower().lstrip(".").replace("jpeg", "jpg")](image))
    return path


def write_classes(root, counts, **options):
    """`counts` images per class, in turn grey 0, 1, 2 ... over all classes."""
    value = 0
    for name, count in counts.items():
        for k in range(count):
            write_image(root / name / f"{k:03}.png", value=value, **options)
            value += 1
    return root


@pytest.fixture
def split_folder(tmp_path):
    """train and test folders of the classes cat and dog."""
    write_classes(tmp_path / "train", {"cat": 6, "dog": 6})
    write_classes(tmp_path / "test", {"cat": 2, "dog": 3})
    return tmp_path


def greys(examples):
    """The grey value of each image kept in memory."""
    return tf.gather(examples.images, examples.rows).numpy()[:, 0, 0, 0].tolist()


def load_folder(path, **options):
    return load_splits(f"folder:{path}", batch_size=2, **options)


# digits


def test_digits_are_scaled_exactly():
    """17 levels map to distinct values, 0 to 0 and 16 to 255."""
    from sklearn.datasets import load_digits

    splits = load_splits("digits")
    examples = splits.train_examples
    # Splits share the images, so they can be held against the source row by row.
    np.testing.assert_array_equal(
        examples.images[..., 0], np.floor(load_digits().images * 255 / 16 + 0.5).astype(np.uint8)
    )
    assert len(np.unique(examples.images)) == 17


def test_digits_statistics_are_those_of_the_training_part():
    splits = load_splits("digits")
    mean, std = measure(splits.train_examples, (8, 8, 1), None)
    np.testing.assert_allclose((splits.spec.mean, splits.spec.std), (mean, std), atol=0.006)


def test_digits_are_split_by_class():
    splits = load_splits("digits")
    assert (splits.spec.num_train, splits.spec.num_test) == (1438, 359)
    counts = np.bincount(splits.test_examples.labels)
    assert counts.min() >= 34 and counts.max() <= 37


def test_images_are_scaled_on_request():
    splits = load_splits("digits", image_size=16)
    assert splits.spec.image_shape == (16, 16, 1)
    assert splits.train_examples.images.shape[1:] == (16, 16, 1)


# names


def test_unknown_name_lists_the_known_and_the_closest():
    with pytest.raises(
        DataError,
        match=r"data set must be one of digits, .*hf:NAME\. Received 'cifar'\. Did you mean 'cifar10'",
    ):
        load_splits("cifar")


@pytest.mark.parametrize("name", ["images.h5", "archive.npz", "no/such/file.tar.gz"])
def test_file_for_a_data_set_is_answered_with_what_is_read(name, tmp_path):
    with pytest.raises(DataError, match=rf"Received '{name}'\. It names a file\. .*folder:PATH; arrays in a file"):
        load_splits(name)
    (tmp_path / "images").touch()
    with pytest.raises(DataError, match="It names a file"):
        load_splits(str(tmp_path / "images"))


def test_folder_without_its_prefix_is_answered_with_it(tmp_path):
    with pytest.raises(DataError, match=rf"To read the images of that folder, give 'folder:{tmp_path}'\."):
        load_splits(str(tmp_path))


@pytest.mark.parametrize("name", [None, 5])
def test_name_that_is_no_text_is_an_error(name):
    with pytest.raises(DataError, match=f"name must be a text. Received name={name}"):
        load_splits(name)


def test_data_error_is_a_value_error():
    assert issubclass(DataError, ValueError)


# tensorflow-datasets


@pytest.mark.parametrize("name", named.NAMED)
def test_absent_data_is_one_line_with_the_command(tmp_path, name, no_network):
    with pytest.raises(DataError) as caught:
        load_splits(name, data_dir=tmp_path)
    assert str(caught.value) == (
        f"{name} was not found in {tmp_path}: looked for {name}/{named.NAMED[name].version}. Fetch it with "
        "`download=True`, or give the folder that has it as `data_dir`."
    )
    assert list(tmp_path.iterdir()) == []


def test_data_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert storage.data_folder(None) == tmp_path
    assert storage.data_folder("/elsewhere").as_posix() == "/elsewhere"


def test_download_without_network_fails_at_once_and_leaves_nothing(monkeypatch, tmp_path):
    """Port 9 of this machine refuses; tfds itself would retry for minutes."""
    entry = named.NAMED["mnist"]
    monkeypatch.setitem(named.NAMED, "mnist", named.dataclasses.replace(entry, source="http://127.0.0.1:9/a.gz"))
    started = time.perf_counter()
    with pytest.raises(DataError, match=r"mnist cannot be downloaded: http://127\.0\.0\.1:9/a\.gz did not answer"):
        load_splits("mnist", data_dir=tmp_path / "new", download=True)
    assert time.perf_counter() - started < storage.REACH_SECONDS + 5
    assert not (tmp_path / "new").exists()


class FakeTfds:
    """Stands for tensorflow_datasets: writes a part of the data, then fails or finishes."""

    def __init__(self, error=None):
        self.error = error

    def builder(self, name, data_dir, try_gcs):
        assert not try_gcs
        self.data_path = data_dir / name / "3.0.1"
        return self

    def download_and_prepare(self):
        self.data_path.mkdir(parents=True)
        (self.data_path / "part").write_text("half")
        if self.error:
            raise self.error
        (self.data_path / "dataset_info.json").write_text("{}")


@pytest.mark.parametrize(
    ("error", "message"),
    [(ConnectionError("cut off\nsecond line"), r"mnist could not be fetched from .* \(cut off\)\. Try again"),
     (ModuleNotFoundError("x", name="importlib_resources"), "pip install importlib_resources")],
)  # fmt: skip
def test_failed_download_leaves_nothing(monkeypatch, tmp_path, error, message):
    monkeypatch.setattr(named, "check_reachable", lambda name, source: None)
    monkeypatch.setattr(named, "_import_tfds", lambda: FakeTfds(error))
    with pytest.raises(DataError, match=message):
        named.fetch("mnist", named.NAMED["mnist"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_download_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(named, "check_reachable", lambda name, source: None)
    monkeypatch.setattr(named, "_import_tfds", lambda: FakeTfds(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        named.fetch("mnist", named.NAMED["mnist"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_finished_download_is_moved_into_place(monkeypatch, tmp_path):
    monkeypatch.setattr(named, "check_reachable", lambda name, source: None)
    monkeypatch.setattr(named, "_import_tfds", FakeTfds)
    named.fetch("mnist", named.NAMED["mnist"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mnist"]
    assert named.find_version(tmp_path / "mnist", "3.0.1") == tmp_path / "mnist" / "3.0.1"


def test_the_newest_other_version_is_taken(tmp_path):
    for version in ("3.0.9", "3.0.10", "notes"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "dataset_info.json").write_text("{}")
    assert named.find_version(tmp_path, "3.0.2").name == "3.0.10"
    assert named.find_version(tmp_path, "3.0.9").name == "3.0.9"


def test_unreadable_description_is_reported_as_damage(tmp_path):
    version = tmp_path / "mnist" / "3.0.1"
    version.mkdir(parents=True)
    (version / "dataset_info.json").write_text("{")
    with pytest.raises(
        DataError,
        match=r"mnist/3\.0\.1 is damaged: .*Remove it and get it again with `download=True`",
    ):
        load_splits("mnist", data_dir=tmp_path)


def write_tfds(tmp_path, labels_by_split, num_classes=10):
    """A small dataset named mnist, in the format of tensorflow-datasets."""
    tfds = pytest.importorskip("tensorflow_datasets")
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(28, 28, 1)),
            "label": tfds.features.ClassLabel(num_classes=num_classes),
        }
    )
    examples = {
        split: [(k, {"image": np.full((28, 28, 1), k, np.uint8), "label": v}) for k, v in enumerate(labels)]
        for split, labels in labels_by_split.items()
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name="mnist", version="3.0.1", features=features, split_datasets=examples, data_dir=str(tmp_path),
        disable_shuffling=True,
    )  # fmt: skip
    return tmp_path / "mnist" / "3.0.1"


def test_prepared_data_is_read_in_order_without_network(tmp_path, no_network):
    write_tfds(tmp_path, {"train": [3, 1, 4, 1, 5], "test": [9, 2]})
    splits = load_splits("mnist", data_dir=tmp_path)
    assert splits.train_examples.labels.tolist() == [3, 1, 4, 1, 5]
    assert greys(splits.train_examples) == [0, 1, 2, 3, 4]
    assert splits.test_examples.labels.tolist() == [9, 2]
    assert splits.spec.class_names == tuple("0123456789")


def test_cut_record_file_is_named(tmp_path):
    version = write_tfds(tmp_path, {"train": [0] * 20, "test": [0]})
    (record,) = version.glob("mnist-train.tfrecord*")
    record.write_bytes(record.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"mnist/3\.0\.1 is damaged: record 19 of .* cannot be read: it is truncated"):
        load_splits("mnist", data_dir=tmp_path)


def test_missing_record_file_is_reported_as_damage(tmp_path):
    version = write_tfds(tmp_path, {"train": [0, 1], "test": [0]})
    next(version.glob("mnist-test.tfrecord*")).unlink()
    with pytest.raises(DataError, match=r"mnist/3\.0\.1 is damaged"):
        load_splits("mnist", data_dir=tmp_path)


def test_missing_split_is_reported_as_damage(tmp_path):
    write_tfds(tmp_path, {"train": [0, 1]})
    with pytest.raises(DataError, match=r"is damaged: it has no split 'test'"):
        load_splits("mnist", data_dir=tmp_path)


def test_another_number_of_classes_is_an_error(tmp_path):
    write_tfds(tmp_path, {"train": [0, 1], "test": [0]}, num_classes=12)
    with pytest.raises(DataError, match="describes 12 classes where mnist has 10"):
        load_splits("mnist", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"), [([0, 10], "labels from 0 to 10"), ([-1, 3], "from -1 to 3"), ([], "no examples")]
)
def test_labels_outside_the_classes_are_an_error(labels, message):
    with pytest.raises(DataError, match=message):
        check_labels(np.array(labels), 10, "somewhere")


REAL = {"cifar10": (50000, (32, 32, 3)), "mnist": (60000, (28, 28, 1)), "fashion_mnist": (60000, (28, 28, 1))}


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_real_data_has_its_known_size_and_statistics(name):
    """CIFAR's mean and deviation are the paper's; its JPEG copy here is about a grey level off them."""
    data, entry = storage.data_folder(None), named.NAMED[name]
    if named.find_version(data / name, entry.version) is None:
        pytest.skip(f"{name} is not in {data}; shared/data/prepare.py writes it there")
    splits = load_splits(name)
    assert (splits.spec.num_train, splits.spec.image_shape) == REAL[name]
    assert splits.spec.num_test == 10000
    assert (np.bincount(splits.test_examples.labels) == 1000).all() or name == "mnist"
    mean, std = measure(splits.train_examples, splits.spec.image_shape, None)
    tolerance = 2.0 if name == "cifar10" else 1.0  # over a sample of 2,048 images, whose mean has an error of 0.5
    np.testing.assert_allclose(mean, entry.mean, atol=tolerance)
    np.testing.assert_allclose(std, entry.std, atol=tolerance)


# folders


@pytest.mark.slow
def test_folder_with_train_and_test(split_folder):
    splits = load_folder(split_folder)
    assert splits.spec.class_names == ("cat", "dog")
    assert splits.spec.image_shape == (10, 10, 3)
    assert splits.train_examples.labels.tolist() == [0] * 6 + [1] * 6
    assert greys(splits.train_examples) == list(range(12))
    assert splits.test_examples.labels.tolist() == [0, 0, 1, 1, 1]
    assert splits.validation() is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["validation", "val", "valid"])
def test_folder_with_a_validation_part_of_its_own(split_folder, name):
    write_classes(split_folder / name, {"dog": 2})
    splits = load_folder(split_folder)
    assert splits.validation_examples.labels.tolist() == [1, 1]
    with pytest.raises(
        DataError, match=r"validation=0\.5 would be held out, but the data have .* of their own: give `validation=0`"
    ):
        load_folder(split_folder, validation=0.5)


@pytest.mark.slow
def test_folder_with_train_and_val_alone_tests_on_val(split_folder):
    (split_folder / "test").rename(split_folder / "val")
    splits = load_folder(split_folder)
    assert (splits.spec.num_test, splits.spec.num_validation) == (5, 0)


@pytest.mark.slow
def test_plain_class_folders_are_split_by_class(tmp_path):
    write_classes(tmp_path, {"a": 10, "b": 20})
    splits = load_folder(tmp_path, validation=4)
    assert np.bincount(splits.test_examples.labels).tolist() == [2, 4]
    parts = [splits.train_examples, splits.validation_examples, splits.test_examples]
    assert sorted(grey for part in parts for grey in greys(part)) == list(range(30))


@pytest.mark.slow
def test_folder_statistics_are_measured_on_the_training_part(tmp_path):
    write_image(tmp_path / "train" / "a" / "0.png", value=10)
    write_image(tmp_path / "train" / "b" / "0.png", value=30)
    write_image(tmp_path / "test" / "a" / "0.png", value=200)
    spec = load_folder(tmp_path).spec
    assert spec.mean == (20.0,) * 3 and spec.std == (10.0,) * 3


@pytest.mark.slow
def test_constant_images_get_deviation_one(tmp_path):
    for part in ("train", "test"):
        write_image(tmp_path / part / "a" / "0.png")
    assert load_folder(tmp_path).spec.std == (1.0,) * 3


@pytest.mark.slow
def test_folder_of_grey_images(split_folder):
    splits = load_folder(split_folder, channels=1)
    assert splits.spec.image_shape == (10, 10, 1) and len(splits.spec.mean) == 1
    assert greys(splits.train_examples) == list(range(12))


@pytest.mark.slow
def test_small_images_of_one_size_keep_it(split_folder):
    spec = load_folder(split_folder).spec
    assert spec.image_shape == (10, 10, 3) and spec.resize is None


@pytest.mark.slow
def test_images_of_several_sizes_become_224_cut_from_256(split_folder):
    write_image(split_folder / "train" / "cat" / "wide.png", size=(20, 40))
    spec = load_folder(split_folder).spec
    assert spec.image_shape == (224, 224, 3) and spec.resize == 256


@pytest.mark.slow
def test_images_of_the_asked_size_are_not_cropped(tmp_path):
    for part in ("train", "test"):
        write_image(tmp_path / part / "a" / "0.png", size=(120, 120))
    assert load_folder(tmp_path, image_size=120).spec.resize is None
    assert load_folder(tmp_path, image_size=105).spec.resize == 120


@pytest.mark.parametrize("suffix", slow_but(["jpg", "JPEG", "png", "bmp", "gif", "webp"], "jpg", "png"))
def test_image_format_is_read(tmp_path, suffix):
    pillow = pytest.importorskip("PIL.Image")
    image = pillow.fromarray(np.full((10, 10, 3), 77, np.uint8))
    for part in ("train", "test"):
        path = tmp_path / part / "a" / f"0.{suffix}"
        path.parent.mkdir(parents=True)
        image.save(path, **({"lossless": True} if suffix == "webp" else {}))
    assert greys(load_folder(tmp_path).train_examples) == [77]


@pytest.mark.slow
def test_names_outside_ascii_are_read(tmp_path):
    for part in ("train", "test"):
        write_image(tmp_path / part / "Löwe" / "größe 1.png", value=5)
    splits = load_folder(tmp_path, augmentation="imagenet", image_size=8)
    ((images, _),) = (
        load_splits(f"folder:{tmp_path}", batch_size=1, augmentation="imagenet", image_size=8)
        .train()
        .take(1)
        .as_numpy_iterator()
    )
    assert splits.spec.class_names == ("Löwe",) and images.shape == (1, 8, 8, 3)


@pytest.mark.slow
def test_other_files_and_hidden_folders_are_passed_over(split_folder):
    (split_folder / "train" / "cat" / "notes.txt").write_text("x")
    (split_folder / "train" / "cat" / ".hidden.png").write_text("x")
    (split_folder / "train" / ".cache").mkdir()
    assert load_folder(split_folder).spec.num_train == 12


@pytest.mark.slow
def test_max_train_decodes_no_more_than_asked(split_folder):
    seen = []
    splits = load_folder(split_folder, max_train=3, max_test=2, progress=lambda done, total: seen.append(total))
    assert (splits.spec.num_train, splits.spec.num_test) == (3, 2)
    assert sorted(set(seen)) == [2, 3]


@pytest.mark.slow
def test_progress_ends_at_the_total(split_folder):
    seen = []
    load_folder(split_folder, progress=lambda done, total: seen.append((done, total)))
    assert (12, 12) in seen and (5, 5) in seen


LAYOUT_ERRORS = {
    "absent": (lambda root: shutil.rmtree(root), r"is not a folder\. Give the path"),
    "empty": (lambda root: [shutil.rmtree(root / p) for p in ("train", "test")], "has no class folders"),
    "no test": (lambda root: shutil.rmtree(root / "test"), "neither test nor validation beside it"),
    "empty class": (
        lambda root: (root / "train" / "eel").mkdir(),
        r"train/eel has no images \(.bmp, .*Add some",
    ),
    "unknown class": (
        lambda root: write_image(root / "test" / "eel" / "0.png"),
        "test has classes that .* lacks: eel",
    ),
    "empty test": (lambda root: [p.unlink() for p in (root / "test").rglob("*.png")], "test has no images"),
    "test without classes": (
        lambda root: [shutil.rmtree(p) for p in (root / "test").iterdir()],
        "test has no class folders",
    ),
}


@pytest.mark.parametrize("case", LAYOUT_ERRORS)
def test_unusable_layout_is_named(split_folder, case):
    spoil, message = LAYOUT_ERRORS[case]
    spoil(split_folder)
    with pytest.raises(DataError, match=message) as caught:
        load_folder(split_folder)
    assert str(split_folder) in str(caught.value)


def test_folder_without_a_path_is_not_the_working_directory():
    with pytest.raises(DataError, match="folder: needs a path"):
        load_splits("folder:")


@pytest.mark.slow
def test_name_of_a_folder_holds_from_any_working_directory(split_folder, monkeypatch):
    monkeypatch.chdir(split_folder.parent)
    assert load_splits(f"folder:{split_folder.name}").spec.name == f"folder:{split_folder}"


def test_single_image_classes_without_a_test_folder_are_an_error(tmp_path):
    write_classes(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(DataError, match="too few to split"):
        load_folder(tmp_path)


BREAKS = {  # what is done to an image, and what is said of it then
    "zero bytes": (lambda data: b"", "empty"),
    "cut": (lambda data: data[: len(data) // 2], "damaged or cut short"),
    "text": (lambda data: b"this is not an image at all", "no JPEG, PNG, GIF, BMP or WebP image"),
}


@pytest.mark.slow
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("suffix", slow_but(ENCODERS, "jpg"))
@pytest.mark.parametrize("kind", BREAKS)
def test_broken_image_is_named_with_the_way_out(split_folder, kind, suffix, lazy, monkeypatch):
    if lazy:
        monkeypatch.setattr(scaling, "CACHE_LIMIT_BYTES", 0)
    path = write_image(split_folder / "train" / "cat" / f"broken.{suffix}")
    spoil, reason = BREAKS[kind]
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        load_folder(split_folder)
    assert str(caught.value) == (
        f"1 of 13 image files cannot be decoded: {path} ({reason}). "
        'Repair or remove them, or leave them out with `on_broken="skip"`.'
    )


@pytest.mark.slow
@pytest.mark.parametrize("lazy", [False, True])
def test_skipped_images_are_listed_in_one_warning(split_folder, caplog, lazy, monkeypatch):
    if lazy:
        monkeypatch.setattr(scaling, "CACHE_LIMIT_BYTES", 0)
    for k in range(12):
        (split_folder / "train" / "cat" / f"a{k:02}.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING, logger="pipelines"):
        splits = load_folder(split_folder, on_broken="skip")
    (message,) = [record.getMessage() for record in caplog.records if "Skipped" in record.getMessage()]
    assert message.startswith("Skipped 12 of 24 image files, which cannot be decoded: ")
    assert message.endswith("a09.png (empty) and 2 more")
    assert splits.train_examples.labels.tolist() == [0] * 6 + [1] * 6
    assert len(list(splits.train().take(6))) == 6


@pytest.mark.slow
def test_nothing_but_broken_images_is_an_error(split_folder):
    for path in (split_folder / "train").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"train.* has no examples"):
        load_folder(split_folder, on_broken="skip")


@pytest.mark.slow
def test_folder_too_large_for_memory_gives_the_same_batches(split_folder, monkeypatch):
    stored = load_folder(split_folder, augmentation="none")
    monkeypatch.setattr(scaling, "CACHE_LIMIT_BYTES", 0)
    lazy = load_folder(split_folder, augmentation="none")
    assert isinstance(lazy.train_examples, Examples) and lazy.train_examples.images is None
    assert lazy.spec == stored.spec
    for left, right in ((stored.train(1).take(7), lazy.train(1).take(7)), (stored.test(), lazy.test())):
        assert left.element_spec[0].shape.as_list()[1:] == right.element_spec[0].shape.as_list()[1:]
        for (images, labels), (other, other_labels) in zip(left, right, strict=True):
            # one float32 rounding, where a product and a sum are fused in only one of the two
            np.testing.assert_allclose(images, other, atol=1e-6)
            np.testing.assert_array_equal(labels, other_labels)
    assert stored.test().cardinality() == lazy.test().cardinality() == 3


@pytest.mark.slow
def test_stream_from_files_resumes_exactly(split_folder):
    """Random resized crops come from the files, one by one, and still depend on the step alone."""
    splits = load_folder(split_folder, augmentation="imagenet", image_size=8)
    whole = list(splits.train().take(9).as_numpy_iterator())
    late = list(splits.train(7).take(2).as_numpy_iterator())
    assert whole[0][0].shape == (2, 8, 8, 3)
    for (images, labels), (other, other_labels) in zip(whole[7:], late, strict=True):
        np.testing.assert_array_equal(images, other)
        np.testing.assert_array_equal(labels, other_labels)


# helpers


def test_stratified_test_takes_a_fifth_of_each_class():
    labels = np.repeat([0, 1, 2], [10, 5, 1])
    train, test = stratified_test(labels)
    assert np.bincount(labels[test], minlength=3).tolist() == [2, 1, 0]
    assert sorted([*train, *test]) == list(range(16))


def test_some_is_fixed_sorted_and_without_repeats():
    chosen = some(100, 10)
    np.testing.assert_array_equal(chosen, some(100, 10))
    assert len(set(chosen)) == 10 and (np.diff(chosen) > 0).all()
    assert some(5, None).tolist() == some(5, 9).tolist() == list(range(5))
