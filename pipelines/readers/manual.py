"""USPS and COIL-20, which tensorflow-datasets does not have, from published files. Only `fetch` uses the network."""

from __future__ import annotations

import bz2
import dataclasses
import http.client
import os
import pathlib
import re
import shutil
import tempfile
import urllib.request
import warnings
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pipelines import augment
from pipelines.encoded import decode
from pipelines.examples import DataError, Examples
from pipelines.readers.folder import CACHE_LIMIT_BYTES
from pipelines.readers.named import check_reachable, data_folder, first_line
from pipelines.readers.raw import Raw, check_labels

# Where tensorflow-datasets, too, looks for files that one gets by hand.
MANUAL_FOLDER = pathlib.Path("downloads", "manual")
STALL_SECONDS = 30.0
RESIZE_BATCH = 1000

LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass"
COLUMBIA = "http://www.cs.columbia.edu/CAVE/databases/SLAM_coil-20_coil-100"

USPS_SIDE = 16
USPS_COUNTS = {"usps.bz2": 7291, "usps.t.bz2": 2007}
USPS_STATISTICS = ((64.89,), (98.08,))  # mean and deviation of all pixels of the 7,291 training images

COIL_FILE = "coil-20-proc.zip"
COIL_OBJECTS, COIL_POSES, COIL_SIDE = 20, 72, 128
COIL_MEMBER = re.compile(r"(?:.*/)?obj(\d+)__(\d+)\.png")
# Table I of the paper is reached with 32x32 inputs (0.50 M parameters at depth 3), not with the files' 128x128.
COIL_DEFAULT_SIZE = (32, 32)
COIL_TRAIN_FRACTION = 0.7


@dataclasses.dataclass(frozen=True)
class Manual:
    """One dataset of the registry.

    Args:
        sources: the addresses of its files; the last part of each is the file's name.
        read: function (folder of the files, seed, size) -> `Raw`.
    """

    sources: tuple[str, ...]
    read: Callable[[pathlib.Path, int, tuple[int, int] | None], Raw]

    def missing(self, folder: pathlib.Path) -> list[str]:
        """The sources whose files are not in `folder`."""
        return [source for source in self.sources if not (folder / file_name(source)).is_file()]


def read_manual(
    name: str,
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    seed: int = 0,
    size: tuple[int, int] | None = None,
) -> Raw:
    """Read a dataset of `MANUAL` from `DATA_DIR/downloads/manual`.

    Args:
        data_dir: the folder of tensorflow-datasets, see `pipelines.readers.named.data_folder`.
        download: fetch missing files; nothing is ever fetched without it.
        seed: of COIL-20's split, which its authors do not give; USPS has a test part of its own. Whoever measures
            on the test part must give the seed of the training.
        size: (height, width) in pixels; by default 16x16 for USPS, 32x32 for COIL-20.
    Raises: DataError: if a file is absent, damaged, not what its authors published, or cannot be fetched.
    """
    entry, data = MANUAL[name], data_folder(data_dir)
    folder = data / MANUAL_FOLDER
    if download and entry.missing(folder):
        fetch(name, entry, folder)
    missing = entry.missing(folder)
    if missing:
        wanted = " and ".join(str(MANUAL_FOLDER / file_name(source)) for source in missing)
        raise DataError(
            f"{name} was not found in {data}: looked for {wanted}. Get it with "
            f"`dirac-keras train --data {name} --download`, or name the folder that has it with --data-dir."
        )
    return entry.read(folder, seed, size)


def read_usps(folder: pathlib.Path, seed: int, size: tuple[int, int] | None) -> Raw:
    """The 7,291 + 2,007 handwritten digits of the US Postal Service, 16x16, as libsvm's authors publish them.

    Labels 1..10 there are the digits 0..9. Values in -1..1 (2,001 of them, a thousandth apart, black to white) become
    round((value + 1) * 127.5): at most 0.004 off, 0.0013 in root mean square, where the deviation of the pixels is
    0.77. -1 and 1 are exact.
    Source: Hull 1994, A database for handwritten text recognition research; split as in the paper, section III.
    """
    train, test = (_usps_examples(folder / file, count, size) for file, count in USPS_COUNTS.items())
    mean, std = USPS_STATISTICS
    names = tuple(str(digit) for digit in range(10))
    return Raw(train, test, names, (*(size or (USPS_SIDE, USPS_SIDE)), 1), mean, std, "none")


def read_coil20(folder: pathlib.Path, seed: int, size: tuple[int, int] | None) -> Raw:
    """20 objects in 72 poses, 5 degrees apart, grey, 128x128; 1,008 images drawn by `seed` train, 432 test.

    The draw is over all images, as the paper says ("randomly divided"), not class by class: 45 to 58 of an object's
    72 poses train with seed 0. Mean and deviation are not in the paper and left to be measured.
    Source: Nene, Nayar & Murase 1996, CUCS-005-96; Oyedotun et al., section III.
    """
    path = folder / COIL_FILE
    images, labels = read_coil_archive(path)
    check_labels(labels, COIL_OBJECTS, str(path))
    size = size or COIL_DEFAULT_SIZE
    examples = Examples.in_memory(_scaled(images, size), labels)
    order = np.random.default_rng(seed).permutation(len(labels))
    count = round(COIL_TRAIN_FRACTION * len(labels))
    names = tuple(f"obj{number}" for number in range(1, COIL_OBJECTS + 1))
    train, test = examples.take(np.sort(order[:count])), examples.take(np.sort(order[count:]))
    return Raw(train, test, names, (*size, 1), None, None, "none")


MANUAL = {
    "usps": Manual(tuple(f"{LIBSVM}/{file}" for file in USPS_COUNTS), read_usps),
    "coil20": Manual((f"{COLUMBIA}/coil-20/{COIL_FILE}",), read_coil20),
}


def _usps_examples(path: pathlib.Path, count: int, size: tuple[int, int] | None) -> Examples:
    images, labels = read_libsvm_images(path, count, USPS_SIDE)
    check_labels(labels, 10, str(path))
    return Examples.in_memory(_scaled(images, size or images.shape[1:3]), labels)


def read_libsvm_images(path: pathlib.Path, count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Read bzip2-compressed lines `label 1:value 2:value ...`, every value given, in -1..1.

    Args:
        count: lines there must be.
        side: pixels of the square images.
    Returns: uint8 images `(count, side, side, 1)`, and labels from 0.
    Raises: DataError: naming the file and what is wrong.
    """
    numbers = side * side * 2 + 1  # a label, then pairs of place and value
    try:
        text = bz2.decompress(path.read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # how NumPy reports text that is no number
            flat = np.fromstring(text.replace(b":", b" "), sep=" ")
    except (OSError, ValueError, DeprecationWarning) as error:
        raise DataError(_damaged(path, error)) from error
    lines = text.count(b"\n") + (not text.endswith(b"\n") and text != b"")
    if lines != count or flat.size != count * numbers:
        found = f"it holds {lines:,} lines and {flat.size:,} numbers, not {count:,} lines of {numbers}"
        raise DataError(_damaged(path, found))
    rows = flat.reshape(count, numbers)
    labels, places, values = rows[:, 0], rows[:, 1::2], rows[:, 2::2]
    if not (places == np.arange(1, side * side + 1)).all():
        raise DataError(_damaged(path, f"its pixels are not numbered 1 to {side * side} in every line"))
    if not (np.abs(values) <= 1).all():  # NaN is not
        low, high = values.min(), values.max()
        raise DataError(_damaged(path, f"its values lie in {low:g}..{high:g}, not in -1..1"))
    if not (labels == np.rint(labels)).all():
        raise DataError(_damaged(path, "a label is not a whole number"))
    images = np.rint((values + 1) * 127.5).astype(np.uint8).reshape(count, side, side, 1)
    return images, labels.astype(np.int64) - 1


def read_coil_archive(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """All images of the archive, `(1440, 128, 128, 1)` uint8, sorted by object and pose, and labels from 0.

    Raises: DataError: naming the file and what is wrong.
    """
    expected = [(item, pose) for item in range(1, COIL_OBJECTS + 1) for pose in range(COIL_POSES)]
    images = np.empty((len(expected), COIL_SIDE, COIL_SIDE, 1), np.uint8)
    member = path.name
    try:
        with zipfile.ZipFile(path) as archive:
            members = _coil_members(path, archive.namelist())
            for place, key in enumerate(expected):
                member = members[key]
                image = decode(archive.read(member), 1)
                if image.shape != images.shape[1:]:
                    found = "x".join(map(str, image.shape[:2]))
                    raise DataError(_damaged(path, f"{member} has {found} pixels, not {COIL_SIDE}x{COIL_SIDE}"))
                images[place] = image
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, tf.errors.OpError) as error:
        # RuntimeError: the archive is encrypted, or packed in a way that zipfile does not know
        raise DataError(_damaged(path, f"{member} cannot be read ({first_line(error)})")) from error
    return images, np.repeat(np.arange(COIL_OBJECTS), COIL_POSES)


def _coil_members(path: pathlib.Path, names: list[str]) -> dict[tuple[int, int], str]:
    """`{(object, pose): name of the member}`, complete and without repeats."""
    matches = [(match, name) for name in names if (match := COIL_MEMBER.fullmatch(name))]
    members = {(int(match[1]), int(match[2])): name for match, name in matches}
    expected = {(item, pose) for item in range(1, COIL_OBJECTS + 1) for pose in range(COIL_POSES)}
    if len(matches) == len(expected) and members.keys() == expected:
        return members
    absent = sorted(expected - members.keys())
    first = f"; obj{absent[0][0]}__{absent[0][1]}.png is absent" if absent else ""
    found = f"it holds {len(matches):,} images named obj<1-20>__<0-71>.png, not {len(expected):,}{first}"
    raise DataError(_damaged(path, found))


def _scaled(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale with antialiasing; images too large for memory stay as they are, and `build` scales every batch."""
    if tuple(size) == images.shape[1:3] or len(images) * size[0] * size[1] > CACHE_LIMIT_BYTES:
        return images
    result = np.empty((len(images), *size, 1), np.uint8)
    for start in range(0, len(images), RESIZE_BATCH):
        batch = tf.constant(images[start : start + RESIZE_BATCH])
        result[start : start + RESIZE_BATCH] = augment.to_uint8(augment.resize(batch, *size))
    return result


def fetch(name: str, entry: Manual, folder: pathlib.Path) -> None:
    """Download the missing files, each whole beside its place and then moved there: a failure leaves no part."""
    sources = entry.missing(folder)
    for source in sources:
        check_reachable(name, source)
    source, scratch = sources[0], None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-download-", dir=folder))
        for source in sources:
            part = scratch / file_name(source)
            _download(source, part)
            os.replace(part, folder / part.name)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"{name} could not be fetched from {source} ({first_line(error)}). Try again.") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _download(source: str, path: pathlib.Path) -> None:
    with urllib.request.urlopen(source, timeout=STALL_SECONDS) as response, path.open("wb") as file:
        shutil.copyfileobj(response, file)
        announced = response.headers.get("Content-Length")
    if announced is not None and path.stat().st_size != int(announced):  # http.client ends a cut stream in silence
        raise OSError(f"{path.stat().st_size:,} of {int(announced):,} bytes came")


def file_name(source: str) -> str:
    return source.rsplit("/", 1)[1]


def _damaged(path: pathlib.Path, reason) -> str:
    return (
        f"{path} is damaged: {first_line(reason)}. Remove that file and get it again with --download, or name "
        "another folder with --data-dir."
    )
