"""Files with the same bytes in two parts of the data or in two classes: what a test measures on them is no test."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from pipelines.cores import PARALLEL_CALLS
from pipelines.printable import printable
from pipelines.readers.listing import Listing

MOST_FILES = 200_000  # a quarter of a minute; of more, nobody would wait for the answer
TAIL_BYTES = 4096  # heads of images are alike, tails hold pixels
EXAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Repeats:
    """Files that repeat others, byte for byte.

    Args:
        also_in_train: part -> pairs (its file, a file of the training part).
        in_two_classes: pairs of files of different classes, within and across the parts.
        searched: whether they were looked for; not among more than `MOST_FILES`.
    """

    also_in_train: dict[str, list[tuple[str, str]]]
    in_two_classes: list[tuple[str, str]]
    searched: bool = True

    def lines(self, root: str) -> list[str]:
        """What is to be said of them, a line each; nothing if there are none."""

        def pairs(found):
            named = [
                f"{printable(os.path.relpath(one, root))} is {printable(os.path.relpath(two, root))}"
                for one, two in found[:EXAMPLES]
            ]
            return ", ".join(named) + (", ..." if len(found) > EXAMPLES else "")

        lines = [
            f"{part} files that are in the training part too, byte for byte: {len(found):,} ({pairs(found)})"
            for part, found in self.also_in_train.items()
            if found
        ]
        if self.in_two_classes:
            found = self.in_two_classes
            lines.append(f"files that are in two classes, byte for byte: {len(found):,} ({pairs(found)})")
        return lines


def find_repeats(listings: Mapping[str, Listing]) -> Repeats:
    """Compare the files of all parts: by size, then by their last bytes, then whole."""
    files = [
        (part, path, int(label))
        for part, item in listings.items()
        for path, label in zip(item.paths, item.labels, strict=True)
    ]
    if len(files) > MOST_FILES:
        return Repeats({}, [], searched=False)
    also_in_train = {part: [] for part in listings if part != "train"}
    in_two_classes = []
    for group in _same_files([path for _, path, _ in files]):
        members = [files[i] for i in group]  # the training part comes first
        _, first, of_class = members[0]
        in_two_classes += [(path, first) for _, path, label in members if label != of_class]
        if members[0][0] == "train":
            for part, path, _ in members:
                if part != "train":
                    also_in_train[part].append((path, first))
    return Repeats(also_in_train, in_two_classes)


def _same_files(paths: list[str]) -> list[list[int]]:
    """Groups of positions whose files have the same bytes, each in order."""
    groups = [list(range(len(paths)))]
    with ThreadPoolExecutor(PARALLEL_CALLS) as pool:
        for key_of in (_size, _tail, _digest):
            positions = [i for group in groups for i in group]
            keys = dict(zip(positions, pool.map(lambda i, key_of=key_of: key_of(paths[i]), positions), strict=True))
            found: dict[tuple, list[int]] = {}
            for number, group in enumerate(groups):
                for i in group:
                    if keys[i] is not None:
                        found.setdefault((number, keys[i]), []).append(i)
            groups = [group for group in found.values() if len(group) > 1]
    return groups


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size or None  # empty files are broken, not repeated
    except OSError:  # whoever decodes it says so
        return None


def _tail(path: str) -> bytes | None:
    return _hash_of(path, TAIL_BYTES)


def _digest(path: str) -> bytes | None:
    return _hash_of(path)


def _hash_of(path: str, last: int | None = None) -> bytes | None:
    try:
        with open(path, "rb") as file:
            if last is not None:
                file.seek(max(0, os.fstat(file.fileno()).st_size - last))
            digest = hashlib.sha256()
            while block := file.read(2**20):
                digest.update(block)
            return digest.digest()
    except OSError:
        return None
