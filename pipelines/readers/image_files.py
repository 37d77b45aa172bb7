"""The image files in a folder and in the folders within it, and what is passed over there."""

from __future__ import annotations

import os

from pipelines.examples import DataError
from pipelines.printable import printable
from pipelines.readers.passed_over import PassedOver

EXTENSIONS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"})
# Suffixes of images in formats that the decoder does not know.
NOT_READ = frozenset(
    {".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".svg", ".psd", ".ico", ".tga", ".exr", ".pgm", ".ppm",
     ".pbm", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".dcm"}
)  # fmt: skip
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8")  # for files without a suffix
# What systems and programs put into the folders of others; names that begin with a dot are passed over anyway.
SYSTEM_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}
)
IN_HIDDEN = "images in hidden folders or those of the system"
REACHED_AGAIN = "links to folders that are read elsewhere"


def folders_in(folder: str) -> list[os.DirEntry]:
    """The folders in a folder, those that links lead to included, without hidden ones and those of the system."""
    return [entry for entry in entries_of(folder) if is_folder(entry) and not is_hidden(entry.name)]


def is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry is a folder, or a link to one that exists."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_image_name(name: str) -> bool:
    """Whether a file's suffix is that of an image, of a format that is read or not."""
    return _suffix(name) in EXTENSIONS | NOT_READ


def is_hidden(name: str) -> bool:
    """Whether a name is one that listings hide, or one of `SYSTEM_FOLDERS`."""
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


def entries_of(folder: str) -> list[os.DirEntry]:
    """What is in a folder, by name. Raises: DataError: if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"{printable(folder)} cannot be read: {error.strerror}. Make it readable, or move it away."
        ) from error


def identity(folder: str) -> tuple[int, int]:
    """What two paths of one folder have in common."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def image_files(folder: str, passed: PassedOver, closed: set) -> list[str]:
    """The paths of the image files below a folder, sorted; what is no such file is added to `passed`.

    A file is one by its suffix, or without a suffix by its first bytes. Links are followed, but into no folder twice.

    Args:
        closed: identities of folders that are not entered from here; those within are added.
    Raises: DataError: if a folder cannot be read.
    """
    return sorted(_image_files(folder, passed, closed))


def _image_files(folder, passed, closed):
    for entry in entries_of(folder):
        if is_folder(entry):
            if is_hidden(entry.name):
                passed.add(IN_HIDDEN, entry.path, count_images(entry.path))
            elif (this := identity(entry.path)) in closed:
                passed.add(REACHED_AGAIN, entry.path)
            else:
                closed.add(this)
                yield from _image_files(entry.path, passed, closed)
        elif reason := _reason_to_pass(entry):
            passed.add(reason, entry.path)
        else:
            yield entry.path


def _reason_to_pass(entry: os.DirEntry) -> str | None:
    suffix = _suffix(entry.name)
    if entry.name.startswith("."):
        return "hidden files"
    if not os.path.isfile(entry.path):
        return "links that lead nowhere" if entry.is_symlink() else "entries that are neither files nor folders"
    if suffix in EXTENSIONS or (not suffix and _begins_as_image(entry.path)):
        return None
    if suffix in NOT_READ:
        return f"{suffix} files, which are not read and can be converted to PNG or JPEG"
    return f"{printable(suffix)} files" if suffix else "files without a suffix that are no images"


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _begins_as_image(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.read(12)
            return head.startswith(SIGNATURES) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")
    except OSError:
        return False


def count_images(folder: str) -> int:
    """Files with the suffix of an image below a folder, hidden ones too; what cannot be read is not counted."""
    return sum(is_image_name(name) for _, _, names in os.walk(folder) for name in names)
