"""OpenVINO in integers, by NNCF: int8 throughout, or int4 weights beside activations in float32."""

import dataclasses
import pathlib
import tempfile

from dirac_keras.deployment.formats.integers import quantize_in_child, request_of
from dirac_keras.deployment.formats.openvino import write

SCRIPT = pathlib.Path(__file__).with_name("quantize_openvino.py")


def write_int8(job, path):
    """Write a job's integer artefact to `path`; returns notes."""
    with tempfile.TemporaryDirectory() as folder:
        source = f"{folder}/float32.xml"
        write(dataclasses.replace(job, precision="float32"), source)
        return quantize_in_child(job, SCRIPT, request_of(job, source, path), "NNCF")
