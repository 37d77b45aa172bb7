"""The commands on JAX, in a process that cannot import TensorFlow."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")

HIDDEN = pathlib.Path(__file__).parents[1] / "without_tensorflow"
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("TF_", "XLA_"))},
    "KERAS_BACKEND": "jax",
    "PYTHONPATH": os.pathsep.join([str(HIDDEN), *filter(None, [os.environ.get("PYTHONPATH")])]),
}
SMALL = ("--data", "digits", "--family", "plainnet", "--depth", "2", "--units", "8", "--max-train", "256")
TRAIN = ("train", *SMALL, "--max-test", "64", "--batch-size", "64", "--epochs", "2", "--precision", "float32")
# Several commands in one process, as each would import Keras and JAX anew.
COMMANDS = """
import importlib.util, json, sys
assert importlib.util.find_spec("tensorflow") is None
from dirac_keras import cli
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["dirac-keras", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        print(f"status {end.code or 0}")
        assert not end.code or arguments[0] == "export", arguments
assert "tensorflow" not in sys.modules
"""


def run(folder, *commands):
    """What commands say on standard output and standard error, one after another in one process."""
    arguments = [[str(word) for word in command] for command in commands]
    process = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout, process.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a run, and what was said of it."""
    folder = tmp_path_factory.mktemp("jax")
    commands = [
        (*TRAIN, "--workdir", "run"),
        ("evaluate", "run", "--json"),
        ("fold", "run", "--output", "again.keras"),
        ("evaluate", "again.keras", "--data", "digits", "--max-images", "64", "--json"),
        ("export", "run", "--output", "served"),
        ("evaluate", "run", "--max-images", "64", "--report", "report.html", "--json", "report.json"),
    ]
    return folder, *run(folder, *commands)


def test_train_writes_the_run_and_the_folded_network_and_says_that_there_is_no_export(finished):
    folder, out, _ = finished
    names = {path.name for path in (folder / "run").iterdir()}
    assert {"model.keras", "folded.keras", "metrics.csv", "curves.png", "tb"} <= names and "saved_model" not in names
    [line] = [line for line in out.splitlines() if line.startswith("not exported")]
    assert "TensorFlow, which writes the SavedModel, is not installed" in line and "pip install tensorflow" in line
    record = json.loads((folder / "run" / "deployment.json").read_text())
    assert record["export"] is None and record["test_images"]["argmax_agreement"] == 1.0


def test_a_run_says_that_jax_trained_it_from_numpy(finished):
    record = json.loads((finished[0] / "run" / "config.json").read_text())
    assert (record["backend"], record["reader"]) == ("jax", "numpy")


def test_evaluate_gives_the_accuracy_of_the_run_folded_or_not(finished):
    folder, out, _ = finished
    figures = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert [one["accuracy"] for one in figures] == [pytest.approx(summary["test_accuracy"])] * 2
    assert figures[0]["loss"] == pytest.approx(figures[1]["loss"], rel=1e-5)  # float32, sums in another order


def test_a_report_needs_no_tensorflow(finished):
    folder = finished[0]
    record = json.loads((folder / "report.json").read_text())
    assert (record["keras_backend"], record["images"]) == ("jax", 64)
    assert "Worst mistakes" in (folder / "report.html").read_text(encoding="utf-8")


def test_tensorboard_reads_the_scalars_and_the_picture(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tb = finished[0] / "run" / "tb"
    train, validation = (EventAccumulator(str(tb / part)).Reload() for part in ("train", "validation"))
    assert [event.step for event in train.Tensors("loss")] == [1, 2]
    assert [event.step for event in validation.Tensors("accuracy")] == [1, 2]
    assert train.summary_metadata["curves"].plugin_data.plugin_name == "images"


def test_what_needs_tensorflow_says_so_with_the_way_out(finished):
    _, out, err = finished
    assert "status 1" in out and "needs TensorFlow, also from JAX: pip install tensorflow" in err
    assert "Traceback" not in out + err


@pytest.mark.slow
def test_the_main_job_of_an_installation_on_jax(tmp_path):
    """What `make wheel` does in an environment of its own: kill and resume, predict, diagnose, reproduce, tune."""
    pytest.importorskip("keras_tuner")
    script = pathlib.Path(__file__).parents[1] / "packaging" / "use_on_jax.py"
    process = subprocess.run([sys.executable, script], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "on JAX without TensorFlow: train, resume after a kill" in process.stdout
