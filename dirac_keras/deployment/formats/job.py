"""What a format's writer is given."""

import dataclasses

import keras
import numpy as np

from dirac_keras.deployment.heads import Head
from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.deployment.public_name import public_name
from dirac_keras.deployment.served import LOGITS, PROBABILITIES, build_served
from dirac_keras.version import __version__

PRODUCER = "dirac_keras"


@dataclasses.dataclass(frozen=True)
class Job:
    """One artefact that is to be written.

    Attributes:
        model: `keras.Model`, what is written. For integers it is what quantization made of `original`, with kernels on
            the grid.
        original: `keras.Model`, what the artefact is compared with.
        format, precision: str.
        spec: `ImageSpec`, or None for a model without preprocessing and labels.
        head: `heads.Head`, or None likewise.
        metadata: dict, of the model's file.
        batch: int, the samples that the artefact takes at once; None: as many as are given.
        pixels: array uint8 `(images, *image_shape)`, the calibration images; or None.
        quantization: `quantization.QuantizationReport`, for integers; or None.
        verify: bool, whether a SavedModel is compared as it is written.
        options: dict, of the format; a SavedModel's writer leaves there what it found.
    """

    model: keras.Model
    original: keras.Model
    format: str
    precision: str
    spec: ImageSpec | None = None
    head: Head | None = None
    metadata: dict = dataclasses.field(default_factory=dict)
    batch: int | None = None
    pixels: np.ndarray | None = None
    quantization: object = None
    verify: bool = True
    options: dict = dataclasses.field(default_factory=dict)

    def served(self, outputs=(LOGITS, PROBABILITIES), input_type="uint8"):
        """`served.build_served` of `model`."""
        return build_served(self.model, self.spec, self.head, self.batch, outputs, input_type)

    def facts(self):
        """What the artefact says of itself: a JSON-safe dict; `resize` and `max_pixels` may be None."""
        facts = {
            "producer": PRODUCER,
            "version": __version__,
            "format": self.format,
            "precision": self.precision,
            "name": self.original.name,
        }
        if self.spec is None:
            return facts
        spec, data = self.spec, self.metadata.get("data") or {}
        facts |= {
            "labels": spec.label_lines(),
            "image_shape": list(spec.image_shape),
            "layout": "NHWC",
            "color": {1: "grey", 3: "RGB"}.get(spec.image_shape[-1], "channels"),
            "mean": list(spec.mean),
            "std": list(spec.std),
            "resize": spec.resize,
            "resize_rule": _describe_resize(spec),
            "exif_orientation": spec.exif_orientation,
            "max_pixels": spec.max_pixels,
            "gives": self.head.gives,
        }
        facts |= {"task": self.head.task} if self.head.task != "classes" else {}
        facts |= {"columns": data["columns"]} if data.get("columns") else {}  # of a table, by which it is read again
        return facts | ({"data": public_name(data["name"])} if data.get("name") else {})


def _describe_resize(spec):
    height, width, _ = spec.image_shape
    if spec.resize is None:
        return f"resize to {height}x{width} (bilinear, antialiased), round to whole pixel values"
    return (
        f"shorter side to {spec.resize} (bilinear, antialiased), centre crop of {height}x{width}, round to whole pixel "
        "values"
    )
