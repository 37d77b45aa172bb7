"""The registry: from a name and a few options to `Splits` or `ArraySplits`."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
import types
from collections.abc import Callable

from pipelines.arguments import check_choice, check_count, check_folder_name, check_seed, size_pair
from pipelines.augmentation import find_augmentation
from pipelines.colours import in_channels
from pipelines.decoding.rule import DEFAULT_MAX_PIXELS, Rule
from pipelines.engines import find_engine
from pipelines.examples import TASKS, DataError
from pipelines.numbering import numbered_by
from pipelines.opening import open_splits
from pipelines.parts import limited, resized
from pipelines.readers import coil20, imagenet, usps
from pipelines.readers.digits import read_digits
from pipelines.readers.folder import Progress, read_folder
from pipelines.readers.named import NAMED, read_named
from pipelines.readers.raw import Raw
from pipelines.readers.tables.columns import parse_columns
from pipelines.readers.tables.reading import PREFIXES, open_table, read_table
from pipelines.splits_base import BaseSplits

FOLDER_PREFIX = "folder:"


@dataclasses.dataclass(frozen=True)
class Request:
    """What of `load_splits` decides what is read; the fields are its arguments, `size` is `image_size` as a pair."""

    size: tuple[int, int] | None
    data_dir: str | os.PathLike | None
    download: bool
    seed: int
    on_broken: str
    max_train: int | None
    max_test: int | None
    rule: Rule
    engine: types.ModuleType

    def fit(self, raw: Raw) -> Raw:
        """A dataset that was read whole, in the size and number that were asked for."""
        return limited(resized(raw, self.size, self.engine), self.max_train, self.max_test)


def _digits(request: Request) -> Raw:
    return request.fit(read_digits())


def _named(name: str, request: Request) -> Raw:
    return request.fit(read_named(name, request.data_dir, request.download, request.engine))


def _usps(request: Request) -> Raw:
    return request.fit(usps.read_usps(request.data_dir, request.download))


def _coil20(request: Request) -> Raw:
    return request.fit(
        coil20.read_coil20(request.data_dir, request.download, request.size, request.seed, request.engine)
    )


def _imagenet(request: Request) -> Raw:
    return imagenet.read_imagenet(
        request.data_dir,
        request.download,
        request.size,
        request.on_broken,
        request.max_train,
        request.max_test,
        request.rule,
        request.engine,
    )


READERS: dict[str, Callable[[Request], Raw]] = {
    "digits": _digits,
    **{name: functools.partial(_named, name) for name in NAMED},
    usps.NAME: _usps,
    coil20.NAME: _coil20,
    imagenet.NAME: _imagenet,
}


def known_names() -> tuple[str, ...]:
    """What `load_splits` takes as a name."""
    return (*READERS, f"{FOLDER_PREFIX}PATH", "csv:FILE", "parquet:FILE", "hf:NAME")


def load_splits(
    name: str,
    batch_size: int = 128,
    eval_batch_size: int | None = None,
    validation: int | float = 0,
    seed: int = 0,
    augmentation: str = "auto",
    image_size: int | tuple[int, int] | None = None,
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    on_broken: str = "fail",
    max_train: int | None = None,
    max_test: int | None = None,
    channels: int | None = None,
    progress: Progress | None = None,
    exif_orientation: bool = True,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    reader: str = "auto",
    columns=None,
    task: str = "auto",
    whole: bool = False,
    classes=None,
) -> BaseSplits:
    """Read a dataset and describe it.

    Args:
        name: "digits" (embedded), "cifar10", "cifar100", "mnist", "fashion_mnist", "usps", "coil20", "imagenet2012" or
            "folder:PATH"; "csv:FILE" or "parquet:FILE", a table of image files and labels; or "hf:NAME", a folder that
            Hugging Face's `save_to_disk` wrote, or a name on its hub.
        batch_size: training examples a step, exactly.
        eval_batch_size: validation and test examples a batch; `batch_size` by default.
        validation: how much of the training examples is held out: a count (int) or a share (float).
        seed: fixes the validation part, the order of each epoch and every augmentation.
        augmentation: one of `pipelines.augmentation.NAMES`: "auto" (the dataset's own), "alternating" (its own with
            shifts of two pixels at most and flips by turns), or a key of `AUGMENTATIONS`; with what is added to it, as
            in "cifar+mixup:0.2+erasing", see `pipelines.additions.grammar`.
        image_size: pixels, a side or (height, width); by default the dataset's own.
        data_dir: the folder of tensorflow-datasets; default `$TFDS_DATA_DIR`, else ~/tensorflow_datasets.
        download: fetch a missing dataset; nothing is ever fetched without it.
        on_broken: for image files of a folder or of ImageNet that cannot be decoded: "fail" or "skip".
        max_train, max_test: use so many examples at most, drawn with a fixed seed, before validation is.
        channels: 3 (colour) or 1 (grey, the luminance); None: as the data set has them, of image files 3.
        progress: called as `progress(done, total)` while a folder's files are decoded.
        exif_orientation: whether image files are turned as their EXIF orientation says, which viewers do.
        max_pixels: an image file of more pixels, by its header, counts as broken and is not decoded.
        reader: "tensorflow" (tf.data), "numpy" (threads and arrays, without TensorFlow), or "auto": the first where
            Keras' backend is TensorFlow, else the second. Batches without augmentation are the same in both; the
            random choices of training differ.
        columns: of a table: which columns hold images, labels and parts, see `readers.tables.columns`; by default
            those that are named so.
        task: of a table: "classes" (an image has one), "labels" (any of them), "values" (numbers), or "auto", by what
            the cells hold.
        whole: of a folder or table: all its images are one part, "all", for an evaluation. None is drawn for a test,
            and parts that there are count as one.
        classes: names that labels are numbered by, for instance those of a trained model: the data may lack some of
            them, or have them in another order. Default: those that the data have.
    Returns: `Splits` or `ArraySplits`.
    Raises: DataError: for an unknown name, absent or damaged data, or an argument out of its range.
    """
    if not isinstance(name, str):
        raise DataError(f"name must be a text. Received name={name!r}.")
    find_augmentation(augmentation, "none")  # refuses a text that is none, before anything is read
    check_choice("on_broken", on_broken, ("fail", "skip"))
    if channels is not None:
        check_choice("channels", channels, (1, 3))
    check_choice("exif_orientation", exif_orientation, (True, False))
    check_choice("task", task, ("auto", *TASKS))
    if not name.startswith(PREFIXES) and (columns is not None or task != "auto"):
        key, value = ("columns", columns) if columns is not None else ("task", task)
        raise DataError(f"{key} is of tables, csv:, parquet: and hf:. Received {key}={value!r} with {name!r}.")
    parse_columns(columns)
    if whole and not name.startswith((FOLDER_PREFIX, *PREFIXES)):
        raise DataError(f"whole is of folders and tables; {name!r} has parts of its own. Leave it out.")
    if whole and validation:
        raise DataError(f"whole leaves no images for validation. Received validation={validation!r}: leave one out.")
    rule = Rule(bool(exif_orientation), max_pixels)
    check_seed(seed)
    for key, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size),
                       ("max_train", max_train), ("max_test", max_test), ("max_pixels", max_pixels)):  # fmt: skip
        if value is not None:
            check_count(key, value, 1)
    size, engine = size_pair(image_size), find_engine(reader)
    if name.startswith(FOLDER_PREFIX):
        check_folder_name(full_name(name))
        from_files = find_augmentation(augmentation, "none").resized_crop
        path = name.removeprefix(FOLDER_PREFIX)
        how = (size, channels or 3, from_files, on_broken, max_train, max_test, progress, rule, engine, whole)
        raw = read_folder(path, *how)
    elif name.startswith(PREFIXES):
        if not name.partition(":")[2]:
            raise DataError(f"{name} needs a file or name behind the colon, as in csv:photos.csv.")
        check_folder_name(full_name(name))
        how = (size, channels or 3, find_augmentation(augmentation, "none").resized_crop, on_broken)
        table = open_table(name, download)
        raw = read_table(table, columns, task, *how, max_train, max_test, progress, rule, engine, whole)
    elif name in READERS:
        raw = READERS[name](Request(size, data_dir, download, seed, on_broken, max_train, max_test, rule, engine))
    else:
        raise DataError(_unknown_name(name))
    raw = in_channels(raw, channels)
    if classes is not None:
        raw = numbered_by(raw, classes, name)
    how = (rule, engine, batch_size, eval_batch_size, validation, seed, augmentation, whole)
    return open_splits(raw, full_name(name), *how)


def full_name(name: str) -> str:
    """The name that means the same from any working directory."""
    prefix, colon, path = name.partition(":")
    is_path = f"{prefix}:" in (FOLDER_PREFIX, *PREFIXES) and (prefix != "hf" or os.path.isdir(path))
    return f"{prefix}:{os.path.abspath(os.path.expanduser(path))}" if colon and is_path else name


def _unknown_name(name: str) -> str:
    known = known_names()
    return f"The data set must be one of {', '.join(known)}. Received {name!r}.{_hint(name, known)}"


def _hint(name: str, known: tuple[str, ...]) -> str:
    """What may be meant by a name that is none."""
    if name in ("arrays", "dataset"):
        return " That is data which a program gave to the training: name data of the same kind that lie in files."
    path = os.path.expanduser(name)
    if os.path.isdir(path):
        return f" To read the images of that folder, give {FOLDER_PREFIX + name!r}."
    if os.path.isfile(path) or os.path.splitext(name)[1]:
        kind = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}.get(os.path.splitext(name)[1].lower())
        if kind is not None:
            return f" To read the table in that file, give {f'{kind}:{name}'!r}."
        return (
            " It names a file. Images are read from a folder that has a subfolder of image files for each class, "
            f"{FOLDER_PREFIX}PATH; arrays in a file of another kind are not read."
        )
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
