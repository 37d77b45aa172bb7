"""A run is resumed with the backend and the reader that it began with, or not at all."""

import json

import keras
import pytest

from dirac_keras.errors import UserError
from dirac_keras.files.records import CHECKSUM, sealed
from dirac_keras.training import train
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.folder.directory import RunDirectory
from dirac_keras.training.folder.origin import origin_of
from pipelines import load_splits
from tests.run_checks import CONFIG

SPEC = {"name": "digits"}
ORIGIN = {"backend": "jax", "reader": "numpy"}


class Read:
    """Splits, as far as `origin_of` looks at them."""

    def __init__(self, reader):
        self.reader = reader


@pytest.fixture
def run(tmp_path):
    """A run of JAX that is not finished."""
    run = RunDirectory(tmp_path)
    run.create(TrainConfig(), SPEC, "float32", ORIGIN)
    return run


def check(run, **changes):
    run.check(TrainConfig(), SPEC, "float32", {**ORIGIN, **changes})


def rewrite(run, **changes):
    """Change the record of a run; None takes a field out."""
    record = json.loads(run.config.read_text()) | changes
    record = {name: value for name, value in record.items() if value is not None and name != CHECKSUM}
    run.config.write_text(json.dumps(sealed(record)))


def test_a_run_records_the_backend_and_the_reader():
    expected = {"backend": keras.backend.backend(), "reader": "numpy", "test_images": None}
    assert origin_of(Read("numpy")) == expected
    assert origin_of(object())["reader"] is None  # splits of one's own


def test_the_same_are_accepted(run):
    check(run)


def test_another_backend_is_refused_with_the_way_back(run):
    with pytest.raises(UserError, match=r"began on Keras' backend jax; here it is tensorflow.*KERAS_BACKEND=jax"):
        check(run, backend="tensorflow", reader="tensorflow")


def test_another_reader_is_refused(run):
    with pytest.raises(UserError, match=r"data the reader numpy read; here it is tensorflow.*`workdir`"):
        check(run, reader="tensorflow")


def test_data_of_ones_own_have_no_reader_to_compare(run):
    check(run, reader=None)


def test_a_run_that_recorded_neither_was_read_by_tensorflow(run):
    rewrite(run, backend=None, reader=None, versions={"tensorflow": "2.21.0", "jax": "0.10.2"})
    with pytest.raises(UserError, match="data the reader tensorflow read; here it is numpy"):
        check(run)
    for backend in ("tensorflow", "jax"):  # either may have been its backend
        check(run, backend=backend, reader="tensorflow")
    rewrite(run, versions={"tensorflow": "2.21.0"})
    with pytest.raises(UserError, match="backend tensorflow; here it is jax"):
        check(run, reader="tensorflow")


def test_a_finished_run_is_read_on_every_backend(run):
    run.model.write_bytes(b"")
    check(run, backend="torch")


def test_train_asks_before_it_resumes(tmp_path):
    config = TrainConfig(**CONFIG)
    splits = load_splits(**config.data_arguments())
    run = RunDirectory(tmp_path)
    run.create(config, splits.spec.to_dict(), "float32", {"backend": "another", "reader": splits.reader})
    with pytest.raises(UserError, match="began on Keras' backend another"):
        train(config, splits, tmp_path)
