"""Training in chunks, through `train`, against Keras' `fit` and against itself (JAX)."""

import logging
import os
import re
import signal

import keras
import numpy as np
import pytest

from dirac_keras.callbacks.divergence import TrainingDiverged
from dirac_keras.errors import UserError
from dirac_keras.files.tables import read_table
from dirac_keras.training.chunks import device
from dirac_keras.training.stepping.interruption import TrainingInterrupted
from tests.run_checks import CONFIG, STEPS, KillAfter, Killed, assert_same_run, train_fields

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="chunks of steps are JAX's")

FIELDS = {**CONFIG, "augmentation": "fashion"}  # shifts and flips
# Two programs sum in another order: float32 keeps 24 bits, and 16 steps with momentum let the last of them grow.
ROUNDING = {"rtol": 2e-4, "atol": 2e-5}


def run(workdir, callbacks=(), steps=3, data="yes", fields=(), **options):
    options |= {"callbacks": callbacks, "steps_per_execution": steps, "data_on_device": data}
    return train_fields({**FIELDS, **dict(fields)}, workdir, **options)


def assert_close_weights(model, other):
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, **ROUNDING)


class Calls(keras.callbacks.Callback):
    """The batches that a callback sees the end of."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def next_step(self, step):
        return None

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(batch)


class KillAt(KillAfter):
    def next_step(self, step):
        return self.step if self.step and step < self.step else None


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """By Keras' `fit`."""
    return run(tmp_path_factory.mktemp("fitted") / "run", steps="auto", data="auto")


@pytest.fixture(scope="module")
def chunked(tmp_path_factory):
    return run(tmp_path_factory.mktemp("chunked") / "run")


def test_chunks_train_to_what_fit_trains_to(fitted, chunked):
    assert_close_weights(chunked.model, fitted.model)
    for mine, theirs in zip(chunked.history, fitted.history, strict=True):
        assert mine.keys() == theirs.keys()
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
            np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-4)


@pytest.mark.parametrize(
    ("steps", "data"),
    [
        (100, "yes"),
        (3, "no"),
        pytest.param(1, "yes", marks=pytest.mark.slow),
        pytest.param(5, "yes", marks=pytest.mark.slow),
        pytest.param("auto", "yes", marks=pytest.mark.slow),
    ],
)
def test_neither_the_length_of_chunks_nor_the_place_of_the_data_changes_a_bit(steps, data, chunked, tmp_path):
    assert_same_run(run(tmp_path / "run", steps=steps, data=data), chunked)


@pytest.mark.parametrize(("first", "then"), [(3, 4), pytest.param(2, "auto", marks=pytest.mark.slow)])
def test_run_killed_in_an_epoch_is_resumed_with_another_length_to_the_same_weights(first, then, chunked, tmp_path):
    with pytest.raises(Killed):
        run(tmp_path / "run", [KillAt(step=STEPS + 6)], steps=first, fields={"checkpoint_steps": 5}.items())
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ["step-00000008.keras", "step-00000010.keras"]  # the end of an epoch, and a multiple of 5
    assert_same_run(run(tmp_path / "run", steps=then), chunked)


def test_signal_ends_the_run_at_the_end_of_its_chunk(chunked, tmp_path, caplog):
    class Terminate(Calls):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    calls = Terminate()
    with caplog.at_level(logging.INFO, "dirac_keras"), pytest.raises(TrainingInterrupted, match="after step 6 of 16"):
        run(tmp_path / "run", [calls])
    [line] = [message for message in caplog.messages if message.startswith("steps compiled together")]
    assert line.endswith(", up to 3 at a time")  # as asked, not the 8 that its input has room for
    assert calls.seen == [2, 5]
    later = Calls()
    assert_same_run(run(tmp_path / "run", [later], steps=4, data="no"), chunked)
    assert later.seen == [7, 3, 7]  # what was left of the epoch, and the next one


@pytest.mark.slow
def test_who_needs_every_step_gets_it_where_the_length_is_auto(chunked, tmp_path):
    class EveryStep(keras.callbacks.Callback):
        seen = ()

        def on_train_batch_end(self, batch, logs=None):
            self.seen += (batch,)

    every = EveryStep()
    assert_same_run(run(tmp_path / "run", [every], steps="auto"), chunked)
    assert every.seen == tuple(range(STEPS)) * 2


def test_who_needs_every_step_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="steps_per_execution=3 with the callback KillAfter"):
        run(tmp_path / "run", [KillAfter(step=1)])
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_any_length_is_compiled_once(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "dirac_keras"):
        run(tmp_path / "run", steps="auto")
    assert sum("steps compiled together" in message for message in caplog.messages) == 1


@pytest.mark.slow
def test_divergence_ends_the_run_and_the_state_before_it_is_kept(tmp_path):
    fields = {"learning_rate": 1e30, "schedule": "constant"}
    with pytest.raises(TrainingDiverged, match=r"epoch 1, step 3.*nothing was saved"):
        run(tmp_path / "run", fields=fields.items())
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))


def test_figures_of_time_are_of_steps(chunked):
    last = chunked.history[-1]
    assert last["step_milliseconds"] > 0 and 0 <= last["input_wait_share"] < 1
    np.testing.assert_allclose(last["images_per_second"] * last["seconds"], STEPS * FIELDS["batch_size"])


@pytest.mark.slow
def test_averaged_weights_are_those_of_fit(tmp_path):
    fields = {"ema_momentum": 0.9}.items()
    fitted = run(tmp_path / "fit", steps="auto", data="auto", fields=fields)
    assert_close_weights(run(tmp_path / "chunks", fields=fields).model, fitted.model)


@pytest.mark.slow
def test_skips_fade_as_in_fit_and_are_traced_at_the_same_steps(tmp_path):
    fields = {"family": "van", "layout": "dense", "recipe": "van", "depth": 3}.items()
    fitted = run(tmp_path / "fit", steps="auto", data="auto", fields=fields)
    chunked = run(tmp_path / "chunks", steps=8, fields=fields)
    assert_close_weights(chunked.model, fitted.model)
    rows = [read_table(result.run.skips) for result in (chunked, fitted)]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]] == list(range(17))
    np.testing.assert_allclose([row["residual"] for row in rows[0]], [row["residual"] for row in rows[1]], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("way", [{"dissolve_epoch": 1}, {"identity_bound": 1.0}, {"identity_phase_out": 0.5}])
def test_identities_leave_as_in_fit(way, tmp_path):
    fields = {"family": "diracnet", "layout": "dense", "recipe": "quick", "depth": 3, **way}.items()
    fitted = run(tmp_path / "fit", steps="auto", data="auto", fields=fields)
    assert_close_weights(run(tmp_path / "chunks", fields=fields).model, fitted.model)


def test_data_larger_than_the_device_are_refused_with_their_size(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "memory", lambda: (30_000, 10_000))
    with pytest.raises(UserError, match=r"they take .* kB, it has 30 kB, of which 10 kB are in"):
        run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_data_that_take_too_much_are_streamed_and_the_log_says_so(chunked, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(device, "memory", lambda: (500_000, 0))
    with caplog.at_level(logging.INFO, "dirac_keras"):
        assert_same_run(run(tmp_path / "run", data="auto"), chunked)
    [line] = [message for message in caplog.messages if message.startswith("data on the device")]
    assert re.fullmatch(
        r"data on the device: no, 263 kB are 52\.\d% of its memory, more than 30%; batches are streamed", line
    )
