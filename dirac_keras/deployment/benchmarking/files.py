"""Which files are the artefacts of a network, and what they weigh."""

import os
import pathlib

from dirac_keras.deployment.benchmarking.worker import KERAS_SUFFIXES
from dirac_keras.deployment.runtimes import standalone
from dirac_keras.errors import UserError

_FIRST = ("model.keras", "folded.keras", "saved_model")  # of a run's folder, in this order


def expand(path):
    """The artefacts that a path names: itself, or those in a run's folder, the Keras models first.

    Raises: ValueError: if it does not exist or a folder holds none.
    """
    path = pathlib.Path(path)
    if not os.path.lexists(path):
        raise UserError(f"{path} does not exist.")
    if not path.is_dir() or _is_artefact(path):
        return [path]
    found = [child for child in sorted(path.iterdir()) if not child.name.startswith(".") and _is_artefact(child)]
    if not found:
        raise UserError(f"{path} is a folder without an artefact: no .keras, .onnx, .tflite, .xml file, no SavedModel.")
    return sorted(found, key=lambda child: _FIRST.index(child.name) if child.name in _FIRST else len(_FIRST))


def _is_artefact(path):
    if path.suffix == ".keras":
        return True
    try:
        return bool(standalone.find_format(path)) and (path.suffix != ".xml" or path.with_suffix(".bin").exists())
    except standalone.ArtefactError:
        return False


def check(path):
    """Raise UserError for a file that is no artefact by its name."""
    if path.suffix in KERAS_SUFFIXES:
        return
    try:
        standalone.find_format(path)
    except standalone.ArtefactError as error:
        raise UserError(f"{error} Nor is it a .keras file.") from None


def size_of(path):
    """Bytes of an artefact with all its files: `NAME.bin` beside `NAME.xml`, weights beside an `.onnx`."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    beside = {".xml": [path.with_suffix(".bin")], ".onnx": [path.with_name(f"{path.name}.data")]}
    return sum(file.stat().st_size for file in [path, *beside.get(path.suffix, [])] if file.is_file())
