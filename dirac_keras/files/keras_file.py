"""The `.keras` file with its metadata."""

import importlib
import json
import pathlib
import re
import zipfile

import keras

from dirac_keras.errors import UserError
from dirac_keras.files.atomic import atomic_path, refuse_existing
from dirac_keras.files.checksum import append_checksum, has_valid_checksum

METADATA_MEMBER = "dirac_keras.json"  # of the `.keras` zip; Keras reads its own members only


# What registers this package's classes under their names. A file names modules too, as they were when it was written;
# none is ever imported because a file names it.
_OWN_CLASSES = (
    "dirac_keras.layers",
    "dirac_keras.constraints",
    "dirac_keras.regularizers",
    "dirac_keras.training.losses",
    "dirac_keras.training.optimizers",
    "dirac_keras.training.schedules",
)
MODEL_FILE = "model.keras"  # in a run's folder


def save_model(model, path, metadata=None, overwrite=False, checksum=False):
    """Write a `.keras` file whole or not at all.

    Args:
        model: `keras.Model`.
        path: of the file, ending in `.keras`. Folders above it are made.
        metadata: JSON-safe dict kept in the file, such as `{"data": spec.to_dict()}`; None keeps nothing.
        overwrite: whether a file that is there is replaced.
        checksum: whether the file ends with its SHA-256, which `load_model` then checks.

    Returns: `pathlib.Path` of the file.
    Raises: ValueError: if the file exists and `overwrite` is false, the name does not end in `.keras`, the
        folder cannot be written or `metadata` is not JSON-safe.
    """
    path = pathlib.Path(path)
    if path.suffix != ".keras":
        raise UserError(f"path must end in .keras. Received path={str(path)!r}.")
    refuse_existing(path, overwrite)
    text = None if metadata is None else _to_json(metadata)
    with atomic_path(path) as temporary:
        keras.saving.save_model(model, temporary)
        if text is not None:
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(METADATA_MEMBER, text)
        if checksum:
            append_checksum(temporary)
    return path


def load_model(path):
    """Read a `.keras` file, or the `model.keras` of a run's folder.

    This package's own classes need no import before.

    Args:
        path: of the file or the folder.

    Returns: `(model, metadata)`; metadata is `{}` for a file that `save_model` did not write.
    Raises: ValueError: if there is no such file, it is no `.keras` file, it is damaged, or it holds classes
        that are not known here, which are named.
    """
    path = _model_file(pathlib.Path(path))
    metadata, written_by = _read_members(path)
    for module in _OWN_CLASSES:
        importlib.import_module(module)
    try:
        return keras.saving.load_model(path), metadata
    except Exception as error:  # whatever Keras raises for a file it cannot read, the user's trouble is the file
        raise UserError(_explain(path, error, written_by)) from error


def _to_json(metadata):
    try:
        return json.dumps(metadata, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"metadata must be JSON-safe: {error}. Received metadata={metadata!r}.") from None


def _model_file(path):
    if not path.exists():
        raise UserError(f"path: {path} does not exist. Give a .keras file or the folder of a finished run.")
    if not path.is_dir():
        return path
    if (path / MODEL_FILE).is_file():
        return path / MODEL_FILE
    if (path / "saved_model.pb").exists():
        raise UserError(f"path: {path} is an exported SavedModel. Give the .keras file it was made from.")
    hint = "Give a .keras file or the folder of a finished run."
    if (path / "config.json").exists():
        hint = "The run is not finished: train again with the same workdir, or give a file of its checkpoints/."
    raise UserError(f"path: {path} is a folder without {MODEL_FILE}. {hint}")


def _read_members(path):
    """Our metadata and the version of Keras that wrote the file."""
    if path.suffix != ".keras":
        raise UserError(f"path: {path} is no .keras file by its name. Save the model with save_model(model, path).")
    way_out = "Write it again, or give another file (a run keeps its last checkpoints)."
    try:
        if has_valid_checksum(path) is False:
            raise UserError(f"path: {path} is damaged: its checksum (sha256) does not fit. {way_out}")
        with zipfile.ZipFile(path) as archive:
            missing = {"config.json", "metadata.json"} - set(archive.namelist())
            if missing:
                raise UserError(f"path: {path} is a zip, but no .keras file: it holds no {sorted(missing)[0]}.")
            damaged = archive.testzip()  # Keras itself would load some flipped bits as weights
            if damaged:
                raise UserError(f"path: {path} is damaged in its member {damaged}. {way_out}")
            metadata = {}
            if METADATA_MEMBER in archive.namelist():
                metadata = json.loads(archive.read(METADATA_MEMBER))
            written_by = json.loads(archive.read("metadata.json")).get("keras_version", "unknown")
            return metadata, written_by
    except zipfile.BadZipFile:
        raise UserError(f"path: {path} is no .keras zip, or it is damaged or cut short. {way_out}") from None
    except OSError as error:
        raise UserError(f"path: {path} cannot be read: {error}.") from error


def _explain(path, error, written_by):
    text = str(error)
    unknown = re.search(r"Could not (?:locate|deserialize) (?:class|function) '([^']+)'", text)
    unknown = unknown or re.search(r"Unknown (?:[\w ]+): '([^']+)'", text)
    if unknown:
        return (
            f"path: {path} needs {unknown.group(1)!r}, which is not known here. "
            "Import the module that defines it before loading; it must be decorated with "
            "@keras.saving.register_keras_serializable()."
        )
    cause = re.sub(r"(?s)\n\nconfig=.*Exception encountered: ", " ", text).strip().split("\n")[0]
    return (
        f"path: {path} cannot be loaded (written by Keras {written_by}, this is {keras.__version__}): "
        f"{type(error).__name__}: {cause[:500]}"
    )
