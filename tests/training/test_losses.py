import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.training.losses import SmoothedCrossentropy

LOGITS = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")
LABELS = np.arange(8) % 5


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_equals_keras_loss_of_one_hot_labels(smoothing):
    keras_loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    expected = ops.convert_to_numpy(keras_loss(np.eye(5, dtype="float32")[LABELS], LOGITS))
    found = ops.convert_to_numpy(SmoothedCrossentropy(smoothing)(LABELS, LOGITS))
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32 log-sum-exp


def test_loss_of_equal_logits_is_the_logarithm_of_the_number_of_classes():
    loss = SmoothedCrossentropy(0.3)(np.array([2]), np.zeros((1, 4), "float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(loss), np.log(4), rtol=1e-6)


def test_config_keeps_the_smoothing():
    assert SmoothedCrossentropy.from_config(SmoothedCrossentropy(0.2).get_config()).label_smoothing == 0.2


def test_smoothing_of_one_is_refused():
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\). Received label_smoothing=1"):
        SmoothedCrossentropy(1)
