"""Reader of image folders: `ROOT/<split>/<class>/<file>`, or `ROOT/<class>/<file>` split by a seed."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import pathlib

import numpy as np
import tensorflow as tf

from pipelines import augment
from pipelines.build import PARALLEL_CALLS, Examples, decode
from pipelines.sources import Source, check_labels, measure
from pipelines.spec import DataError

logger = logging.getLogger("pipelines")

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
SPLITS = {"train": ("train", "training"), "validation": ("validation", "val", "valid"), "test": ("test", "testing")}
TEST_FRACTION = 0.2  # of a folder that names no splits
CACHE_BYTES = 4 * 2**30  # above it, images are decoded again every epoch
LARGE_SIDE = 128  # from this size on, evaluation resizes by 256/224 and training crops at random, as for ImageNet
MEASURED_IMAGES = 2000


def read_folder(root, image_size=None, on_broken="fail", seed=0):
    """Read an image folder.

    Args:
        root: folder that holds `train/`, and `test/` or `validation/` (else the validation images are the test's), or
            the class folders themselves.
        image_size: side in pixels. None: the files' own if all are squares of one size up to 64 pixels, else 224.
        on_broken: `"fail"` or `"skip"`, what happens to files that are no image or damaged.
        seed: of the split, where the folder names none.

    Raises: DataError: that names the folder or the files.
    """
    root = pathlib.Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"data folder:{root}: there is no such folder. Give folder:PATH with one folder a class in it.")
    folders = {split: _first_folder(root, names) for split, names in SPLITS.items()}
    class_root = folders["train"] or root
    class_names = _class_names(class_root)
    if folders["train"]:
        files = {split: _list_files(folder, class_names) for split, folder in folders.items() if folder}
        if len(files) == 1:
            raise DataError(f"data folder:{root} has train/ but neither test/ nor validation/ beside it.")
    else:
        files = _split_by_seed(*_list_files(root, class_names), seed)
    for split, (_, labels) in files.items():
        check_labels(f"data folder:{root}, split {split}", labels, len(class_names))

    sizes, is_grey = _look_at(root, files, on_broken)
    if image_size is None:
        common = set(sizes)
        side = next(iter(common))[0] if len(common) == 1 else None
        image_size = side if side and common == {(side, side)} and side <= 64 else 224
    shape = (image_size, image_size, 1 if is_grey else 3)
    is_large = image_size >= LARGE_SIDE
    resize = round(image_size * 256 / 224) if is_large else None
    count = sum(len(paths) for paths, _ in files.values())
    if is_large or count * np.prod(shape) > CACHE_BYTES:
        examples = {split: Examples.in_files([str(p) for p in paths], labels) for split, (paths, labels) in files.items()}
    else:
        examples = _decode_all(root, files, shape, on_broken)
    mean, std = _measure(examples["train"], shape, resize)
    validation = examples.get("validation")
    if "test" not in examples:
        examples["test"], validation = validation, None
    augmentation = "imagenet" if is_large else "cifar" if image_size >= 16 else "flip"
    return Source(
        examples["train"], validation, examples["test"], shape, class_names, mean, std, resize, augmentation
    )


def _first_folder(root, names):
    return next((root / name for name in names if (root / name).is_dir()), None)


def _class_names(folder):
    names = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))
    if len(names) < 2:
        raise DataError(
            f"data folder:{folder} must hold one folder a class, two or more. Found {len(names)}: {', '.join(names)}."
        )
    return names


def _list_files(folder, class_names):
    """`(paths, labels)` in the order of the names."""
    unknown = sorted({p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")} - set(class_names))
    if unknown:
        raise DataError(f"{folder} has classes that train has not: {', '.join(unknown[:5])}.")
    paths, labels = [], []
    for label, name in enumerate(class_names):
        found = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found and (folder / name).is_dir():
            raise DataError(f"class folder {folder / name} holds no images ({', '.join(SUFFIXES)}).")
        paths += found
        labels += [label] * len(found)
    return paths, np.array(labels, np.int32)


def _split_by_seed(paths, labels, seed):
    order = np.random.default_rng([seed, len(paths)]).permutation(len(paths))
    is_test = np.zeros(len(paths), bool)
    for label in np.unique(labels):  # the same share of every class, at least one image
        members = order[labels[order] == label]
        is_test[members[: max(1, round(TEST_FRACTION * len(members)))]] = True
    split = {}
    for name, chosen in (("train", ~is_test), ("test", is_test)):
        split[name] = ([p for p, keep in zip(paths, chosen, strict=True) if keep], labels[chosen])
    return split


def _look_at(root, files, on_broken):
    """Sizes of all images and whether all are grey, from their headers; broken files go out of `files`."""
    from PIL import Image

    def header(path):
        try:
            with Image.open(path) as image:
                return image.size, image.mode in ("1", "L", "I;16")
        except Exception:  # no image, empty, unreadable: PIL raises many kinds
            return None

    headers = _map_files(header, files)
    _drop_broken(root, files, {split: [h is not None for h in found] for split, found in headers.items()}, on_broken)
    good = [h for found in headers.values() for h in found if h is not None]
    return [size for size, _ in good], all(grey for _, grey in good)


def _decode_all(root, files, shape, on_broken):
    """Every image as evaluation sees it, uint8 in memory."""
    images = {split: _decode_files(paths, shape) for split, (paths, _) in files.items()}
    is_good = {split: [k in images[split] for k in range(len(paths))] for split, (paths, _) in files.items()}
    _drop_broken(root, files, is_good, on_broken)
    return {
        split: Examples.in_memory(np.stack([images[split][k] for k in sorted(images[split])]), labels)
        for split, (_, labels) in files.items()
    }


def _decode_files(paths, shape):
    """`{position: (h, w, c) uint8}` of the files that can be decoded."""

    def load(position, path):
        image = decode(tf.io.read_file(path), shape[2])
        same = tf.reduce_all(tf.shape(image) == shape)
        view = tf.cond(same, lambda: tf.ensure_shape(image, shape), lambda: augment.evaluation_view(image, shape))
        return position, view

    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_tensor_slices([str(path) for path in paths]).enumerate()
    dataset = dataset.map(load, num_parallel_calls=PARALLEL_CALLS).ignore_errors().with_options(options)
    return {int(position): image for position, image in dataset.as_numpy_iterator()}


def _map_files(function, files):
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(32, 2 * (os.cpu_count() or 1))) as pool:
        return {split: list(pool.map(function, paths)) for split, (paths, _) in files.items()}


def _drop_broken(root, files, is_good, on_broken):
    """Take broken files out of `files`, in place. Raises: DataError: if they shall not be skipped, or none is left."""
    broken = [p for split, (paths, _) in files.items() for p, good in zip(paths, is_good[split], strict=True) if not good]
    if not broken:
        return
    named = ", ".join(str(p.relative_to(root)) for p in broken[:10]) + (", ..." if len(broken) > 10 else "")
    if on_broken != "skip":
        raise DataError(
            f"data folder:{root}: {len(broken)} broken image file{'s' * (len(broken) > 1)}: {named}. "
            "Mend or remove them, or go on without them: --on-broken skip."
        )
    logger.warning("%d broken image file(s) skipped: %s", len(broken), named)
    for split, (paths, labels) in list(files.items()):
        keep = np.array(is_good[split], bool)
        if not keep.any():
            raise DataError(f"data folder:{root}, split {split}: no image file is left, all are broken.")
        files[split] = ([p for p, good in zip(paths, keep, strict=True) if good], labels[keep])


def _measure(examples, shape, resize):
    if examples.images is not None:
        return measure(examples.images.numpy())
    chosen = np.random.default_rng(0).permutation(len(examples))[:MEASURED_IMAGES]
    views = [
        augment.evaluation_view(decode(tf.io.read_file(examples.paths[examples.rows[k]]), shape[2]), shape, resize)
        for k in chosen
    ]
    return measure(np.stack(views))
