"""`from_pretrained` and `import_weights`: a file of another library as a Keras network with its weights."""

import dataclasses
import hashlib
import pathlib
import re

import keras

from dirac_keras.errors import UserError, renaming
from dirac_keras.files.amounts import counted
from dirac_keras.listing import listed
from dirac_keras.weights.catalogue import choose_layout, find_layouts
from dirac_keras.weights.hub import local_file
from dirac_keras.weights.layout import fill, weights_wanted, without_top
from dirac_keras.weights.reading.state_dict import read_state_dict

_DIGEST_IN_NAME = re.compile(r".*-([0-9a-f]{8,64})")  # of PyTorch's hub: `resnet18-f37072fd.pth`
_DIGITS = re.compile(r"[0-9a-f]{1,64}")
_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Imported:
    """A network with weights from elsewhere.

    Attributes:
        model: `keras.Model`, uncompiled; it gives logits.
        metadata: JSON-safe dict for `save_model`: what the images are, and where the weights come from.
        layout: str, whose layout the file has.
        tensors: int, tensors that became weights.
        ignored: tuple of str, tensors that hold no weights.
        left_out: tuple of str, what else the file holds.
        digest: str, SHA-256 of the file.
        file: `pathlib.Path`.
    """

    model: keras.Model
    metadata: dict
    layout: str
    tensors: int
    ignored: tuple
    left_out: tuple
    digest: str
    file: pathlib.Path

    def __str__(self):
        data = self.metadata["data"]
        lines = [
            f"{self.file.name}: {self.tensors} tensors, {self.model.count_params():,} parameters, "
            f"layout of {self.layout}, sha256 {self.digest}"
        ]
        if self.ignored:
            lines.append(f"without weights: {counted(len(self.ignored), 'tensor')} ({listed(self.ignored)})")
        if self.left_out:
            lines.append(f"not read: {listed(self.left_out)}")
        crop = f", cut from {data['resize']}" if data["resize"] else ""
        height, width, _ = data["image_shape"]
        lines.append(
            f"{_classes(data.get('num_classes'))}; images of {height} x {width} pixels{crop}, "
            f"mean {_numbers(data['mean'])}, deviation {_numbers(data['std'])} in units of 0 to 255"
        )
        return "\n".join(lines)


def from_pretrained(file, architecture, **options):
    """A network of ours with the weights of another library's file.

    Args: as `import_weights`.

    Returns: `keras.Model`, uncompiled; it gives logits.

    Example:
    >>> model = from_pretrained("diracnet18v2folded-a2174e15.pth", "diracnet18")  # doctest: +SKIP
    """
    return import_weights(file, architecture, **options).model


@renaming(path="file")
def import_weights(file, architecture, input_shape=None, class_names=None, sha256=None, include_top=True):
    """`from_pretrained`, with all there is to say of the file.

    Args:
        file: path of a file of PyTorch (`.pth`, `.pt`, of any version), a `.safetensors` file or a weights file of
            Keras 2; or `hf://OWNER/REPOSITORY/FILE` of the Hugging Face hub. Nothing that it holds is run.
        architecture: str, the network: `"diracnet18"`, `"resnet50"`, ...; see `catalogue`. In whose layout the file is
            is seen from its names.
        input_shape: `(height, width, channels)`; None: that of the original.
        class_names: sequence of str, one a class, kept in the metadata; None: there are none.
        sha256: str, what the SHA-256 of the file must begin with; None: what the file's name ends with, as in
            `resnet18-f37072fd.pth`, else it is not checked.
        include_top: bool, whether with the layer of the classes; without it the network gives what that layer was
            given, one vector an image. A file without that layer, as timm writes with `num_classes=0`, needs False.

    Returns: `Imported`.
    Raises: ValueError: if the file cannot be read, mentions code, is not of this network (every tensor that is missing,
        left over or of another shape is listed), or has another checksum. MissingExtra: for a `.safetensors` file or
        `hf://` without the package.
    """
    layouts = find_layouts(architecture)  # a wrong name is seen before a file is fetched or read
    path = local_file(file)
    digest = check_digest(path, sha256)
    found = read_state_dict(path)
    layout, tensors = choose_layout(layouts, found.tensors)
    head = tensors.get(layout.classes)
    num_classes = head.shape[layout.classes_axis] if head is not None and head.ndim > 0 else 1000
    images = layout.preprocessing
    shape = input_shape if input_shape is not None else (*images.sides, 3)
    _check_names(class_names, num_classes) if include_top else _no_names(class_names)
    if num_classes > 10**6:
        raise UserError(f"path: {path} has {num_classes} classes in {layout.classes}, which is no classifier.")
    model = layout.make(num_classes, shape)
    left_out = found.left_out
    if not include_top:
        model, names = without_top(model, layout)
        left_out = (*left_out, *(name for name in tensors if name in names))
        tensors = {name: array for name, array in tensors.items() if name not in names}
    elif head is None:
        _check_top(model, layout, tensors, path)
    ignored = fill(model, tensors, layout, path, architecture)
    data = {
        "name": images.name,
        "image_shape": [*(side or own for side, own in zip(shape[:2], images.sides, strict=True)), shape[2]],
        **({"num_classes": num_classes} if include_top else {}),
        "mean": list(images.mean),
        "std": list(images.std),
        "resize": images.resize,
    }
    if images.resize is not None:  # a larger input is cut from an image that is larger in proportion
        data["resize"] = round(images.resize * max(data["image_shape"][:2]) / max(images.sides))
    if class_names is not None:
        data["class_names"] = list(class_names)
    origin = {"file": path.name, "sha256": digest, "as": architecture, "layout": layout.source}
    metadata = {"data": data, "imported": origin}
    if layout.network:
        metadata["network"] = dict(layout.network)
    used = len(tensors) - len(ignored)
    return Imported(model, metadata, layout.source, used, ignored, left_out, digest, path)


def _check_top(model, layout, tensors, path):
    """Raise UserError if the layer of the classes is all that a file has not."""
    names = without_top(model, layout)[1]
    missing = [name for name, _, _ in weights_wanted(model, layout) if name not in tensors]
    if missing and {*missing} <= {*names}:
        raise UserError(
            f"path: {path} has no layer of classes: {listed(missing, 8)} are missing. Give `include_top=False` for the "
            "network without it."
        )


def _no_names(class_names):
    if class_names is not None:
        raise UserError("class_names are those of the layer of classes. Leave them out with `include_top=False`.")


def _classes(count):
    return "no layer of classes" if count is None else counted(count, "class", "classes")


def check_digest(path, sha256=None):
    """The SHA-256 of a file as 64 digits.

    Raises: ValueError: if the file cannot be read, or its checksum does not begin as `sha256` or the file's name says.
    """
    path = pathlib.Path(path)
    if sha256 is not None and not (isinstance(sha256, str) and _DIGITS.fullmatch(sha256.lower())):
        raise UserError(f"`sha256` must be 1 to 64 digits from 0 to f. Received {sha256!r}.")
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while part := file.read(_CHUNK):
                digest.update(part)
    except OSError as error:
        raise UserError(f"path: {path} cannot be read: {error.strerror or error}.") from None
    in_name = _DIGEST_IN_NAME.fullmatch(path.stem)
    wanted, whose = (sha256.lower(), "`sha256`") if sha256 else (in_name and in_name.group(1), "its name")
    if wanted and not digest.hexdigest().startswith(wanted):
        raise UserError(
            f"path: {path} is damaged or another file: its SHA-256 begins with {digest.hexdigest()[: len(wanted)]}, "
            f"{whose} says {wanted}. Fetch it again" + ("." if sha256 else ", or rename it if the digits mean nothing.")
        )
    return digest.hexdigest()


def _check_names(names, num_classes):
    if names is None:
        return
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise UserError(f"class_names must be a list of texts. Received class_names={names!r}.")
    if len(names) != num_classes:
        raise UserError(f"class_names must be {num_classes} names, one a class. Received {len(names)}.")


def _numbers(values):
    return ", ".join(f"{value:.4g}" for value in values)
