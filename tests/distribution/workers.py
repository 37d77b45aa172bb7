"""Processes that train one run on digits, what becomes of them, and what two runs must have in common."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.replicas import free_ports
from dirac_keras.files.keras_file import load_model
from dirac_keras.files.tables import read_table

ROOT = pathlib.Path(__file__).parents[2]


def command(run, *options):
    """The command that trains the network of the flags `run`."""
    return [sys.executable, "-m", "dirac_keras.cli", "train", *run, "--no-export", *options]


def environment(backend):
    return {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}


def run_script(name, *arguments, backend):
    """What a script beside this file found, in a process of its own: devices are fixed when the backend starts."""
    script = pathlib.Path(__file__).with_name(name)
    process = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, env=environment(backend)
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.split("FOUND ")[1])


def start_workers(run, folder, *options, backend):
    """Two processes, with a folder each; all but the first's stays empty."""
    workers = ",".join(f"127.0.0.1:{port}" for port in free_ports(2))
    return [
        subprocess.Popen(
            [*command(run, *options), f"--workers={workers}", f"--worker-index={i}", f"--workdir={folder / str(i)}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(backend),
        )
        for i in (0, 1)
    ]


def wait_for_checkpoint(folder, process):
    while not list(folder.glob("0/checkpoints/step-*.keras")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def finish(processes):
    """Outputs and exit statuses."""
    try:
        outputs = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return outputs, [process.returncode for process in processes]


def assert_same(folder, other, tolerance):
    """Weights and rows of metrics of two runs."""
    (model, _), (theirs, _) = load_model(folder / "model.keras"), load_model(other / "model.keras")
    for mine, their in zip(model.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, their, atol=tolerance, rtol=0)
    rows = zip(read_table(folder / "metrics.csv"), read_table(other / "metrics.csv"), strict=True)
    for row, their in rows:
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
            assert row[name] == pytest.approx(their[name], abs=tolerance)


def check_dead_worker(start, folder, victim):
    """One of two is killed; `start(folder)` starts both. Returns: what the other said."""
    processes = start(folder)
    wait_for_checkpoint(folder, processes[0])
    processes[victim].send_signal(signal.SIGKILL)
    output, _ = processes[1 - victim].communicate(timeout=60)
    processes[victim].communicate()
    assert processes[1 - victim].returncode == 1, output
    assert "Traceback" not in output
    outputs, codes = finish(start(folder))
    assert codes == [0, 0], outputs
    assert "resuming after step" in outputs[0]
    return output


def check_signal(start, folder):
    """SIGTERM to one of two; `start(folder)` starts both, for 3 epochs of 16 steps.

    Both end with the step saved, and the run goes on to the weights and the metrics of one that nobody interrupted, to
    the rounding of float32 sums.
    """
    whole, codes = finish(start(folder / "whole"))
    assert codes == [0, 0], whole
    processes = start(folder / "run")
    wait_for_checkpoint(folder / "run", processes[0])
    processes[1].send_signal(signal.SIGTERM)
    outputs, codes = finish(processes)
    assert codes == [143, 143], outputs
    [step] = {int(re.search(r"interrupted by SIGTERM after step (\d+) of 48, which", output)[1]) for output in outputs}
    assert step % 16, "this machine is too fast: the signal came at an epoch's end"
    outputs, codes = finish(start(folder / "run"))
    assert codes == [0, 0], outputs
    assert f"resuming after step {step} of 48" in outputs[0]
    assert_same(folder / "whole" / "0", folder / "run" / "0", 1e-6)
