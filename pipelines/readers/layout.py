"""Layouts of a folder of images: which files belong to which part and class.

- `train/<class>/*`, `test/<class>/*` and perhaps `validation/<class>/*`;
- `train` and `validation` alone, as ImageNet is laid out: `validation` is then the test part;
- `<class>/*`: a fixed fifth of every class is the test part.

Parts are known by their names (`part_names.py`). A folder named `train` among folders of other names, with images and
no folders of images in it, is a class, the vehicle.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import unicodedata

import numpy as np

from pipelines.examples import DataError
from pipelines.printable import counted, printable, some_of
from pipelines.readers.alike import beside_alike
from pipelines.readers.drawn import stratified_test
from pipelines.readers.image_files import (
    EXTENSIONS,
    IN_HIDDEN,
    REACHED_AGAIN,
    count_images,
    entries_of,
    folders_in,
    identity,
    image_files,
    is_folder,
    is_hidden,
    is_image_name,
)
from pipelines.readers.listing import Listing
from pipelines.readers.part_names import describe_names, part_of
from pipelines.readers.passed_over import PassedOver

KINDS = ", ".join(sorted(EXTENSIONS))
ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"}


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a folder holds.

    Args:
        class_names: one per label, fit to be printed, in Unicode's composed form.
        listings: of "train", "test" and perhaps "validation".
        passed: what is not used.
        folders: part -> name of its folder; empty if there are only classes.
    """

    class_names: tuple[str, ...]
    listings: dict[str, Listing]
    passed: PassedOver
    folders: dict[str, str]


def list_folder(root: pathlib.Path, whole: bool = False) -> Layout:
    """Find the files of each part and class.

    Args:
        whole: whether all images are of one part, "test": none is drawn, and those that there are count as one.
    Raises: DataError: if the layout is none of those above.
    """
    if not root.is_dir():
        kind = "a file" if root.is_file() else "not a folder"
        hint = "Unpack it, and give" if root.is_file() and root.suffix.lower() in ARCHIVES else "Give"
        raise DataError(
            f"folder:{shown(root)} is {kind}. {hint} the path of a folder that has one sub-folder per class."
        )
    passed = PassedOver(str(root))
    folders = folders_in(str(root))
    parts = _parts(root, folders, whole)
    if parts:
        listings, class_names = _list_parts(root, parts, passed, whole)
        if whole:
            listings = {"test": Listing.joined(listings.values())}
        _pass_what_is_beside(str(root), set(parts.values()), passed, "the parts")
        return Layout(class_names, listings, passed, {part: os.path.basename(path) for part, path in parts.items()})
    class_names, everything = _all_of(root, passed)
    if whole:
        return Layout(class_names, {"test": everything}, passed, {})
    train, test = stratified_test(everything.labels)
    if len(test) == 0:
        raise DataError(f"{shown(root)} has one image per class, too few to split. Add images, or a test folder.")
    return Layout(class_names, {"train": everything.take(train), "test": everything.take(test)}, passed, {})


def has_validation(root: pathlib.Path) -> bool:
    """Whether a folder has a validation part beside those for training and test. What is none of a layout has none."""
    return root.is_dir() and "validation" in _parts(root, folders_in(str(root)))


def list_whole(root: pathlib.Path) -> Layout | None:
    """All images of a folder of classes as one listing, "all", for what needs no split; None for what is none."""
    if not root.is_dir() or _parts(root, folders_in(str(root))):
        return None
    passed = PassedOver(str(root))
    class_names, everything = _all_of(root, passed)
    return Layout(class_names, {"all": everything}, passed, {})


def _all_of(root: pathlib.Path, passed: PassedOver) -> tuple[tuple[str, ...], Listing]:
    """The names of the classes, and all their images."""
    _check_wrapping(str(root))
    classes = _classes(str(root))
    everything = list_classes(str(root), classes, tuple(classes), passed, complete=True)
    _pass_what_is_beside(str(root), set(classes.values()), passed, "the class folders")
    return tuple(classes), everything


def _parts(root: pathlib.Path, folders: list[os.DirEntry], whole: bool = False) -> dict[str, str]:
    """Part -> its folder; empty where all folders are classes. With `whole`, any of the parts will do.

    Raises: DataError: if the names leave it open.
    """
    found: dict[str, list[os.DirEntry]] = {}
    for entry in folders:
        if part := part_of(entry.name):
            found.setdefault(part, []).append(entry)
    if list(found) == ["train"] and len(folders) > len(found["train"]) and not _has_classes(found["train"][0].path):
        return {}
    for part, entries in found.items():
        if len(entries) > 1:
            names = some_of([printable(entry.name) for entry in entries])
            raise DataError(
                f"{shown(root)} has several folders that can be the {part} part: {names}. Rename all but one."
            )
    parts = {part: found[part][0].path for part in ("train", "validation", "test") if part in found}
    if not parts or whole:
        return parts
    if "train" not in parts:
        names = some_of([shown(os.path.basename(path)) for path in parts.values()])
        raise DataError(
            f"{shown(root)} has a folder named like a test or validation part ({names}) but no train folder beside it. "
            f"Put the classes of the training images into a folder `train` there, or rename a class of that name. "
            f"Names of parts: {describe_names()}."
        )
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")
    if "test" not in parts:
        raise DataError(
            f"{shown(root)} has a train folder ({shown(os.path.basename(parts['train']))}) but neither test nor "
            f"validation beside it. Add one of them. Names of parts: {describe_names()}."
        )
    return parts


def _list_parts(root: pathlib.Path, parts: dict[str, str], passed: PassedOver, whole: bool = False):
    """The listing of each part and the names of the classes, those of "train" or, with `whole`, of all."""
    for path in parts.values() if whole else [parts["train"]]:
        _check_wrapping(path)
    classes = {part: _classes(path) for part, path in parts.items()}
    class_names = tuple(sorted({name for some in classes.values() for name in some}) if whole else classes["train"])
    listings = {}
    for part, path in parts.items():
        extra = sorted(set(classes[part]) - set(class_names))
        if extra:
            named = some_of(beside_alike(extra, class_names, "there"))
            raise DataError(
                f"{shown(path)} has classes that {shown(parts['train'])} lacks: {named}. Rename or remove them."
            )
        listings[part] = list_classes(path, classes[part], class_names, passed, complete=part == "train" and not whole)
        _pass_what_is_beside(path, set(classes[part].values()), passed, "the class folders")
    return listings, class_names


def list_classes(
    folder: str, classes: dict[str, str], class_names: tuple[str, ...], passed: PassedOver, complete: bool
) -> Listing:
    """The image files of the classes, class by class and sorted.

    Args:
        classes: name -> folder, of those that `folder` has.
        class_names: of all, in the order of their labels.
    Raises: DataError: if there is no image at all or, with `complete`, none for some class.
    """
    paths, labels, entered = [], [], set()
    # A link out of a class must not bring another class or part into it.
    closed = {identity(path) for path in (passed.root, folder, *classes.values())}
    closed |= {identity(entry.path) for entry in folders_in(passed.root)}
    for label, name in enumerate(class_names):
        there, files = PassedOver(passed.root), []
        if name in classes:
            _check_no_parts_within(classes[name])
            this = identity(classes[name])
            if this in entered:
                there.add(REACHED_AGAIN, classes[name])
            else:
                files = image_files(classes[name], there, closed)
            entered.add(this)
        if complete and not files:
            raise DataError(f"{shown(classes[name])} has no images ({KINDS}){there.inline()}. Add some, or remove it.")
        passed.take_over(there)
        paths += files
        labels += [label] * len(files)
    if not paths:
        raise DataError(f"{shown(folder)} has no images ({KINDS}) in its class folders{passed.inline()}.")
    return Listing(paths, np.asarray(labels, np.int64))


def _classes(folder: str) -> dict[str, str]:
    """Class name -> its folder, by name. Raises: DataError: if there is none, or two have one name."""
    classes: dict[str, str] = {}
    for entry in folders_in(folder):
        name = unicodedata.normalize("NFC", printable(entry.name))
        if name in classes:
            raise DataError(
                f"{shown(folder)} has two folders for the class {name}, whose names differ in their Unicode form "
                "alone. Put their images into one."
            )
        classes[name] = entry.path
    if not classes:
        count = sum(is_image_name(entry.name) for entry in entries_of(folder))
        there = f", but {counted(count, 'image')} directly in it" if count else ""
        raise DataError(
            f"{shown(folder)} has no class folders{there}. Put the images of each class into a folder of its own there."
        )
    return dict(sorted(classes.items()))


def _check_wrapping(folder: str) -> None:
    """Raises: DataError: if the classes lie one folder deeper, as archives are unpacked."""
    folders = folders_in(folder)
    if len(folders) == 1 and _has_classes(folders[0].path):
        names = some_of([printable(entry.name) for entry in folders_in(folders[0].path)])
        raise DataError(
            f"{shown(folder)} has one class folder, {shown(folders[0].name)}, with folders of images in it ({names}). "
            "Give the folder that has the classes, or move them up."
        )


def _check_no_parts_within(folder: str) -> None:
    """Raises: DataError: if a class has a test or validation part in it, whose images would be trained on."""
    within = [printable(entry.name) for entry in folders_in(folder) if part_of(entry.name) in ("test", "validation")]
    if within:
        raise DataError(
            f"{shown(folder)} is a class folder with a folder named like a part of the data in it: {some_of(within)}. "
            "Parts stand above the classes: move it, or rename it if it is none."
        )


def _has_classes(folder: str) -> bool:
    """Whether a folder has folders with images in them, and no image directly in it."""
    if any(is_image_name(entry.name) for entry in entries_of(folder)):
        return False
    return any(count_images(entry.path) for entry in folders_in(folder))


def _pass_what_is_beside(folder: str, used: set[str], passed: PassedOver, what: str) -> None:
    """Count the images that lie in a folder beside the folders that are used."""
    for entry in entries_of(folder):
        if entry.path in used:
            continue
        if is_folder(entry):
            reason = IN_HIDDEN if is_hidden(entry.name) else f"images in folders beside {what}"
            passed.add(reason, entry.path, count_images(entry.path))
        elif is_image_name(entry.name):
            passed.add(f"images beside {what}", entry.path)


def shown(path) -> str:
    """A path as it can be printed."""
    return printable(path)
