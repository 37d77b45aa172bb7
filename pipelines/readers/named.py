"""Datasets of tensorflow-datasets, read whole into memory. Only `fetch` uses the network."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import tempfile

import numpy as np

from pipelines.engines import find_engine
from pipelines.examples import DataError, Examples
from pipelines.printable import counted
from pipelines.readers.archives import ARCHIVES, GOOGLE, TORONTO, ZALANDO
from pipelines.readers.prepared import Prepared
from pipelines.readers.raw import Raw, check_labels
from pipelines.readers.storage import absent, check_reachable, damaged, data_folder, first_line


@dataclasses.dataclass(frozen=True)
class Named:
    """One dataset of the registry.

    Args:
        version: the version to look for first; otherwise the newest one on disk is taken.
        source: one of the files that tensorflow-datasets fetches.
        image_shape: (height, width, channels).
        mean, std: per channel, 0..255 units.
        augmentation: the name "auto" stands for.
    """

    version: str
    source: str
    image_shape: tuple[int, int, int]
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: str


CIFAR_MEAN, CIFAR_STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)  # arXiv:1706.00388, the authors' code
NAMED = {
    "cifar10": Named("3.0.2", f"{TORONTO}/cifar-10-python.tar.gz", (32, 32, 3), 10, CIFAR_MEAN, CIFAR_STD, "cifar"),
    "cifar100": Named("3.0.2", f"{TORONTO}/cifar-100-python.tar.gz", (32, 32, 3), 100, CIFAR_MEAN, CIFAR_STD, "cifar"),
    # mean and deviation over all pixels of the 60,000 training images
    "mnist": Named("3.0.1", f"{GOOGLE}/train-images-idx3-ubyte.gz", (28, 28, 1), 10, (33.32,), (78.57,), "mnist"),
    "fashion_mnist": Named(
        "3.0.1",
        f"{ZALANDO}/train-images-idx3-ubyte.gz",
        (28, 28, 1),
        10,
        (72.94,),
        (90.02,),
        "fashion",
    ),
}


def read_named(name: str, data_dir: str | os.PathLike | None = None, download: bool = False, engine=None) -> Raw:
    """Read a dataset of `NAMED`. Raises: DataError: if it is absent, damaged or cannot be fetched."""
    engine = engine or find_engine()
    entry, data = NAMED[name], data_folder(data_dir)
    path = find_version(data / name, entry.version)
    if path is None and download and not (engine.READS_ARCHIVES and ARCHIVES[name].are_in(name, data)):
        engine.fetch(name, entry, data)
        path = find_version(data / name, entry.version)
    if path is not None:
        parts, class_names = _prepared_parts(name, entry, path, engine)
    elif engine.READS_ARCHIVES and ARCHIVES[name].are_in(name, data):
        parts, class_names = ARCHIVES[name].examples(name, data, entry.num_classes)
    else:
        other = f" or for {ARCHIVES[name].wanted(name)}" if engine.READS_ARCHIVES else ""
        raise absent(name, data, f"{name}/{entry.version}{other}")
    return Raw(
        train=parts["train"],
        test=parts["test"],
        class_names=class_names,
        image_shape=entry.image_shape,
        mean=entry.mean,
        std=entry.std,
        augmentation=entry.augmentation,
    )


def _prepared_parts(name, entry, path, engine):
    prepared = engine.open_prepared(path)
    if len(prepared.class_names) != entry.num_classes:
        raise DataError(
            f"{path} describes {counted(len(prepared.class_names), 'class', 'classes')} where {name} has "
            f"{entry.num_classes}. Remove that folder and get {name} again with `download=True`."
        )
    parts = {split: read_split(prepared, split, entry, engine) for split in ("train", "test")}
    return parts, prepared.class_names


def find_version(folder: pathlib.Path, version: str) -> pathlib.Path | None:
    """The folder of `version`, else of the newest version that is there, else None."""
    if (folder / version / "dataset_info.json").is_file():
        return folder / version
    found = [path.parent for path in folder.glob("*.*.*/dataset_info.json") if path.parent.name.count(".") == 2]
    numbered = [path for path in found if all(part.isdigit() for part in path.name.split("."))]
    return max(numbered, key=lambda path: tuple(map(int, path.name.split("."))), default=None)


def read_split(prepared: Prepared, split: str, entry: Named, engine) -> Examples:
    """Read one split in its order on disk. Raises: DataError: if records are missing or wrong."""
    shards, path = prepared.shards_of(split), prepared.path
    images = np.empty((shards.total, *entry.image_shape), np.uint8)
    labels = np.empty(shards.total, np.int64)
    done = 0
    try:
        for image_batch, label_batch in engine.record_batches(shards.files, entry):
            images[done : done + len(label_batch)] = image_batch
            labels[done : done + len(label_batch)] = label_batch
            done += len(label_batch)
    except (*engine.ERRORS, OSError, ValueError) as error:
        raise damaged(path, engine.fault_of(shards) or error) from error
    if done != shards.total:
        raise damaged(path, engine.fault_of(shards) or f"split {split!r} lacks examples")
    check_labels(labels, entry.num_classes, f"{path} ({split})")
    return Examples.in_memory(images, labels)


def open_builder(path: pathlib.Path):
    """tensorflow-datasets' reader of a prepared dataset; from its folder, as `tfds.builder(name)` may ask a server."""
    tfds = _import_tfds()
    try:
        return tfds.builder_from_directory(path)
    except Exception as error:  # several libraries parse its JSON files, each with its own errors
        raise damaged(path, error) from error


def fetch(name: str, entry: Named, data: pathlib.Path) -> None:
    """Have tensorflow-datasets prepare a dataset beside its place, and move it whole: a failure leaves nothing."""
    check_reachable(name, entry.source)
    tfds = _import_tfds()
    data.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-download-", dir=data))
    try:
        builder = tfds.builder(name, data_dir=scratch, try_gcs=False)
        builder.download_and_prepare()
        target = data / name / builder.data_path.name
        target.parent.mkdir(exist_ok=True)
        os.rename(builder.data_path, target)
    except ModuleNotFoundError as error:
        raise DataError(f"To download {name}, {error.name} is needed: pip install {error.name}") from error
    except Exception as error:  # whatever the network, the archive or tensorflow-datasets came up with
        raise DataError(f"{name} could not be fetched from {entry.source} ({first_line(error)}). Try again.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _import_tfds():
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            "This dataset is read with tensorflow-datasets, which is not installed: pip install 'dirac_keras[data]'"
        ) from error
    return tfds
