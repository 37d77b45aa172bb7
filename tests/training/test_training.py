import csv
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from dirac_keras.callbacks.divergence import StopOnDivergence, TrainingDiverged
from dirac_keras.files.keras_file import load_model
from dirac_keras.training import train
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.folder.checkpoints import find_checkpoints
from pipelines import load_splits
from tests.marks import slow_but
from tests.run_checks import train_fields

CONFIG = {
    "data": "digits",
    "depth": 10,
    "width": 0.5,
    "epochs": 3,
    "precision": "float32",
    "max_train": 512,
    "max_test": 200,
}


def run(workdir, callbacks=(), overwrite=False, **changes):
    return train_fields({**CONFIG, **changes}, workdir, callbacks=callbacks, overwrite=overwrite)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("finished") / "run")


def assert_equal_weights(model, other):
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


class StopAfter(keras.callbacks.Callback):
    """Ends the process's training with an error at the start of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise InterruptedError("as if killed")


def test_run_directory_holds_what_it_says(finished):
    run = finished.run
    for path in (
        run.config,
        run.metrics,
        run.scales,
        run.scales_picture,
        run.curves_picture,
        run.model,
        run.summary,
    ):
        assert path.stat().st_size > 0, path
    assert any(run.tensorboard.rglob("events.out.tfevents*"))
    record = json.loads(run.config.read_text())
    assert record["seed"] == 0 and record["versions"]["keras"] == keras.__version__ and "commit" in record


def test_metrics_have_one_row_an_epoch(finished):
    with open(finished.run.metrics, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert {
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
        "learning_rate",
        "seconds",
        "images_per_second",
    } <= set(rows[0])


@pytest.mark.slow
def test_saved_model_gives_the_test_accuracy_of_the_summary(finished):
    model, metadata = load_model(finished.run.path)
    splits = load_splits("digits", max_train=512, max_test=200)
    figures = model.evaluate(splits.test(), verbose=0, return_dict=True)
    assert figures["accuracy"] == finished.summary["test_accuracy"]
    assert metadata["data"]["class_names"] == [str(digit) for digit in range(10)]
    assert metadata["seed"] == finished.run.read_config().seed


def test_scales_of_every_dirac_layer_are_recorded_from_the_start(finished):
    with open(finished.run.scales, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * (1 + 3)  # six Dirac layers; the start and three epochs
    start = [row for row in rows if row["epoch"] == "0"]
    assert {float(row["identity_scale"]) for row in start} == {1.0}
    np.testing.assert_allclose([float(row["filter_scale"]) for row in start], 0.3, rtol=1e-6)  # quick's


def test_tensorboard_shows_metrics_and_scales(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished.run.tensorboard / "train"), {"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    expected = {
        "loss",
        "accuracy",
        "learning_rate",
        "identity_scale/group1_block1_conv",
        "filter_scale/group3_block2_conv",
    }
    assert expected <= tags
    assert [event.step for event in events.Tensors("loss")] == [1, 2, 3]


def test_interrupted_run_ends_with_the_weights_of_the_uninterrupted_one(finished, tmp_path):
    with pytest.raises(InterruptedError):
        run(tmp_path / "run", callbacks=[StopAfter(2)])
    resumed = run(tmp_path / "run")
    assert_equal_weights(resumed.model, finished.model)
    assert [row["epoch"] for row in resumed.history] == [1, 2, 3]
    for mine, theirs in zip(resumed.history, finished.history, strict=True):
        assert mine["loss"] == theirs["loss"] and mine["val_accuracy"] == theirs["val_accuracy"]


@pytest.mark.slow
def test_run_killed_in_an_epoch_ends_with_the_weights_of_the_uninterrupted_one(finished, tmp_path):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in CONFIG.items()]
    command = [
        sys.executable,
        "-m",
        "dirac_keras.cli",
        "train",
        *options,
        "--workdir",
        str(tmp_path / "run"),
        "--no-export",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = tmp_path / "run" / "checkpoints"
    deadline = time.monotonic() + 120
    while not find_checkpoints(checkpoints, 4):
        assert process.poll() is None and time.monotonic() < deadline, "no checkpoint before the end"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run" / "model.keras").exists(), "the run ended before it was killed"
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert_equal_weights(load_model(tmp_path / "run")[0], finished.model)


def test_finished_run_is_read_and_not_trained_again(finished):
    class Fails(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise AssertionError("trained")

    again = run(finished.run.path, callbacks=[Fails()])
    assert again.summary == finished.summary
    assert_equal_weights(again.model, finished.model)


@pytest.mark.slow
def test_damaged_checkpoint_is_named_and_the_one_before_it_is_used(finished, tmp_path, caplog):
    with pytest.raises(InterruptedError):
        run(tmp_path / "run", callbacks=[StopAfter(2)])
    newest = find_checkpoints(tmp_path / "run" / "checkpoints", 4)[0][1]
    newest.write_bytes(newest.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING, "dirac_keras"):
        resumed = run(tmp_path / "run")
    assert "step-00000008.keras is not used" in caplog.text
    assert_equal_weights(resumed.model, finished.model)


def test_only_the_last_checkpoints_are_kept(finished):
    assert [step for step, _ in find_checkpoints(finished.run.checkpoints, 4)] == [12, 8]


def test_folder_of_another_run_is_refused_with_the_difference(finished):
    with pytest.raises(ValueError, match=r"holds another run \(depth=10 there, 16 here\).*`overwrite=True`"):
        run(finished.run.path, depth=16)


def test_data_of_one_class_are_refused(tmp_path):
    splits = load_splits("digits", max_train=512, max_test=200)
    splits = dataclasses.replace(splits, spec=dataclasses.replace(splits.spec, num_classes=1, class_names=("cat",)))
    with pytest.raises(ValueError, match="has one class, cat: nothing to tell apart"):
        train(TrainConfig(**CONFIG), splits, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match=r"holds files that are no run's \(thesis.tex\)"):
        run(tmp_path)


def test_data_that_have_changed_are_refused(finished):
    splits = load_splits("digits", max_train=512, max_test=200)
    changed = dataclasses.replace(splits, spec=dataclasses.replace(splits.spec, mean=(1.0,)))
    with pytest.raises(ValueError, match=r"a run on other data: digits has changed since \(mean\)"):
        train(TrainConfig(**CONFIG), changed, finished.run.path)


@pytest.mark.slow
def test_overwrite_keeps_the_run_when_the_new_one_is_not_possible(tmp_path):
    run(tmp_path / "run", epochs=1)
    with pytest.raises(ValueError, match="depth must be 6 N"):
        run(tmp_path / "run", depth=11, overwrite=True)
    assert (tmp_path / "run" / "model.keras").exists()


def test_overwrite_refuses_a_folder_whose_config_is_no_runs(tmp_path):
    (tmp_path / "config.json").write_text('{"name": "my project"}')
    (tmp_path / "precious").write_text("")
    with pytest.raises(ValueError, match=r"holds a config.json that is no run's"):
        run(tmp_path, overwrite=True)
    with pytest.raises(ValueError, match=r"holds a config.json that is no run's"):
        run(tmp_path)
    assert (tmp_path / "precious").exists()


@pytest.mark.slow
def test_finished_run_without_its_summary_is_named(tmp_path):
    finished = run(tmp_path / "run", epochs=1)
    finished.run.summary.unlink()
    with pytest.raises(ValueError, match=r"finished run whose summary\.json is absent or damaged"):
        run(tmp_path / "run", epochs=1)
    finished.run.model.unlink()  # the way out that the message gives
    again = run(tmp_path / "run", epochs=1)
    assert again.summary["test_accuracy"] == finished.summary["test_accuracy"]


@pytest.mark.slow
def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    run(tmp_path / "run", epochs=1)
    (tmp_path / "run" / "model.keras").unlink()
    folder = tmp_path / "run" / "checkpoints"
    left = [tmp_path / "run" / ".tmp-1a2b3c4d-model.keras", folder / ".tmp-1a2b3c4d-step-00000008.keras"]
    left.append(folder / "tmpa1b2c3_d")  # Keras', for a model that is large for the memory
    theirs = folder / "tmp_results"  # named alike
    for path in (*left, theirs):
        path.write_bytes(b"half" if path == theirs else b"\x89HDF\r\n\x1a\n half")
    run(tmp_path / "run", epochs=1)
    assert not any(path.exists() for path in left) and theirs.exists()


@pytest.mark.slow
def test_overwrite_starts_anew(tmp_path):
    run(tmp_path / "run", epochs=1)
    assert len(run(tmp_path / "run", epochs=2, overwrite=True).history) == 2


@pytest.mark.slow
def test_other_seed_gives_other_weights(finished, tmp_path):
    other = run(tmp_path / "run", seed=1)
    assert any(np.any(a != b) for a, b in zip(other.model.get_weights(), finished.model.get_weights(), strict=True))


def test_divergence_stops_before_the_state_is_saved():
    callback = StopOnDivergence()
    with pytest.raises(TrainingDiverged, match=r"The loss became nan in epoch 4. Lower `learning_rate`"):
        callback.on_epoch_end(3, {"loss": float("nan")})


def test_unknown_family_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"family must be one of diracnet.*Received family='resnext'"):
        run(tmp_path / "run", family="resnext")


@pytest.mark.slow
@pytest.mark.parametrize("precision", slow_but(["bfloat16", "float16"], "bfloat16"))
def test_mixed_precision_trains(precision, tmp_path):
    result = run(tmp_path / "run", precision=precision, epochs=1)
    assert np.isfinite(result.summary["test_loss"])
