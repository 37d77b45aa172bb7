"""A `.keras` model with what the other artefacts have: uint8 images in, logits or probabilities out, by name."""

import sys

import keras
import numpy as np

from dirac_keras.deployment.feeding import batch_runner, fed_data
from dirac_keras.deployment.heads import PROBABILITIES, find_head
from dirac_keras.deployment.image_spec import ImageSpec
from dirac_keras.files.keras_file import load_model
from dirac_keras.graph.inputs import fixed_batch
from dirac_keras.graph.nested import all_layers
from dirac_keras.layers import VariableSkip
from dirac_keras.layers.dirac import DiracConv1D, DiracConv2D, DiracConv3D, DiracDense

# What `fold` removes: with one of these, a network is not folded.
_DIRAC = (DiracConv1D, DiracConv2D, DiracConv3D, DiracDense)
_UNFOLDED = (keras.layers.BatchNormalization, *_DIRAC, VariableSkip)


class KerasRunner:
    """A classifier in a `.keras` file, run as `predict_on_batch` runs it, with the preprocessing before it.

    Args:
        path: of the file or a run's folder.
        input, outputs: what the images are scaled to and what the model gives; None: what its file or layers say.
        reading: dict of `imports`, `unsafe`, `max_gigabytes`, as `load_model` takes them.

    Attributes: as `standalone.Runner` has them. Source of the preprocessing: `metadata["data"]` of the file.
    """

    format = "keras"

    def __init__(self, path, input=None, outputs=None, **reading):
        model, metadata = load_model(path, compiled=False, **reading)
        data, self.feed = fed_data(model, metadata.get("data"), input)
        spec = ImageSpec.from_metadata({"data": data}, model)
        self._run, self._head = batch_runner(model), find_head(model, outputs)
        self._mean, self._std = np.float32(spec.mean), np.float32(spec.std)
        self.batch = fixed_batch(model)
        self.inputs = {"images": ("uint8", (self.batch, *spec.image_shape))}
        self._name = "probabilities" if self._head.gives == PROBABILITIES else "logits"
        self.outputs = {self._name: ("float32", (self.batch, self._head.units))}
        precision = _precision(model)
        labels = list(spec.class_names) if data.get("class_names") else None
        # How its images were read, and the seed that draws the test images of data that has none.
        known = {name: data[name] for name in ("resize", "exif_orientation", "max_pixels") if name in data}
        self.metadata = {**known, "labels": labels, "precision": precision, "seed": metadata.get("seed", 0)}
        self.metadata |= {"mean": list(spec.mean), "std": list(spec.std)}
        self.is_folded = not any(isinstance(layer, _UNFOLDED) for layer in all_layers(model))
        backend = keras.backend.backend()
        self.runtime = f"keras {keras.__version__} on {backend} {sys.modules[backend].__version__}"

    def run(self, inputs, raw=False):
        """The model's outputs for uint8 images, `{"logits": ...}` or `{"probabilities": ...}`."""
        images = (np.asarray(inputs["images"], "float32") - self._mean) / self._std
        return {self._name: self._run(images)}


def _precision(model):
    """What the layers compute in, the lowest first, as in `bfloat16`; a policy of the model says little of them."""
    found = {layer.compute_dtype for layer in all_layers(model) if "float" in str(layer.compute_dtype)}
    order = ("bfloat16", "float16", "float64", "float32")
    return next((name for name in order if name in found), "float32")
