import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.layers import DiracConv1D, DiracConv2D, DiracConv3D, DiracDense
from tests.layer_checks import check_layer, compiled, randomize_weights

SCALES = ["identity_scale", "filter_scale"]
CONVOLUTIONS = [
    (DiracConv1D, keras.layers.Conv1D, (4, 9, 3)),
    (DiracConv2D, keras.layers.Conv2D, (4, 7, 8, 3)),
    (DiracConv3D, keras.layers.Conv3D, (2, 5, 6, 5, 3)),
]


@pytest.mark.parametrize(("layer", "_", "shape"), CONVOLUTIONS)
def test_convolution_keeps_the_layer_contract(layer, _, shape, tmp_path):
    check_layer(
        lambda: layer(5, 3, padding="same", activation="tanh"),
        shape,
        (*shape[:-1], 5),
        ["kernel", "bias", *SCALES],
        tmp_path,
    )


@pytest.mark.parametrize("shape", [(4, 6), (4, 3, 6), (2, 3, 2, 6)])
def test_dense_keeps_the_layer_contract_at_any_rank(shape, tmp_path):
    check_layer(lambda: DiracDense(5), shape, (*shape[:-1], 5), ["kernel", "bias", *SCALES], tmp_path)


@pytest.mark.slow
def test_layer_of_equation_4_keeps_the_contract(tmp_path):
    check_layer(
        lambda: DiracConv2D(5, 3, padding="same", use_bias=False, use_weight_norm=False),
        (4, 7, 8, 3),
        (4, 7, 8, 5),
        ["kernel", "identity_scale"],
        tmp_path,
    )


def test_multipliers_are_a_weight_of_a_layer_that_asks_for_them():
    """Not by `check_layer`: training alone leaves them where they are."""
    layer = built(DiracConv2D(5, 3, use_bias=False, use_identity_multiplier=True), (4, 7, 8, 3))
    assert [weight.name for weight in layer.weights] == ["kernel", *SCALES, "identity_multiplier"]
    assert not ops.convert_to_numpy(layer.identity_multiplier).any()
    again = DiracConv2D.from_config(layer.get_config())
    assert again.use_identity_multiplier and again.get_config() == layer.get_config()


def test_layer_of_equation_8_keeps_the_contract(tmp_path):
    check_layer(
        lambda: DiracDense(5, use_bias=False, use_identity_scale=False, use_weight_norm=False),
        (4, 6),
        (4, 5),
        ["kernel"],
        tmp_path,
    )


@pytest.mark.parametrize(("layer", "_", "shape"), [*CONVOLUTIONS, (DiracDense, None, (4, 3))])
def test_layer_is_identity_when_a_is_one_and_b_zero(layer, _, shape):
    options = {} if layer is DiracDense else {"kernel_size": 3, "padding": "same"}
    tested = layer(3, filter_scale_initializer="zeros", **options)
    inputs = np.random.default_rng(0).normal(size=shape).astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(tested(inputs)), inputs)  # exact: products with 0 and 1


def test_causal_convolution_is_identity_when_a_is_one_and_b_zero():
    layer = DiracConv1D(3, 3, padding="causal", dilation_rate=2, filter_scale_initializer="zeros")
    inputs = np.random.default_rng(0).normal(size=(2, 9, 3)).astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(inputs)), inputs)


@pytest.mark.parametrize(("layer", "plain", "shape"), CONVOLUTIONS)
@pytest.mark.parametrize(
    "options",
    [
        {"padding": "valid"},
        {"padding": "same", "dilation_rate": 2},
        {"padding": "same", "use_bias": False, "activation": "relu"},
    ],
)
def test_layer_equals_keras_layer_with_the_effective_kernel(layer, plain, shape, options):
    tested, reference = layer(5, 3, **options), plain(5, 3, **options)
    inputs = np.random.default_rng(0).normal(size=shape).astype("float32")
    tested.build(shape)
    reference.build(shape)
    randomize_weights(tested)
    bias = [tested.bias] if tested.use_bias else []
    reference.set_weights([ops.convert_to_numpy(w) for w in (tested.effective_kernel(), *bias)])
    np.testing.assert_array_equal(ops.convert_to_numpy(tested(inputs)), ops.convert_to_numpy(reference(inputs)))


def test_layer_takes_the_positional_arguments_of_keras():
    ours, keras_layer = DiracConv2D(4, 3, 1, "same"), keras.layers.Conv2D(4, 3, 1, "same")
    assert (ours.strides, ours.padding) == (keras_layer.strides, keras_layer.padding)
    assert DiracConv2D(4, 3).padding == keras.layers.Conv2D(4, 3).padding


def test_channels_first_equals_channels_last():
    first = DiracConv2D(5, 3, data_format="channels_first", padding="same")
    last = DiracConv2D(5, 3, data_format="channels_last", padding="same")
    images = np.random.default_rng(0).normal(size=(2, 7, 8, 3)).astype("float32")
    first.build((2, 3, 7, 8))
    last.build((2, 7, 8, 3))
    randomize_weights(first)
    last.set_weights(first.get_weights())
    outputs = compiled(first, images.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(outputs, ops.convert_to_numpy(last(images)), atol=1e-5)  # another order of sums


def test_start_values_are_the_papers():
    layer = DiracConv2D(64, 3)
    layer.build((None, 8, 8, 64))
    assert np.all(ops.convert_to_numpy(layer.identity_scale) == 1.0)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.filter_scale), 0.1, rtol=1e-6)
    assert abs(np.std(ops.convert_to_numpy(layer.kernel)) - 1.0) < 0.02  # 36,864 draws: 5 standard errors


def built(layer, shape):
    layer.build(shape)
    return layer


def test_regularizers_and_constraints_reach_the_scales():
    layer = DiracDense(
        3, identity_scale_regularizer="l2", filter_scale_constraint="non_neg", kernel_constraint="unit_norm"
    )
    layer.build((None, 3))
    assert len(layer.losses) == 1
    assert layer.filter_scale.constraint is not None and layer.kernel.constraint is not None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DiracConv2D(4, 2), r"kernel_size must be odd.*Received kernel_size=2"),
        (lambda: DiracConv2D(4, (3, 4)), r"Received kernel_size=\(3, 4\)"),
        (lambda: DiracConv2D(4, 0), r"kernel_size"),
        (lambda: DiracConv2D(4, 3, strides=2), r"strides must be 1.*Received strides=2"),
        (lambda: DiracConv2D(-1, 3), r"filters=-1"),
        (
            lambda: DiracConv2D(4, 3).build((None, 8, 3)),
            r"inputs of rank 4. Received input_shape=\(None, 8, 3\)",
        ),
        (lambda: DiracConv2D(4, 3).build((None, 8, 8, None)), r"known number of channels"),
        (lambda: DiracDense(4).build((None, None)), r"known last axis"),
        (
            lambda: DiracDense(4, use_identity_scale=False),
            r"use_weight_norm=True needs use_identity_scale=True",
        ),
        (lambda: DiracDense(4, lora_rank=2), r"no LoRA. Received lora_rank=2"),
        (lambda: DiracDense(4, dtype="int8_from_float32"), r"policy of floats.*Received dtype='int8_from_float32'"),
        (
            lambda: built(DiracDense(4), (None, 4)).quantize("int8"),
            r"cannot be quantized.*Fold the model first",
        ),
    ],
)
def test_bad_argument_gets_a_message_that_names_it(make, message):
    with pytest.raises(ValueError, match=message):
        make()
