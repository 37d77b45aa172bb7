"""A training whose images are mixed, erased and changed by operations: labels are shares, runs resume bit for bit."""

import logging

import keras
import numpy as np
import pytest

from tests.run_checks import CONFIG, KillAfter, Killed, assert_same_run, run, train_fields

OPTIONS = {"augmentation": "digits+randaugment:1:3+erasing:0.5+mixup:0.4+cutmix", "label_smoothing": 0.1}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("mixed") / "whole", **OPTIONS)


@pytest.mark.slow
def test_a_training_of_mixed_images_learns_and_is_tested_on_whole_ones(whole):
    losses = [[row[name] for row in whole.history] for name in ("loss", "val_loss")]
    assert np.isfinite(losses).all()
    assert all(second < first for first, second in losses)
    assert whole.run.read_config().augmentation == OPTIONS["augmentation"]


@pytest.mark.slow
def test_resumed_run_sees_the_mixtures_it_would_have_seen(whole, tmp_path):
    options = {**OPTIONS, "checkpoint_steps": 4}
    with pytest.raises(Killed):
        run(tmp_path / "run", callbacks=[KillAfter(14)], **options)
    assert_same_run(run(tmp_path / "run", **options), whole)


@pytest.mark.slow
def test_on_tensorflow_data_that_were_to_lie_on_the_device_are_streamed_as_one_line_says(whole, tmp_path, caplog):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("on JAX the device mixes: tests/training/chunks/test_additions.py")
    with caplog.at_level(logging.INFO, "dirac_keras"):
        result = train_fields({**CONFIG, **OPTIONS}, tmp_path / "run", data_on_device="yes")
    lines = [record.getMessage() for record in caplog.records if "data on the device" in record.getMessage()]
    assert lines == ["data on the device: no, the host computes their augmentation; batches are streamed"]
    assert_same_run(result, whole)
