"""LiteRT (`.tflite`), by TensorFlow's converter; what it says of itself stands in its metadata and at its end."""

import pathlib
import tempfile
import zipfile

from dirac_keras.deployment.formats.child import ChildError, run_child
from dirac_keras.deployment.formats.registry import INTEGER
from dirac_keras.deployment.formats.to_saved_model import write_job
from dirac_keras.deployment.formats.unknown import refuse_unknown
from dirac_keras.deployment.formats.versions import check_packages
from dirac_keras.errors import RunError
from dirac_keras.files.keras_zip import METADATA_MEMBER

SCRIPT = pathlib.Path(__file__).with_name("convert_litert.py")


def check(job):
    """Raise unless the packages are there."""
    quantizes = ("litert-quantizer",) if job.precision in INTEGER else ()
    check_packages("litert", ("ai-edge-litert", *quantizes), "litert")


def write(job, path):
    """Write a job's float artefact to `path`: float16 means weights, which are read into float32; returns notes."""
    with tempfile.TemporaryDirectory() as folder:
        write_job(job, f"{folder}/saved_model")
        request = {"folder": f"{folder}/saved_model", "path": str(path), "precision": job.precision}
        run_converter(job, SCRIPT, request)
    return []


def run_converter(job, script, request):
    """`run_child` of a script that converts to LiteRT; an unknown operation is named with its layer."""
    try:
        return run_child(script, request)
    except ChildError as error:
        if error.kind == "UnknownOperation":
            refuse_unknown(job.model, *error.arguments, "LiteRT")
        raise RunError(
            f"TensorFlow's converter to LiteRT cannot convert the model: {error}. Nothing was written."
        ) from (None)


def describe(job, path):
    """Write what the artefact says of itself into it."""
    from dirac_keras.deployment.formats.litert_metadata import write_metadata

    write_metadata(path, job.facts())


def is_ours(path):
    """Whether `export` wrote what is at a path."""
    if not (pathlib.Path(path).is_file() and zipfile.is_zipfile(path)):
        return False
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        return METADATA_MEMBER in archive.namelist() and file.read(8)[4:] == b"TFL3"
