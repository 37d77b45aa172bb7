import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.training.optimization.losses import (
    ClassAccuracy,
    FocalCrossentropy,
    SmoothedCrossentropy,
    TopKAccuracy,
)

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


SHARES = np.random.default_rng(1).dirichlet(np.ones(5), 8).astype("float32")


def value(loss, labels, logits=LOGITS):
    return ops.convert_to_numpy(loss(labels, logits))


@pytest.mark.parametrize("kind", [SmoothedCrossentropy, FocalCrossentropy])
def test_shares_of_one_class_are_its_integer(kind):
    loss = kind(label_smoothing=0.1, class_weights=[1, 2, 3, 4, 5])
    np.testing.assert_allclose(value(loss, np.eye(5, dtype="float32")[LABELS]), value(loss, LABELS), rtol=1e-6)


def test_loss_of_shares_equals_kerass():
    keras_loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    np.testing.assert_allclose(value(SmoothedCrossentropy(0.1), SHARES), value(keras_loss, SHARES), rtol=1e-5)


def test_loss_of_a_mixed_image_is_the_mix_of_its_losses():
    """Cross-entropy is linear in the target: what mixup relies on."""
    loss = SmoothedCrossentropy(reduction=None)
    mixed = 0.3 * np.eye(5, dtype="float32")[LABELS] + 0.7 * np.eye(5, dtype="float32")[(LABELS + 1) % 5]
    expected = 0.3 * value(loss, LABELS) + 0.7 * value(loss, (LABELS + 1) % 5)
    np.testing.assert_allclose(value(loss, mixed), expected, rtol=1e-5)


@pytest.mark.parametrize(("labels", "smoothing"), [(LABELS, 0.0), (LABELS, 0.1), (SHARES, 0.0)])
def test_focal_loss_equals_kerass_with_alpha_of_one(labels, smoothing):
    keras_loss = keras.losses.CategoricalFocalCrossentropy(1.0, 1.5, from_logits=True, label_smoothing=smoothing)
    one_hot = labels if labels.ndim == 2 else np.eye(5, dtype="float32")[labels]
    # Keras takes logarithms of probabilities, and clips them at 1e-7.
    np.testing.assert_allclose(value(FocalCrossentropy(1.5, smoothing), labels), value(keras_loss, one_hot), rtol=1e-4)


def test_focal_loss_by_hand():
    """Two equal logits: p = 1/2, so (1/2)^2 log 2."""
    loss = FocalCrossentropy(2.0)(np.array([1]), np.zeros((1, 2), "float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(loss), np.log(2) / 4, rtol=1e-6)


def test_focal_loss_with_gamma_of_0_is_crossentropy():
    np.testing.assert_allclose(value(FocalCrossentropy(0.0, 0.1), LABELS), value(SmoothedCrossentropy(0.1), LABELS))


def test_certain_logits_have_a_finite_focal_loss():
    assert value(FocalCrossentropy(0.5), np.array([0, 1]), np.array([[500.0, 0], [500.0, 0]], "float32")) == 250.0


def test_weights_multiply_the_loss_of_their_class_as_kerass_class_weight_does():
    weights = [0.5, 1.0, 2.0, 0.0, 3.0]
    plain = value(SmoothedCrossentropy(0.1, reduction=None), LABELS)
    found = value(SmoothedCrossentropy(0.1, weights), LABELS)
    np.testing.assert_allclose(found, np.mean(plain * np.array(weights)[LABELS]), rtol=1e-5)  # over images, not weights


def test_weight_of_a_mixed_image_is_the_mix_of_its_weights():
    loss = SmoothedCrossentropy(class_weights=[1, 3, 1, 1, 1])
    half = np.array([[0.5, 0.5, 0, 0, 0]], "float32")
    np.testing.assert_allclose(value(loss, half, np.zeros((1, 5), "float32")), 2 * np.log(5), rtol=1e-6)


def test_focal_loss_keeps_its_config():
    loss = FocalCrossentropy(1.5, 0.1, [1, 2])
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert (again.gamma, again.label_smoothing, again.class_weights) == (1.5, 0.1, [1.0, 2.0])


def test_loss_without_weights_has_the_config_it_had():
    assert "class_weights" not in SmoothedCrossentropy(0.2).get_config()


@pytest.mark.parametrize("metric", [ClassAccuracy(), TopKAccuracy(2)])
def test_accuracy_of_shares_is_that_of_their_largest(metric):
    one = ops.convert_to_numpy(metric(SHARES, LOGITS))
    metric.reset_state()
    other = ops.convert_to_numpy(metric(SHARES.argmax(-1), LOGITS))
    assert one == other and 0 < one < 1
