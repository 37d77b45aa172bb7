"""What is added to batches that are cut on the device: the host's floats."""

import keras
import numpy as np
import pytest

from dirac_keras.errors import UserError
from dirac_keras.training.chunks import device
from pipelines import load_splits

jax = pytest.importorskip("jax")


def digits(augmentation, reader="numpy"):
    options = {"batch_size": 16, "max_train": 64, "max_test": 10, "reader": reader}
    return load_splits("digits", augmentation=augmentation, **options)


@pytest.mark.parametrize("augmentation", ["digits+mixup", "flip+cutmix+erasing:0.7", "none+mixup+cutmix"])
def test_mixtures_and_erased_parts_on_the_device_are_the_host_s_bit_for_bit(augmentation):
    from dirac_keras.training.chunks.feeds import Cut, stored_arrays

    splits = digits(augmentation)
    cut, step = Cut.of(splits), 5
    made = jax.jit(cut.batch)(stored_arrays(splits), next(cut.items(splits, step)))
    for mine, theirs in zip(made, splits.train()[step], strict=True):
        np.testing.assert_array_equal(np.asarray(mine), theirs)
        assert np.asarray(mine).dtype == theirs.dtype


def test_operations_of_the_host_are_streamed_and_one_line_says_so():
    splits = digits("none+randaugment")
    for asked in ("auto", "yes"):
        fits, reason = device.judge(splits, asked)
        assert not fits and reason == "no, the host computes their augmentation; batches are streamed"


def test_on_tensorflow_the_host_computes_all_additions():
    is_tensorflow = keras.backend.backend() == "tensorflow"
    assert device.needs_host(digits("none+mixup")) == device.needs_host(digits("none+erasing")) == is_tensorflow
    assert not device.needs_host(digits("flip")) and device.needs_host(digits("none+jitter:0.4:0.4:0:0"))


def test_seeds_side_by_side_refuse_operations_of_the_host(tmp_path, monkeypatch):
    from dirac_keras.training.config import TrainConfig
    from dirac_keras.training.seeds import train_seeds

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    config = TrainConfig(data="digits", family="plainnet", recipe="plainnet", depth=2, units=8, epochs=1)
    with pytest.raises(UserError, match="jitter, vflip, grey and blur are not"):
        train_seeds(config, [digits("none+randaugment")], [tmp_path / "run"], [0])
    assert not (tmp_path / "run").exists()
