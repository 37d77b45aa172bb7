"""The decay of the identity of Dirac filters: by hand, beside others, and what does not fit."""

import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.layers import DiracDense
from dirac_keras.phase_out import IdentityBound, IdentityDecay
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.fitting import family_callbacks


def one_layer(**options):
    """A model of one DiracDense of two units whose cost is 0 whatever it does, at a learning rate of 1/4."""
    model = keras.Sequential([keras.Input((2,)), DiracDense(2, name="dirac", use_bias=False, **options)])
    layer = model.get_layer("dirac")
    layer.identity_scale.assign([1.0, -2.0])
    model.compile(keras.optimizers.SGD(0.25), loss=lambda y, p: 0.0 * ops.mean(p, axis=-1))
    return model, layer


def train(model, *callbacks):
    """Two steps. Returns: Keras' history."""
    x = np.ones((2, 2), "float32")
    return model.fit(x, x, batch_size=1, verbose=0, callbacks=list(callbacks)).history


def test_scale_decays_by_the_same_factor_in_each_step():
    model, layer = one_layer()
    kernel, filter_scale = (ops.convert_to_numpy(w).copy() for w in (layer.kernel, layer.filter_scale))
    history = train(model, IdentityDecay(0.5))
    # (1 - 1/8)^2 = 49/64, exact in binary
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.identity_scale), [49 / 64, -2 * 49 / 64])
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.kernel), kernel)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.filter_scale), filter_scale)
    assert history["loss"] == [0.0], "no part of the reported loss"
    assert history["identity_ratio"] == pytest.approx([1.5 * 49 / 64 / 0.1])
    assert layer.identity_scale.regularizer is None


def test_layers_own_regularizer_counts_too_and_is_given_back():
    own = keras.regularizers.L2(0.25)  # gradient a / 2
    model, layer = one_layer(identity_scale_regularizer=own)
    train(model, IdentityDecay(0.5))
    # (1 - 1/4)^2 = 9/16
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.identity_scale), [9 / 16, -18 / 16])
    assert layer.identity_scale.regularizer is own


def test_decay_goes_beside_a_bound():
    model, layer = one_layer(filter_scale_initializer="ones")
    train(model, IdentityDecay(0.5), IdentityBound(1))
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.identity_scale), [49 / 64, -7 / 8])  # 7/4 is clipped


@pytest.mark.parametrize("weight", [-1, float("nan"), "much", True])
def test_weight_that_is_no_number_is_refused(weight):
    with pytest.raises(ValueError, match="weight must be a number of 0 or more"):
        IdentityDecay(weight)


def test_model_without_identities_is_refused():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="must have a trainable Dirac layer"):
        train(model, IdentityDecay(1))


def test_config_has_it_beside_the_others():
    assert family_callbacks(TrainConfig(depth=10)) == []
    (decay,) = family_callbacks(TrainConfig(depth=10, identity_decay=0.01))
    assert isinstance(decay, IdentityDecay) and decay.weight == 0.01
    both = family_callbacks(TrainConfig(depth=10, identity_decay=0.01, identity_bound=0.5))
    assert [type(callback) for callback in both] == [IdentityDecay, IdentityBound]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"identity_decay": -0.1}, "identity_decay must be 0 or more"),
        ({"identity_decay": 0.1, "parameterization": "plain"}, "identity_decay needs kernels with a scale a"),
        ({"identity_decay": 0.1, "family": "wide_resnet"}, "identity_decay is a field of family=diracnet"),
    ],
)
def test_bad_field_gets_a_message_that_names_it(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(depth=10, **fields)
