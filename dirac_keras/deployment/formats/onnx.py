"""ONNX, by tf2onnx; what it says of itself stands in `metadata_props`."""

import json
import pathlib
import tempfile

from dirac_keras.deployment.formats.child import ChildError, run_child
from dirac_keras.deployment.formats.to_saved_model import write_job
from dirac_keras.deployment.formats.unknown import refuse_unknown
from dirac_keras.deployment.formats.versions import check_packages
from dirac_keras.errors import RunError, UserError

SCRIPT = pathlib.Path(__file__).with_name("convert_onnx.py")
OPSETS = range(13, 19)  # quantization by channel is from 13 on; tf2onnx 1.17 knows 18
DEFAULT_OPSET = 18


def check(job):
    """Raise unless the packages are there and the options fit."""
    check_packages("onnx", ("onnx", "tf2onnx", "onnxruntime"), "onnx")
    opset = job.options.get("opset") or DEFAULT_OPSET
    if opset not in OPSETS:
        raise UserError(
            f"opset must be {OPSETS[0]} to {OPSETS[-1]}: an older one has no quantization by channel, a newer one the "
            f"converter does not write. Received opset={opset}."
        )


def write(job, path):
    """Write a job's float artefact to `path`; returns notes."""
    convert(job, path)
    return []


def convert(job, path):
    """Write the graph of a job alone, in float32, or in float16 with inputs and outputs as in float32."""
    with tempfile.TemporaryDirectory() as folder:
        write_job(job, f"{folder}/saved_model")
        request = {"folder": f"{folder}/saved_model", "path": str(path), "opset": job.options.get("opset")}
        request["opset"] = request["opset"] or DEFAULT_OPSET
        request["float16"] = job.precision == "float16"
        try:
            unknown = run_child(SCRIPT, request)["unknown"]
        except ChildError as error:
            raise RunError(f"tf2onnx cannot convert the model: {error}. Nothing was written.") from None
    if unknown:
        nodes, operations = zip(*unknown, strict=True)
        refuse_unknown(job.model, sorted(set(operations)), list(nodes), f"ONNX (opset {request['opset']})")


def describe(job, path):
    """Write what the artefact says of itself into it: texts as they are, other facts as JSON, None not at all."""
    import onnx

    model = onnx.load(path)
    facts = job.facts()
    onnx.helper.set_model_props(model, {name: as_text(value) for name, value in facts.items() if value is not None})
    model.producer_name, model.producer_version = facts["producer"], facts["version"]
    # A number for the network: of what an export wrote, this is the first.
    model.model_version, model.domain = 1, facts["producer"]
    model.doc_string = f"{facts['name']}, {facts['precision']}"
    onnx.checker.check_model(model)
    onnx.save(model, path)


def is_ours(path):
    """Whether `export` wrote what is at a path."""
    import onnx

    try:
        model = onnx.load(path)
    except Exception:  # no file of ONNX
        return False
    return any(entry.key == "producer" and entry.value == "dirac_keras" for entry in model.metadata_props)


def as_text(value):
    """A fact as a text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
