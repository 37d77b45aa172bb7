"""OpenVINO's intermediate representation: `.xml`, `.bin`, and beside them what it says of itself, as JSON."""

import json
import pathlib
import tempfile

from dirac_keras.deployment.formats.child import ChildError, run_child
from dirac_keras.deployment.formats.registry import INTEGER
from dirac_keras.deployment.formats.to_saved_model import find_nodes, write_job
from dirac_keras.deployment.formats.unknown import refuse_unknown
from dirac_keras.deployment.formats.versions import check_packages
from dirac_keras.errors import RunError

SCRIPT = pathlib.Path(__file__).with_name("convert_openvino.py")


def check(job):
    """Raise unless the packages are there."""
    quantizes = ("nncf",) if job.precision == "int8" else ()
    check_packages("openvino", ("openvino", *quantizes), "openvino")


def write(job, path):
    """Write a job's float artefact to `path`, .xml: float16 means weights, read into float32; returns notes."""
    with tempfile.TemporaryDirectory() as folder:
        write_job(job, f"{folder}/saved_model")
        request = {"source": f"{folder}/saved_model", "path": str(path), "precision": job.precision}
        run_converter(job, request | {"info": _runtime_information(job)})
    return []


def run_converter(job, request):
    """Convert a SavedModel, or read a representation; an operation that is not known is named with its layer."""
    try:
        return run_child(SCRIPT, request)
    except ChildError as error:
        if error.kind == "UnknownOperation":
            (operations,) = error.arguments
            refuse_unknown(job.model, operations, find_nodes(request["source"], operations), "OpenVINO")
        raise RunError(f"OpenVINO cannot convert the model: {error}. Nothing was written.") from None


def describe(job, path):
    """Write what the artefact says of itself beside it; of integers, which another converter wrote, into it too."""
    path = pathlib.Path(path)
    if job.precision in INTEGER:
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            plain = pathlib.Path(folder, path.name)
            path.rename(plain)
            path.with_suffix(".bin").rename(plain.with_suffix(".bin"))
            request = {"source": str(plain), "path": str(path), "precision": "float32"}
            run_converter(job, request | {"info": _runtime_information(job)})
    text = json.dumps(job.facts(), indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(f"{text}\n", encoding="utf-8")


def _runtime_information(job):
    """Texts by their path in the runtime information.

    OpenVINO's Model API reads `model_info`. It names no mean or scale there: the preprocessing is inside.
    """
    facts = job.facts()
    info = {
        f"dirac_keras/{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in facts.items()
        if value is not None
    }
    if "labels" in facts:
        info["model_info/model_type"] = "Classification"
        info["model_info/labels"] = " ".join(label.replace(" ", "_") for label in facts["labels"])
    return info


def is_ours(path):
    """Whether `export` wrote the `.xml` at a path."""
    try:
        return json.loads(pathlib.Path(path).with_suffix(".json").read_text())["producer"] == "dirac_keras"
    except Exception:  # no such file, no such content
        return False
