"""`export(model, path)`: an artefact that serves without this package, written, reloaded and compared."""

import dataclasses
import json
import logging
import os
import pathlib

import keras

from dirac_keras.deployment.classifier import image_shape_of
from dirac_keras.deployment.feeding import fed_data
from dirac_keras.deployment.heads import find_head
from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.deployment.saved_model import export_saved_model
from dirac_keras.errors import UserError
from dirac_keras.files.atomic import atomic_path, refuse_existing
from dirac_keras.files.keras_file import METADATA_MEMBER
from dirac_keras.files.manifest import Manifest, seal_folder
from dirac_keras.graph.finite import describe_nonfinite, nonfinite_weights

logger = logging.getLogger("dirac_keras")
ASSETS = "assets"  # TensorFlow's folder of files that a graph reads


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        path: str.
        format: str.
        signatures: dict, name -> `{"inputs": {name: "dtype shape"}, "outputs": {name: "dtype shape"}}`.
        max_abs_difference: float, largest between the model and the reloaded artefact over all signatures;
            None if it was not verified.
        size_bytes: int.
        notes: tuple of str, what the reader should know.
    """

    path: str
    format: str
    signatures: dict
    max_abs_difference: float | None
    size_bytes: int
    notes: tuple = ()

    def to_dict(self):
        """A JSON-safe dict."""
        return {**dataclasses.asdict(self), "notes": list(self.notes)}

    def __str__(self):
        checked = "not verified"
        if self.max_abs_difference is not None:
            checked = f"reloaded in a clean process, max abs difference {self.max_abs_difference:.2g}"
        lines = [f"{self.format} {self.path} ({self.size_bytes / 1e6:.1f} MB; {checked})"]
        for name, signature in self.signatures.items():
            sides = [", ".join(f"{k}: {v}" for k, v in signature[side].items()) for side in ("inputs", "outputs")]
            lines.append(f"  {name}: {' -> '.join(sides)}")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def export(
    model,
    path,
    format="saved_model",
    metadata=None,
    overwrite=False,
    verify=True,
    input=None,
    outputs=None,
    labels=None,
    image_size=None,
    max_pixels=None,
):
    """Write a model for serving, whole or not at all, and compare it with the model.

    A SavedModel has these signatures; the last three need `metadata["data"]` or `input`:

    | signature | input | output |
    |---|---|---|
    | `serve` | as the model | as the model |
    | `serving_default` | `images`: float32, scaled as the model takes them | `logits`, `probabilities`, `label` |
    | `serving_uint8` | `images`: uint8 `(batch, height, width, channels)` of any size | the same |
    | `serving_bytes` | `image_bytes`: encoded JPEG, PNG, GIF, BMP or WebP, `(batch,)` | the same |

    Without either, `serving_default` is `serve`. A model that gives probabilities has no `logits`; one number is the
    second of two classes. Layers that augment images are not active. A batch that the model fixes stays fixed.
    Preprocessing is the evaluation's: shorter side to `resize` and centre crop, or a plain resize to
    `image_shape`, rounded to whole pixel values, then `(image - mean) / std`. `serving_bytes` decodes files as training
    does: turned by their EXIF orientation if `metadata["data"]["exif_orientation"]` says so, of an animation the first
    frame. A file of more than `max_pixels` pixels, or that is no such image, is an error.
    The class names are in `assets/labels.txt`, one a line, the metadata in `dirac_keras.json`.

    Args:
        model: built `keras.Model`, any one: it need not be of this package. Fold it first for speed.
        path: folder of the artefact.
        format: a key of `FORMATS`.
        metadata: dict, as `files.keras_file.load_model` returns it; `metadata["data"]` holds `image_shape`,
            `num_classes`, `class_names`, `mean`, `std` (0..255 units) and `resize`.
        overwrite: whether an artefact that is there is replaced; nothing else is.
        verify: whether to reload the artefact in a process that cannot import this package, and compare.
        input, outputs, labels, image_size, max_pixels: what a classifier of images is fed with, gives, calls its
            classes, its size where that is open, and the largest image file's; as in `evaluation.rank_files`. They
            override `metadata`.

    Returns: `ExportReport`.
    Raises: ValueError: if an argument does not fit, a weight is not finite or `path` cannot be written. ImportError: if
        the format's package is missing. RunError: if the reloaded artefact differs; then nothing is written.
    """
    if format not in FORMATS:
        raise UserError(f"format must be one of {', '.join(FORMATS)}. Received format={format!r}.")
    if not isinstance(model, keras.Model) or not model.built:
        raise UserError(f"model must be a built keras.Model: call it once on data. Received model={model!r}.")
    path = pathlib.Path(path)
    refuse_existing(path, overwrite)
    _refuse_foreign(path)
    if found := nonfinite_weights(model):
        raise UserError(
            f"model: weights that are not finite (NaN or infinite) cannot serve: {describe_nonfinite(found)}. Train "
            "again, or take an earlier checkpoint."
        )
    metadata, image_spec, head, told = dict(metadata or {}), None, None, []
    if metadata.get("data") or input is not None:
        metadata["data"], feed = fed_data(model, metadata.get("data"), input, labels, image_size, max_pixels)
        image_spec, head = ImageSpec.from_metadata(metadata, model), find_head(model, outputs)
        logger.info("input: %s", feed.text)
    elif _takes_images(model):
        told.append("no metadata of the data set: the float signature alone; `input` adds those that take images")
    else:
        told.append("no metadata of the data set: the float signature alone, without preprocessing and labels")
    with atomic_path(path) as temporary:
        signatures, difference, notes = FORMATS[format](model, temporary, image_spec, head, verify)
        if metadata:
            (temporary / METADATA_MEMBER).write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
        seal_folder(temporary)
        if not any((temporary / ASSETS).iterdir()):  # TensorFlow makes it in any case; a list names files alone
            Manifest(temporary).add(f"{ASSETS}/")
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return ExportReport(str(path), format, signatures, difference, size, (*told, *notes))


def _takes_images(model):
    try:
        return bool(image_shape_of(model))
    except UserError:
        return False


# Name -> function (model, folder, image_spec, head, verify) -> (signatures, difference, notes).
# ONNX and LiteRT come here.
FORMATS = {"saved_model": export_saved_model}


# What an artefact of a version without a list of its files holds.
_FILES = ("saved_model.pb", "fingerprint.pb", "variables/**", f"{ASSETS}/**", METADATA_MEMBER)


def _refuse_foreign(path):
    """`overwrite` replaces an artefact, never a folder of something else, nor what somebody put into it."""
    if not os.path.lexists(path):
        return
    if path.is_dir() and not path.is_symlink() and ((path / "saved_model.pb").exists() or not any(path.iterdir())):
        written = Manifest(path, known=_FILES)
        if written.foreign() != [f"{ASSETS}/"] or any((path / ASSETS).iterdir()):
            written.check("path")
        return
    raise UserError(f"path: {path} exists and is no exported model, so it is not replaced. Give another path.")
