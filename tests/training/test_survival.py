"""A run that was interrupted anywhere ends as the one that was not."""

import functools
import os
import signal

import keras
import pytest

from dirac_keras.diagnostics import Diagnostics
from dirac_keras.files.tables import read_table
from dirac_keras.training.folder.checkpoints import find_checkpoints
from dirac_keras.training.stepping.interruption import TrainingInterrupted
from pipelines import load_splits
from tests.marks import slow_but
from tests.run_checks import STEPS, KillAfter, Killed, assert_same_run, run

DIRAC = {"family": "diracnet", "depth": 10, "width": 0.25, "recipe": "quick", "units": None}
VAN = {"family": "van", "layout": "dense", "recipe": "van_dense", "learning_rate": 0.1}
VAN |= {"phase_out_start": 0.25, "phase_out_end": 1.5, "phase_out_fraction": 2.0}
FAMILIES = {"plainnet": {}, "diracnet": DIRAC, "van": VAN}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Function `family -> result` of the run that nobody interrupted."""
    return functools.cache(lambda family: run(tmp_path_factory.mktemp(family) / "run", **FAMILIES[family]))


def steps_kept(workdir):
    return [step for step, _ in find_checkpoints(workdir / "checkpoints", STEPS)]


@pytest.mark.slow
@pytest.mark.parametrize("family", slow_but(FAMILIES, "diracnet"))
def test_run_killed_within_an_epoch_ends_as_the_uninterrupted_one(family, finished, tmp_path):
    """Twice, in both epochs: each time it resumes from the last multiple of three steps."""
    for kill, kept in ((5, [3]), (15, [12, 9])):
        with pytest.raises(Killed):
            run(tmp_path / "run", callbacks=[KillAfter(kill)], checkpoint_steps=3, **FAMILIES[family])
        assert steps_kept(tmp_path / "run") == kept
    resumed = run(tmp_path / "run", checkpoint_steps=3, **FAMILIES[family])
    assert_same_run(resumed, finished(family))
    assert read_table(resumed.run.scales) == read_table(finished(family).run.scales)


@pytest.mark.slow
@pytest.mark.parametrize("step", [STEPS, 2 * STEPS])
def test_signal_in_a_validation_loses_none_of_the_epochs_steps(step, finished, tmp_path):
    epoch = step // STEPS - 1
    terminate = KillAfter(validation_of_epoch=epoch, act=lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(TrainingInterrupted):
        run(tmp_path / "run", callbacks=[terminate])
    assert steps_kept(tmp_path / "run")[0] == step and len(read_table(tmp_path / "run" / "metrics.csv")) == epoch
    trained = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: trained.append(batch))
    assert_same_run(run(tmp_path / "run", callbacks=[count]), finished("plainnet"))
    assert len(trained) == 2 * STEPS - step


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_finishes_the_step_saves_it_and_exits_with_its_code(number, code, finished, tmp_path, caplog):
    before = signal.getsignal(number)
    with pytest.raises(TrainingInterrupted) as stop:
        run(tmp_path / "run", callbacks=[KillAfter(5, act=lambda: signal.raise_signal(number))])
    assert stop.value.code == code and signal.getsignal(number) is before
    assert f"interrupted by {number.name} after step 5 of 16, which is saved: train again to resume" in caplog.text
    assert steps_kept(tmp_path / "run") == [5]
    assert_same_run(run(tmp_path / "run"), finished("plainnet"))


@pytest.mark.slow
def test_second_ctrl_c_does_not_wait(tmp_path):
    def press_twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", callbacks=[KillAfter(5, act=press_twice)])
    assert steps_kept(tmp_path / "run") == []


@pytest.mark.slow
def test_checkpoint_is_written_when_its_seconds_have_passed(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[KillAfter(5)], checkpoint_seconds=1e-6)
    assert steps_kept(tmp_path / "run") == [4, 3]


@pytest.mark.slow
def test_checkpoints_of_an_earlier_version_are_gone_on_with(finished, tmp_path):
    """They were named after the epoch and had no position and no checksum."""
    from dirac_keras.files.keras_file import save_model

    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[KillAfter(STEPS + 1)])
    [(_, path)] = find_checkpoints(tmp_path / "run" / "checkpoints", STEPS)
    model = keras.saving.load_model(path)
    path.unlink()
    save_model(model, path.with_name("epoch-0001.keras"))
    assert steps_kept(tmp_path / "run") == [STEPS]
    assert_same_run(run(tmp_path / "run"), finished("plainnet"))


@pytest.mark.slow
def test_interval_may_change_when_a_run_goes_on(finished, tmp_path):
    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[KillAfter(5)], checkpoint_steps=4)
    assert_same_run(run(tmp_path / "run", checkpoint_steps=None, checkpoint_seconds=None), finished("plainnet"))


@pytest.mark.slow
def test_callbacks_see_one_training_with_the_numbers_of_the_run(tmp_path):
    class Log(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_train_begin(self, logs=None):
            self.seen.append(("begin", self.params["epochs"], self.params["steps"], self.params["first_batch"]))

        def on_epoch_begin(self, epoch, logs=None):
            self.seen.append(("epoch", epoch))

        def on_train_batch_end(self, batch, logs=None):
            self.seen.append(batch)

        def on_train_end(self, logs=None):
            self.seen.append("end")

    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[KillAfter(7)], checkpoint_steps=6)
    log = Log()
    run(tmp_path / "run", callbacks=[log], checkpoint_steps=6)
    assert log.seen == [("begin", 2, STEPS, 6), ("epoch", 0), 6, 7, ("epoch", 1), *range(STEPS), "end"]


@pytest.mark.slow
def test_callback_that_stops_the_training_is_heeded_in_a_continued_epoch(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[KillAfter(5)], checkpoint_steps=4)
    assert len(run(tmp_path / "run", callbacks=[Stop()], checkpoint_steps=4).history) == 1


@pytest.mark.slow
def test_callback_with_sums_gets_them_back(tmp_path):
    class Sum(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1

        def on_epoch_end(self, epoch, logs=None):
            logs["batches"] = self.batches

        def epoch_state(self):
            return {"batches": self.batches}

        def restore_epoch_state(self, state):
            self.batches = state["batches"]

    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[Sum(), KillAfter(5)], checkpoint_steps=4)
    resumed = run(tmp_path / "run", callbacks=[Sum()], checkpoint_steps=4)
    assert [row["batches"] for row in resumed.history] == [STEPS, STEPS]


@pytest.mark.slow
def test_diagnostics_leave_the_weights_and_measure_no_epoch_in_its_middle(finished, tmp_path):
    def diagnostics():
        images = load_splits("digits", max_train=512).train_in_order(64)
        return Diagnostics(images, quantities=("activations",))

    epochs = []
    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[diagnostics(), KillAfter(5)], checkpoint_steps=4)
    watch = diagnostics()
    watch._measure = epochs.append
    resumed = run(tmp_path / "run", callbacks=[watch], checkpoint_steps=4)
    assert epochs == [1, 2]
    assert_same_run(resumed, finished("plainnet"))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_run_ends_as_the_uninterrupted_one(precision, tmp_path):
    """In float16 the optimizer has a loss scale with a count of its own, and may pass over steps."""
    whole = run(tmp_path / "whole", precision=precision, **DIRAC)
    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[KillAfter(13)], checkpoint_steps=5, precision=precision, **DIRAC)
    assert_same_run(run(tmp_path / "run", checkpoint_steps=5, precision=precision, **DIRAC), whole)


@pytest.mark.slow
def test_every_step_is_a_place_to_go_on_from(finished, tmp_path):
    for step in range(1, 2 * STEPS):
        folder = tmp_path / str(step)
        with pytest.raises(TrainingInterrupted):
            run(folder, callbacks=[KillAfter(step, act=lambda: os.kill(os.getpid(), signal.SIGTERM))])
        assert_same_run(run(folder), finished("plainnet"))
