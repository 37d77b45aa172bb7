"""An artefact run in a process that cannot import this package."""

import json
import os
import pickle
import subprocess
import sys
import tempfile

from dirac_keras.errors import RunError

CHECK_TIMEOUT_SECONDS = 1800


# Runs where this package cannot be imported, from wherever it may be installed.
_CLEAN_PROCESS = """
import json, pickle, sys

folder, exchange, blocked, search_path, has_state = sys.argv[1:]

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == blocked:
            raise ImportError(f"the artefact needs {name}")

sys.path[:] = json.loads(search_path)
sys.meta_path.insert(0, Refuse())
import tensorflow as tf

with open(f"{exchange}/inputs.pickle", "rb") as file:
    inputs = pickle.load(file)
loaded = tf.saved_model.load(folder)
outputs = {}
for name, arguments in inputs.items():
    if has_state == "True":  # which each call moves
        loaded = tf.saved_model.load(folder)
    tensors = {key: tf.constant(value) for key, value in arguments.items()}
    outputs[name] = {key: value.numpy() for key, value in loaded.signatures[name](**tensors).items()}
assert blocked not in sys.modules
with open(f"{exchange}/outputs.pickle", "wb") as file:
    pickle.dump(outputs, file)
"""


def run_in_clean_process(folder, inputs, has_state=False):
    """Outputs of the artefact's signatures in a process of its own that cannot import this package.

    Args:
        folder: `pathlib.Path` of the SavedModel.
        inputs: dict, signature -> its inputs by name.
        has_state: whether a call changes what the next one gives; then each signature is run on a fresh copy.
    """
    package = __name__.split(".")[0]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSTARTUP")}
    # No GPU: this process may hold its memory.
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    with tempfile.TemporaryDirectory() as exchange:
        with open(f"{exchange}/inputs.pickle", "wb") as file:
            pickle.dump(inputs, file)
        arguments = [str(folder.resolve()), exchange, package, json.dumps([p for p in sys.path if p]), str(has_state)]
        process = subprocess.run(
            [sys.executable, "-I", "-c", _CLEAN_PROCESS, *arguments],
            cwd=exchange,
            env=environment,
            capture_output=True,
            text=True,
            timeout=CHECK_TIMEOUT_SECONDS,
        )
        if process.returncode:
            last = process.stderr.strip().splitlines()[-1:] or [f"exit status {process.returncode}"]
            raise RunError(f"the artefact cannot be used in a clean process: {last[0]}. Nothing was written.")
        with open(f"{exchange}/outputs.pickle", "rb") as file:
            return pickle.load(file)
