"""Layouts of a folder of images: which files belong to which split and class.

With `val` and `valid` read as `validation`:

- `train/<class>/*`, `test/<class>/*` and perhaps `validation/<class>/*`;
- `train` and `validation` alone, as ImageNet is laid out: `validation` is then the test part;
- `<class>/*`: a fixed fifth of every class is the test part.
"""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np

from pipelines.examples import DataError
from pipelines.readers.raw import some_of, stratified_test

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"})
PARTS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}


@dataclasses.dataclass(frozen=True)
class Listing:
    """The image files of one split and their labels."""

    paths: list[str]
    labels: np.ndarray

    def take(self, indices: np.ndarray) -> Listing:
        return Listing([self.paths[i] for i in indices], self.labels[indices])


def list_folder(root: pathlib.Path) -> tuple[tuple[str, ...], dict[str, Listing]]:
    """Class names and the files of each split. Raises: DataError: if the layout is none of those above."""
    if not root.is_dir():
        raise DataError(f"folder:{root} is not a folder. Give the path of a folder that has one sub-folder per class.")
    parts = {name: _first_folder(root, names) for name, names in PARTS.items()}
    if parts["train"] is None:
        class_names = _class_names(root)
        everything = list_classes(root, class_names, complete=True)
        train, test = stratified_test(everything.labels)
        if len(test) == 0:
            raise DataError(f"{root} has one image per class, too few to split. Add images, or a test folder.")
        return class_names, {"train": everything.take(train), "test": everything.take(test)}
    if parts["test"] is None:
        parts["test"], parts["validation"] = parts["validation"], None
    if parts["test"] is None:
        raise DataError(f"{root} has a train folder but neither test nor validation beside it. Add one of them.")
    class_names = _class_names(parts["train"])
    listings = {}
    for name, part in parts.items():
        if part is None:
            continue
        extra = sorted(set(_class_names(part)) - set(class_names))
        if extra:
            raise DataError(f"{part} has classes that {parts['train']} lacks: {some_of(extra)}. Rename or remove them.")
        listings[name] = list_classes(part, class_names, complete=name == "train")
    return class_names, listings


def list_classes(folder: pathlib.Path, class_names: tuple[str, ...], complete: bool) -> Listing:
    """The image files under `folder/<class>`, sorted; other files are passed over.

    Raises: DataError: if there is no image at all or, with `complete`, none for some class.
    """
    paths, labels = [], []
    for label, name in enumerate(class_names):
        files = sorted(str(p) for p in (folder / name).rglob("*") if _is_image(p)) if (folder / name).is_dir() else []
        if complete and not files:
            raise DataError(f"{folder / name} has no images ({', '.join(sorted(EXTENSIONS))}). Add some, or remove it.")
        paths += files
        labels += [label] * len(files)
    if not paths:
        raise DataError(f"{folder} has no images ({', '.join(sorted(EXTENSIONS))}) in its class folders.")
    return Listing(paths, np.asarray(labels, np.int64))


def _first_folder(root: pathlib.Path, names: tuple[str, ...]) -> pathlib.Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _class_names(folder: pathlib.Path) -> tuple[str, ...]:
    names = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))
    if not names:
        raise DataError(f"{folder} has no class folders. Put the images of each class into a folder of its own there.")
    return names


def _is_image(path: pathlib.Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
