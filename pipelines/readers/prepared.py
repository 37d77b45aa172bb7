"""A data set as tensorflow-datasets has prepared it: its classes, and the files of its splits.

Its description is JSON, which is read here without that library; `from_tfds` asks the library.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable

from pipelines.framing import FOOTER, HEADER
from pipelines.printable import counted
from pipelines.readers.storage import damaged

TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


@dataclasses.dataclass(frozen=True)
class Shards:
    """The TFRecord files of a split, and the number of records in each as the data set's description says."""

    files: list[os.PathLike]
    counts: list[int]

    @property
    def total(self) -> int:
        return sum(self.counts)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What the description of a prepared data set says.

    Args:
        path: its folder.
        class_names: of the labels.
        splits: name -> a function that gives its shards; it raises anything where the description is damaged.
    """

    path: pathlib.Path
    class_names: tuple[str, ...]
    splits: dict[str, Callable[[], Shards]]

    def shards_of(self, split: str, again: str | None = None) -> Shards:
        """The files of a split, all there. Raises: DataError: if one is absent or the description is none.

        Args:
            again: how to get the data, see `damaged`.
        """
        options = {} if again is None else {"again": again}
        if split not in self.splits:
            raise damaged(self.path, f"it has no split {split!r}", **options)
        try:
            shards = self.splits[split]()
        except Exception as error:  # names are made by a template from a JSON file
            raise damaged(self.path, error, **options) from error
        for file, count in zip(shards.files, shards.counts, strict=True):
            if not os.path.isfile(file):
                raise damaged(self.path, f"{file} is absent", **options)
            if os.path.getsize(file) < count * (HEADER + FOOTER):  # before memory is allocated for them
                raise damaged(self.path, f"{file} cannot hold {count:,} examples", **options)
        return shards


def from_tfds(builder, path: pathlib.Path) -> Prepared:
    """The description as tensorflow-datasets reads it."""

    def shards(split):
        def found():
            info = builder.info.splits[split]
            return Shards(list(info.filepaths), list(info.shard_lengths))

        return found

    return Prepared(
        path, tuple(builder.info.features["label"].names), {name: shards(name) for name in builder.info.splits}
    )


def from_description(path: pathlib.Path) -> Prepared:
    """The description as its files have it. Raises: DataError: if one is damaged."""
    try:
        info = json.loads((path / "dataset_info.json").read_text(encoding="utf-8"))
        features = json.loads((path / "features.json").read_text(encoding="utf-8"))
        label = features["featuresDict"]["features"]["label"]["classLabel"]
        count = int(label["numClasses"])
        file_format = info.get("fileFormat", "tfrecord")
        entries = {entry["name"]: entry for entry in info.get("splits", ())}
        names = path / "label.labels.txt"
        # As tensorflow-datasets reads it: a name a line, none of them empty.
        class_names = (
            [name for name in names.read_text(encoding="utf-8").split("\n") if name] if names.is_file() else []
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"it has no {error}" if isinstance(error, KeyError) else error
        raise damaged(path, said) from error
    if file_format != "tfrecord":
        raise damaged(path, f"its files are {file_format}, where tfrecord is read")
    if class_names and len(class_names) != count:
        raise damaged(path, f"it has {counted(len(class_names), 'name')} for {counted(count, 'class', 'classes')}")

    def shards(entry):
        def found():
            counts = [int(number) for number in entry["shardLengths"]]
            template = entry.get("filepathTemplate") or TEMPLATE
            return Shards([path / _file_name(template, info["name"], entry["name"], k, len(counts))
                           for k in range(len(counts))], counts)  # fmt: skip

        return found

    return Prepared(
        path,
        tuple(class_names) or tuple(map(str, range(count))),
        {name: shards(entry) for name, entry in entries.items()},
    )


def _file_name(template, name, split, index, count):
    """Raises: ValueError or KeyError: for a template of another form."""
    digits = max(5, len(str(count)))
    fields = {
        "DATASET": name,
        "SPLIT": split,
        "FILEFORMAT": "tfrecord",
        "SHARD_INDEX": f"{index:0{digits}}",
        "NUM_SHARDS": f"{count:0{digits}}",
        "SHARD_X_OF_Y": f"{index:0{digits}}-of-{count:0{digits}}",
    }
    try:
        return template.format(**fields)
    except KeyError as error:
        raise ValueError(f"it names its files by {error.args[0]}, which is not known") from None
