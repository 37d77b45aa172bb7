"""A training in its trackers: the same one when it is resumed, and its end said as it was."""

import sys

import pytest

from dirac_keras.callbacks import trackers
from dirac_keras.callbacks.trackers import Tracker, Tracking
from dirac_keras.errors import UserError
from dirac_keras.training import TrainConfig, run, train, train_seeds
from dirac_keras.training.stepping.interruption import TrainingInterrupted

SMALL = {"data": "digits", "family": "plainnet", "depth": 2, "units": 8, "batch_size": 64, "precision": "float32"}


class Noted(Tracker):
    name = "noted"

    def __init__(self):
        self.runs, self.rows, self.ends = [], [], []

    def start(self, of):
        self.runs.append(of)
        return "here"

    def log(self, epoch, figures):
        self.rows.append((epoch, figures))

    def finish(self, epoch, summary, status):
        self.ends.append((epoch, summary.get("test_accuracy"), status))


@pytest.fixture
def noted(monkeypatch):
    tracker = Noted()
    monkeypatch.setattr(run, "open_tracking", lambda text: Tracking([tracker] if text != "none" else []))
    return tracker


@pytest.fixture(scope="module")
def splits():
    from pipelines import load_splits

    return load_splits("digits", batch_size=64, max_train=128, max_test=64)


class StopAfter:
    def __new__(cls, epochs):
        import keras

        class Stop(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == epochs:
                    raise TrainingInterrupted("stopped", 143)

        return Stop()


@pytest.mark.slow
def test_a_resumed_run_has_the_same_identity_and_goes_on_with_the_next_epoch(noted, splits, tmp_path):
    config = TrainConfig(**SMALL, epochs=3, tracker="wandb")
    with pytest.raises(TrainingInterrupted):
        train(config, splits, tmp_path / "one", callbacks=[StopAfter(2)])
    result = train(config, splits, tmp_path / "one")
    assert [epoch for epoch, _ in noted.rows] == [1, 2, 3]
    first, second = noted.runs
    assert first.identity == second.identity == result.run.record().run and first.name == "one"
    assert first.config["epochs"] == 3 and first.config["run"] == first.identity
    assert noted.ends == [(2, None, "interrupted"), (3, result.summary["test_accuracy"], "finished")]
    assert set(noted.rows[0][1]) == set(result.history[0]) - {"epoch"}  # every figure of metrics.csv
    assert noted.rows[2][1]["loss"] == result.history[2]["loss"]


@pytest.mark.slow
def test_figures_of_a_run_resumed_after_its_last_epoch_stand_at_that_epoch(noted, splits, tmp_path, monkeypatch):
    config = TrainConfig(**SMALL, epochs=2, tracker="wandb")

    def stop(*arguments):
        raise TrainingInterrupted("stopped", 143)

    with monkeypatch.context() as patch, pytest.raises(TrainingInterrupted):
        patch.setattr(run, "finish", stop)
        train(config, splits, tmp_path)
    result = train(config, splits, tmp_path)
    assert [epoch for epoch, _ in noted.rows] == [1, 2] and noted.runs[1].epochs_done == 2
    assert noted.ends == [(2, None, "interrupted"), (2, result.summary["test_accuracy"], "finished")]


@pytest.mark.slow
def test_a_tracker_that_cannot_begin_costs_no_run_that_is_there(splits, tmp_path, monkeypatch):
    before = {name for name in trackers.NAMES if name in sys.modules}
    train(TrainConfig(**SMALL, epochs=1), splits, tmp_path)
    assert {name for name in trackers.NAMES if name in sys.modules} == before  # none is imported unasked

    def refuse(text):
        raise UserError("tracker: nobody is logged in.")

    monkeypatch.setattr(run, "open_tracking", refuse)
    before = (tmp_path / "model.keras").read_bytes()
    with pytest.raises(UserError, match="nobody is logged in"):
        train(TrainConfig(**SMALL, epochs=1, tracker="mlflow"), splits, tmp_path, overwrite=True)
    assert (tmp_path / "model.keras").read_bytes() == before


def test_names_are_checked_when_the_configuration_is_made():
    with pytest.raises(UserError, match="tracker must be none, or of wandb, mlflow, trackio"):
        TrainConfig(tracker="tensorboard")


def test_networks_as_one_program_are_in_no_tracker(splits, tmp_path):
    with pytest.raises(UserError, match=r"in no tracker\. Received tracker='wandb'"):
        train_seeds(TrainConfig(**SMALL, epochs=1, tracker="wandb"), [splits], [tmp_path], [0])


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_said_in_the_folder_until_the_run_is_trained_on(noted, splits, tmp_path):
    from dirac_keras.callbacks import TrainingDiverged
    from dirac_keras.run_folders import read_run

    class Diverge:
        def __new__(cls):
            import keras

            class Stop(keras.callbacks.Callback):
                def on_epoch_begin(self, epoch, logs=None):
                    if epoch == 1:
                        raise TrainingDiverged("The loss became nan.")

            return Stop()

    config = TrainConfig(**SMALL, epochs=2, tracker="wandb")
    with pytest.raises(TrainingDiverged):
        train(config, splits, tmp_path, callbacks=[Diverge()])
    assert read_run(tmp_path)["status"] == noted.ends[0][2] == "diverged"
    train(TrainConfig(**SMALL, epochs=2), splits, tmp_path)  # a run may be resumed without its tracker
    assert [epoch for epoch, _ in noted.rows] == [1] and len(noted.runs) == 1
    assert read_run(tmp_path)["status"] == "ended" and not (tmp_path / "diverged.txt").exists()
