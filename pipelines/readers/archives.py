"""CIFAR and MNIST from the archives of their authors, in the order in which tensorflow-datasets keeps them.

So a validation part that is drawn by position holds the same images, whichever of the two a machine has.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import pathlib
import tarfile
import zlib
from collections.abc import Callable

import numpy as np

from pipelines.examples import Examples
from pipelines.readers import manual
from pipelines.readers.raw import check_labels
from pipelines.readers.storage import damaged, first_line

FOLDER = manual.MANUAL_FOLDER  # and in it a folder of the data set's name: two of them have files of the same names
CIFAR_SIDE, MNIST_SIDE = 32, 28
BATCH_RECORDS = 10_000  # of a file of CIFAR-10
COUNTS = {"train": 60_000, "test": 10_000}  # of MNIST
CIFAR100_COUNTS = {"train": 50_000, "test": 10_000}
IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049  # three dimensions of bytes, one of them
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
Parts = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Archives:
    """The files of one data set.

    Args:
        sources: their addresses.
        read: from their folder to images `(n, h, w, c)` and labels of "train" and "test", in the files' order, and the
            names of the classes. It raises `FAULTS` for damaged ones.
    """

    sources: tuple[str, ...]
    read: Callable[[pathlib.Path], tuple[Parts, tuple[str, ...]]]

    def folder(self, name: str, data: pathlib.Path) -> pathlib.Path:
        return data / FOLDER / name

    def are_in(self, name: str, data: pathlib.Path) -> bool:
        return not manual.missing(self.sources, self.folder(name, data))

    def wanted(self, name: str) -> str:
        """The names of the files, for a message."""
        return " and ".join(str(FOLDER / name / manual.file_name(source)) for source in self.sources)

    def examples(self, name: str, data: pathlib.Path, num_classes: int) -> tuple[dict[str, Examples], tuple[str, ...]]:
        """`{"train": ..., "test": ...}` and the class names. Raises: DataError: if a file is not what was published."""
        folder = self.folder(name, data)
        try:
            parts, class_names = self.read(folder)
        except FAULTS as error:
            raise damaged(folder, first_line(error)) from error
        found = {}
        for part, (images, labels) in parts.items():
            check_labels(labels, num_classes, f"{folder} ({part})")
            order = shuffled(part, len(labels))
            found[part] = Examples.in_memory(images[order], labels[order].astype(np.int64))
        return found, class_names


class ArchiveFault(ValueError):
    """A file that does not hold what its authors published; the text names it."""


FAULTS = (ArchiveFault, OSError, EOFError, tarfile.TarError, zlib.error, UnicodeDecodeError)


def shuffled(part: str, count: int) -> np.ndarray:
    """The order in which tensorflow-datasets writes examples: by the MD5 of the part's name and their number.

    Source: tensorflow_datasets/core/shuffle.py and hashing.py; the order of a data set is fixed with its version.
    """
    start = hashlib.md5(part.encode(), usedforsecurity=False)
    keys = []
    for number in range(count):
        key = start.copy()
        key.update(str(number).encode())
        keys.append(key.digest())
    return np.asarray(sorted(range(count), key=keys.__getitem__), np.int64)


def read_cifar10(folder: pathlib.Path) -> tuple[Parts, tuple[str, ...]]:
    """Five files of 10,000 for training, one for testing. Source: Krizhevsky 2009, Learning multiple layers."""
    files = {"train": [f"data_batch_{k}.bin" for k in range(1, 6)], "test": ["test_batch.bin"]}
    counts = dict.fromkeys([name for names in files.values() for name in names], BATCH_RECORDS)
    return _cifar(folder / "cifar-10-binary.tar.gz", files, counts, "batches.meta.txt", labels=1)


def read_cifar100(folder: pathlib.Path) -> tuple[Parts, tuple[str, ...]]:
    """The fine labels, the second of the two before each image."""
    files = {part: [f"{part}.bin"] for part in CIFAR100_COUNTS}
    counts = {f"{part}.bin": count for part, count in CIFAR100_COUNTS.items()}
    return _cifar(folder / "cifar-100-binary.tar.gz", files, counts, "fine_label_names.txt", labels=2)


def _cifar(path, files, counts, names, labels):
    with tarfile.open(path, "r:gz") as archive:
        members = {
            name: archive.extractfile(member).read()
            for member in archive
            if member.isfile() and (name := os.path.basename(member.name)) in {*counts, names}
        }
    size = labels + 3 * CIFAR_SIDE**2
    for name in (*counts, names):
        if name not in members:
            raise ArchiveFault(f"{path.name} has no {name}")
    for name, count in counts.items():
        if len(members[name]) != count * size:
            raise ArchiveFault(f"{name} in {path.name} has {len(members[name]):,} bytes, not {count:,} times {size:,}")
    parts = {}
    for part, of_part in files.items():
        rows = np.frombuffer(b"".join(members[name] for name in of_part), np.uint8).reshape(-1, size)
        images = rows[:, labels:].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE).transpose(0, 2, 3, 1)  # stored by channel
        parts[part] = images, rows[:, labels - 1]
    return parts, tuple(name for name in members[names].decode().split("\n") if name)


def read_mnist(folder: pathlib.Path, class_names: tuple[str, ...] = tuple("0123456789")) -> tuple[Parts, tuple]:
    """Pairs of files in the IDX format. Source: LeCun, Cortes & Burges 1998; Xiao et al. 2017, arXiv:1708.07747."""
    parts = {}
    for part, prefix in (("train", "train"), ("test", "t10k")):
        images = _idx(folder / f"{prefix}-images-idx3-ubyte.gz", IMAGES_MAGIC, (COUNTS[part], MNIST_SIDE, MNIST_SIDE))
        labels = _idx(folder / f"{prefix}-labels-idx1-ubyte.gz", LABELS_MAGIC, (COUNTS[part],))
        parts[part] = images[..., None], labels
    return parts, class_names


def _idx(path, magic, shape):
    """A header of 32-bit numbers, the highest byte first: a magic number and the sides; then the bytes."""
    with gzip.open(path) as file:
        data = file.read()
    header = np.array([magic, *shape], ">i4").tobytes()
    if not data.startswith(header) or len(data) != len(header) + int(np.prod(shape)):
        raise ArchiveFault(f"{path.name} does not hold {' x '.join(f'{side:,}' for side in shape)} bytes")
    return np.frombuffer(data, np.uint8, offset=len(header)).reshape(shape)


def _mnist_files(address: str) -> tuple[str, ...]:
    return tuple(
        f"{address}/{prefix}-{kind}-ubyte.gz" for prefix in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    )


TORONTO = "https://www.cs.toronto.edu/~kriz"
GOOGLE = "https://storage.googleapis.com/cvdf-datasets/mnist"
ZALANDO = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
ARCHIVES = {
    "cifar10": Archives((f"{TORONTO}/cifar-10-binary.tar.gz",), read_cifar10),
    "cifar100": Archives((f"{TORONTO}/cifar-100-binary.tar.gz",), read_cifar100),
    "mnist": Archives(_mnist_files(GOOGLE), read_mnist),
    "fashion_mnist": Archives(_mnist_files(ZALANDO), lambda folder: read_mnist(folder, FASHION)),
}
