"""The `.keras` file with its metadata."""

import contextlib
import glob
import importlib
import json
import math
import pathlib
import re
import zipfile

import keras

from dirac_keras.errors import UserError
from dirac_keras.files.atomic import atomic_path, refuse_existing
from dirac_keras.files.checksum import append_checksum
from dirac_keras.files.imports import import_named
from dirac_keras.files.keras_zip import METADATA_MEMBER, allowance, check_weights, read_members, too_large

LEGACY = (".h5", ".hdf5")  # what Keras before version 3 wrote
MODEL_FILE = "model.keras"  # in a run's folder
_GIVE = "Give a .keras file or the folder of a finished run."
_SAVE_WHOLE = 'Save the whole model from Python: `model.save("NAME.keras")`.'
_WEIGHTS_ALONE = "holds weights alone: the network is not in it. Build the network, load the weights into it."
_TENSORFLOW_WEIGHTS = "a checkpoint of TensorFlow: weights alone. Build the network, load the weights into it."
_IMPORT = "Make a .keras file of it: dirac-keras import FILE --as NETWORK --output NETWORK.keras."
# Ending of a name -> what it is and what to do.
_OTHER_KINDS = {
    ".weights.h5": f"a file that {_WEIGHTS_ALONE} {_SAVE_WHOLE}",
    ".index": f"{_TENSORFLOW_WEIGHTS} {_SAVE_WHOLE}",
    ".ckpt": f"{_TENSORFLOW_WEIGHTS} {_SAVE_WHOLE}",
    "checkpoint": f"{_TENSORFLOW_WEIGHTS} {_SAVE_WHOLE}",
    ".pb": "a graph of TensorFlow, without layers. Give the .keras file it was made from.",
    ".tflite": "a LiteRT model, without layers. Give the .keras file it was made from.",
    ".onnx": "an ONNX model, without layers of Keras. Give the .keras file it was made from.",
    ".json": f"a configuration without weights. {_SAVE_WHOLE}",
    ".pt": f"a file of PyTorch. {_IMPORT}",
    ".pth": f"a file of PyTorch. {_IMPORT}",
    ".safetensors": f"a file of weights alone. {_IMPORT}",
}


# What registers this package's classes under their names. A file names modules too, as they were when it was written;
# none is ever imported because a file names it.
_OWN_CLASSES = (
    "dirac_keras.layers",
    "dirac_keras.constraints",
    "dirac_keras.regularizers",
    "dirac_keras.training.optimization.decoupled",
    "dirac_keras.training.optimization.losses",
    "dirac_keras.training.optimization.optimizers",
    "dirac_keras.training.optimization.schedules",
)


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
                archive.writestr(METADATA_MEMBER, text, zipfile.ZIP_DEFLATED)
        if checksum:
            append_checksum(temporary)
    return path


def load_model(path, imports=(), unsafe=False, compiled=True, max_gigabytes=None):
    """Read a `.keras` file, a whole model in an `.h5` file, or the `model.keras` of a run's folder.

    This package's own classes need no import before.

    Args:
        path: of the file or the folder.
        imports: name of a module, or path of a `.py` file, that defines what the model needs, or several; they are
            imported.
        unsafe: whether Python code that the file holds, as of a `Lambda` layer, may be run.
        compiled: whether the optimizer, the loss and the metrics are read too; those of an `.h5` file never are.
        max_gigabytes: number, memory that the model may take; None: 1 GiB, or 8 times the size of a larger file.

    Returns: `(model, metadata)`; metadata is `{}` for a file that `save_model` did not write.
    Raises: ValueError: if there is no such file, it holds no model, it is damaged, it would take too much memory, or
        it holds classes that are not known here, which are named.
    """
    path = model_file(pathlib.Path(path))
    if path.suffix in LEGACY:
        check_weights(path, path, allowance(path, max_gigabytes))
        metadata, written_by = {}, "an earlier version"
        compiled = False  # Keras 3 cannot read every loss and metric that earlier versions wrote
    else:
        metadata, written_by = read_members(path, max_gigabytes)
        _respell(metadata.get("data"))
    for module in _OWN_CLASSES:
        importlib.import_module(module)
    known = import_named((imports,) if isinstance(imports, str) else imports)
    try:
        with _bounded_weights(path, allowance(path, max_gigabytes)):
            model = keras.saving.load_model(path, custom_objects=known, compile=compiled, safe_mode=not unsafe)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # whatever Keras raises for a file it cannot read, the user's trouble is the file
        raise _cause(error) or UserError(_explain(path, error, written_by)) from error
    if not isinstance(model, keras.Model):
        raise UserError(f"path: {path} holds a {type(model).__name__}, which is no model. {_SAVE_WHOLE}")
    return model, metadata


def _respell(data):
    """Names of classes as they are spelled: early files have an escape in place of the joiners in scripts and emoji."""
    if isinstance(data, dict) and isinstance(data.get("class_names"), list):
        for joiner in "\u200c\u200d":
            escape = joiner.encode("unicode_escape").decode()
            data["class_names"] = [str(name).replace(escape, joiner) for name in data["class_names"]]


def _to_json(metadata):
    try:
        return json.dumps(metadata, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"metadata must be JSON-safe: {error}. Received metadata={metadata!r}.") from None


def model_file(path):
    """The file that `load_model(path)` reads: `path`, or the `model.keras` in a run's folder.

    Raises: ValueError: if there is none, or it is of a kind that holds no whole model; the message says what to do.
    """
    if not path.exists():
        parts = sorted(path.parent.glob(f"{glob.escape(path.name)}.index")) if path.name else []
        hint = f"{_TENSORFLOW_WEIGHTS} {_SAVE_WHOLE}" if parts else _GIVE
        raise UserError(f"path: {path} {'is' if parts else 'does not exist.'} {hint}")
    if not path.is_dir():
        _refuse_other_kind(path)
        return path
    if (path / MODEL_FILE).is_file():
        return path / MODEL_FILE
    if (path / "saved_model.pb").exists():
        raise UserError(
            f"path: {path} is an exported SavedModel. Give the .keras file it was made from. A SavedModel of earlier "
            "Keras is read by keras 2 alone: load it there and save it as .h5, which is read here."
        )
    hint = _GIVE
    if (path / "config.json").exists():
        hint = "The run is not finished: train again with the same workdir, or give a file of its checkpoints/."
    elif (path / "checkpoint").exists() or any(path.glob("*.ckpt*.index")):
        hint = f"It holds {_TENSORFLOW_WEIGHTS} {_SAVE_WHOLE}"
    raise UserError(f"path: {path} is a folder without {MODEL_FILE}. {hint}")


def _refuse_other_kind(path):
    if path.suffix == ".keras" or (path.suffix in LEGACY and not path.name.endswith(".weights.h5")):
        return
    for ending, what in _OTHER_KINDS.items():
        if path.name.endswith(ending):
            raise UserError(f"path: {path} is {what}")
    raise UserError(f"path: {path} is no .keras file by its name. {_SAVE_WHOLE}")


@contextlib.contextmanager
def _bounded_weights(path, allowed):
    """Within, creating weights of more than `allowed` bytes raises: a configuration of 1 kB can ask for any size."""
    create, size = keras.Variable.__init__, 0

    def create_bounded(variable, *args, **options):
        nonlocal size
        size += math.prod(options.get("shape") or ()) * 4
        if size > allowed:
            raise too_large(path, size, allowed)
        create(variable, *args, **options)

    keras.Variable.__init__ = create_bounded
    try:
        yield
    finally:
        keras.Variable.__init__ = create


def _cause(error):
    """The error of ours that Keras wrapped in its own, or None."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


def _explain(path, error, written_by):
    text = str(error)
    unknown = re.search(r"Could not (?:locate|deserialize) (?:class|function) '([^']+)'", text)
    unknown = unknown or re.search(r"Unknown (?:[\w ]+): '([^']+)'", text)
    if unknown:
        return (
            f"path: {path} needs {unknown.group(1)!r}, which is not known here. Give the module or the .py file that "
            "defines it: `imports=MODULE`."
        )
    if "safe_mode" in text or "unsafe_deserialization" in text:
        return (
            f"path: {path} holds Python code (a Lambda layer), which is not run. If you trust whoever wrote the "
            "file, give `unsafe=True`: then its code runs with your rights."
        )
    if "No model config" in text:
        return f"path: {path} {_WEIGHTS_ALONE} {_SAVE_WHOLE}"
    cause = " ".join(re.sub(r"(?s)\n\nconfig=.*Exception encountered: ", " ", text).split())
    return (
        f"path: {path} cannot be loaded (written by Keras {written_by}, this is {keras.__version__}): "
        f"{type(error).__name__}: {cause[:500]}"
    )
