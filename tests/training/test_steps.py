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
    with pytest.raises(UserError, match=r"must divide the steps of an epoch.* steps_per_execution=3 and 8 steps"):
        run(tmp_path / "run", steps_per_execution=3)


def test_executions_must_end_where_a_callback_acts(tmp_path):
    checkpoint = Checkpoint(tmp_path, every_steps=6)
    check_steps_an_execution(2, [checkpoint], Position(), 8, 3)
    with pytest.raises(UserError, match="steps_per_execution=4 with Checkpoint, which acts after step 6"):
        check_steps_an_execution(4, [checkpoint], Position(), 8, 3)
    check_steps_an_execution(4, [Checkpoint(tmp_path, every_steps=12)], Position(), 8, 3)


def test_what_is_left_of_an_epoch_must_be_divided_too():
    with pytest.raises(UserError, match="steps_per_execution=4 and 5 steps"):
        check_steps_an_execution(4, [], Position(batch=3), 8, 3)
