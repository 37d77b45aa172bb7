"""Pruning of plain chains: constant channels go without a trace, the quietest go first, every layer keeps one."""

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras.conversion import Teaching, plainify, prune
from dirac_keras.errors import UserError
from tests.conversion import blocks
from tests.conversion.test_training import Closed
from tests.folding.helpers import chain, relative_difference


def batches(shape, count=2, classes=3):
    random = np.random.default_rng(0)
    return [(random.normal(size=(16, *shape)).astype("float32"), np.arange(16) % classes) for _ in range(count)]


def test_constant_channels_go_without_a_trace():
    """Two of four channels are constant: -2 behind ReLU is 0, and 5 is 5, which the next bias takes."""
    model = chain(
        (6, 6, 2),
        layers.Conv2D(4, 3, activation="relu", name="first"),
        layers.Conv2D(3, 3, name="second"),
        layers.GlobalAveragePooling2D(),
    )
    kernel, bias = model.get_layer("first").get_weights()
    kernel[..., [1, 3]] = 0.0
    bias[[1, 3]] = [-2.0, 5.0]
    model.get_layer("first").set_weights([kernel, bias])
    pruned, report = prune(model, 0.5, batches((6, 6, 2)))
    assert report.removed == {"first": 2}
    assert report.channels == 4
    assert list(report.kept) == ["second"]
    assert pruned.get_layer("first").filters == 2
    assert relative_difference(model, pruned) < 1e-5  # float32
    assert report.parameters_after < report.parameters_before


def test_the_quietest_channel_goes_first_and_one_stays():
    model = chain((5,), layers.Dense(3, activation="relu", name="first"), layers.Dense(3, name="second"))
    kernel, bias = model.get_layer("first").get_weights()
    kernel[:, 1] *= 0.01
    model.get_layer("first").set_weights([kernel, np.zeros_like(bias)])
    pruned, _ = prune(model, 0.34, batches((5,)))
    np.testing.assert_allclose(pruned.get_layer("first").get_weights()[0], kernel[:, [0, 2]], rtol=1e-6)
    pruned, report = prune(model, 0.99, batches((5,)))
    assert pruned.get_layer("first").units == 1
    assert report.removed == {"first": 2}


@pytest.mark.slow
def test_what_plainify_added_is_pruned_and_fine_tuned():
    model = blocks.network(lambda x: blocks.basic(blocks.basic(x)))
    plain, _ = plainify(model, rounds=0, verify=False)
    data = batches((8, 6, 3))
    before = [weight.copy() for weight in plain.get_weights()]
    teaching = Teaching(epochs=2, learning_rate=1e-4)
    pruned, report = prune(plain, 0.25, data, train=data, teacher=model, teaching=teaching)
    assert sum(report.removed.values()) == report.channels // 4
    assert np.isfinite(report.loss)
    assert "channels" in str(report)
    for old, new in zip(before, plain.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert pruned.output_shape == model.output_shape


def test_nothing_is_taken_out_at_share_zero():
    model = blocks.network(lambda x: blocks.conv(x, 4, activation=layers.ReLU))
    plain, _ = plainify(model, rounds=0, verify=False)
    pruned, report = prune(plain, 0.0, batches((8, 6, 3)))
    assert not report.removed
    assert relative_difference(plain, pruned) == 0.0


def test_wrong_arguments_are_named():
    model = chain((5,), layers.Dense(3, name="only"))
    with pytest.raises(UserError, match="share must be a number from 0 to below 1"):
        prune(model, 1, batches((5,)))
    with pytest.raises(UserError, match="'only': gives the outputs"):
        prune(model, 0.5, batches((5,)))
    for arguments in ({"teacher": model}, {"teaching": Teaching()}):
        with pytest.raises(UserError, match=f"{next(iter(arguments))} has an effect only with train"):
            prune(model, 0.5, batches((5,)), **arguments)
    with pytest.raises(UserError, match=r"teaching must be a Teaching or None\. Received {'epochs': 2}"):
        prune(model, 0.5, batches((5,)), train=batches((5,)), teaching={"epochs": 2})
    with pytest.raises(UserError, match=r"must be a keras\.Model"):
        prune(keras.layers.Dense(1), 0.5, [])


def test_channels_of_a_model_in_a_model_are_taken_out():
    inner = chain((6, 6, 2), layers.Conv2D(4, 3, activation="relu", name="first"), layers.Conv2D(3, 3, name="second"))
    model = chain((6, 6, 2), inner, layers.GlobalAveragePooling2D())
    data = batches((6, 6, 2))
    before = [weight.copy() for weight in model.get_weights()]
    pruned, report = prune(model, 0.5, data)
    assert report.removed == {f"{inner.name}/first": 2}
    expected, _ = prune(chain((6, 6, 2), *inner.layers[1:], layers.GlobalAveragePooling2D()), 0.5, data)
    assert relative_difference(expected, pruned) < 1e-6
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


MIXING = {
    "softmax": ({"activation": "softmax"}, ()),
    "log_softmax": ({"activation": "log_softmax"}, ()),
    "unknown": ({"activation": lambda x: x - keras.ops.mean(x, axis=-1, keepdims=True)}, ()),
    "activation_behind": ({}, (layers.Activation("softmax", name="soft"),)),
    "softmax_behind": ({}, (layers.Softmax(name="soft"),)),
}


@pytest.mark.parametrize("kind", MIXING)
def test_channels_in_front_of_a_softmax_stay(kind):
    arguments, behind = MIXING[kind]
    first, second = layers.Dense(4, name="first", **arguments), layers.Dense(4, activation="gelu", name="second")
    _, report = prune(chain((5,), first, *behind, second, layers.Dense(3, name="last")), 0.5, batches((5,)))
    assert ("'soft'" if behind else "has an activation that mixes channels") in report.kept["first"]
    assert report.removed == {"second": 2}


def test_fine_tuning_refuses_a_layer_that_would_be_the_originals():
    parts = (layers.Conv2D(4, 3, name="first"), layers.Conv2D(3, 3, name="second"), layers.GlobalAveragePooling2D())
    model, data = chain((6, 6, 2), *parts, Closed(1)), batches((6, 6, 2))
    assert prune(model, 0.5, data)[1].removed == {"first": 2}
    with pytest.raises(UserError, match=r"'closed': .* does not make it again"):
        prune(model, 0.5, data, train=data)
