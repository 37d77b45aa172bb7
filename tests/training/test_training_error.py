"""The error on the training images that a training is asked for at its end."""

import types

import numpy as np
import pytest
from keras import ops

from dirac_keras.training import train
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.training_error import parse_limit, training_figures
from pipelines import load_splits

# With BatchNormalization and shifted images, so that the mean of the last epoch is another figure; not all are divided
# by the batch.
CONFIG = TrainConfig(
    data="digits",
    family="plainnet",
    recipe="plainnet",
    depth=1,
    units=8,
    epochs=1,
    batch_size=64,
    max_train=150,
    max_test=32,
)


@pytest.fixture(scope="module")
def splits():
    return load_splits(**CONFIG.data_arguments())


@pytest.mark.slow
def test_figures_are_the_final_networks_on_the_training_images(splits, tmp_path):
    result = train(CONFIG, splits, tmp_path, evaluate_train="all")
    images, labels = (np.concatenate(part) for part in zip(*map(as_arrays, splits.train_in_order()), strict=True))
    logits = ops.convert_to_numpy(result.model(images, training=False)).astype("float64")
    logits -= logits.max(axis=-1, keepdims=True)
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(labels)), labels]
    assert result.summary["train_images"] == len(labels) == 150
    assert result.summary["train_accuracy"] == pytest.approx(np.mean(logits.argmax(-1) == labels))
    assert result.summary["train_loss"] == pytest.approx(losses.mean(), rel=1e-4)  # float32, summed by batches
    assert result.summary["train_loss"] != pytest.approx(result.history[-1]["loss"], rel=1e-2)
    again = train(CONFIG, splits, tmp_path, evaluate_train=50)
    assert again.summary == result.summary, "a finished run is read as it is"
    some = training_figures(result.model, splits, 50)
    assert some["train_images"] == 50 and some["train_loss"] != result.summary["train_loss"]
    assert training_figures(result.model, splits, 1000) == {
        name: result.summary[name] for name in ("train_accuracy", "train_loss", "train_images")
    }
    assert training_figures(result.model, splits, None) == {}


def as_arrays(batch):
    return tuple(np.asarray(part) for part in batch)


@pytest.mark.parametrize("value", ["some", 0, -3, "1.5", True])
def test_other_values_are_refused(value):
    with pytest.raises(ValueError, match=r"`evaluate_train` must be all, or a number of images above 0\. Received"):
        parse_limit(value)


def test_data_without_training_images_in_order_are_refused_before_the_training(splits, tmp_path):
    own = types.SimpleNamespace(spec=splits.spec, steps_per_epoch=2, train=splits.train, test=splits.test)
    with pytest.raises(ValueError, match=r"`evaluate_train` needs data with `train_in_order\(limit\)`"):
        train(CONFIG, own, tmp_path / "run", evaluate_train="all")
    assert not (tmp_path / "run").exists()
