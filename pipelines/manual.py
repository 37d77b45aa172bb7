"""Datasets in the files that their authors distribute, in `downloads/manual` of the tensorflow-datasets folder."""

from __future__ import annotations

import bz2
import dataclasses
import io
import os
import pathlib
import re
import shutil
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable

import numpy as np

from pipelines import augment
from pipelines.build import Examples
from pipelines.named import check_reachable, data_folder
from pipelines.raw import Raw, check_labels
from pipelines.spec import DataError

FOLDER = pathlib.Path("downloads", "manual")
LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass"
COLUMBIA = "http://www.cs.columbia.edu/CAVE/databases/SLAM_coil-20_coil-100/coil-20"
TIMEOUT_SECONDS = 60.0

USPS_SIDE = 16
USPS_MEAN, USPS_STD = (64.892,), (98.078,)  # of all pixels of the 7,291 training images, 0..255
COIL_SIDE, COIL_OBJECTS, COIL_POSES = 128, 20, 72
COIL_DEFAULT_SIDE = 32  # table I's parameter counts (Oyedotun et al.) are those of 32x32
COIL_TRAIN_FRACTION = 0.7


@dataclasses.dataclass(frozen=True)
class Manual:
    """One dataset of files.

    Args:
        files: their names.
        source: where its author keeps them; a file's address is `source/name`.
        read: function (paths, seed, size) -> `Raw`.
    """

    files: tuple[str, ...]
    source: str
    read: Callable[..., Raw]


def read_manual(name, data_dir=None, download=False, seed=0, size=None) -> Raw:
    """Read a dataset of `MANUAL`.

    Args:
        seed: of the split, where the authors give none (COIL-20).
        size: (height, width) wanted, or None.
    Raises: DataError: if a file is absent, damaged, of other content, or cannot be fetched.
    """
    entry, folder = MANUAL[name], data_folder(data_dir) / FOLDER
    missing = [file for file in entry.files if not (folder / file).is_file()]
    if missing and not download:
        raise DataError(
            f"{name} was not found: looked for {', '.join(missing)} in {folder}. Get it with `dirac-keras train "
            f"--data {name} --download`, put the files there, or name the folder above downloads/ with --data-dir."
        )
    for file in missing:
        _fetch(name, f"{entry.source}/{file}", folder / file)
    return entry.read([folder / file for file in entry.files], seed, size)


def _read_usps(paths, seed, size) -> Raw:
    """USPS (Hull 1994), 7,291 and 2,007 grey digits of 16x16, as LIBSVM distributes them.

    Values from -1 to 1 in steps of 0.001 become whole numbers from 0 to 255, which is at most 0.002 off in values
    that come from 8 bits themselves. LIBSVM's labels 1..10 are the digits 0..9.
    """
    parts = []
    for path, count in zip(paths, (7291, 2007), strict=True):
        labels, values = parse_libsvm(_unpack(path), USPS_SIDE**2, path)
        if len(labels) != count:
            raise _damaged(path, f"it holds {len(labels):,} of {count:,} images")
        if values.min() < -1 or values.max() > 1:
            raise _damaged(path, f"its pixels reach from {values.min():g} to {values.max():g} instead of -1 to 1")
        check_labels(labels - 1, 10, str(path))
        images = np.rint((values + 1) * 127.5).astype(np.uint8).reshape(-1, USPS_SIDE, USPS_SIDE, 1)
        parts.append(Examples.in_memory(images, labels - 1))
    names = tuple(str(digit) for digit in range(10))
    return Raw(*parts, names, (USPS_SIDE, USPS_SIDE, 1), USPS_MEAN, USPS_STD, "none")


def parse_libsvm(text: str, features: int, source) -> tuple[np.ndarray, np.ndarray]:
    """Labels `(n,)` int64 and values `(n, features)` float32 of lines `label index:value ...`; what is not named is 0.

    Raises: DataError: if a line is no such line, with its number.
    """
    lines = text.splitlines()
    values = np.zeros((len(lines), features), np.float32)
    labels = np.empty(len(lines), np.int64)
    for row, line in enumerate(lines):
        try:
            label, *pairs = line.split()
            labels[row] = int(float(label))
            # One parse of all numbers of a line: index, value, index, value, ...
            numbers = np.array(" ".join(pairs).replace(":", " ").split(), np.float64).reshape(-1, 2)
            columns = numbers[:, 0].astype(np.int64) - 1
            if len(columns) and (columns.min() < 0 or not np.isfinite(numbers).all()):
                raise ValueError
            values[row, columns] = numbers[:, 1]
        except (ValueError, IndexError):
            raise _damaged(source, f"line {row + 1} is no `label index:value ...` of {features} features") from None
    return labels, values


def _read_coil20(paths, seed, size) -> Raw:
    """COIL-20 (Nene, Nayar & Murase 1996): 20 objects in 72 poses, grey, 128x128.

    The authors give no split; 70 % of all images, drawn by `seed`, are for training, as Oyedotun et al. do.
    """
    (path,) = paths
    images, labels = _unzip_coil20(path)
    side = size or (COIL_DEFAULT_SIDE, COIL_DEFAULT_SIDE)
    if side != (COIL_SIDE, COIL_SIDE):
        images = augment.to_uint8(augment.resize(images, *side)).numpy()
    order = np.random.default_rng(seed).permutation(len(labels))
    count = round(COIL_TRAIN_FRACTION * len(labels))
    examples = Examples.in_memory(images, labels)
    names = tuple(f"obj{number}" for number in range(1, COIL_OBJECTS + 1))
    train, test = examples.take(np.sort(order[:count])), examples.take(np.sort(order[count:]))
    return Raw(train, test, names, (*side, 1), None, None, "none")


def _unzip_coil20(path) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    total = COIL_OBJECTS * COIL_POSES
    images = np.empty((total, COIL_SIDE, COIL_SIDE, 1), np.uint8)
    seen = np.zeros(total, bool)
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                match = re.search(r"obj(\d+)__(\d+)\.png$", name)
                if not match:
                    continue
                label, pose = int(match[1]) - 1, int(match[2])
                if not (0 <= label < COIL_OBJECTS and 0 <= pose < COIL_POSES):
                    raise _damaged(path, f"{name} is none of the {COIL_OBJECTS} objects in {COIL_POSES} poses")
                image = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L"))
                if image.shape != (COIL_SIDE, COIL_SIDE):
                    raise _damaged(path, f"{name} has {image.shape[1]}x{image.shape[0]} pixels, not 128x128")
                images[label * COIL_POSES + pose, ..., 0] = image
                seen[label * COIL_POSES + pose] = True
    except (zipfile.BadZipFile, zipfile.zlib.error, OSError, EOFError) as error:
        raise _damaged(path, error) from error
    if not seen.all():
        raise _damaged(path, f"it holds {seen.sum():,} of {total:,} images")
    return images, np.repeat(np.arange(COIL_OBJECTS), COIL_POSES)


def _unpack(path) -> str:
    try:
        with bz2.open(path, "rt", encoding="ascii") as file:
            return file.read()
    except (OSError, EOFError, ValueError) as error:  # no bzip2, cut short, no text
        raise _damaged(path, error) from error


def _fetch(name: str, address: str, target: pathlib.Path) -> None:
    """Download one file beside its place and move it there whole."""
    check_reachable(name, address)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(prefix=f".tmp-{target.name}-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:
            shutil.copyfileobj(answer, file)
        os.replace(scratch, target)
    except (OSError, EOFError) as error:  # urllib's errors are OSErrors
        raise DataError(f"{name} could not be fetched from {address} ({error}). Try again.") from error
    finally:
        pathlib.Path(scratch).unlink(missing_ok=True)


def _damaged(path, reason) -> DataError:
    return DataError(
        f"{path} is damaged or another file: {str(reason).rstrip('.')}. Remove it and get it again with --download."
    )


MANUAL = {
    "usps": Manual(("usps.bz2", "usps.t.bz2"), LIBSVM, _read_usps),
    "coil20": Manual(("coil-20-proc.zip",), COLUMBIA, _read_coil20),
}
