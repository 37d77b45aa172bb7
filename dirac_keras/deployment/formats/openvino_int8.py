"""OpenVINO in integers, by NNCF: int8 throughout, or int4 weights beside activations in float32."""

import pathlib

from dirac_keras.deployment.formats.integers import write_by_way_of_float
from dirac_keras.deployment.formats.openvino import write

SCRIPT = pathlib.Path(__file__).with_name("quantize_openvino.py")


def write_int8(job, path):
    """Write a job's integer artefact to `path`; returns notes."""
    return write_by_way_of_float(job, path, write, SCRIPT, "NNCF")
