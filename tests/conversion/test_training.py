"""`plainify` by training: where the networks start, and that they end plain."""

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras import assert_plain, plainify
from dirac_keras.conversion import Teaching
from dirac_keras.conversion.teaching import _loss
from dirac_keras.conversion.twins import fading, twin
from dirac_keras.errors import UserError
from dirac_keras.layers import DiracConv2D, VariableSkip
from tests.conversion import blocks
from tests.folding.helpers import relative_difference


@pytest.fixture(scope="module")
def model():
    return blocks.network(lambda x: blocks.basic(blocks.preactivated(blocks.basic(x), 4), 6, 2))


def test_fading_skips_start_as_the_original(model):
    student, skips, reasons = fading(model)
    assert not reasons
    assert [skip.how for skip in skips] == ["phased out"] * 3
    assert sum(isinstance(layer, VariableSkip) for layer in student.layers) == 3
    assert relative_difference(model, student) == 0.0
    assert not {id(weight) for weight in student.weights} & {id(weight) for weight in model.weights}


def test_the_twin_has_dirac_kernels_and_no_skips(model):
    student, skips, _ = twin(model)
    assert_plain(student)
    assert [skip.how for skip in skips] == ["left out"] * 3
    changed = [layer for layer in student.layers if isinstance(layer, DiracConv2D)]
    assert len(changed) == 5, "the strided one and the stem are left"
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(changed[0].identity_scale), 1.0)


def test_the_loss_is_labels_and_the_distance_to_the_teacher():
    """By hand: logits (0, 0) cost log 2; a teacher of (log 3, 0) at temperature 1 has probabilities 3/4, 1/4."""
    told = np.array([[0.0, np.log(3.0), 0.0]], "float32")
    outputs = np.zeros((1, 2), "float32")
    distance = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)
    cost = float(_loss(True, 0.25, 1.0)(keras.ops.convert_to_tensor(told), keras.ops.convert_to_tensor(outputs))[0])
    assert cost == pytest.approx(0.75 * np.log(2.0) + 0.25 * distance, rel=1e-5)
    labels_alone = _loss(True, 0.25, 1.0)(
        keras.ops.convert_to_tensor(told[:, :1]), keras.ops.convert_to_tensor(outputs)
    )
    assert float(labels_alone[0]) == pytest.approx(np.log(2.0), rel=1e-5)


@pytest.mark.parametrize(
    ("method", "block", "reason"),
    [
        ("phase_out", lambda x: layers.Concatenate()([x, blocks.conv(x, 4)]), "joins 2 tensors by Concatenate"),
        (
            "retrain",
            lambda x: layers.Add()([blocks.conv(x, 4), blocks.conv(x, 4)]),
            "cannot be told from their lengths",
        ),
    ],
)
def test_joins_that_are_no_skips_are_named(method, block, reason):
    with pytest.raises(UserError, match=f"cannot be made plain by method='{method}'.*{reason}"):
        plainify(blocks.network(block), method=method, train=[(np.zeros((1, 8, 6, 3)), [0])])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "retrain"}, "train must be batches"),
        ({"train": [1]}, "train must be None for method='exact'"),
        ({"method": "retrain", "train": []}, "train must hold batches"),
    ],
)
def test_wrong_training_arguments_are_named(model, arguments, message):
    with pytest.raises(UserError, match=message):
        plainify(model, **arguments)


@pytest.mark.parametrize("arguments", [{"epochs": 0}, {"learning_rate": 0.0}, {"weight": 2.0}, {"end": 1.5}])
def test_teaching_out_of_range_is_named(arguments):
    with pytest.raises(UserError, match=next(iter(arguments))):
        Teaching(**arguments)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["phase_out", "retrain"])
def test_a_trained_network_ends_plain_and_the_teacher_stays(method):
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = (digits.images / 16.0).astype("float32")[..., None], digits.target
    train = [(images[k : k + 64], labels[k : k + 64]) for k in range(0, 1408, 64)]
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = blocks.basic(blocks.basic(x, 8), 16, 2)
    model = keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images[:1408], labels[:1408], batch_size=64, epochs=8, verbose=0)
    before = model.get_weights()
    data = [(images[1408:], labels[1408:])]
    plain, certificate = plainify(model, method=method, train=train, data=data, teaching=Teaching(epochs=16))
    assert_plain(plain)
    assert certificate.accuracy_after > 0.8
    assert certificate.parameters_after < certificate.parameters_before
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
