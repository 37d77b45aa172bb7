"""The formats by name."""

import dataclasses
import importlib

PRECISIONS = ("float32", "float16", "int8", "int4")
INTEGER = {"int8": 8, "int4": 4}  # bits of a weight


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of an artefact.

    Attributes:
        module: name, in this folder, of the module with its functions: `check(job)` raises what stands against the
            job; `write(job, path)` writes the graph in float and returns notes; `describe(job, path)` adds what the
            artefact says of itself; `is_ours(path)` tells whether `export` wrote it.
        suffix: of its file; "" for a folder.
        precisions: tuple of str.
        integers: name of the module whose `write_int8(job, path)` writes integers, and returns notes; or None.
    """

    module: str
    suffix: str
    precisions: tuple
    integers: str | None = None

    def load(self):
        """The module."""
        return importlib.import_module(f"dirac_keras.deployment.formats.{self.module}")

    def write(self, job, path):
        """Write the graph of a job, of whatever precision; returns notes."""
        if job.precision not in INTEGER:
            return self.load().write(job, path)
        return importlib.import_module(f"dirac_keras.deployment.formats.{self.integers}").write_int8(job, path)


FORMATS = {
    "saved_model": Format("saved_model", "", ("float32",)),
    "onnx": Format("onnx", ".onnx", PRECISIONS, "onnx_int8"),
    "litert": Format("litert", ".tflite", PRECISIONS, "litert_int8"),
    "openvino": Format("openvino", ".xml", PRECISIONS, "openvino_int8"),
}
