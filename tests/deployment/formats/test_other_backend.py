"""On the JAX backend TensorFlow converts what JAX trained, in a process of its own."""

import os
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("jax")
pytest.importorskip("openvino")

SCRIPT = """
import sys
import keras, numpy as np
from dirac_keras import export
from dirac_keras.models import build_diracnet
from tests.deployment.formats.networks import METADATA, SHAPE, classifier

assert keras.backend.backend() == "jax"
model = build_diracnet(depth=10, width=0.25, num_classes=3, input_shape=SHAPE)
report = export(model, sys.argv[1], "openvino", METADATA)
assert report.max_abs_difference < 1e-4, report

class Foreign(keras.layers.Layer):
    def call(self, x):
        return 2 * x

try:
    export(classifier(Foreign()), sys.argv[2], "openvino", METADATA)
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_network_of_jax_is_converted_and_a_layer_that_tensorflow_cannot_read_is_told(tmp_path):
    root = pathlib.Path(__file__).parents[3]
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "net.xml"), str(tmp_path / "none.xml")],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(root), "PYTHONWARNINGS": ""},
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    told = " ".join(process.stdout.split())
    assert "Keras on jax has no converter to openvino, and TensorFlow cannot read the model" in told
    assert (tmp_path / "net.xml").is_file() and not (tmp_path / "none.xml").exists()
