"""The process of one artefact, from outside."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading

from dirac_keras.deployment.benchmarking import worker
from dirac_keras.deployment.runtimes import standalone
from dirac_keras.deployment.runtimes.clean_process import OURS, TENSORFLOW
from dirac_keras.deployment.runtimes.opening import install_hint

REQUEST_SECONDS = 3600


class Unusable(Exception):
    """The artefact cannot be measured. `is_absent`: its runtime is not installed."""

    def __init__(self, reason, is_absent=False):
        super().__init__(reason)
        self.is_absent = is_absent


class Process:
    """An artefact in a process of its own, to use as a context manager.

    Args:
        path: of the artefact.
        threads: int, threads of a run.
        keras: dict of `KerasRunner`'s options, for a `.keras` file.
    """

    def __init__(self, path, threads, keras=None):
        self.path, self.threads, self.keras = pathlib.Path(path), threads, keras or {}
        self._errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-I", os.path.abspath(worker.__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=_environment(threads),
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):  # what a request has left, to a process that has ended
            self._process.stdin.close()  # ends its loop
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def open(self):
        """What the artefact is, as `worker.Worker.open` tells it. Raises: Unusable."""
        is_saved_model = (self.path / "saved_model.pb").is_file()
        told = self.ask(
            "open",
            path=str(self.path.resolve()),
            threads=self.threads,
            search_path=[entry for entry in sys.path if entry],
            blocked=OURS if is_saved_model else (*OURS, *TENSORFLOW),
            standalone=os.path.abspath(standalone.__file__),
            keras=self.keras,
        )
        if "absent" in told:
            raise Unusable(f"{install_hint(told['absent'])} ({_one_line(told['reason'])})", is_absent=True)
        return told

    def ask(self, do, **request):
        """The answer to a request, a dict. Raises: Unusable: if it fails or the process ends."""
        timer = threading.Timer(REQUEST_SECONDS, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            raise Unusable(self._how_it_ended(do))
        reply = json.loads(line)
        if "error" in reply:
            raise Unusable(_one_line(reply["error"]))
        return reply

    def _how_it_ended(self, do):
        status = self._process.wait()
        name = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        self._errors.seek(0)
        last = self._errors.read().strip().splitlines()[-1:]
        return f"its process ended with {name} at {do!r}" + (f": {_one_line(last[0])}" if last else "")


def _environment(threads):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSTARTUP")}
    # TensorFlow's, then JAX's.
    counts = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NPROC")
    environment |= dict.fromkeys(counts, str(threads)) | {"TF_NUM_INTEROP_THREADS": "1"}
    return environment | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def _one_line(text):
    return " ".join(str(text).split())[:500]
