"""Steps compiled together compute what single ones do; in float64, in a process whose CPU is two devices of JAX."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("jax")

ROOT = pathlib.Path(__file__).parents[3]
# In float64 there is no rounding to be amplified: 1e-12 is thousands of last bits, and nothing beside a mistake.
EXACT = 1e-12


@pytest.mark.slow
def test_chunks_seeds_and_several_devices_train_to_the_weights_of_fit():
    script = pathlib.Path(__file__).with_name("float64_script.py")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    process = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout.split("FOUND ")[1])
    assert found.pop("learned") > 0, "nothing was trained"
    assert found.pop("between seeds") > 0.01, "the seeds are one network"
    assert {name: value for name, value in found.items() if value > EXACT} == {}
