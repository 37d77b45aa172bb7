"""An artefact brought to its place whole or not at all, and what may be replaced by it."""

import contextlib
import os
import pathlib
import shutil
import tempfile

from dirac_keras.deployment.card import card_path
from dirac_keras.deployment.formats.registry import FORMATS
from dirac_keras.deployment.image_spec import ASSETS
from dirac_keras.errors import UserError
from dirac_keras.files.atomic import atomic_path
from dirac_keras.files.keras_file import METADATA_MEMBER
from dirac_keras.files.leftovers import TEMPORARY_PREFIX
from dirac_keras.files.manifest import Manifest, seal_folder
from dirac_keras.files.together import replace_together

# What a SavedModel of a version without a list of its files holds.
_FILES = ("saved_model.pb", "fingerprint.pb", "variables/**", f"{ASSETS}/**", METADATA_MEMBER)
MODEL = "model"  # the artefact in a folder, without its suffix
# Suffixes of which each says what a file is.
_TELLING = (".onnx", ".tflite", ".xml", ".bin", ".json", ".keras", ".h5", ".hdf5", ".pb", ".md", ".safetensors")
_IR = (".bin", ".json", ".xml")  # the last one makes it an artefact


def is_folder(path, format, hub=False):
    """Whether an artefact at a path will be a folder."""
    return hub or format == "saved_model" or (format == "openvino" and path.suffix != ".xml")


def check_name(path, format, hub=False):
    """Raise ValueError for a path whose suffix says something else than what will be there."""
    own = "" if hub else FORMATS[format].suffix
    if path.suffix == own or path.suffix not in _TELLING:
        return
    what = "a folder as hubs keep it, whose artefact is named in it" if hub else f"the format {format}"
    example = path.with_suffix(own)
    hint = "a folder's name, without a suffix" if not own else f"one that ends in {own}"
    hint += f", such as {example}" + (", or a folder's" if format == "openvino" and not hub else "")
    raise UserError(f"path: {path} ends in {path.suffix}, which is not {what}. Give {hint}.")


@contextlib.contextmanager
def place(path, format, hub=False):
    """Yield the path to write an artefact to; at the end it takes its place at `path`.

    All that was written beside it comes along, under names of the same form: of `net.xml` that is `net.bin`,
    `net.json`, `net.xml.md`. If the body raises, or a file cannot be written, what was at `path` stays.

    Args:
        path: `pathlib.Path`.
        format: name.
        hub: whether the artefact lies in a folder, whatever its format.
    """
    if format == "saved_model":
        with _made_for(path), atomic_path(path) as temporary:
            yield temporary
            seal_folder(temporary)
            if not any((temporary / ASSETS).iterdir()):  # TensorFlow makes it in any case; a list names files alone
                Manifest(temporary).add(f"{ASSETS}/")
        return
    with _made_for(path), tempfile.TemporaryDirectory() as folder:
        written = pathlib.Path(folder, f"{MODEL}{FORMATS[format].suffix}")
        yield written
        if is_folder(path, format, hub):
            with atomic_path(path) as temporary:
                shutil.copytree(folder, temporary)
                seal_folder(temporary)
        else:
            files = sorted(pathlib.Path(folder).iterdir(), key=lambda file: file == written)  # the artefact last
            replace_together({_place_of(file, written, path): file for file in files})


def parts_of(path, format):
    """All files that an artefact at a path, no folder, may consist of, with its card; the artefact last."""
    beside = [path.with_suffix(end) for end in _IR[:2]] if format == "openvino" else []
    return [*beside, card_path(path, is_folder=False), path]


def refuse_foreign(path, format, overwrite):
    """Raise ValueError if `overwrite` would replace anything but an artefact, or what somebody put into its folder."""
    if format == "openvino" and path.suffix == ".xml":
        for beside in (path.with_suffix(end) for end in _IR[:2]):
            if os.path.lexists(beside) and not (overwrite and _is_ours(path, "openvino")):
                raise UserError(f"path: {beside} exists, and belongs to no exported {path.name}. Give another `path`.")
    if not os.path.lexists(path):
        return
    if path.is_dir() and not path.is_symlink():
        if (path / "saved_model.pb").exists() or not any(path.iterdir()):
            written = Manifest(path, known=_FILES)
            if written.foreign() != [f"{ASSETS}/"] or any((path / ASSETS).iterdir()):
                written.check("path")
            return
        if any(_is_ours(path / f"{MODEL}{one.suffix}", name) for name, one in FORMATS.items() if one.suffix):
            return Manifest(path).check("path")
    elif not path.is_symlink() and any(_is_ours(path, name) for name in FORMATS if FORMATS[name].suffix):
        return
    raise UserError(f"path: {path} exists and is no exported model, so it is not replaced. Give another `path`.")


def _place_of(file, written, path):
    """Where a file goes that was written beside `written`, which goes to `path`."""
    if file.name.startswith(written.name):
        return path.with_name(path.name + file.name.removeprefix(written.name))
    return path.with_suffix(file.suffix)


@contextlib.contextmanager
def _made_for(path):
    """Make the folders above a path, and see that it can be written; those that were made go if the body raises.

    Before the work, and so that no error of a converter names the temporary place.
    """
    folder = path.parent
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder):
                pass
        except OSError as error:
            raise UserError(f"path: {path} cannot be written: {error.strerror or error}.") from None
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # somebody else has put something there
            for one in new:
                one.rmdir()
        raise


def _is_ours(path, format):
    with contextlib.suppress(ImportError):
        return FORMATS[format].load().is_ours(path)
    return False
