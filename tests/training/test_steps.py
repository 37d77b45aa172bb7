"""Several steps an execution, and data on the device, by Keras' own `fit` (TensorFlow)."""

import keras
import pytest

from dirac_keras.errors import UserError
from dirac_keras.training.folder.checkpoints import Checkpoint
from dirac_keras.training.stepping.position import Position
from dirac_keras.training.stepping.steps import check_steps_an_execution
from tests.run_checks import CONFIG, assert_same_run, train_fields

FIELDS = {**CONFIG, "augmentation": "fashion"}  # shifts and flips
on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow's fit")


def run(workdir, fields=(), **options):
    return train_fields({**FIELDS, **dict(fields)}, workdir, **options)


@pytest.mark.slow
@on_tensorflow
def test_neither_the_place_of_the_data_nor_the_steps_of_an_execution_change_a_bit(tmp_path):
    plain = run(tmp_path / "plain")
    assert_same_run(run(tmp_path / "both", data_on_device="yes", steps_per_execution=4), plain)


@on_tensorflow
def test_steps_that_do_not_divide_an_epoch_are_refused(tmp_path):
    message = r"must divide the steps of an epoch.* steps_per_execution=3 with epochs of 8 steps: give 2 or 4, or leave"
    with pytest.raises(UserError, match=message):
        run(tmp_path / "run", steps_per_execution=3)
    assert not (tmp_path / "run").exists() or not [*(tmp_path / "run").glob("[!.]*")]  # the lock's file alone


@on_tensorflow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "5,6"}, "with Profile, which acts after step 6"),
        ({"fields": {"checkpoint_steps": 6}}, "with Checkpoint, which acts after step 6"),
        ({"fields": {"family": "van", "layout": "dense"}}, "with SkipTrace, which acts after step 1: leave it out"),
    ],
)
def test_executions_that_do_not_end_where_something_acts_leave_no_run(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        run(tmp_path / "run", steps_per_execution=4, **options)
    assert not (tmp_path / "run" / "config.json").exists()


@on_tensorflow
def test_executions_that_cannot_be_cost_no_run_that_is_there(tmp_path):
    run(tmp_path / "run", fields={"epochs": 1})
    summary = (tmp_path / "run" / "summary.json").read_text()
    with pytest.raises(UserError, match="must divide the steps"):
        run(tmp_path / "run", steps_per_execution=3, overwrite=True)
    assert (tmp_path / "run" / "summary.json").read_text() == summary


def test_executions_must_end_where_a_callback_acts(tmp_path):
    checkpoint = Checkpoint(tmp_path, every_steps=6)
    check_steps_an_execution(2, [checkpoint], Position(), 8, 3)
    with pytest.raises(UserError, match="steps_per_execution=4 with Checkpoint, which acts after step 6"):
        check_steps_an_execution(4, [checkpoint], Position(), 8, 3)
    check_steps_an_execution(4, [Checkpoint(tmp_path, every_steps=12)], Position(), 8, 3)


def test_what_is_left_of_an_epoch_must_be_divided_too():
    message = "steps_per_execution=4 with epochs of 8 steps, 5 of them left of one that was begun: leave it out"
    with pytest.raises(UserError, match=message):
        check_steps_an_execution(4, [], Position(batch=3), 8, 3)
    with pytest.raises(UserError, match="4 of them left of one that was begun: give 4, or leave it out"):
        check_steps_an_execution(8, [], Position(batch=4), 8, 3)


def test_steps_that_are_offered_are_the_nearest():
    """390 = 2 * 3 * 5 * 13: 78 and 130 are the divisors around 100; 11 has none but itself."""
    with pytest.raises(UserError, match="give 78 or 130, or leave it out"):
        check_steps_an_execution(100, [], Position(), 390, 3)
    with pytest.raises(UserError, match="epochs of 11 steps: give 11, or leave it out"):
        check_steps_an_execution(3, [], Position(), 11, 3)
    with pytest.raises(UserError, match="epochs of 1 step: leave it out"):
        check_steps_an_execution(3, [], Position(), 1, 3)
