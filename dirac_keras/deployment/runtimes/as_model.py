"""An artefact with the face of a Keras model, for what judges predictions alone."""

import pathlib

import keras
import numpy as np

from dirac_keras.deployment.benchmarking.comparing import NAMES
from dirac_keras.deployment.runtimes import standalone
from dirac_keras.deployment.runtimes.opening import open_artefact
from dirac_keras.errors import UserError
from dirac_keras.files.keras_file import MODEL_FILE

COLOURS = (1, 3)  # channels of an image
# Of what a file of ours says of its images, what a data set's record calls the same.
SAME = ("image_shape", "mean", "std", "resize", "exif_orientation", "max_pixels", "task", "columns")


def is_artefact(path):
    """Whether a path is an artefact rather than a model of Keras, by its name; a run's folder is none.

    Args:
        path: of a file or a folder.
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        return path.suffix in standalone.SUFFIXES
    if (path / MODEL_FILE).exists() or (path / "config.json").exists():
        return False
    return (path / "saved_model.pb").is_file() or any(path.glob("*.xml"))


class ArtefactModel:
    """A classifier of images in a format of a runtime: what `deployment.evaluation` and `evaluation` ask of a model.

    Channels that come first in the file come last here, as everywhere in this package.

    Args:
        path: of the artefact.

    Attributes:
        name: str, its path.
        input_shape, output_shape: tuple, open sides are None.
        inputs: list of one `keras.KerasTensor`; its type is the file's, but float32 for quantized numbers that stand
            for real ones.
        runner: `standalone.Runner`.

    Raises: UserError: if it is no artefact, damaged, or no classifier of images. MissingExtra: if its runtime is not
        installed.
    """

    def __init__(self, path):
        self.name = str(path)
        self.runner = open_artefact(path)
        (dtype, shape), self._given = self._only_input(), self._find_output()
        self._is_channels_first = len(shape) == 4 and shape[1] in COLOURS and shape[3] not in COLOURS
        if self._is_channels_first:
            shape = (shape[0], *shape[2:], shape[1])
        # A fixed batch is the runner's business.
        self.input_shape, self.output_shape = (None, *shape[1:]), (None, *self.runner.outputs[self._given][1][1:])
        self.inputs = [keras.KerasTensor(self.input_shape, "float32" if dtype == "int8" else dtype)]

    def predict_on_batch(self, images):
        """Images as the file takes them, `(batch, height, width, channels)` -> its numbers, `(batch, units)`."""
        images = np.asarray(images)
        if self._is_channels_first:
            images = np.moveaxis(images, -1, 1)
        try:
            found = self.runner.run(images)[self._given]
        except standalone.ArtefactError as error:
            raise UserError(f"{self.name}: {error}") from error
        return np.asarray(found, "float32")

    def __call__(self, images, training=False):
        return self.predict_on_batch(keras.ops.convert_to_numpy(images))

    @property
    def gives(self):
        """`"logits"` or `"probabilities"`, where the file says it; else None."""
        told = self._given if self._given in NAMES else self.runner.metadata.get("gives")
        return told if told in NAMES else None

    def metadata(self):
        """What the file says of its training, as a model's file has it: `{"data": {...}}`, or `{}`."""
        told = self.runner.metadata
        if isinstance(told.get("data"), dict):  # of a SavedModel
            data, found = dict(told["data"]), {name: told[name] for name in ("seed", "run") if name in told}
        else:
            data, found = {name: told[name] for name in SAME if name in told}, {}
            if isinstance(told.get("data"), str):
                data["name"] = told["data"]
            if told.get("labels"):
                data |= {"class_names": list(told["labels"]), "num_classes": len(told["labels"])}
        if not self._takes_real_numbers():  # the file scales pixels itself
            data = {name: value for name, value in data.items() if name not in ("mean", "std")}
        return {**found, "data": data} if data else found

    def _takes_real_numbers(self):
        return "float" in keras.backend.standardize_dtype(self.inputs[0].dtype)

    def _only_input(self):
        if len(self.runner.inputs) != 1:
            raise UserError(
                f"{self.name} has {len(self.runner.inputs)} inputs ({', '.join(self.runner.inputs)}); a classifier of "
                "images has one."
            )
        ((dtype, shape),) = self.runner.inputs.values()
        if shape is None or len(shape) != 4:
            raise UserError(
                f"{self.name} must take images, (batch, height, width, channels). It takes {dtype} of shape {shape}."
            )
        return dtype, shape

    def _find_output(self):
        known = [name for name in NAMES if name in self.runner.outputs]
        rows = [n for n, (dtype, shape) in self.runner.outputs.items() if dtype != "string" and len(shape or ()) == 2]
        if not known and len(rows) != 1:
            given = ", ".join(f"{name} {shape}" for name, (_, shape) in self.runner.outputs.items())
            raise UserError(f"{self.name} must give (batch, classes) of one name. It gives {given}.")
        return (known or rows)[0]
