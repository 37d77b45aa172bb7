"""`plainify` by training: where the networks start, and that they end plain."""

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras import assert_plain, plainify
from dirac_keras.conversion import Teaching
from dirac_keras.conversion.batches import Batches, accuracy_of
from dirac_keras.conversion.methods import _paced
from dirac_keras.conversion.settings import with_rate
from dirac_keras.conversion.teaching import (
    Lessons,
    _with_features,
    answer_loss,
    feature_loss,
    rate_schedule,
    settle_statistics,
    teach,
)
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


@pytest.mark.slow
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
    cost = float(
        answer_loss(True, 0.25, 1.0)(keras.ops.convert_to_tensor(told), keras.ops.convert_to_tensor(outputs))[0]
    )
    assert cost == pytest.approx(0.75 * np.log(2.0) + 0.25 * distance, rel=1e-5)
    labels_alone = answer_loss(True, 0.25, 1.0)(
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
        (
            "phase_out",
            lambda x: layers.Add()(
                [x, layers.Multiply(name="gate")([x, layers.Conv2D(4, 1, activation="sigmoid")(x)])]
            ),
            "'add.*': a side of it ends at 'gate', which joins tensors",
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
        ({"method": "retrain", "train": iter([1])}, "train is gone through several times"),
        ({"data": iter([1])}, "data is gone through several times"),
        ({"method": "exact", "teaching": Teaching()}, "teaching has an effect only with method='phase_out'"),
        ({"rounds": -1}, "rounds must be a whole number of 0 or more. Received rounds=-1"),
        ({"rounds": "5"}, "rounds must be a whole number of 0 or more. Received rounds='5'"),
        ({"method": "retrain", "train": [1], "teaching": {"epochs": 2}}, "teaching must be a Teaching or None"),
        ({"method": "retrain", "train": [1], "grouped": False}, "grouped has an effect only with method='exact'"),
        ({"method": "retrain", "train": [1], "teaching": Teaching(features="a")}, "features has an effect only"),
    ],
)
def test_wrong_training_arguments_are_named(model, arguments, message):
    with pytest.raises(UserError, match=message):
        plainify(model, **arguments)


IMAGES = np.zeros((4, 8, 6, 3), "float32")
NO_PAIRS = {
    "one_hot": ((IMAGES, np.eye(3)[[0, 1, 2, 0]]), r"of shape \(4,\).* Received labels of shape \(4, 3\).*argmax"),
    "not_as_many": ((IMAGES, [0, 1]), r"of shape \(4,\).* Received labels of shape \(2,\)"),
    "no_such_class": ((IMAGES, [0, 1, 3, 2]), "from 0 to 2 .* Received the label 3"),
    "negative": ((IMAGES, [0, -1, 1, 2]), "from 0 to 2 .* Received the label -1"),
    "between_classes": ((IMAGES, [0.0, 0.5, 1.0, 2.0]), "from 0 to 2 .* Received the label 0.5"),
    "texts": ((IMAGES, np.array(["a", "b", "c", "d"])), "class numbers as labels"),
    "weights": ((IMAGES, [0, 1, 2, 0], [1.0, 1.0, 1.0, 1.0]), r"a pair \(inputs, labels\).* Received a tuple of 3"),
    "inputs_alone": (IMAGES, r"a pair \(inputs, labels\).* Received one of type ndarray"),
}


@pytest.mark.parametrize("kind", NO_PAIRS)
def test_batches_that_are_no_inputs_with_class_numbers_are_named(model, kind):
    batch, message = NO_PAIRS[kind]
    with pytest.raises(UserError, match=f"data must .*{message}"):
        accuracy_of(model, Batches([batch], "data"))
    with pytest.raises(UserError, match=f"train must .*{message}"):
        next(Lessons(Batches([batch], "train"), None, is_logits=True, classes=3).forever())


def test_accuracy_needs_one_output():
    inputs = keras.Input((1,))
    model = keras.Model(inputs, [layers.Dense(3)(inputs), layers.Dense(3)(inputs)])
    with pytest.raises(UserError, match=r"data has an effect only for a model with one output.* with 2"):
        accuracy_of(model, Batches([(np.zeros((2, 1)), [0, 1])], "data"))


@pytest.mark.parametrize(
    "arguments",
    [
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"warmup_fraction": 1.0},
        {"warmup_fraction": "0"},
        {"weight": 2.0},
        {"end": 1.5},
        {"feature_weight": -1.0},
        {"features": "a", "teacher": False},
        {"epochs": "2"},
        {"learning_rate": "0.1"},
        {"learning_rate": True},
        {"temperature": None},
        {"weight": "0.5"},
        {"feature_weight": float("nan")},
        {"features": 5},
        {"features": [5]},
        {"outputs": "logit"},
        {"teacher": "no"},
    ],
)
def test_teaching_out_of_range_is_named(arguments):
    with pytest.raises(UserError, match=next(iter(arguments))):
        Teaching(**arguments)


def test_the_rate_rises_for_its_share_of_the_steps_and_falls_by_a_cosine():
    """By hand, 8 steps of 2 epochs: a quarter up to 0.4, then half of it after half of the other six."""
    schedule = rate_schedule(Teaching(epochs=2, learning_rate=0.4, warmup_fraction=0.25), 4)
    rates = [float(schedule(step)) for step in (0, 1, 2, 5, 8)]
    np.testing.assert_allclose(rates, [0.0, 0.2, 0.4, 0.2, 0.0], atol=1e-6)
    schedule = rate_schedule(with_rate(Teaching(epochs=2)), 4)
    np.testing.assert_allclose([float(schedule(step)) for step in (0, 4, 8)], [0.05, 0.025, 0.0], atol=1e-6)


@pytest.mark.parametrize(
    ("method", "normalized", "rate", "warmup"),
    [("phase_out", True, 0.05, 0.0), ("retrain", True, 0.3, 0.25), ("retrain", False, 0.05, 0.25)],
)
def test_a_network_from_random_kernels_gets_the_rate_of_one(method, normalized, rate, warmup):
    student = keras.Sequential([layers.Input((2,)), *([layers.BatchNormalization()] if normalized else [])])
    paced = _paced(Teaching(), method, student)
    assert (paced.learning_rate, paced.warmup_fraction) == (rate, warmup)
    own = Teaching(learning_rate=0.01, warmup_fraction=0.5)
    assert _paced(own, method, student) == own


def test_the_dirac_kernels_of_a_twin_start_as_those_of_a_short_training():
    student, _, _ = twin(blocks.network(blocks.basic))
    dirac = [layer for layer in student.layers if isinstance(layer, DiracConv2D)]
    assert dirac
    for layer in dirac:
        np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.filter_scale), 0.3, rtol=1e-6)
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        fan_in = np.prod(kernel.shape[:-1])
        scale = np.sqrt(2.0 / fan_in) / 0.8796  # He-normal: a normal cut at two deviations has 0.8796 of them
        assert 0.0 < np.abs(kernel).max() <= 2.0 * scale


def test_the_distance_of_features_is_relative_to_the_teachers():
    """By hand: (3, 4) and (0, 0) differ by 25 / 2 in the mean, the teacher's (3, 4) has that square: 1."""
    wanted = keras.ops.convert_to_tensor(np.array([[3.0, 4.0], [3.0, 4.0]], "float32"))
    given = keras.ops.convert_to_tensor(np.array([[0.0, 0.0], [3.0, 5.0]], "float32"))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(feature_loss(wanted, given)), [1.0, 1.0 / 25.0], rtol=1e-6)


class Teacher:
    """Names the class that each sample's first number says."""

    def predict_on_batch(self, inputs):
        return np.eye(3, dtype="float32")[inputs[:, 0].astype(int)]


def test_lessons_say_how_many_samples_the_teacher_names_rightly():
    batches = Batches([(np.array([[0.0], [1.0]]), [0, 2]), (np.array([[2.0], [2.0]]), [2, 2])], "train")
    lessons = Lessons(batches, Teacher(), is_logits=True, classes=3)
    stream = lessons.forever()
    told = [next(stream)[1] for _ in range(3)]  # the third is the first again, and counts no more
    assert lessons.share == 0.75
    assert told[0].shape == (2, 4)
    np.testing.assert_array_equal(told[0][:, 0], [0.0, 2.0])


def small(momentum=0.99):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    x = layers.BatchNormalization(momentum=momentum, name="norm")(layers.Dense(6, name="wide")(inputs))
    return keras.Model(inputs, layers.Dense(3, name="out")(layers.ReLU(name="relu")(x)))


def test_statistics_are_those_of_the_last_weights():
    """Of momentum 0.99 they would keep half of their start, mean 0 and variance 1, after the 64 batches."""
    model = small()
    images = np.random.default_rng(0).normal(3.0, 2.0, (32, 4)).astype("float32")
    settle_statistics(model, Batches([(images, np.zeros(32))], "train"))
    wide = keras.ops.convert_to_numpy(model.get_layer("wide")(images))
    norm = model.get_layer("norm")
    # 0.9^64 of the start is left, a thousandth.
    np.testing.assert_allclose(keras.ops.convert_to_numpy(norm.moving_mean), wide.mean(axis=0), rtol=0.01, atol=0.01)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(norm.moving_variance), wide.var(axis=0), rtol=0.02)
    assert norm.momentum == 0.99


def test_features_are_drawn_to_the_teachers():
    teacher, student = small(), small()
    teacher.get_layer("wide").kernel.assign(0.1 * np.ones((4, 6)))
    images = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    batches = Batches([(images, np.arange(32) % 3)], "train")

    def distance():
        mine, theirs = (keras.ops.convert_to_numpy(of.get_layer("wide")(images)) for of in (student, teacher))
        return np.mean((mine - theirs) ** 2)

    before = distance()
    teach(student, teacher, batches, Teaching(epochs=8, learning_rate=0.001, features="wide"))
    assert distance() < 0.5 * before
    with pytest.raises(UserError, match=r"features must be layers of the model\. Received 'nowhere'"):
        teach(student, teacher, batches, Teaching(features=("nowhere",)))


def test_features_of_a_teacher_that_is_a_loaded_sequential():
    chain = keras.Sequential([keras.Input((4, 4, 2)), layers.Conv2D(3, 3, name="conv"), layers.Flatten()])
    loaded = keras.Sequential.from_config(chain.get_config())
    outputs = _with_features(loaded, ["conv"])(np.ones((2, 4, 4, 2), "float32"))
    assert [tuple(output.shape) for output in outputs] == [(2, 12), (2, 2, 2, 3)]


def test_accuracy_of_one_unit_is_that_of_two_classes():
    inputs = keras.Input((1,))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid", kernel_initializer="ones")(inputs))
    data = Batches([(np.array([[-2.0], [3.0], [4.0]], "float32"), [0, 1, 0])], "data")
    assert accuracy_of(model, data) == (pytest.approx(2 / 3), 3)


class Closed(layers.Layer):
    """Cannot be made again: its constructor wants what its configuration does not say."""

    def __init__(self, unsaid, weighted=True):
        super().__init__(name="closed")
        self.weighted = weighted

    def build(self, shape):
        self.scale = self.add_weight(shape=shape[-1:], initializer="ones") if self.weighted else 1.0

    def call(self, x):
        return x * self.scale

    def get_config(self):
        return {}


@pytest.mark.parametrize("method", ["phase_out", "retrain"])
def test_a_layer_that_would_be_trained_in_the_original_too_is_named(method):
    model = blocks.network(lambda x: Closed(1)(blocks.basic(x)))
    before = model.get_weights()
    train = [(np.zeros((4, 8, 6, 3), "float32"), np.arange(4) % 3)]
    with pytest.raises(UserError, match=r"'closed': from_config\(get_config\(\)\) does not make it again \(TypeError"):
        plainify(model, method=method, train=train, rounds=0, teaching=Teaching(epochs=1))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("of", [fading, twin])
def test_a_layer_without_weights_may_stand_in_both(of):
    student, skips, _ = of(blocks.network(lambda x: Closed(1, weighted=False)(blocks.basic(x))))
    assert len(skips) == 1
    assert student.get_layer("closed") is not None


def classifier(units, activation=None):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(units, activation=activation)(inputs))


@pytest.mark.parametrize("units", [1, 4])
def test_a_teacher_of_other_classes_is_named(units):
    batches = Batches([(np.zeros((4, 4), "float32"), np.arange(4) % 3)], "train")
    with pytest.raises(UserError, match=f"as many classes as the model, 3. Received one that gives {units}"):
        teach(classifier(3), classifier(units), batches, Teaching(epochs=1))


@pytest.mark.slow
def test_a_teacher_of_probabilities_teaches_a_student_of_logits_the_same():
    """The weights of both teachers are the same, so that their softened answers are too, and so is the loss."""
    images = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    batches, teaching = Batches([(images, np.arange(8) % 3)], "train"), Teaching(epochs=1, weight=1.0)
    losses = [teach(classifier(3), classifier(3, end), batches, teaching)[0] for end in (None, "softmax")]
    assert losses == pytest.approx([0.0, 0.0], abs=1e-5)  # the student has the teacher's weights


@pytest.mark.slow
@pytest.mark.parametrize("names", [["wide"], None])
def test_a_frozen_network_is_trained_and_frozen_again(names):
    model = small()
    for layer in [model] if names is None else map(model.get_layer, names):
        layer.trainable = False
    flags, before = [layer.trainable for layer in model.layers], model.get_layer("wide").get_weights()[0]
    images = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    teach(model, None, Batches([(images, np.arange(16) % 3)], "train"), Teaching(epochs=1))
    assert np.abs(model.get_layer("wide").get_weights()[0] - before).max() > 0.0
    assert model.trainable is (names is not None)
    assert [layer.trainable for layer in model.layers] == flags


@pytest.mark.parametrize("of", [fading, twin])
def test_what_is_frozen_is_frozen_in_the_students_too(of):
    model = blocks.network(blocks.basic)
    model.layers[1].trainable = False
    student, _, _ = of(model)
    assert [layer.name for layer in student.layers if not layer.trainable] == [model.layers[1].name]
    model.trainable = False
    assert not of(model)[0].trainable


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
