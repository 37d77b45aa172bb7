"""An artefact run in a process that cannot import this package, nor TensorFlow where its runtime is another."""

import os
import pathlib
import pickle
import subprocess
import sys
import tempfile

from dirac_keras.deployment.runtimes import standalone
from dirac_keras.errors import RunError

TIMEOUT_SECONDS = 1800
OURS = ("dirac_keras", "pipelines", "tuning")
TENSORFLOW = ("tensorflow", "keras")


def run_in_clean_process(path, cases, threads=None, blocked=None):
    """Run an artefact in a process of its own.

    Args:
        path: of the artefact.
        cases: list of dicts, as in `standalone.answer`: `inputs`, and `signature`, `raw`, `fresh` where they matter.
        threads: int, or None.
        blocked: packages that the process cannot import; None: ours, and TensorFlow and Keras but for a SavedModel.

    Returns: dict, as in `standalone.answer`: `outputs`, a dict for each case; `inputs`, `described`, `metadata`,
        `runtime`, `modules`.
    Raises: RunError: if it cannot be opened or run there.
    """
    path = pathlib.Path(path)
    if blocked is None:
        blocked = OURS if standalone.find_format(path) == "saved_model" else (*OURS, *TENSORFLOW)
    # Python's own paths come with the process; what a user added may hold the runtime.
    request = {"path": str(path.resolve()), "threads": threads, "blocked": tuple(blocked), "cases": cases}
    request["search_path"] = [entry for entry in sys.path if entry]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSTARTUP")}
    # No GPU: this process may hold its memory.
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/request.pickle", "wb") as file:
            pickle.dump(request, file)
        process = subprocess.run(
            [sys.executable, "-I", os.path.abspath(standalone.__file__), folder],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
        )
        if process.returncode:
            last = process.stderr.strip().splitlines()[-1:] or [f"exit status {process.returncode}"]
            raise RunError(f"the artefact cannot be used in a clean process: {last[0]}")
        with open(f"{folder}/answer.pickle", "rb") as file:
            return pickle.load(file)
