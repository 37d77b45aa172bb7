"""What layers make of inputs that are not in their own precision: integers, flags, other floats."""

import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.layers import BatchNormalization, DiracConv1D, DiracConv2D, DiracConv3D, DiracDense, VariableSkip
from tests.layer_checks import compiled, randomize_weights

IMAGES = (2, 5, 6, 3)
LAYERS = {
    "dense": (lambda **options: DiracDense(4, **options), (2, 3)),
    "conv1d": (lambda **options: DiracConv1D(4, 3, padding="causal", **options), (2, 5, 3)),
    "conv2d": (lambda **options: DiracConv2D(4, 3, **options), IMAGES),
    "conv3d": (lambda **options: DiracConv3D(4, 1, **options), (2, 3, 3, 3, 3)),
    "normalization": (BatchNormalization, IMAGES),
    "normalization of another axis": (lambda **options: BatchNormalization(axis=1, **options), IMAGES),
    "skip": (VariableSkip, IMAGES),
}


def randomized(make, shape, **options):
    layer = make(**options)
    layer.build(shape)
    randomize_weights(layer)
    return layer


def numbers(shape, dtype):
    """0 and 1 for flags, else up to 255, of which int8 takes the first half."""
    high = {"bool": 2, "int8": 128}.get(dtype, 256)
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "bool"])
@pytest.mark.parametrize("name", LAYERS)
def test_integers_are_computed_with_as_the_same_numbers_in_float(name, dtype):
    make, shape = LAYERS[name]
    layer = randomized(make, shape)
    inputs = numbers(shape, dtype)
    outputs = layer(ops.convert_to_tensor(inputs))
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    expected = ops.convert_to_numpy(layer(ops.convert_to_tensor(inputs.astype("float32"))))
    # Not bit for bit: batch normalization of floats takes TensorFlow's fused kernel, which rounds otherwise.
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_have_the_precision_that_the_graph_says(name, dtype, policy):
    make, shape = LAYERS[name]
    layer = randomized(make, shape, dtype=policy)
    said = layer.compute_output_spec(keras.KerasTensor(shape, dtype)).dtype
    outputs = layer(ops.convert_to_tensor(numbers(shape, "uint8"), dtype=dtype))
    assert said == keras.backend.standardize_dtype(outputs.dtype) == keras.DTypePolicy(policy).compute_dtype


def test_floats_of_another_precision_are_cast_where_keras_does_not_do_it():
    layer = randomized(DiracDense, (2, 3), units=4, autocast=False)
    inputs = np.random.default_rng(0).normal(size=(2, 3)).astype("float16")
    outputs = layer(ops.convert_to_tensor(inputs))
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    expected = inputs.astype("float64") @ ops.convert_to_numpy(layer.effective_kernel()).astype("float64")
    expected += ops.convert_to_numpy(layer.bias)
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), expected, rtol=1e-5)  # sums of three products in float32


@pytest.mark.parametrize(("layer", "sizes"), [(DiracConv1D, (4,)), (DiracConv2D, (3, 4)), (DiracConv3D, (3, 3, 4))])
def test_bias_of_channels_first_lies_on_the_channels_also_where_the_width_is_the_number_of_filters(layer, sizes):
    tested = layer(4, 1, data_format="channels_first", filter_scale_initializer="zeros")  # the identity
    tested.build((1, 4, *sizes))
    tested.bias.assign(np.arange(1.0, 5.0))
    outputs = compiled(tested, np.zeros((1, 4, *sizes), "float32"))
    for channel in range(4):
        np.testing.assert_array_equal(outputs[0, channel], np.full(sizes, channel + 1.0))
