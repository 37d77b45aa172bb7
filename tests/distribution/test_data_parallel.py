"""Several devices of JAX compute what one computes; in processes of their own, as devices are fixed when JAX starts."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

pytest.importorskip("jax")

from benchmarks.replicas import free_ports
from dirac_keras.distribution import open_strategy
from dirac_keras.files.keras_file import load_model
from dirac_keras.files.tables import read_table

ROOT = pathlib.Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
RUN = ["--data=digits", "--family=plainnet", "--recipe=plainnet", "--depth=3", "--units=16", "--precision=float32"]
RUN += ["--max-train=256", "--max-test=99", "--batch-size=64", "--learning-rate=0.01"]
# In float64 there is no rounding to be amplified: 1e-12 is thousands of last bits, and nothing beside a mistake.
EXACT = 1e-12


def run_script(*arguments):
    script = pathlib.Path(__file__).with_name("devices_script.py")
    process = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, env=ENVIRONMENT)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.split("FOUND ")[1])


@pytest.fixture(scope="module")
def found():
    return run_script("quick")


@pytest.fixture(scope="module")
def found_at_length():
    return run_script()


def check_equal(figures):
    assert figures["learned"] > 0, "nothing was trained"
    assert figures["weights"] < EXACT and figures["metrics"] < EXACT and figures["test"] < EXACT, figures
    assert figures["between"] == 0, "the devices' weights or statistics differ"


def test_auto_takes_all_devices(found):
    assert found["auto"] == "data_parallel" and found["replicas"] == 4
    assert found["said"] == "4 replicas (data_parallel)"


def test_four_devices_train_to_the_weights_and_metrics_of_one(found):
    check_equal(found["networks"]["plainnet on 4"])


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
@pytest.mark.parametrize("network", ["diracnet", "plainnet", "van"])
def test_devices_train_every_family_to_the_weights_and_metrics_of_one(found_at_length, network, devices):
    check_equal(found_at_length["networks"][f"{network} on {devices}"])


@pytest.mark.slow
def test_devices_train_in_chunks_of_steps_with_the_data_on_each_to_the_weights_of_one(found_at_length):
    check_equal(found_at_length["networks"]["van in chunks"])


@pytest.mark.slow
def test_averaged_weights_are_those_of_one_device(found_at_length):
    check_equal(found_at_length["networks"]["averaged on 4"])


@pytest.mark.slow
def test_run_resumes_on_other_numbers_of_devices(found_at_length):
    """Killed on two, then on four, ended on one: the run of one device that nobody interrupted."""
    figures = found_at_length["resumed"]
    check_equal(figures | {"between": 0})
    assert figures["kept"] == [["step-00000003.keras"], ["step-00000009.keras", "step-00000012.keras"]]
    assert figures["skips"], "the rows of skips.csv differ"


def test_batch_that_the_devices_cannot_share_is_refused(found):
    assert found["uneven"] == ("batch_size must divide evenly over 4 replicas. Received batch_size=66; give 64 or 68.")


def test_devices_cannot_be_split_when_jax_computes(found):
    assert found["late"].startswith("logical_devices must be set before JAX computes anything. Received 3 afterwards;")


def test_strategies_of_tensorflow_name_those_of_jax(found):
    assert found["mirrored"] == (
        "strategy mirrored is for Keras on TensorFlow. Received strategy='mirrored' with Keras on jax; use "
        '`strategy="data_parallel"`, or set KERAS_BACKEND=tensorflow.'
    )


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="what TensorFlow says")
def test_strategy_of_jax_names_those_of_tensorflow():
    with pytest.raises(ValueError, match=r'use `strategy="mirrored"` or .* or set KERAS_BACKEND=jax') as raised:
        open_strategy("data_parallel")
    assert "strategy data_parallel is for Keras on JAX" in str(raised.value)


def start_workers(folder, *options, count=2):
    """Processes that train one run, with a folder each; all but the first's stays empty."""
    workers = ",".join(f"127.0.0.1:{port}" for port in free_ports(count))
    command = [sys.executable, "-m", "dirac_keras.cli", "train", *RUN, "--no-export", *options]
    return [
        subprocess.Popen(
            [*command, f"--workers={workers}", f"--worker-index={i}", f"--workdir={folder / str(i)}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT,
        )
        for i in range(count)
    ]


def finish(processes):
    """Outputs and exit statuses."""
    try:
        outputs = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return outputs, [process.returncode for process in processes]


def wait_for_checkpoint(folder, process):
    while not list(folder.glob("0/checkpoints/step-*.keras")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def assert_same(folder, other, tolerance):
    (model, _), (theirs, _) = load_model(folder / "model.keras"), load_model(other / "model.keras")
    for mine, their in zip(model.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, their, atol=tolerance, rtol=0)
    rows = zip(read_table(folder / "metrics.csv"), read_table(other / "metrics.csv"), strict=True)
    for row, their in rows:
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
            assert row[name] == pytest.approx(their[name], abs=tolerance)


@pytest.mark.slow
def test_two_processes_of_two_devices_train_as_one(tmp_path):
    """Float32: the sums' rounding over 8 steps; `devices_script` has float64."""
    one = [sys.executable, "-m", "dirac_keras.cli", "train", *RUN, "--no-export", "--epochs=2"]
    subprocess.run([*one, f"--workdir={tmp_path / 'one'}"], check=True, env=ENVIRONMENT, capture_output=True)
    outputs, codes = finish(start_workers(tmp_path, "--epochs=2", "--logical-devices=2"))
    assert codes == [0, 0], outputs
    assert not (tmp_path / "1").exists(), "the first worker alone writes"
    summary = json.loads((tmp_path / "0" / "summary.json").read_text())
    assert summary["replicas"] == 4 and summary["replica_difference"] == 0
    assert_same(tmp_path / "one", tmp_path / "0", 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_worker_that_dies_ends_the_other_and_the_run_goes_on(victim, tmp_path):
    options = ("--epochs=12", "--checkpoint-steps=2")
    processes = start_workers(tmp_path, *options)
    wait_for_checkpoint(tmp_path, processes[0])
    processes[victim].send_signal(signal.SIGKILL)
    output, _ = processes[1 - victim].communicate(timeout=60)
    processes[victim].communicate()
    assert processes[1 - victim].returncode == 1, output
    last = output.strip().splitlines()[-1]
    assert f"worker {victim} (127.0.0.1:" in output and "Traceback" not in output, output
    assert last.endswith("the run resumes from its last checkpoint."), output
    outputs, codes = finish(start_workers(tmp_path, *options))
    assert codes == [0, 0], outputs
    assert "resuming after step" in outputs[0]


@pytest.mark.slow
def test_signal_to_one_worker_ends_both_with_the_step_saved_and_the_run_goes_on_within_the_epoch(tmp_path):
    options = ("--epochs=3", "--max-train=1024", "--checkpoint-steps=2")
    whole, codes = finish(start_workers(tmp_path / "whole", *options))
    assert codes == [0, 0], whole
    processes = start_workers(tmp_path / "run", *options)
    wait_for_checkpoint(tmp_path / "run", processes[0])
    processes[1].send_signal(signal.SIGTERM)
    outputs, codes = finish(processes)
    assert codes == [143, 143], outputs
    [step] = {int(re.search(r"interrupted by SIGTERM after step (\d+) of 48, which", output)[1]) for output in outputs}
    assert step % 16, "this machine is too fast: the signal came at an epoch's end"
    outputs, codes = finish(start_workers(tmp_path / "run", *options))
    assert codes == [0, 0], outputs
    assert f"resuming after step {step} of 48" in outputs[0]
    assert_same(tmp_path / "whole" / "0", tmp_path / "run" / "0", 1e-6)
