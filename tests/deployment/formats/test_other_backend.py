"""On the JAX backend TensorFlow converts what JAX trained, in a process of its own."""

import os
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("jax")
pytest.importorskip("openvino")

ROOT = pathlib.Path(__file__).parents[3]
FLOAT = """
import sys
import keras, numpy as np
from dirac_keras import export
from dirac_keras.models import build_diracnet
from tests.deployment.formats.networks import METADATA, SHAPE, classifier

assert keras.backend.backend() == "jax"
model = build_diracnet(depth=10, width=0.25, num_classes=3, input_shape=SHAPE)
report = export(model, f"{sys.argv[1]}/net.xml", "openvino", METADATA)
assert report.max_abs_difference < 1e-4, report

class Foreign(keras.layers.Layer):
    def call(self, x):
        return 2 * x

try:
    export(classifier(Foreign()), f"{sys.argv[1]}/none.xml", "openvino", METADATA)
except ValueError as error:
    print(error)
"""
INTEGERS = """
import sys
from dirac_keras import export
from tests.deployment.formats.networks import METADATA, classifier, pixels

format, suffix = sys.argv[2:]
report = export(classifier(), f"{sys.argv[1]}/net{suffix}", format, METADATA, precision="int8", calibration=pixels(64),
                quantization={"cures": ("follow",)})
assert report.compared["sqnr_db"] > 35, report
print(report.notes)
"""
WITHOUT = """
import sys
sys.modules["tensorflow"] = None
from dirac_keras import export
from tests.deployment.formats.networks import METADATA, classifier, pixels

for format, precision in (("saved_model", "float32"), ("onnx", "float32"), ("litert", "int8"), ("openvino", "int4")):
    images = pixels(40) if precision.startswith("int") else None
    try:
        export(classifier(), f"{sys.argv[1]}/net-{format}", format, METADATA, precision=precision, calibration=images,
               quantization={"cures": ()})
    except ImportError as error:
        print(error)
"""


def run(script, *arguments):
    """What a script prints on JAX."""
    process = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return " ".join(process.stdout.split())


@pytest.mark.slow
def test_network_of_jax_is_converted_and_a_layer_that_tensorflow_cannot_read_is_told(tmp_path):
    told = run(FLOAT, tmp_path)
    assert "Keras on jax has no converter to openvino, and TensorFlow cannot read the model" in told
    assert (tmp_path / "net.xml").is_file() and not (tmp_path / "none.xml").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "package", "suffix"), [("litert", "litert_quantizer", ".tflite"), ("onnx", "tf2onnx", ".onnx")]
)
def test_integers_are_quantized_on_jax_and_written(format, package, suffix, tmp_path):
    pytest.importorskip(package)
    # One note, on the few images: none says that a kernel is in the file otherwise than it was rounded.
    assert run(INTEGERS, tmp_path, format, suffix) == "('64 images are few to calibrate on; 512 are usual',)"


@pytest.mark.slow
def test_without_tensorflow_every_format_says_what_it_needs(tmp_path):
    told = run(WITHOUT, tmp_path)
    for format in ("saved_model", "onnx", "litert", "openvino"):
        assert f"format='{format}' needs TensorFlow, also from JAX: pip install tensorflow" in told
    assert not list(tmp_path.iterdir())
