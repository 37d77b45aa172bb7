"""Dropout before the layer of the classes: masks that a resumed run draws as the uninterrupted one."""

import keras
import numpy as np
import pytest

from dirac_keras.errors import UserError
from dirac_keras.folding import fold
from dirac_keras.models import FAMILIES
from dirac_keras.training.building import build_model
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.dropout import with_dropout
from dirac_keras.training.stepping.position import Position
from tests.run_checks import CONFIG, KillAfter, Killed, assert_same_run, run


class Spec:
    image_shape, num_classes, class_names, name, task = (8, 8, 1), 3, ("a", "b", "c"), "some", "classes"


def small_classifier():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(3, name="head_dense")(inputs), name="small")


def test_the_weights_and_the_outputs_at_inference_are_those_without():
    network, images = small_classifier(), np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    thinned = with_dropout(network, 0.5, seed=3)
    assert thinned.name == "small" and [layer.name for layer in thinned.layers][1:] == ["head_dropout", "head_dense"]
    np.testing.assert_array_equal(thinned(images), network(images))
    np.testing.assert_array_equal(fold(thinned)[0](images), network(images))
    # In training a feature is 0 or twice itself: at a rate of 0.5 what is left counts double.
    features = np.asarray(thinned.get_layer("head_dropout")(images, training=True)) / images
    assert set(np.unique(features.round(5))) == {0.0, 2.0}


@pytest.mark.parametrize("family", [pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES])
def test_every_family_ends_with_the_layer_that_dropout_comes_before(family):
    layout = FAMILIES[family].layout()
    depth = layout.smallest_depth()
    spec = Spec()
    if layout.channels:
        spec.image_shape = (32, 32, 3)
    model = build_model(TrainConfig(family=family, depth=depth, dropout=0.2), spec)
    assert model.get_layer("head_dropout").rate == 0.2


def test_a_network_that_ends_otherwise_is_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.ReLU()(keras.layers.Dense(3, name="head_dense")(inputs)), name="other")
    with pytest.raises(UserError, match=r"'other' does not end. Received dropout=0.5"):
        with_dropout(model, 0.5, seed=0)


def test_a_position_keeps_where_the_masks_are_drawn():
    model, images = with_dropout(small_classifier(), 0.5, seed=7), np.ones((1, 4), "float32")
    layer = model.get_layer("head_dropout")

    def masks(count):
        return [np.asarray(layer(images, training=True)).tolist() for _ in range(count)]

    masks(2)
    position = Position(0, 2).with_generators(model)
    following = masks(4)
    position.restore_generators(other := with_dropout(small_classifier(), 0.5, seed=8))
    layer = other.get_layer("head_dropout")
    assert masks(4) == following and len({str(mask) for mask in following}) > 1


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path):
    options = {"dropout": 0.5, "checkpoint_steps": 3}
    whole = run(tmp_path / "whole", **options)
    with pytest.raises(Killed):
        run(tmp_path / "killed", callbacks=[KillAfter(step=5)], **options)
    assert_same_run(run(tmp_path / "killed", **options), whole)
    without = run(tmp_path / "without", **(options | {"dropout": 0.0}))
    assert without.history[-1]["loss"] != whole.history[-1]["loss"]


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan"), "much"])
def test_a_rate_is_a_share_below_one(rate):
    with pytest.raises(UserError, match="dropout"):
        TrainConfig(**CONFIG, dropout=rate)
