"""Probabilities are the model's own, wherever its softmax stands; where that cannot be known it is asked for."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy.special import expit, softmax

from dirac_keras.deployment.heads import Head, are_probabilities, find_head

IMAGES = np.random.default_rng(1).random((5, 4, 4, 1)).astype("float32")


def classifier(*ends, units=3):
    x = inputs = keras.Input((4, 4, 1))
    x = layers.Dense(units)(layers.Flatten()(x))
    for end in ends:
        x = end(x)
    return keras.Model(inputs, x)


def scores(model):
    """Of the one Dense layer, before any softmax."""
    kernel, bias = map(keras.ops.convert_to_numpy, model.weights)
    return IMAGES.reshape(5, 16) @ kernel + bias


class ByHand(layers.Layer):
    def call(self, x):
        return ops.exp(x) / ops.sum(ops.exp(x), -1, keepdims=True)


ENDS = {
    "none": lambda: (),
    "operation": lambda: (ops.softmax,),
    "cast_behind": lambda: (layers.Softmax(), layers.Activation("linear", dtype="float32")),
    "log_softmax": lambda: (ops.log_softmax,),
    "by_hand": lambda: (lambda x: ops.exp(x) / ops.sum(ops.exp(x), -1, keepdims=True),),  # known by its numbers alone
    "another_s_layer": lambda: (ByHand(),),
}


@pytest.mark.parametrize("case", ENDS)
def test_softmax_is_taken_once(case):
    model = classifier(*ENDS[case]())
    found = find_head(model).probabilities(model(IMAGES))
    np.testing.assert_allclose(found, softmax(scores(model).astype("float64"), axis=-1), rtol=1e-4)


@pytest.mark.parametrize(
    "end",
    [
        (),
        (ops.sigmoid,),
        (
            ops.sigmoid,
            layers.Identity(),
        ),
    ],
    ids=["logit", "p", "p_behind"],
)
def test_one_unit_is_the_second_of_two_classes(end):
    model = classifier(*end, units=1)
    head = find_head(model)
    second = expit(scores(model).astype("float64"))
    assert head.classes == 2
    np.testing.assert_allclose(head.probabilities(model(IMAGES)), np.concatenate([1 - second, second], -1), rtol=1e-4)


ASKED = {
    "sigmoids": (lambda: classifier(ops.sigmoid), r"a sigmoid for each of 3 classes"),
    "unknown_between_0_and_1": (
        lambda: classifier(lambda x: ops.softmax(x) * 0.5),
        r"could be probabilities that do not sum to 1 or logits",
    ),
    "unknown_of_one_unit": (
        lambda: classifier(lambda x: ops.clip(x, 0.0, 1.0), units=1),
        r"could be probabilities or logits",
    ),
    "softmax_of_one_unit": (lambda: classifier(ops.softmax, units=1), r"softmax over one unit, which is 1 whatever"),
}


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")
@pytest.mark.parametrize("case", ASKED)
def test_outputs_that_could_be_either_are_asked_for(case):
    make, message = ASKED[case]
    with pytest.raises(ValueError, match=message):
        find_head(make())


def test_the_user_s_word_counts():
    model = classifier(ops.sigmoid)
    values = np.asarray(model(IMAGES), "float64")
    np.testing.assert_array_equal(find_head(model, "probabilities").probabilities(values), values)
    np.testing.assert_allclose(find_head(model, "logits").probabilities(values), softmax(values, axis=-1))
    with pytest.raises(ValueError, match=r"outputs must be \"logits\" or \"probabilities\"\. Received outputs='p'"):
        find_head(model, "p")


def test_numbers_that_contradict_the_graph_stop():
    probabilities = softmax(np.random.default_rng(0).standard_normal((6, 4)), axis=-1)
    with pytest.raises(ValueError, match=r"look like probabilities already: each row sums to 1"):
        Head("logits", 4).probabilities(probabilities)
    with pytest.raises(ValueError, match=r"end in a softmax and yet do not sum to 1"):
        Head("probabilities", 4).probabilities(2.0 * probabilities)
    assert Head("logits", 4, is_asked=True).probabilities(probabilities).shape == (6, 4)


def test_rounding_of_half_precision_is_no_contradiction():
    rows = softmax(np.random.default_rng(0).standard_normal((50, 1000)), axis=-1).astype("float16")
    assert are_probabilities(rows)
    assert not are_probabilities(rows * 1.05)
