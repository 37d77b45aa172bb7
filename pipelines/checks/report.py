"""What a data set holds, as a record: classes, images, what is broken, what comes twice."""

from __future__ import annotations

import collections
import dataclasses
import io
import os

import numpy as np

from pipelines.checks.alike import CORRELATION, DISTANCE, SIDE, digests_of, find_alike, thumbnails
from pipelines.checks.hashing import CHUNK
from pipelines.engines import find_engine
from pipelines.examples import CLASSES, VALUES, Examples
from pipelines.printable import printable
from pipelines.readers.folder import Target
from pipelines.readers.survey import class_counts
from pipelines.splits_base import BaseSplits

MOST_COMPARED = 150_000  # images; their pairs take some minutes
MOST_LISTED = 1000  # pairs and files in the record
MOST_SIZES = 10


def check(splits: BaseSplits) -> dict:
    """A record of what `dirac-keras data check` says, JSON-safe.

    Args:
        splits: read with `on_broken="skip"`, so that what is broken can be counted.
    """
    parts = splits.parts
    record = {
        "data": splits.spec.name,
        "task": splits.task,
        "parts": {part: len(examples) for part, examples in parts.items()},
        "classes": _classes(splits),
        "images": _images(splits),
        "broken": _broken(splits),
    }
    total = sum(map(len, parts.values()))
    if total > MOST_COMPARED:
        reason = f"not searched: {total:,} images, more than {MOST_COMPARED:,}. Give `max_train` and `max_test`."
        return record | {"exact_duplicates": None, "near_duplicates": None, "not_searched": reason}
    return record | _duplicates(splits)


def _classes(splits):
    names, parts = splits.spec.class_names, splits.parts
    counts = {part: class_counts(examples.labels, len(names)) for part, examples in parts.items()}
    rows = [
        {"class": name, **{part: int(column[k]) for part, column in counts.items()}} for k, name in enumerate(names)
    ]
    train = counts["train"]
    found = {"count": len(names), "by_class": rows}
    if splits.task == VALUES:
        values = parts["train"].labels
        for k, row in enumerate(rows):
            row |= {"least": float(values[:, k].min()), "mean": float(values[:, k].mean()),
                    "largest": float(values[:, k].max())}  # fmt: skip
        return found
    found |= {"largest": int(train.max()), "smallest": int(train.min())}
    found["ratio"] = found["largest"] / found["smallest"] if found["smallest"] else None
    if splits.task != CLASSES:
        given = parts["train"].labels.sum(1)
        found |= {"labels_per_image": float(given.mean()), "images_without_labels": int((given == 0).sum())}
    return found


def _images(splits):
    """Sizes and modes, of files as their headers say, of others as they are stored."""
    sizes, modes, unread = collections.Counter(), collections.Counter(), 0
    for examples in splits.parts.values():
        files = _files(examples)
        if files is None and examples.images is not None:
            height, width, channels = examples.images.shape[1:]
            sizes[f"{width}x{height}"] += len(examples)
            modes[{1: "L", 3: "RGB"}.get(channels, f"{channels} channels")] += len(examples)
            continue
        for file in files or ():
            size, mode = _header(file)
            sizes[size] += size is not None
            modes[mode] += size is not None
            unread += size is None
        unread += len(examples) if files is None else 0
    sizes, modes = +sizes, +modes
    shown = {
        "model_input": list(splits.spec.image_shape),
        "sizes": dict(sizes.most_common(MOST_SIZES)),
        "different_sizes": len(sizes),
        "modes": dict(modes.most_common()),
    }
    return shown | ({"not_looked_at": unread} if unread else {})


def _files(examples):
    """What a header can be read from, one for each example; None where images have no files of their own."""
    if examples.paths is not None:
        return (os.fsdecode(examples.paths[row]) for row in examples.rows)
    if examples.encoded is not None:
        return (io.BytesIO(_bytes(examples.encoded[row])) for row in examples.rows)
    if examples.names is not None and all(os.path.isfile(examples.names[row]) for row in examples.rows[:1]):
        return (examples.names[row] for row in examples.rows)
    return None


def _header(file):
    from PIL import Image

    try:
        with Image.open(file) as image:
            return f"{image.width}x{image.height}", f"{image.mode} {image.format}"
    except Exception:  # Pillow's many for what it does not know; the decoder has looked at it
        return None, None


def _broken(splits):
    found = {} if splits.survey is None else splits.survey.broken
    files = [{"file": printable(name), "reason": why} for name, why in found.items()]
    return {"count": len(files), "files": files[:MOST_LISTED]}


def _duplicates(splits):
    pixels = [_pixels(splits, part) for part in splits.parts]
    images = np.concatenate([small for small, _ in pixels])
    found = find_alike(images, np.concatenate([digests for _, digests in pixels]))
    where = _Places(splits)
    rule = (
        f"hashes (dHash) that differ in at most {found.searched} of 128 bits, and pixels at {SIDE}x{SIDE} or their "
        f"own size that correlate by {CORRELATION} or more"
    )
    near = where.describe(found.near, found.distances, found.correlations)
    near |= {"rule": rule, "of_one_colour": found.flat}
    if found.searched < DISTANCE:
        near["note"] = (
            f"very many images are alike, as drawings on an empty ground are: hashes were compared up to "
            f"{found.searched} of 128 bits instead of {DISTANCE}, and what is found need not be the same image"
        )
    return {"exact_duplicates": where.describe(found.exact), "near_duplicates": near}


def _pixels(splits, part):
    """`(thumbnails, digests)` of a part's images, of the pixels that evaluation sees, wherever the images lie.

    A part in files must give the digests of the same images in memory, or no pair of the two would be found.
    """
    examples = splits.parts[part]
    if examples.images is not None:
        images = np.asarray(examples.images)[examples.rows]
        return thumbnails(images), digests_of(images)
    engine, spec = find_engine(splits.reader), splits.spec
    target = Target(tuple(spec.image_shape), spec.resize, "skip", spec.rule)
    small, digests = [], []
    for start in range(0, len(examples), CHUNK):
        images, unread = engine.decode_files(examples.take(np.arange(start, min(start + CHUNK, len(examples)))), target)
        images[unread] = 0
        found = digests_of(images)
        found[unread] = [f"unread {part} {start + position}" for position in unread]
        small.append(thumbnails(images))
        digests.append(found)
    return np.concatenate(small), np.concatenate(digests)


def _bytes(encoded):
    return encoded.numpy() if hasattr(encoded, "numpy") else encoded


@dataclasses.dataclass(frozen=True)
class _Places:
    """Of positions in all parts, one behind the other, what and where they are."""

    splits: BaseSplits

    def describe(self, pairs, distances=None, correlations=None) -> dict:
        """Pairs counted within and between the parts, and the first of them by name."""
        names, sizes = list(self.splits.parts), list(map(len, self.splits.parts.values()))
        starts = np.concatenate([[0], np.cumsum(sizes)])
        part_of = np.searchsorted(starts, pairs, side="right") - 1  # (k, 2)
        differ = self._differ(pairs)
        counts = {}
        for one in range(len(names)):
            for other in range(one, len(names)):
                of = (part_of == (one, other)).all(1)
                title = f"within_{names[one]}" if one == other else f"{names[one]}_and_{names[other]}"
                last = pairs[of, 1]
                counts[title] = {"pairs": int(of.sum()), f"{names[other]}_images": len(np.unique(last)),
                                 "other_label": int(differ[of].sum())}  # fmt: skip
        # Between parts first: it is what makes a test say too much.
        order = np.argsort(part_of[:, 0] == part_of[:, 1], kind="stable")[:MOST_LISTED]
        listed = [
            {
                "first": self._name(names[part_of[k, 0]], int(pairs[k, 0] - starts[part_of[k, 0]])),
                "second": self._name(names[part_of[k, 1]], int(pairs[k, 1] - starts[part_of[k, 1]])),
                **({} if distances is None else {"bits": int(distances[k])}),
                **({} if correlations is None else {"correlation": round(float(correlations[k]), 4)}),
            }
            for k in order
        ]
        return {"pairs": len(pairs), "between": counts, "listed": listed}

    def _name(self, part, position):
        examples: Examples = self.splits.parts[part]
        found = {"part": part, "index": position, "label": self._label(examples.labels[position])}
        name = examples.name(position)
        return found if name is None else found | {"name": printable(name)}

    def _label(self, label):
        names = self.splits.spec.class_names
        if np.ndim(label) == 0:
            return names[int(label)]
        if self.splits.task == VALUES:
            return [float(value) for value in label]
        return [name for name, given in zip(names, label, strict=True) if given]

    def _differ(self, pairs):
        labels = np.concatenate([examples.labels for examples in self.splits.parts.values()])
        differ = labels[pairs[:, 0]] != labels[pairs[:, 1]]
        return differ.any(1) if differ.ndim == 2 else differ
