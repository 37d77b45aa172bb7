"""What a command has written into a folder, listed in the folder itself: `overwrite` deletes that and nothing else.

A file is listed before it is written, so a kill leaves none that is ours and not listed. Whatever is not listed is
foreign and stops the deletion before anything is touched. The list names files in its own folder alone, relative to it:
a folder can be moved or copied, and no entry reaches out of it.
"""

import contextlib
import fnmatch
import json
import os
import pathlib

from dirac_keras.errors import UserError
from dirac_keras.files.leftovers import is_temporary
from dirac_keras.files.lock import LOCK_FILES
from dirac_keras.listing import listed

MANIFEST_FILE = ".dirac-keras-files"
EVERYTHING = "**"
_SHOWN = 3


class Manifest:
    """The list of a folder: JSON strings, one a line, each a file's path, or a folder's with a slash at the end; a
    pattern of files stands in an object, `{"pattern": "tb/events.*"}`, for a writer that chooses the names.

    Args:
        folder: path of the folder.
        known: patterns of the files that a folder without a list may hold, as earlier versions wrote them. In a pattern
            each part of a path is one of `fnmatch`; `**` at the end is all that is below.
    """

    def __init__(self, folder, known=()):
        self.folder = pathlib.Path(folder)
        self.path = self.folder / MANIFEST_FILE
        self.known = tuple(known)

    def exists(self):
        """Whether the folder has a list."""
        return self.path.is_file() and not self.path.is_symlink()

    def begin(self):
        """Start a list, unless there is one: of what is there of the known files. Raises: OSError."""
        if not self.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            entries = [path for path in _files(self.folder) if _matches(path, self.known)]
            self._append(entries or [MANIFEST_FILE])

    def add(self, *paths, patterns=()):
        """List what is about to be written; what is listed already is not repeated.

        Args:
            paths: relative paths; of a folder that has a list of its own, or stays empty, with a slash at the end.
            patterns: of files whose names are chosen elsewhere.

        Raises: OSError: if the list cannot be written.
        """
        listed = self.entries()
        entries = [*map(str, paths), *({"pattern": pattern} for pattern in patterns)]
        self._append([entry for entry in entries if entry not in listed])

    def entries(self):
        """What is listed; a line that a crash has cut is none."""
        try:
            text = self.path.read_bytes() if self.exists() else b""
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror or error}.") from error
        entries = []
        for line in text.splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, str) or (isinstance(entry, dict) and isinstance(entry.get("pattern"), str)):
                    entries.append(entry)
        return entries

    def foreign(self):
        """Paths in the folder, relative, that are not of the command that wrote it; a folder's ends with a slash.

        Links are never followed and always foreign: none is ever written.
        """
        return sorted(self._sort_out()[1])

    def check(self, argument="workdir"):
        """Raise UserError, which begins with `argument` and the folder, if anything foreign is in it."""
        if foreign := self.foreign():
            raise UserError(
                f"{argument} {self.folder} holds what this program did not write, {listed(foreign, _SHOWN)}: "
                f"nothing is deleted. Move that elsewhere, or give another `{argument}`."
            )

    def clear(self, argument="workdir"):
        """Delete what is listed, after `check`; the folder and a lock on it stay.

        Raises: UserError: if anything foreign is in it, or something cannot be deleted.
        """
        self.check(argument)
        files, _, folders = self._sort_out()
        try:
            for path in sorted(files, key=lambda path: path == MANIFEST_FILE):  # the list goes last
                if path not in LOCK_FILES:
                    (self.folder / path).unlink(missing_ok=True)
            for path in sorted(folders, reverse=True):  # the inner ones first
                (self.folder / path).rmdir()
        except OSError as error:
            raise UserError(
                f"{argument} {self.folder} cannot be emptied: {error.filename}: {error.strerror or error}."
            ) from error

    def _sort_out(self):
        """Ours, foreign, and our folders, as relative paths."""
        files, foreign, folders = [], [], []
        try:
            entries = self.entries() if self.exists() else [{"pattern": pattern} for pattern in self.known]
            _sort(self.folder, "", [_Listed(entries, "")], files, foreign, folders)
        except OSError as error:
            raise UserError(f"{error.filename} cannot be read: {error.strerror or error}.") from error
        return files, foreign, folders

    def _append(self, entries):
        if not entries:
            return
        with open(self.path, "a+b") as file:
            file.seek(0, os.SEEK_END)
            is_cut = file.tell() > 0 and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n"
            lines = "".join(json.dumps(entry) + "\n" for entry in entries)
            file.write(b"\n" * is_cut + lines.encode())
            file.flush()
            os.fsync(file.fileno())


def list_written(path):
    """List a file that is about to be written in the nearest list above it, if a folder above has one.

    Args:
        path: `pathlib.Path` of a file, or of a folder with what it holds.

    Raises: OSError: if the list cannot be written.
    """
    found = _find(path)
    if found is not None:
        found.add(path.absolute().relative_to(found.folder).as_posix())


def list_folder(path, content):
    """`list_written` of a folder that is about to take its place at `path`, with all that is in `content` now."""
    found = _find(path)
    if found is not None:
        where = path.absolute().relative_to(found.folder).as_posix()
        found.add(f"{where}/", *(f"{where}/{name}" for name in _files(content)))


def seal_folder(folder):
    """Give a folder that is complete, and will not be written to any more, a list of all that it holds now."""
    Manifest(folder, known=(EVERYTHING,)).begin()


def _find(path):
    """The `Manifest` of the nearest folder above a path that has one, or None."""
    for folder in path.absolute().parents:
        manifest = Manifest(folder)
        if manifest.exists():
            return manifest
    return None


class _Listed:
    """What one list says of the paths below the folder that is looked through.

    Args:
        entries: of the list.
        where: relative path of its folder, with a slash at the end; "" for the folder itself.
    """

    def __init__(self, entries, where):
        self.where = where
        self.paths = {MANIFEST_FILE, *(entry for entry in entries if isinstance(entry, str))}
        self.patterns = [entry["pattern"] for entry in entries if isinstance(entry, dict)]
        above = [pattern.split("/") for pattern in self.patterns]
        self.folder_patterns = {"/".join(parts[:n]) for parts in above for n in range(1, len(parts))}
        above = [path.split("/") for path in self.paths]
        self.folders = {"/".join(parts[:n]) for parts in above for n in range(1, len(parts))}

    def has(self, path):
        path = path[len(self.where) :]
        return path in self.paths or _matches(path, self.patterns)

    def has_folder(self, path):
        path = path[len(self.where) :]
        return path in self.folders or _matches(path, [*self.folder_patterns, *self.patterns])


def _sort(folder, where, lists, files, foreign, folders):
    """Sort what is in `folder`, at the relative path `where`, into `files` and `folders` that are listed and others."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{where}{entry.name}"
            is_rest = is_temporary(entry.name)
            if entry.is_symlink():
                foreign.append(path)
            elif entry.is_dir(follow_symlinks=False):
                if not is_rest and not any(one.has_folder(path) for one in lists):
                    foreign.append(f"{path}/")
                    continue
                folders.append(path)
                own = [{"pattern": EVERYTHING}] if is_rest else Manifest(entry.path).entries()
                _sort(entry.path, f"{path}/", [*lists, _Listed(own, f"{path}/")], files, foreign, folders)
            elif entry.is_file(follow_symlinks=False) and (
                is_rest or entry.name in LOCK_FILES or any(one.has(path) for one in lists)
            ):
                files.append(path)
            else:
                foreign.append(path)


def _files(folder):
    """Relative paths of all files in a folder, no links followed."""
    found = []
    for where, _, names in os.walk(folder):
        found += [(pathlib.Path(where) / name).relative_to(folder).as_posix() for name in names]
    return sorted(found)


def _matches(path, patterns):
    """Whether a path fits a pattern: part by part, and `EVERYTHING` at its end for all below."""
    parts = path.split("/")
    for pattern in patterns:
        wanted = pattern.split("/")
        if wanted[-1] == EVERYTHING:
            wanted = [*wanted[:-1], *"*" * (len(parts) - len(wanted) + 1)]
        if len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted)):
            return True
    return False
