"""What is measured of a run's speed, and what is said of it."""

import logging
import re
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from dirac_keras.callbacks import timing
from dirac_keras.callbacks.profile import parse_steps
from dirac_keras.callbacks.throughput import Throughput
from dirac_keras.callbacks.timing import StepTimes, describe_limit, find_limit
from tests.run_checks import KillAfter, Killed, run


class Collect(keras.callbacks.Callback):
    """Keeps the logs of the epochs as the callbacks before it made them."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append({"epoch": epoch + 1, **logs})


def fit_slowly(input_seconds=0.0, step_seconds=0.0, steps=10, epochs=1, callbacks=None, steps_per_execution=1):
    """Rows of a training whose input, whose step, or both take so long."""

    def sleep_input(x, y):
        tf.numpy_function(lambda: time.sleep(input_seconds), [], [])
        return x, y

    class Slow(keras.layers.Layer):
        def call(self, inputs):
            tf.numpy_function(lambda: time.sleep(step_seconds), [], [])
            return inputs

    data = tf.data.Dataset.from_tensors((np.zeros((4, 3), "float32"), np.zeros((4, 1), "float32"))).repeat()
    if input_seconds:
        data = data.map(sleep_input)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1)(Slow()(inputs)))
    model.compile("sgd", "mse", jit_compile=False, steps_per_execution=steps_per_execution)
    collect = Collect()
    callbacks = [Throughput(4), StepTimes()] if callbacks is None else callbacks
    model.fit(data, steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=0, callbacks=[*callbacks, collect])
    return collect.rows


def test_slow_input_is_seen_as_waiting():
    """Each step takes 40 ms for its input and little else."""
    [row] = fit_slowly(input_seconds=0.04)
    assert row["input_wait_share"] > 0.5 and row["step_milliseconds"] >= 39
    assert find_limit([row])["limited_by"] == "input"


def test_slow_step_is_no_waiting():
    [row] = fit_slowly(step_seconds=0.02)
    assert row["input_wait_share"] < 0.1 and row["step_milliseconds"] >= 20
    assert find_limit([row])["limited_by"] == "compute"


def test_share_is_of_both():
    """TensorFlow prefetches: of 80 ms for the next batch, 40 pass during the step before it, 40 are waited for."""
    [row] = fit_slowly(input_seconds=0.08, step_seconds=0.04)
    assert 0.35 < row["input_wait_share"] < 0.65 and row["step_milliseconds"] >= 75


def test_step_that_compiles_is_left_out_but_where_there_is_no_other():
    times = StepTimes()
    [row] = fit_slowly(step_seconds=0.02, steps=1, callbacks=[times])
    assert row["step_milliseconds"] == pytest.approx(1e3 * times._first[1])
    rows = fit_slowly(step_seconds=0.02, steps=1, epochs=2, callbacks=[times := StepTimes()])
    assert rows[1]["step_milliseconds"] < 1e3 * times._first[1], "the second epoch's step compiles nothing"


def test_first_step_that_takes_long_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(timing, "SLOW_START_SECONDS", 0.01)
    with caplog.at_level(logging.INFO, "dirac_keras"):
        fit_slowly(step_seconds=0.02, epochs=2)
    [line] = [
        message for message in caplog.messages if message.startswith("the first step, which compiles the network")
    ]
    assert re.search(r"took \d+ s$", line)


def test_waiting_that_nobody_saw_is_not_called_none():
    """Several steps to an execution take their batches in one compiled loop."""
    [row] = fit_slowly(input_seconds=0.001, steps_per_execution=2)
    assert "input_wait_share" not in row and row["step_milliseconds"] > 0
    assert "limited_by" not in find_limit([row])
    assert describe_limit(find_limit([row])).startswith("waiting for input is not measured, median step ")


def test_line_of_a_run_on_several_devices_has_the_other_figures():
    summary = {"step_milliseconds": 12.34, "median_images_per_second": 5678.9, "peak_memory_mib": 512.0, "replicas": 2}
    line = "waiting for input is not measured on 2 replicas, median step 12.3 ms, 5,679 images/s, memory 0.50 GiB"
    assert describe_limit(summary) == line
    assert describe_limit({"peak_memory_mib": 512.0}) == ""


def test_training_function_is_given_back():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    x, y = np.zeros((4, 3), "float32"), np.zeros((4, 1), "float32")
    model.fit(x, y, verbose=0)
    before = model.train_function
    model.fit(x, y, callbacks=[StepTimes()], verbose=0)
    assert model.train_function is before


def test_seconds_of_an_interrupted_epoch_are_added():
    times = StepTimes()
    times.on_epoch_begin(0)
    times.restore_epoch_state({"waited": 1.0, "stepped": 4.0, "step_milliseconds": 30.0})
    assert times.epoch_state() == {"waited": 1.0, "stepped": 4.0, "step_milliseconds": 30.0}
    times._waits, times._steps = [0.5, 1.5], [1.0, 3.0]
    assert times.epoch_state() == {"waited": 3.0, "stepped": 8.0, "step_milliseconds": 2000.0}


def test_limit_of_a_run_is_that_of_its_epochs():
    rows = [
        {"epoch": 1, "input_wait_share": 0.3, "step_milliseconds": 50.0, "peak_memory_mib": 100.0},
        {"epoch": 2, "input_wait_share": 0.1, "step_milliseconds": 10.0, "peak_memory_mib": 300.0},
        {"epoch": 3, "input_wait_share": 0.2, "step_milliseconds": 20.0, "peak_memory_mib": 200.0},
        {"epoch": 4, "input_wait_share": "", "step_milliseconds": ""},  # of an earlier version
    ]
    found = find_limit(rows)
    assert found.pop("input_wait_share") == pytest.approx(0.2)
    assert found == {"limited_by": "input", "step_milliseconds": 20.0, "peak_memory_mib": 300.0}
    assert find_limit([{"epoch": 1, "loss": 1.0}]) == {}


@pytest.mark.slow
def test_run_says_what_limited_it(tmp_path):
    result = run(tmp_path / "run", profile="2,3", epochs=1)
    assert result.summary["limited_by"] in ("input", "compute") and result.summary["peak_memory_mib"] > 100
    assert {"images_per_second", "input_wait_share", "step_milliseconds", "peak_memory_mib"} <= set(result.history[0])
    line = r"limited by (input|compute): \d+\.\d% of the steps' time waited for input, median step [\d.]+ ms, .* GiB"
    assert re.match(line, describe_limit(result.summary))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(result.run.tensorboard / "train"), {"tensors": 0}).Reload()
    assert {"input_wait_share", "step_milliseconds", "peak_memory_mib"} <= set(events.Tags()["tensors"])
    assert len(list(result.run.tensorboard.glob("plugins/profile/*/*.xplane.pb"))) == 1


@pytest.mark.slow
def test_trace_is_written_although_the_run_was_killed_in_it(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[KillAfter(5)], profile="4,7")
    assert len(list((tmp_path / "run" / "tb").glob("plugins/profile/*/*.xplane.pb"))) == 1


@pytest.mark.slow
def test_trace_of_steps_that_never_came_is_missed_aloud(tmp_path, caplog):
    run(tmp_path / "run", profile="99", epochs=1)
    assert "profile: step 99 was not reached, no trace was written" in caplog.text


def test_profile_takes_a_step_or_two():
    assert parse_steps("7") == (7, 7) and parse_steps("10,20") == (10, 20)
    for wrong in ("", "0", "5,3", "a", "1,2,3", "-1", "2,"):
        with pytest.raises(ValueError, match=f'Received profile={wrong!r}; give `profile="10"` or `profile="10,20"`'):
            parse_steps(wrong)
