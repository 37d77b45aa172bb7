import types

import keras
import pytest

from dirac_keras.callbacks import Profile
from dirac_keras.errors import UserError
from dirac_keras.phase_out import SkipTrace
from dirac_keras.training.chunks.ends import longest_chunk, needs_every_step, next_end, refuse_every_step
from dirac_keras.training.folder.checkpoints import Checkpoint


class EveryBatch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


class At(keras.callbacks.Callback):
    """Acts at some steps."""

    def __init__(self, *steps):
        super().__init__()
        self.steps = steps

    def next_step(self, step):
        return min((one for one in self.steps if one > step), default=None)


def test_chunk_ends_where_the_first_callback_acts():
    assert next_end([At(7), At(12, 5)], 0, 100) == 5
    assert next_end([At(7), At(12, 5)], 5, 100) == 7
    assert next_end([At(7), At(12, 5)], 12, 100) == 100


def test_callbacks_within_another_count():
    assert next_end([types.SimpleNamespace(callbacks=[At(3)])], 0, 100) == 3


def test_what_acts_on_batches_and_names_no_step_needs_every_one():
    assert needs_every_step(EveryBatch())
    assert needs_every_step(keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: None))
    assert not needs_every_step(keras.callbacks.EarlyStopping())
    assert not needs_every_step(At(1))
    assert next_end([EveryBatch()], 4, 100) == 5


def test_chunks_have_one_step_where_a_callback_needs_each():
    assert longest_chunk([At(1)], 11) == 11
    assert longest_chunk([At(1), EveryBatch()], 11) == 1


def test_fixed_chunk_refuses_who_needs_every_step():
    with pytest.raises(
        UserError, match="steps_per_execution=8 with the callback EveryBatch, which acts on every batch"
    ):
        refuse_every_step([At(1), EveryBatch()], 8)
    refuse_every_step([At(1)], 8)


@pytest.mark.parametrize(("every", "step", "expected"), [(4, 0, 4), (4, 3, 4), (4, 4, 8), (None, 3, None)])
def test_checkpoints_every_n_steps_end_chunks(every, step, expected, tmp_path):
    assert Checkpoint(tmp_path, every_steps=every).next_step(step) == expected


def test_trace_of_steps_begins_and_ends_a_chunk(tmp_path):
    profile = Profile(3, 5, tmp_path)  # of a training that begins at the run's step 10
    assert profile.next_step(10) == 12
    profile.on_train_batch_begin(0)
    profile.on_train_batch_end(1)  # two steps in one call
    assert profile.next_step(12) == 15


def test_ends_of_a_trace_can_be_asked_for_before_the_training(tmp_path):
    profile = Profile(5, 6, tmp_path)  # of a training that begins at the run's step 10
    assert [profile.next_step(step) for step in (10, 14, 16)] == [14, 16, None]


def test_rows_of_the_skips_end_chunks(tmp_path):
    trace = SkipTrace(tmp_path / "skips.csv", tmp_path / "skips.png")
    trace.rows = [{"step": 3}]
    assert trace.next_step(3) == 4  # each step up to the twentieth
    trace.rows = [{"step": 100}]
    assert trace.next_step(100) == 105  # then one in every twentieth part
