"""A script of ours in a process of its own: converters leak memory, print and import much."""

import os
import pathlib
import pickle
import subprocess
import sys
import tempfile

from dirac_keras.errors import RunError

TIMEOUT_SECONDS = 3600
_RUN = """
import pickle, runpy, sys, traceback
script, folder = sys.argv[1:]
with open(f"{folder}/request.pickle", "rb") as file:
    search_path, request = pickle.load(file)
sys.path[:] = search_path
try:
    answer = "answer", runpy.run_path(script, run_name="child")["answer"](request)
except Exception as error:
    plain = all(isinstance(part, (str, list)) for part in error.args)  # which pickle takes
    answer = "error", (type(error).__name__, str(error), traceback.format_exc(), error.args if plain else ())
with open(f"{folder}/answer.pickle", "wb") as file:
    pickle.dump(answer, file)
"""


class ChildError(RunError):
    """What a script raised.

    Attributes:
        kind: name of the exception's class there; `""` if the process ended without a word.
        text: str of the exception.
        trace: str, the traceback.
        arguments: tuple, the exception's, where they are texts or lists.
    """

    def __init__(self, kind, text, trace="", arguments=()):
        lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
        super().__init__(f"{kind}: {lines[0]}" if kind else text)
        self.kind, self.text, self.trace, self.arguments = kind, text, trace, arguments


def run_child(script, request, environment=None):
    """`answer(request)` of a script, in a process of its own without a GPU.

    Args:
        script: path of the `.py` file, which imports nothing of the modules around it.
        request: dict, pickled on its way; so is what `answer` returns.
        environment: dict, variables for the process.

    Raises: ChildError: whatever was raised there, or the process's end.
    """
    variables = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/request.pickle", "wb") as file:
            pickle.dump(([entry for entry in sys.path if entry], request), file)
        process = subprocess.run(
            [sys.executable, "-I", "-c", _RUN, os.path.abspath(script), folder],
            cwd=folder,
            env=variables | (environment or {}),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
        )
        answer = pathlib.Path(folder, "answer.pickle")
        if not answer.exists():
            raise ChildError("", _describe_end(process), process.stderr)
        with open(answer, "rb") as file:
            kind, value = pickle.load(file)
    if kind == "error":
        raise ChildError(*value)
    return value


def _describe_end(process):
    if process.returncode == -9:
        return "the process was killed, as the system does when memory runs out"
    last = process.stderr.strip().splitlines()[-1:] or ["without a word"]
    return f"the process ended with status {process.returncode}: {last[0]}"
