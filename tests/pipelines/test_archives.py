"""CIFAR and MNIST from their authors' archives: what is read, in which order, and what is said of damaged ones."""

import gzip
import io
import tarfile
import time

import numpy as np
import pytest

from pipelines import DataError, load_splits
from pipelines.readers import archives, manual, storage
from pipelines.readers.archives import ARCHIVES, shuffled


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    monkeypatch.setattr(archives, "BATCH_RECORDS", 4)
    monkeypatch.setattr(archives, "COUNTS", {"train": 20, "test": 6})
    monkeypatch.setattr(archives, "CIFAR100_COUNTS", {"train": 20, "test": 6})


def cifar_rows(count, first, labels):
    """`count` records; image `k` is `first + k` in red, 100 more in green, and its column in blue."""
    rows = []
    for k in range(count):
        image = np.empty((3, 32, 32), np.uint8)
        image[0], image[1], image[2] = first + k, 100 + first + k, np.arange(32)
        rows.append(bytes([*labels[:-1], (first + k) % labels[-1]]) + image.tobytes())
    return b"".join(rows)


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"folder/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def write_cifar10(data, **changed):
    names = [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]
    members = {name: cifar_rows(4, 4 * k, (10,)) for k, name in enumerate(names)}
    members["batches.meta.txt"] = "\n".join(f"class {k}" for k in range(10)).encode() + b"\n\n"
    path = data / "downloads" / "manual" / "cifar10" / "cifar-10-binary.tar.gz"
    write_tar(path, {**members, "readme.html": b"x", **changed})
    return path


def write_mnist(data, name="mnist", magic=2051):
    folder = data / "downloads" / "manual" / name
    folder.mkdir(parents=True)
    for prefix, count in (("train", 20), ("t10k", 6)):
        head = np.array([magic, count, 28, 28], ">i4").tobytes()
        images = np.repeat(np.arange(count, dtype=np.uint8), 28 * 28).tobytes()
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images))
        head = np.array([2049, count], ">i4").tobytes()
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(head + bytes(k % 10 for k in range(count)))
        )
    return folder


def load(name, data, **options):
    return load_splits(name, data_dir=data, reader="numpy", **{"batch_size": 5, **options})


def pixels(examples):
    return examples.images[examples.rows]


def test_cifar10_is_read_by_colour_in_the_order_of_tfds(tmp_path, no_network):
    write_cifar10(tmp_path)
    splits = load("cifar10", tmp_path)
    images = pixels(splits.train_examples)
    assert images[:, 3, 4, 0].tolist() == shuffled("train", 20).tolist()
    np.testing.assert_array_equal(images[..., 1], images[..., 0] + 100)
    np.testing.assert_array_equal(images[5, :, :, 2], np.tile(np.arange(32), (32, 1)))  # along the rows
    assert splits.train_examples.labels.tolist() == (shuffled("train", 20) % 10).tolist()
    assert splits.spec.class_names == tuple(f"class {k}" for k in range(10))
    assert (splits.spec.num_train, splits.spec.num_test, splits.spec.mean) == (20, 4, (125.3, 123.0, 113.9))


def test_cifar100_takes_the_second_label(tmp_path):
    members = {f"{part}.bin": cifar_rows(count, 0, (7, 100)) for part, count in archives.CIFAR100_COUNTS.items()}
    members["fine_label_names.txt"] = "\n".join(f"n{k}" for k in range(100)).encode()
    write_tar(tmp_path / "downloads" / "manual" / "cifar100" / "cifar-100-binary.tar.gz", members)
    splits = load("cifar100", tmp_path)
    assert splits.train_examples.labels.tolist() == shuffled("train", 20).tolist()
    assert pixels(splits.test_examples)[:, 0, 0, 0].tolist() == shuffled("test", 6).tolist()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_mnist_and_its_fashion_are_read_from_their_own_folders(tmp_path, name):
    write_mnist(tmp_path, name)
    splits = load(name, tmp_path)
    assert pixels(splits.train_examples)[:, 9, 9, 0].tolist() == shuffled("train", 20).tolist()
    assert splits.test_examples.labels.tolist() == shuffled("test", 6).tolist()
    assert splits.spec.class_names[9] == {"mnist": "9", "fashion_mnist": "Ankle boot"}[name]


def test_order_is_that_of_tensorflow_datasets():
    hashing = pytest.importorskip("tensorflow_datasets.core.hashing")
    hasher = hashing.Hasher("train")
    keys = [hasher.hash_key(k) for k in range(50)]
    assert shuffled("train", 50).tolist() == sorted(range(50), key=keys.__getitem__)
    assert shuffled("test", 50).tolist() != shuffled("train", 50).tolist()


DAMAGE = {
    "no archive": (lambda path: path.write_bytes(b"<html>sign in</html>"), "not a gzip file"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-200]), "is damaged"),
    "a file less": (lambda path: write_tar(path, {"data_batch_1.bin": b""}), "has no data_batch_2.bin"),
    "a short file": (
        lambda path: write_cifar10(path.parents[3], **{"data_batch_3.bin": b"123"}),
        "data_batch_3.bin in .* has 3 bytes, not 4 times 3,073",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_archive_is_named(tmp_path, case):
    path = write_cifar10(tmp_path)
    spoil, message = DAMAGE[case]
    spoil(path)
    with pytest.raises(DataError, match=rf"manual/cifar10 is damaged: .*{message}|manual/cifar10 .*{message}"):
        load("cifar10", tmp_path)


def test_another_kind_of_idx_file_is_named(tmp_path):
    write_mnist(tmp_path, magic=2052)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz does not hold 20 x 28 x 28 bytes"):
        load("mnist", tmp_path)


@pytest.mark.parametrize("name", ARCHIVES)
def test_absent_data_is_one_line_with_both_places(tmp_path, name, no_network):
    with pytest.raises(DataError) as caught:
        load(name, tmp_path)
    assert str(caught.value).startswith(f"{name} was not found in {tmp_path}: looked for {name}/3.0.")
    assert f" or for downloads/manual/{name}/" in str(caught.value)
    assert str(caught.value).endswith("Fetch it with `download=True`, or give the folder that has it as `data_dir`.")
    assert list(tmp_path.iterdir()) == []


def test_download_without_network_fails_at_once_and_leaves_nothing(monkeypatch, tmp_path):
    sources = ("http://127.0.0.1:9/cifar-10-binary.tar.gz",)
    monkeypatch.setitem(ARCHIVES, "cifar10", archives.Archives(sources, archives.read_cifar10))
    started = time.perf_counter()
    with pytest.raises(DataError, match=r"cifar10 cannot be downloaded: http://127\.0\.0\.1:9/.* did not answer"):
        load("cifar10", tmp_path / "new", download=True)
    assert time.perf_counter() - started < storage.REACH_SECONDS + 5
    assert not (tmp_path / "new").exists()


def test_fetched_archive_is_read_and_not_fetched_again(monkeypatch, tmp_path):
    asked = []

    def download(source, path):
        asked.append(source)
        path.write_bytes(write_cifar10(tmp_path / "elsewhere").read_bytes())

    monkeypatch.setattr(manual, "check_reachable", lambda name, source: None)
    monkeypatch.setattr(manual, "_download", download)
    for _ in range(2):
        assert load("cifar10", tmp_path / "new", download=True).spec.num_train == 20
    assert asked == ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"]
