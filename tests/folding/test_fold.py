"""`fold`: what merges, what stays and why, and that the folded model computes the same."""

import inspect
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from dirac_keras.folding import fold, rules
from dirac_keras.layers import BatchNormalization, DiracConv1D, DiracConv2D, DiracConv3D, DiracDense
from dirac_keras.models import build_diracnet
from tests.folding.helpers import (
    TOLERANCE,
    assert_all_folds,
    assert_stays,
    chain,
    normalizations,
    randomize,
    relative_difference,
)

# Into the layer before ------------------------------------------------------------------------------------
PRODUCERS = {
    "conv1d": (lambda: layers.Conv1D(5, 3, padding="same"), (8, 3)),
    "conv1d_causal": (lambda: layers.Conv1D(5, 3, padding="causal", use_bias=False), (8, 3)),
    "conv2d": (lambda: layers.Conv2D(5, 3, padding="same"), (8, 8, 3)),
    "conv2d_without_bias": (lambda: layers.Conv2D(5, 3, use_bias=False), (8, 8, 3)),
    "conv2d_strided": (lambda: layers.Conv2D(5, 3, strides=2, padding="same"), (9, 8, 3)),
    "conv2d_dilated": (lambda: layers.Conv2D(5, 3, dilation_rate=2), (8, 8, 3)),
    "conv2d_grouped": (lambda: layers.Conv2D(6, 3, groups=2), (8, 8, 4)),
    "conv3d": (lambda: layers.Conv3D(5, 3, padding="same"), (4, 5, 6, 3)),
    "depthwise1d": (lambda: layers.DepthwiseConv1D(3, depth_multiplier=2), (8, 3)),
    "depthwise2d": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), (8, 8, 3)),
    "separable1d": (lambda: layers.SeparableConv1D(5, 3, depth_multiplier=2), (8, 3)),
    "separable2d": (lambda: layers.SeparableConv2D(5, 3, padding="same", use_bias=False), (8, 8, 3)),
    "transpose1d": (lambda: layers.Conv1DTranspose(5, 3, strides=2), (8, 3)),
    "transpose2d": (lambda: layers.Conv2DTranspose(5, 3, strides=2, padding="same"), (8, 8, 3)),
    "transpose3d": (lambda: layers.Conv3DTranspose(5, 3), (4, 4, 4, 3)),
    "dense": (lambda: layers.Dense(5), (7,)),
    "dense_of_rank_4": (lambda: layers.Dense(5, use_bias=False), (4, 4, 7)),
    "dirac1d_causal": (lambda: DiracConv1D(5, 3, padding="causal"), (8, 3)),
    "dirac2d": (lambda: DiracConv2D(5, 3, padding="same", use_bias=False), (8, 8, 5)),
    "dirac2d_equation_4": (lambda: DiracConv2D(5, 3, use_weight_norm=False), (8, 8, 3)),
    "dirac2d_equation_8": (
        lambda: DiracConv2D(5, 3, use_weight_norm=False, use_identity_scale=False),
        (8, 8, 3),
    ),
    "dirac3d": (lambda: DiracConv3D(5, 3, padding="same"), (4, 4, 4, 5)),
    "dirac_dense": (lambda: DiracDense(5), (7,)),
    "time_distributed_conv2d": (lambda: layers.TimeDistributed(layers.Conv2D(5, 3)), (3, 8, 8, 3)),
    "time_distributed_dirac": (lambda: layers.TimeDistributed(DiracDense(5)), (3, 7)),
}


@pytest.mark.parametrize("producer", PRODUCERS)
def test_normalization_folds_into_the_layer_before_it(producer):
    make, shape = PRODUCERS[producer]
    assert_all_folds(chain(shape, make(), layers.BatchNormalization(), layers.ReLU()))


@pytest.mark.parametrize("normalization", [layers.BatchNormalization, BatchNormalization])
@pytest.mark.parametrize(
    "arguments", [{"scale": False}, {"center": False}, {"scale": False, "center": False}, {"epsilon": 0.5}]
)
def test_normalization_folds_whatever_its_arguments(normalization, arguments):
    assert_all_folds(chain((6, 6, 3), layers.Conv2D(5, 3), normalization(**arguments)))


@pytest.mark.skipif(
    "renorm" not in inspect.signature(layers.BatchNormalization).parameters, reason="Keras 3.12 has no renorm"
)
def test_renorm_folds_by_its_moving_variance():
    assert_all_folds(chain((6, 6, 3), layers.Conv2D(5, 3), layers.BatchNormalization(renorm=True)))


def test_frozen_normalization_folds():
    assert_all_folds(chain((6, 6, 3), layers.Conv2D(5, 3), layers.BatchNormalization(trainable=False)))


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow has no NCHW pooling on a CPU")
def test_channels_first_folds():
    first = {"data_format": "channels_first"}
    parts = [
        layers.Conv2D(5, 3, **first),
        layers.AveragePooling2D(2, **first),
        layers.BatchNormalization(axis=1),
    ]
    assert_all_folds(chain((3, 8, 8), *parts))


def test_channels_first_convolution_folds():
    convolution = layers.Conv2D(5, 3, data_format="channels_first")
    model = chain((3, 6, 6), convolution, layers.BatchNormalization(axis=1), layers.ReLU())
    folded, _ = fold(model, verify=False)  # TensorFlow may not run it on a CPU
    assert normalizations(folded) == []
    layer = model.layers[2]
    scale = layer.gamma / keras.ops.sqrt(layer.moving_variance + layer.epsilon)
    np.testing.assert_allclose(folded.layers[1].kernel, convolution.kernel * scale, rtol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="others add a bias where its shape says")
def test_normalization_stays_where_rows_of_any_length_may_be_as_long_as_there_are_channels():
    """Keras adds the bias of five channels along rows of five pixels."""
    parts = [layers.Conv2D(5, 3, padding="same", data_format="channels_first"), layers.BatchNormalization(axis=1)]
    folded, report = fold(chain((3, None, None), *parts), verify=False)
    assert len(normalizations(folded)) == 1
    assert "where both are as long, or one of them is open" in str(report)
    folded, _ = fold(chain((3, 6, 6), *parts), verify=False)
    assert normalizations(folded) == []


def test_normalization_of_another_axis_than_the_channels_stays():
    assert_stays(chain((6, 6, 3), layers.Conv2D(5, 3), layers.BatchNormalization(axis=1)), "another axis")


def test_normalization_behind_an_activation_inside_the_convolution_stays():
    model = chain((6, 6, 3), layers.Conv2D(5, 3, activation="relu"), layers.BatchNormalization())
    assert_stays(model, "has the activation 'relu'")


def test_linear_activation_inside_the_convolution_folds():
    assert_all_folds(chain((6, 6, 3), layers.Conv2D(5, 3, activation="linear"), layers.BatchNormalization()))


PASSED_UPWARD = {
    "dropout": lambda: layers.Dropout(0.5),
    "spatial_dropout": lambda: layers.SpatialDropout2D(0.5),
    "gaussian_noise": lambda: layers.GaussianNoise(1.0),
    "linear": lambda: layers.Activation("linear"),
    "identity": lambda: layers.Identity(),
    "activity_regularization": lambda: layers.ActivityRegularization(0.1),
    "average_pooling": lambda: layers.AveragePooling2D(3, strides=2, padding="same"),
    "global_average_pooling": lambda: layers.GlobalAveragePooling2D(),
    "global_average_pooling_kept": lambda: layers.GlobalAveragePooling2D(keepdims=True),
    "upsampling": lambda: layers.UpSampling2D(2, interpolation="bilinear"),
    "cropping": lambda: layers.Cropping2D(1),
    "reshape": lambda: layers.Reshape((9, 4, 5)),
}


@pytest.mark.parametrize("between", PASSED_UPWARD)
def test_normalization_folds_through_what_keeps_scale_and_shift(between):
    parts = [layers.Conv2D(5, 3), PASSED_UPWARD[between](), layers.BatchNormalization()]
    assert_all_folds(chain((8, 8, 3), *parts))


def test_normalization_behind_max_pooling_folds_if_no_scale_is_negative():
    model = chain((8, 8, 3), layers.Conv2D(5, 3), layers.MaxPooling2D(2), layers.BatchNormalization())
    model.layers[-1].gamma.assign([0.0, 1.0, -1.0, 2.0, 0.5])
    assert_stays(model, "negative scale")
    model.layers[-1].gamma.assign([0.0, 1.0, 1.0, 2.0, 0.5])
    assert_all_folds(model)


def test_normalization_behind_zero_padding_folds_if_its_shift_is_zero():
    model = chain((8, 8, 3), layers.Conv2D(5, 3), layers.ZeroPadding2D(), layers.BatchNormalization(center=False))
    assert_stays(model, "pads with zeros")
    model.layers[-1].moving_mean.assign(np.zeros(5))
    assert_all_folds(model)


@pytest.mark.parametrize("between", [lambda: layers.ReLU(), lambda: layers.Flatten()])
def test_normalization_behind_what_mixes_or_bends_channels_stays(between):
    assert_stays(chain((6, 6, 3), layers.Conv2D(5, 3), between(), layers.BatchNormalization()), "before it: ")


@pytest.mark.slow
def test_second_normalization_folds_too():
    model = chain((6, 6, 3), layers.Conv2D(5, 3), layers.BatchNormalization(), layers.BatchNormalization())
    assert_all_folds(model)


def test_normalization_merges_into_the_one_before_it():
    model = chain((6, 6, 3), layers.BatchNormalization(scale=False, center=False), layers.BatchNormalization())
    assert_stays(model, "straight from an input")


def test_normalization_of_a_sum_folds_into_both_summands():
    x = keras.Input((6, 6, 3))
    total = layers.Add()([layers.Conv2D(5, 3)(x), layers.Conv2D(5, 3, dilation_rate=1)(x)])
    assert_all_folds(randomize(keras.Model(x, layers.BatchNormalization()(total))))


def test_normalization_of_a_raw_sum_folds_into_both_summands():
    x = keras.Input((6, 6, 3))
    total = layers.Conv2D(5, 3)(x) + layers.Conv2D(5, 3)(x)
    assert_all_folds(randomize(keras.Model(x, layers.BatchNormalization()(total))))


def test_normalization_of_a_broadcast_sum_folds_into_both_summands():
    x = keras.Input((6, 6, 3))
    total = layers.Add()([layers.Conv2D(5, 3)(x), layers.Conv2D(5, 6)(x)])
    assert_all_folds(randomize(keras.Model(x, layers.BatchNormalization()(total))))


def test_normalization_of_a_concatenation_is_split():
    x = keras.Input((6, 6, 3))
    joined = layers.Concatenate()([layers.Conv2D(5, 3)(x), layers.Conv2D(2, 3)(x)])
    assert_all_folds(randomize(keras.Model(x, layers.BatchNormalization()(joined))))


def test_normalization_of_a_concatenation_along_another_axis_folds_into_all():
    x = keras.Input((6, 6, 3))
    joined = layers.Concatenate(axis=1)([layers.Conv2D(5, 3)(x), layers.Conv2D(5, 3)(x)])
    assert_all_folds(randomize(keras.Model(x, layers.BatchNormalization()(joined))))


# Into the layer behind ------------------------------------------------------------------------------------
CONSUMERS = {
    "conv1d": (lambda: layers.Conv1D(5, 3), (8, 3)),
    "conv2d": (lambda: layers.Conv2D(5, 3, use_bias=False), (8, 8, 3)),
    "conv2d_1x1_same_strided": (lambda: layers.Conv2D(5, 1, strides=2, padding="same"), (9, 8, 3)),
    "conv2d_grouped": (lambda: layers.Conv2D(6, 3, groups=2), (8, 8, 4)),
    "conv2d_with_relu": (lambda: layers.Conv2D(5, 3, activation="relu"), (8, 8, 3)),
    "conv3d": (lambda: layers.Conv3D(5, 3), (4, 5, 6, 3)),
    "depthwise1d": (lambda: layers.DepthwiseConv1D(3, depth_multiplier=2), (8, 3)),
    "depthwise2d": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (8, 8, 3)),
    "separable1d": (lambda: layers.SeparableConv1D(5, 3, depth_multiplier=2), (8, 3)),
    "separable2d": (lambda: layers.SeparableConv2D(5, 3, depth_multiplier=2), (8, 8, 3)),
    "dense": (lambda: layers.Dense(5), (7,)),
    "dense_of_rank_4": (lambda: layers.Dense(5), (4, 4, 7)),
    "dirac1d": (lambda: DiracConv1D(5, 3), (8, 3)),
    "dirac2d": (lambda: DiracConv2D(5, 3), (8, 8, 3)),
    "dirac_dense": (lambda: DiracDense(5), (7,)),
    "time_distributed": (lambda: layers.TimeDistributed(layers.Conv2D(5, 3)), (3, 8, 8, 3)),
}


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_normalization_folds_into_the_layer_behind_it(consumer):
    make, shape = CONSUMERS[consumer]
    assert_all_folds(chain(shape, layers.BatchNormalization(), make()))


@pytest.mark.parametrize(
    "consumer",
    [
        lambda: layers.Conv2D(5, 3, padding="same"),
        lambda: layers.DepthwiseConv2D(3, padding="same"),
        lambda: layers.Conv2DTranspose(5, 3),
        lambda: DiracConv2D(5, 3, padding="same"),
    ],
)
def test_normalization_before_zero_padding_folds_if_its_shift_is_zero(consumer):
    model = chain((6, 6, 3), layers.BatchNormalization(center=False), consumer())
    assert_stays(model, "shift")
    model.layers[1].moving_mean.assign(np.zeros(3))
    assert_all_folds(model)


@pytest.mark.parametrize(
    "between",
    [
        lambda: layers.Flatten(),
        lambda: layers.GlobalAveragePooling2D(),
        lambda: layers.AveragePooling2D(2),
        lambda: layers.Dropout(0.5),
        lambda: layers.Reshape((36, 3)),
    ],
)
def test_normalization_folds_through_into_a_dense_layer_behind(between):
    assert_all_folds(chain((6, 6, 3), layers.BatchNormalization(), between(), layers.Dense(4)))


def test_normalization_folds_into_all_its_consumers():
    x = keras.Input((6, 6, 3))
    y = layers.BatchNormalization()(x)
    model = keras.Model(x, [layers.Conv2D(4, 3)(y), layers.Dense(4)(layers.Dropout(0.5)(y))])
    assert_all_folds(randomize(model))


def test_normalization_stays_if_one_of_its_consumers_cannot_take_it():
    x = keras.Input((6, 6, 3))
    y = layers.BatchNormalization()(x)
    assert_stays(randomize(keras.Model(x, [layers.Conv2D(4, 3)(y), layers.ReLU()(y)])), "(ReLU)")


def test_normalization_folds_through_a_concatenation_behind_it():
    x = keras.Input((6, 6, 3))
    joined = layers.Concatenate()([layers.ReLU()(x), layers.BatchNormalization()(x)])
    assert_all_folds(randomize(keras.Model(x, layers.Conv2D(4, 3)(joined))))


def test_normalization_between_an_input_and_a_relu_stays():
    assert_stays(chain((6, 6, 3), layers.BatchNormalization(), layers.ReLU()), "straight from an input")


# Sharing and branching ------------------------------------------------------------------------------------
def test_convolution_with_a_second_consumer_is_left():
    x = keras.Input((6, 6, 3))
    y = layers.Conv2D(5, 3)(x)
    assert_stays(randomize(keras.Model(x, [layers.BatchNormalization()(y), layers.ReLU()(y)])), "other consumers")


def test_convolution_that_is_an_output_is_left():
    x = keras.Input((6, 6, 3))
    y = layers.Conv2D(5, 3)(x)
    assert_stays(randomize(keras.Model(x, [layers.BatchNormalization()(y), y])), "also an output")


def test_convolution_called_twice_is_left():
    a, b, convolution = keras.Input((6, 6, 3)), keras.Input((6, 6, 3)), layers.Conv2D(5, 3)
    outputs = [layers.BatchNormalization()(convolution(a)), layers.BatchNormalization()(convolution(b))]
    assert_stays(randomize(keras.Model([a, b], outputs)), "shared", remaining=2)


def test_convolution_and_normalization_shared_together_fold():
    a, b, convolution, norm = (
        keras.Input((6, 6, 3)),
        keras.Input((6, 6, 3)),
        layers.Conv2D(5, 3),
        BatchNormalization(),
    )
    folded, _ = assert_all_folds(randomize(keras.Model([a, b], [norm(convolution(a)), norm(convolution(b))])))
    assert len([layer for layer in folded.layers if isinstance(layer, layers.Conv2D)]) == 1


def test_normalization_shared_by_two_convolutions_folds_into_both():
    x, norm = keras.Input((6, 6, 3)), layers.BatchNormalization()
    outputs = [norm(layers.Conv2D(5, 3)(x)), norm(layers.Conv2D(5, 3)(x))]
    assert_all_folds(randomize(keras.Model(x, outputs)))


def test_residual_block_folds():
    x = keras.Input((6, 6, 3))
    y = layers.BatchNormalization()(layers.Conv2D(3, 3, padding="same")(x))
    y = keras.ops.relu(x + y)
    y = layers.Add()([y, layers.BatchNormalization()(layers.Conv2D(3, 1)(y))])
    assert_all_folds(randomize(keras.Model(x, keras.ops.concatenate([y, x], axis=-1))))


def test_normalization_that_uses_the_batch_at_inference_stays():
    x = keras.Input((6, 6, 3))
    y = layers.BatchNormalization()(layers.Conv2D(5, 3)(x), training=True)
    _, report = fold(randomize(keras.Model(x, y)))
    assert "training=True" in report.kept[0].reason
    assert report.max_relative_difference < TOLERANCE


def test_dropout_that_drops_at_inference_is_not_passed():
    x = keras.Input((6, 6, 3))
    y = layers.Dropout(0.5, seed=1)(layers.Conv2D(5, 3)(x), training=True)
    folded, _ = fold(randomize(keras.Model(x, layers.BatchNormalization()(y))))
    assert len(normalizations(folded)) == 1


# Nested models --------------------------------------------------------------------------------------------
def backbone(*parts):
    return keras.Sequential([keras.Input((6, 6, 3)), *parts], name="backbone")


def test_normalization_inside_a_nested_model_folds_and_the_nesting_stays():
    inner = backbone(layers.Conv2D(5, 3, name="inner_conv"), layers.BatchNormalization(), layers.ReLU())
    folded, _ = assert_all_folds(chain((6, 6, 3), inner, layers.Flatten(), layers.Dense(2)))
    assert folded.get_layer("backbone").get_layer("inner_conv").use_bias


def test_normalization_behind_a_nested_model_folds_into_its_last_layer():
    assert_all_folds(chain((6, 6, 3), backbone(layers.ReLU(), layers.Conv2D(5, 3)), layers.BatchNormalization()))


def test_normalization_at_the_end_of_a_nested_model_folds_into_the_layer_behind():
    inner = backbone(layers.ReLU(), layers.BatchNormalization())
    assert_all_folds(chain((6, 6, 3), inner, layers.Conv2D(5, 3)))


def test_nested_model_of_a_normalization_alone_becomes_an_identity():
    assert_all_folds(chain((6, 6, 3), layers.Dense(3), backbone(layers.BatchNormalization()), layers.ReLU()))


def test_nested_functional_model_of_a_normalization_alone_folds():
    x = keras.Input((6, 6, 3))
    inner = keras.Model(x, layers.BatchNormalization()(x))
    assert_all_folds(chain((6, 6, 3), layers.Dense(3), inner, layers.ReLU()))


def test_nested_model_called_twice_folds_inside_and_stays_one():
    a, b = keras.Input((6, 6, 3)), keras.Input((6, 6, 3))
    tower = backbone(layers.Conv2D(5, 3), layers.BatchNormalization(), layers.ReLU())
    folded, _ = assert_all_folds(randomize(keras.Model([a, b], [tower(a), tower(b)])))
    assert len([layer for layer in folded.layers if isinstance(layer, keras.Sequential)]) == 1


def test_nested_model_called_in_training_mode_is_left():
    x = keras.Input((6, 6, 3))
    inner = backbone(layers.Conv2D(5, 3), layers.BatchNormalization())
    _, report = fold(randomize(keras.Model(x, inner(x, training=True))))
    assert "training=True" in report.kept[0].reason


def test_doubly_nested_models_fold():
    inner = keras.Sequential([keras.Input((6, 6, 3)), DiracConv2D(3, 3, padding="same")], name="inner")
    assert_all_folds(chain((6, 6, 3), backbone(inner, BatchNormalization()), layers.ReLU()))


def test_nested_model_with_several_inputs_and_outputs_folds():
    a, b = keras.Input((6, 6, 3), name="a"), keras.Input((6, 6, 3), name="b")
    merged = layers.Add()([layers.Conv2D(4, 3)(a), layers.Conv2D(4, 3)(b)])
    inner = keras.Model({"a": a, "b": b}, {"sum": merged, "b": layers.Conv2D(4, 1)(b)}, name="inner")
    x = keras.Input((6, 6, 3))
    outputs = inner({"a": x, "b": layers.ReLU()(x)})
    normalized = {name: layers.BatchNormalization()(value) for name, value in outputs.items()}
    assert_all_folds(randomize(keras.Model(x, normalized)))


# The folded model -----------------------------------------------------------------------------------------
def small_model():
    return chain(
        (6, 6, 3),
        layers.Conv2D(4, 3, padding="same", name="stem"),
        layers.BatchNormalization(),
        layers.ReLU(name="relu"),
        DiracConv2D(4, 3, padding="same", use_bias=False, kernel_regularizer="l2", name="dirac"),
        BatchNormalization(),
        layers.GlobalAveragePooling2D(name="pool"),
        layers.Dense(3, name="head"),
    )


def test_original_is_not_changed():
    model = small_model()
    model.compile("sgd", "mse")
    weights, config, inputs = model.get_weights(), model.to_json(), np.ones((2, 6, 6, 3), "float32")
    outputs = np.asarray(model(inputs))
    fold(model)
    assert model.to_json() == config
    assert all(np.array_equal(*pair) for pair in zip(weights, model.get_weights(), strict=True))
    np.testing.assert_array_equal(model(inputs), outputs)


def test_folded_model_shares_no_weights_with_the_original():
    model = small_model()
    folded, _ = fold(model)
    assert not {id(variable) for variable in model.weights} & {id(variable) for variable in folded.weights}


def test_names_of_model_and_layers_are_kept():
    model = small_model()
    folded, _ = fold(model)
    names = [layer.name for layer in model.layers if not isinstance(layer, layers.BatchNormalization)]
    assert [layer.name for layer in folded.layers] == names
    assert folded.name == model.name


def test_folded_model_is_not_compiled():
    model = small_model()
    model.compile("sgd", "mse")
    assert not fold(model)[0].compiled


def test_folded_model_trains():
    folded, _ = fold(small_model())
    folded.compile("sgd", "mse")
    before = folded.get_weights()
    folded.fit(np.ones((4, 6, 6, 3)), np.ones((4, 3)), verbose=0)
    assert all(not np.array_equal(*pair) for pair in zip(before, folded.get_weights(), strict=True))


def test_trainable_flags_are_kept():
    model = chain((6, 6, 3), backbone(layers.Conv2D(4, 3, name="frozen"), layers.BatchNormalization()), layers.Dense(2))
    model.get_layer("backbone").trainable = False
    folded, _ = fold(model)
    assert not folded.get_layer("backbone").get_layer("frozen").trainable
    assert len(folded.trainable_weights) == 2


def test_sequential_stays_sequential():
    model = keras.Sequential([keras.Input((6, 6, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()])
    folded, _ = assert_all_folds(randomize(model))
    assert isinstance(folded, keras.Sequential)
    assert len(folded.layers) == 1


def test_sequential_built_without_an_input_layer_folds():
    model = keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization()])
    model.build((None, 6, 6, 3))
    assert_all_folds(randomize(model))


def test_dict_inputs_and_outputs_keep_their_structure():
    inputs = {"left": keras.Input((6, 6, 3), name="left"), "right": keras.Input((6, 6, 3), name="right")}
    outputs = {key: layers.BatchNormalization()(layers.Conv2D(2, 3)(x)) for key, x in inputs.items()}
    folded, _ = assert_all_folds(randomize(keras.Model(inputs, outputs)))
    assert set(folded.output) == set(folded.input) == {"left", "right"}


def test_output_names_are_kept_where_the_normalization_was_the_output():
    model = chain((6, 6, 3), layers.Conv2D(2, 3), layers.BatchNormalization(name="scores"))
    folded, _ = assert_all_folds(model)
    assert folded.output_names == ["scores"]


def test_raw_operations_with_constants_are_kept():
    x = keras.Input((6, 6, 3))
    y = keras.ops.relu(layers.BatchNormalization()(layers.Conv2D(4, 3)(x)))[:, 1:, ::2] * 2.0 + np.ones(4, "float32")
    assert_all_folds(randomize(keras.Model(x, keras.ops.mean(y, axis=(1, 2)))))


def test_remaining_normalization_of_this_package_becomes_the_one_of_keras():
    model = chain((6, 6, 3), BatchNormalization(momentum=0.7), layers.ReLU())
    folded, _ = assert_stays(model, "(ReLU)")
    assert type(folded.layers[1]) is layers.BatchNormalization
    assert folded.layers[1].momentum == 0.7


@keras.saving.register_keras_serializable(package="dirac_keras")
class OurConstraint(keras.constraints.Constraint):
    """Stands for the constraints of this package; the module says so too."""


OurConstraint.__module__ = "dirac_keras.constraints"


def test_constraints_of_this_package_are_dropped_from_layers_that_stay():
    folded, _ = fold(chain((5,), layers.Dense(4, kernel_constraint=OurConstraint(), bias_constraint="non_neg")))
    assert folded.layers[-1].kernel_constraint is None
    assert folded.layers[-1].bias_constraint is not None


def test_constraints_on_a_kernel_that_changed_are_dropped():
    model = chain((6, 6, 3), layers.Conv2D(4, 3, kernel_constraint="max_norm"), layers.BatchNormalization())
    assert fold(model)[0].layers[1].kernel_constraint is None


@pytest.mark.slow
def test_folded_diracnet_is_a_chain_of_keras_layers():
    model = randomize(build_diracnet(depth=10, width=0.5, num_classes=7, input_shape=(32, 32, 3)))
    folded, report = fold(model)
    types = {type(layer) for layer in folded.layers}
    convolutional = {layers.Conv2D, layers.ReLU, layers.MaxPooling2D}
    assert types == convolutional | {layers.InputLayer, layers.GlobalAveragePooling2D, layers.Dense}
    assert all(layer.use_bias for layer in folded.layers if isinstance(layer, layers.Conv2D))
    assert len(folded.operations) == len(folded.layers)
    assert report.max_relative_difference < 1e-4  # more layers than in the tests of one
    assert report.kept == ()


@pytest.mark.slow
def test_folded_diracnet_loads_where_this_package_is_missing(tmp_path):
    model = randomize(build_diracnet(depth=10, width=0.5, num_classes=7, input_shape=(16, 16, 3)))
    folded, _ = fold(model)
    folded.save(tmp_path / "folded.keras")
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys; sys.modules['dirac_keras'] = None\n"  # any import of it fails
        "import keras, numpy as np\n"
        "model = keras.models.load_model('folded.keras')\n"
        "np.save('outputs.npy', np.asarray(model(np.load('images.npy'))))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), np.asarray(folded(images)))


# Precision ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_bfloat16", 0.03), ("mixed_float16", 0.005)])
def test_mixed_precision_is_kept(policy, tolerance):
    """Tolerance: a few eps of the half precision, 2^-8 or 2^-11, in which the two round differently."""
    parts = [
        DiracConv2D(8, 3, padding="same", dtype=policy),
        BatchNormalization(dtype=policy),
        layers.ReLU(dtype=policy),
        layers.Conv2D(4, 3, dtype=policy),
        layers.BatchNormalization(dtype=policy),
    ]
    folded, report = fold(chain((6, 6, 8), *parts))
    convolution = folded.layers[1]
    assert (convolution.compute_dtype, convolution.kernel.dtype) == (policy.removeprefix("mixed_"), "float32")
    assert normalizations(folded) == []
    assert report.max_relative_difference < tolerance


def test_weights_stored_in_bfloat16_are_folded_in_float64():
    model = chain((6, 6, 3), layers.Conv2D(4, 3, dtype="bfloat16"), layers.BatchNormalization(dtype="bfloat16"))
    folded, _ = fold(model)
    norm = model.layers[-1]
    read = [
        keras.ops.convert_to_numpy(x).astype("float64")
        for x in (model.layers[1].kernel, norm.gamma, norm.moving_variance)
    ]
    exact = read[0] * read[1] / np.sqrt(read[2] + norm.epsilon)
    stored = keras.ops.convert_to_numpy(folded.layers[1].kernel).astype("float64")
    np.testing.assert_allclose(stored, exact, rtol=2**-8)  # one rounding to bfloat16, of 8 bits


def test_precision_of_the_output_is_kept():
    parts = [layers.Conv2D(4, 3, dtype="mixed_bfloat16"), layers.BatchNormalization(dtype="float32")]
    folded, _ = fold(keras.Sequential([keras.Input((6, 6, 3)), *parts]))
    assert folded.outputs[0].dtype == "float32"
    assert normalizations(folded) == []


# Layers that are only copied ------------------------------------------------------------------------------
def test_integer_inputs_are_verified_in_the_range_of_the_embedding():
    parts = [
        layers.Embedding(3, 4, mask_zero=True),
        layers.Dense(4),
        layers.BatchNormalization(),
        layers.LSTM(2),
    ]
    model = chain((5,), *parts, dtype="int32")
    folded, report = fold(model)
    assert normalizations(folded) == []
    assert report.max_relative_difference < TOLERANCE
    assert report.note == ""


@pytest.mark.parametrize("shape", [(None, None, 3), (None, 6, 3)])
def test_unknown_sizes_are_verified_with_a_default(shape):
    _, report = fold(chain(shape, layers.Conv2D(4, 3), layers.BatchNormalization()))
    assert report.max_relative_difference < TOLERANCE
    assert report.macs_before > 0


def test_adapted_normalization_layer_keeps_its_statistics():
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal(3.0, 2.0, (50, 4)))
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2)(layer(x)))
    folded, _ = fold(model)
    assert relative_difference(model, folded) < TOLERANCE


def test_vocabulary_learned_from_data_is_kept():
    layer = layers.IntegerLookup()
    layer.adapt(np.array([[1], [5], [9]]))
    x = keras.Input((1,), dtype="int64")
    folded, _ = fold(keras.Model(x, layer(x)))
    assert folded.layers[-1].get_vocabulary() == layer.get_vocabulary()


def test_lambda_layer_is_copied_with_its_function():
    model = chain((6, 6, 3), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Lambda(lambda x: x * 2.0))
    assert_all_folds(model)


def test_state_of_random_generators_is_copied():
    layer = layers.Dropout(0.5)
    model = chain((6,), layer)
    layer(np.ones((1, 6)), training=True)
    folded, _ = fold(model)
    np.testing.assert_array_equal(folded.layers[-1].variables[0], layer.variables[0])


class Doubling(layers.Layer):
    """A user's layer, not registered with Keras."""

    def call(self, inputs):
        return 2.0 * inputs


def test_layers_of_users_are_copied_and_not_passed():
    assert_stays(chain((6, 6, 3), layers.Conv2D(4, 3), Doubling(), layers.BatchNormalization()), "without a rule")


class StandardizedConv2D(layers.Conv2D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel - keras.ops.mean(kernel))


def test_subclass_of_a_known_layer_is_not_folded_as_if_it_were_that_layer():
    assert_stays(chain((6, 6, 3), StandardizedConv2D(4, 3), layers.BatchNormalization()), "without a rule")


@keras.saving.register_keras_serializable(package="test_fold")
class SameConv2D(layers.Conv2D):
    def __init__(self, filters, **kwargs):
        super().__init__(filters, 3, **{"padding": "same", **kwargs})

    def get_config(self):
        config = super().get_config()
        return {name: config[name] for name in ("filters", "name", "padding", "use_bias")}


class SlowNormalization(layers.BatchNormalization):
    def __init__(self, **kwargs):
        super().__init__(**{"momentum": 0.999, "epsilon": 0.1, **kwargs})


def test_subclass_that_gives_other_arguments_alone_is_folded_as_its_keras_class():
    model = chain((6, 6, 3), SameConv2D(4, use_bias=False), SlowNormalization(), layers.ReLU(), SameConv2D(5))
    folded, _ = assert_all_folds(model)
    assert [type(layer) for layer in folded.layers[1:]] == [layers.Conv2D, layers.ReLU, SameConv2D]


def test_normalization_of_other_arguments_that_stays_is_copied_as_it_is():
    model = chain((6, 6, 3), layers.ReLU(), SlowNormalization(name="norm"), layers.ReLU())
    folded = assert_stays(model, "")[0]
    assert type(folded.get_layer("norm")) is SlowNormalization


def test_nested_subclassed_model_is_opened():
    class Inner(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense, self.norm = layers.Dense(4), layers.BatchNormalization()

        def build(self, input_shape):
            self.dense.build(input_shape)
            self.norm.build((None, 4))

        def call(self, inputs):
            return self.norm(self.dense(inputs))

    x = keras.Input((6,))
    model = keras.Model(x, Inner(name="block")(x))
    _, report = assert_all_folds(model)
    assert [(entry.layer, entry.action) for entry in report.folded] == [
        (f"block/{model.layers[1].norm.name}", f"merged into 'block/{model.layers[1].dense.name}'")
    ]


def test_low_rank_adapters_are_merged_into_the_kernel():
    model = chain((6, 6, 3), layers.Conv2D(4, 3), layers.BatchNormalization())
    model.layers[1].enable_lora(2)
    folded, _ = assert_all_folds(randomize(model))
    assert len(folded.weights) == 2


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_low_rank_adapters_are_merged_without_rounding_to_the_precision_of_the_layer(policy):
    """A kernel 3 on the one tap, low-rank parts 1 and 2^-12 of alpha = rank: 3 + 2^-12 needs 14 bits."""
    model = chain((2, 2, 1), layers.Conv2D(1, 1, dtype=policy), layers.BatchNormalization(epsilon=0.0, dtype=policy))
    convolution = model.layers[1]
    convolution.enable_lora(1)
    values = {"kernel": 3.0, "bias": 0.0, "lora_kernel_a": 1.0, "lora_kernel_b": 2.0**-12}
    for weight in convolution.weights:
        weight.assign(np.full(weight.shape, values[weight.name]))
    model.layers[2].set_weights([np.array([value]) for value in (2.0, 0.0, 0.0, 1.0)])
    folded, _ = fold(model)
    assert folded.layers[1].get_weights()[0].item() == 2.0 * (3.0 + 2.0**-12)


def test_low_rank_adapters_in_half_precision_raise_no_false_alarm():
    model = randomize(
        chain(
            (6, 6, 4),
            *[
                part
                for _ in range(3)
                for part in (
                    layers.Conv2D(4, 3, padding="same", dtype="mixed_bfloat16"),
                    layers.BatchNormalization(dtype="mixed_bfloat16"),
                )
            ],
        )
    )
    for layer in model.layers[1::2]:
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(np.random.default_rng(0).normal(size=layer.lora_kernel_b.shape))
    assert fold(model)[1].kept == ()


def test_quantized_layer_is_left():
    model = chain((16,), layers.Dense(8), layers.BatchNormalization())
    model.layers[1].quantize("int8")
    assert_stays(model, "is quantized (int8)")


# The report and the errors --------------------------------------------------------------------------------
def test_report_counts_what_folding_saves():
    model = chain((6, 6, 3), layers.Conv2D(4, 3, use_bias=False), layers.BatchNormalization())
    _, report = fold(model)
    assert (report.parameters_before, report.parameters_after) == (3 * 9 * 4 + 4 * 4, 3 * 9 * 4 + 4)
    assert report.macs_before == report.macs_after == 4 * 4 * 9 * 3 * 4
    assert report.argmax_agreement == 1.0


def test_report_is_json():
    _, report = fold(small_model())
    read = json.loads(json.dumps(report.to_dict()))
    assert read["folded"][0]["action"] == "merged into 'stem'"
    assert read["parameters_after"] == report.parameters_after


def test_what_is_for_training_alone_is_said_once_for_all_layers_that_lose_it():
    """A kernel that has absorbed BatchNormalization has no constraint; the bias, which stays one, neither."""
    parts = {"kernel_constraint": keras.constraints.MaxNorm(3), "kernel_regularizer": "l2"}
    model = chain((5,), *[p for _ in range(4) for p in (layers.Dense(5, **parts), layers.BatchNormalization())])
    folded, report = fold(model)
    names = [layer.name for layer in model.layers[1::2]]
    assert folded.layers[1].kernel_constraint is None and folded.layers[1].kernel_regularizer is not None
    assert [entry.layer for entry in report.dropped if entry.part == "MaxNorm, its kernel_constraint"] == names
    lines = str(report).split("for training alone:\n")[1].split("\n")
    assert lines[0].endswith(f"{', '.join(names[:3])} and 1 more") and len(lines) == 1
    assert len(report.to_dict()["dropped"]) == 4 and not fold(chain((5,), layers.Dense(5)))[1].dropped
    adapted = chain((5,), layers.Dense(5), layers.BatchNormalization())
    adapted.layers[1].enable_lora(2)
    (entry,) = fold(adapted)[1].dropped
    assert entry.part == "LoRA, which is in its kernel now"


def test_report_text_names_layers_and_reasons():
    _, report = fold(chain((6, 6, 3), layers.BatchNormalization(name="early"), layers.ReLU(name="bend")))
    assert "early" in str(report)
    assert "'bend' (ReLU)" in str(report)


def test_layers_in_nested_models_are_reported_by_path():
    model = chain((6, 6, 3), backbone(layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization(name="norm")))
    _, report = fold(model)
    assert (report.folded[0].layer, report.folded[0].action) == (
        "backbone/norm",
        "merged into 'backbone/conv'",
    )


def test_argmax_agreement_is_none_without_classes():
    _, report = fold(chain((4,), layers.Dense(1)))
    assert report.argmax_agreement is None


def test_without_verification_there_are_no_differences():
    _, report = fold(small_model(), verify=False)
    assert report.max_abs_difference is None
    assert "not verified" in str(report)


def test_wrong_fold_raises_with_the_numbers(monkeypatch):
    def wrong(self, scale, shift):
        self.kernel = self.kernel * scale * 1.01
        self.bias = shift

    monkeypatch.setattr(rules.ConvRule, "absorb_output", wrong)
    with pytest.raises(RuntimeError, match=r"differ by .* of the output's scale.*; the tolerance is 0\.001"):
        fold(chain((6, 6, 3), layers.Conv2D(4, 3), layers.BatchNormalization()))


def test_model_that_runs_on_no_random_input_is_reported_as_not_verified():
    @keras.saving.register_keras_serializable(package="test")
    class Picky(layers.Layer):
        def compute_output_shape(self, input_shape):
            return input_shape

        def call(self, inputs):
            raise ValueError("only on Sundays")

    _, report = fold(chain((4,), layers.Dense(3), Picky()))
    assert report.max_abs_difference is None
    assert "only on Sundays" in report.note


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "model.keras", "model must be a keras.Model. Received model='model.keras'"),
        (lambda: layers.Dense(3), "must be a keras.Model"),
        (lambda: keras.Sequential([layers.Dense(3)]), "must be built.*add keras.Input"),
        (lambda: type("Own", (keras.Model,), {})(name="own"), "subclassed model 'own'.*Functional API"),
    ],
)
def test_models_without_a_graph_are_refused_with_the_way_out(make, message):
    with pytest.raises(ValueError, match=message):
        fold(make())


def test_functional_model_with_its_own_call_is_refused():
    class OwnFunctional(type(chain((3,), layers.Dense(2)))):
        def call(self, inputs, training=None, mask=None):
            return 2.0 * super().call(inputs)

    x = keras.Input((3,))
    with pytest.raises(ValueError, match=r"overrides call\(\)"):
        fold(OwnFunctional(x, layers.Dense(2)(x)))


# Any chain ------------------------------------------------------------------------------------------------
PARTS = {
    "conv": lambda: layers.Conv2D(3, 3, padding="same"),
    "valid": lambda: layers.Conv2D(4, 2),
    "dirac": lambda: DiracConv2D(3, 3, padding="same", use_bias=False),
    "depthwise": lambda: layers.DepthwiseConv2D(2, depth_multiplier=2),
    "norm": lambda: layers.BatchNormalization(),
    "our_norm": lambda: BatchNormalization(),
    "relu": lambda: layers.ReLU(),
    "dropout": lambda: layers.Dropout(0.3),
    "max": lambda: layers.MaxPooling2D(2, strides=1),
    "average": lambda: layers.AveragePooling2D(2, strides=1),
    "pad": lambda: layers.ZeroPadding2D(1),
}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(names=st.lists(st.sampled_from(sorted(PARTS)), min_size=2, max_size=6), seed=st.integers(0, 99))
def test_any_chain_folds_to_the_same_outputs(names, seed):
    model = randomize(chain((9, 9, 2), *(PARTS[name]() for name in names)), seed)
    folded, report = fold(model)
    assert relative_difference(model, folded) < 10 * TOLERANCE  # up to six layers that may cancel each other's sums
    assert len(normalizations(folded)) + sum("merged" in entry.action for entry in report.folded) == sum(
        "norm" in name for name in names
    )


@pytest.mark.slow
def test_folded_model_shares_no_memory_with_the_original():
    # JAX deletes the arrays that a compiled step is given; https://docs.jax.dev, "buffer donation"
    model = build_diracnet(10, 0.25, input_shape=(8, 8, 1))
    folded, _ = fold(model)
    images = np.zeros((4, 8, 8, 1), "float32")
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, np.zeros(4), verbose=0)
    model.predict(images, verbose=0)
    assert np.isfinite(folded.predict(images, verbose=0)).all()
