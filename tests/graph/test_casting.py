import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras import precision
from dirac_keras.graph.casting import has_low_precision, to_float32
from dirac_keras.models import build_diracnet
from tests.layer_checks import randomize_weights

HALF = "mixed_bfloat16"


def test_float32_copy_of_a_mixed_model_equals_the_float32_model():
    with precision.dtype_policy("mixed_bfloat16"):
        mixed = build_diracnet(10, 0.25)
    reference = build_diracnet(10, 0.25)
    randomize_weights(mixed)
    reference.set_weights(mixed.get_weights())
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    converted = to_float32(mixed)
    np.testing.assert_array_equal(ops.convert_to_numpy(converted(images)), ops.convert_to_numpy(reference(images)))
    assert mixed.get_layer("conv1").compute_dtype == "bfloat16"


def test_functions_that_no_configuration_holds_stay():
    """A lambda as an activation, and one as a layer: neither is loaded from code."""
    own = [
        keras.layers.Dense(
            4, activation=lambda x: x * keras.ops.sigmoid(3 * x), kernel_regularizer=lambda w: 0.0, dtype=HALF
        ),
        keras.layers.Lambda(lambda x, by: x + by, arguments={"by": 1 / 3}, output_shape=(4,), dtype=HALF),
    ]
    model = keras.Sequential([keras.Input((3,)), *own])
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    converted = to_float32(model)
    assert {layer.compute_dtype for layer in converted.layers} == {"float32"}
    kernel, bias = (keras.ops.convert_to_numpy(weight) for weight in model.weights)
    inner = x @ kernel + bias
    expected = inner / (1 + np.exp(-3 * inner)) + 1 / 3
    np.testing.assert_allclose(converted.predict(x, verbose=0), expected, atol=1e-6)


def test_float32_model_is_not_copied():
    model = build_diracnet(10, 0.25)
    assert to_float32(model) is model


def test_state_that_is_in_no_weight_and_layers_in_layers_are_converted():
    inputs = keras.Input((4, 3), dtype="float32")
    normalization = keras.layers.Normalization(dtype="mixed_bfloat16")
    normalization.adapt(np.random.default_rng(0).normal(5.0, 3.0, (64, 4, 3)))
    x = normalization(inputs)
    x = keras.layers.TimeDistributed(keras.layers.Dense(3, dtype="mixed_bfloat16"), dtype="mixed_bfloat16")(x)
    x = keras.layers.Bidirectional(keras.layers.LSTM(2, dtype="mixed_bfloat16"), dtype="mixed_bfloat16")(x)
    mixed = keras.Model(inputs, x)
    converted = to_float32(mixed)
    assert all(layer.compute_dtype == "float32" for layer in converted.layers)
    assert converted.layers[2].layer.compute_dtype == "float32"
    images = np.random.default_rng(1).normal(5.0, 3.0, (2, 4, 3)).astype("float32")
    exact, rounded = (keras.ops.convert_to_numpy(model(images)).astype("float32") for model in (converted, mixed))
    np.testing.assert_allclose(exact, rounded, atol=0.02)  # bfloat16 rounds by 2^-8
    assert not np.array_equal(exact, rounded)


def test_a_table_from_data_is_kept():
    inputs = keras.Input((2,), dtype="float32")
    bins = keras.layers.Discretization(num_bins=3)
    bins.adapt(np.random.default_rng(0).normal(size=(64, 2)))
    mixed = keras.Model(inputs, keras.layers.Embedding(3, 2, dtype="mixed_bfloat16")(bins(inputs)))
    values = np.array([[-3.0, 3.0]], "float32")
    outputs = [keras.ops.convert_to_numpy(model(values)).astype("float32") for model in (to_float32(mixed), mixed)]
    np.testing.assert_allclose(*outputs, atol=2**-8)


@pytest.mark.parametrize("sequential", [True, False])
def test_a_nested_model_rounds_its_inputs_no_more(sequential):
    with precision.dtype_policy("mixed_bfloat16"):
        inputs, x = keras.Input((3,)), keras.Input((2,), dtype="bfloat16")
        layer = keras.layers.Dense(2)
        inner = keras.Sequential([x, layer]) if sequential else keras.Model(x, layer(x))
        mixed = keras.Model(inputs, inner(keras.layers.Dense(2)(inputs)))
    randomize_weights(mixed)
    values = np.random.default_rng(0).normal(size=(5, 3))
    first, first_bias, second, second_bias = (ops.convert_to_numpy(weight) for weight in mixed.weights)
    expected = (values @ first + first_bias) @ second + second_bias
    outputs = ops.convert_to_numpy(to_float32(mixed)(values.astype("float32")))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)  # float32; bfloat16 would be off by 2^-8


def _outputs(model, images):
    return ops.convert_to_numpy(ops.cast(model(images), "float32"))


def _quantized(mode, policy):
    """A model of random weights that Keras quantized, images, and its outputs before that in float32."""
    with precision.dtype_policy(policy):
        inputs = keras.Input((6, 8), dtype="float32")
        x = keras.layers.TimeDistributed(keras.layers.Dense(16, activation="relu"))(inputs)
        model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(x)))
    randomize_weights(model)
    images = np.random.default_rng(0).normal(size=(5, 6, 8)).astype("float32")
    outputs = _outputs(to_float32(model), images)
    model.layers[1].layer.quantize(mode)
    model.layers[-1].quantize(mode)
    return model, images, outputs


@pytest.mark.parametrize("policy", ["float32", HALF])
def test_layers_of_float8_become_ordinary_ones_with_their_kernels(policy):
    """Keras' float8 rounds to 3 binary digits on the way; the kernels are kept as they were."""
    model, images, expected = _quantized("float8", policy)
    assert has_low_precision(model)
    rounded = _outputs(model, images)
    assert np.abs(rounded - expected).max() > 1e-3 * np.abs(expected).max()
    converted = to_float32(model)
    np.testing.assert_array_equal(_outputs(converted, images), expected)
    assert len(converted.weights) == 4
    assert not has_low_precision(converted)
    assert to_float32(converted) is converted


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_layers_of_integers_keep_them_and_compute_the_rest_in_float32(mode):
    model, images, _ = _quantized(mode, HALF)
    converted = to_float32(model)
    assert {layer.compute_dtype for layer in converted.layers} == {"float32"}
    kernels = [keras.ops.convert_to_numpy(of.layers[-1].kernel) for of in (converted, model)]
    np.testing.assert_array_equal(*kernels)
    outputs = _outputs(model, images)
    # bfloat16 keeps 8 binary digits, through two layers.
    np.testing.assert_allclose(_outputs(converted, images), outputs, atol=0.02 * np.abs(outputs).max())
