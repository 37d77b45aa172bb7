"""Layers that stand in a branch beside a skip: which of them carry the skip's channels, and how."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from dirac_keras import assert_plain, plainify
from dirac_keras.conversion.activations import activation_of
from dirac_keras.conversion.twins import fading, twin
from dirac_keras.errors import UserError
from tests.conversion import blocks
from tests.folding.helpers import TOLERANCE, randomize, relative_difference

PER_CHANNEL = np.array([0.5, -1.0, 2.0, 0.1], "float32")


def conv(x, size=3, filters=4, **arguments):
    return layers.Conv2D(filters, size, padding="same", **arguments)(x)


def separable(x, filters=4, **arguments):
    return layers.SeparableConv2D(filters, 3, padding="same", **arguments)(x)


def relu(x):
    return layers.ReLU()(x)


def add(*tensors):
    return layers.Add()(list(tensors))


def einsum(x, filters, **arguments):
    shape = (8, 6, filters)
    return layers.EinsumDense("bhwc,cd->bhwd", output_shape=shape, bias_axes="d", **arguments)(x)


def with_one_relu(x):
    shared = layers.ReLU()
    return shared(add(x, conv(shared(conv(x)))))


def with_clips(x):
    return add(x, conv(ops.clip(conv(x), 0.0, 6.0)))


def with_one_addition(x):
    shared = layers.Add()
    x = shared([x, conv(relu(conv(x)))])
    return shared([conv(relu(conv(x))), x])


CARRIED = {
    "separable": lambda x: add(x, separable(relu(separable(x)))),
    "separable_with_multiplier": lambda x: add(x, separable(relu(separable(x, depth_multiplier=2)))),
    "separable_with_activation": lambda x: add(x, conv(separable(relu(conv(x)), activation="relu"))),
    "separable_and_stride": lambda x: add(conv(x, 1, strides=2), separable(relu(separable(x, strides=2)))),
    "separable_dilated": lambda x: add(x, separable(relu(separable(x, dilation_rate=2)))),
    "separable_in_the_skip": lambda x: add(layers.SeparableConv2D(4, 1, depth_multiplier=2)(x), conv(relu(conv(x)))),
    "dense_for_each_position": lambda x: add(x, layers.Dense(4)(layers.Dense(9, activation="relu")(x))),
    "dense_around_depthwise": lambda x: add(
        x, layers.Dense(4)(relu(layers.DepthwiseConv2D(3, padding="same")(layers.Dense(9)(x))))
    ),
    "einsum_that_is_dense": lambda x: add(x, einsum(relu(einsum(x, 9)), 4)),
    "einsum_with_activation": lambda x: add(x, einsum(einsum(x, 9, activation="relu"), 4)),
    "factor": lambda x: add(x, conv(relu(conv(x)) * 0.5)),
    "shift_before_padding": lambda x: add(x, conv(relu(conv(x)) + 0.5)),
    "factor_for_each_channel": lambda x: add(x, conv(relu(relu(conv(x)) * ops.convert_to_tensor(PER_CHANNEL)))),
    "rescaling": lambda x: add(x, conv(layers.Rescaling(0.3, offset=0.1)(relu(conv(x))))),
    "normalization": lambda x: add(
        x, conv(layers.Normalization(mean=[0.0, 1.0, -1.0, 0.5], variance=[1.0, 2.0, 0.5, 4.0])(relu(conv(x))))
    ),
    "factor_first_and_last": lambda x: add(x, 0.3 * relu(conv(relu(conv(2.0 * x + 1.0))))),
    "activation_that_is_none": lambda x: add(
        layers.Activation("linear")(x), conv(layers.Identity()(relu(layers.Activation("linear")(conv(x)))))
    ),
    "noise_of_training": lambda x: add(
        x, layers.SpatialDropout2D(0.1)(conv(layers.GaussianNoise(0.1)(relu(layers.GaussianDropout(0.1)(conv(x))))))
    ),
    "relu_with_threshold": lambda x: add(x, conv(layers.ReLU(threshold=0.5)(conv(x)))),
    "clip": lambda x: with_clips(ops.clip(x, 0.0, 6.0)),
    "cropped_skip": lambda x: add(layers.Cropping2D(2)(x), layers.Conv2D(4, 3)(relu(layers.Conv2D(4, 3)(x)))),
    "cropped_last": lambda x: add(layers.Cropping2D(1)(x), layers.Cropping2D(1)(conv(relu(conv(x))))),
    "cropped_last_unevenly": lambda x: add(
        layers.Cropping2D(((1, 2), (0, 1)))(x), layers.Cropping2D(((0, 1), (0, 1)))(relu(layers.Conv2D(4, (3, 1))(x)))
    ),
    "cropped_behind_a_stride": lambda x: add(
        layers.Conv2D(4, 1, strides=2)(layers.Cropping2D(((2, 2), (2, 0)))(x)),
        layers.Cropping2D(((1, 1), (1, 0)))(conv(relu(conv(x, 1, strides=2)))),
    ),
    "window_behind_a_cropping": lambda x: add(
        layers.Conv2D(4, 3)(layers.Cropping2D(((0, 2), (1, 1)))(x)), layers.Conv2D(4, 3)(relu(layers.Conv2D(4, 3)(x)))
    ),
    "window_behind_a_cropping_with_strides": lambda x: add(
        layers.Conv2D(4, 3, 2)(layers.Cropping2D(1)(x)), layers.Conv2D(4, 3, 2)(relu(layers.Conv2D(4, 3)(x)))
    ),
    "window_larger_than_that_of_any_convolution": lambda x: add(conv(x, 5), conv(relu(conv(x)))),
    "window_larger_behind_a_stride": lambda x: add(conv(x, 5, strides=2), conv(relu(conv(x, strides=2)))),
    "window_of_average_and_stride": lambda x: add(
        layers.Conv2D(4, 1)(layers.AveragePooling2D(4, 2)(layers.ZeroPadding2D(1)(x))), conv(relu(conv(x, strides=2)))
    ),
    "window_beside_groups": lambda x: add(conv(x), conv(relu(conv(relu(conv(x, 1, 8)), 3, 8, groups=4)), 1)),
    "window_beside_groups_alone": lambda x: add(conv(x), conv(relu(conv(x, groups=2)), groups=2)),
    "window_and_stride_beside_groups": lambda x: add(
        conv(x, strides=2), conv(relu(conv(relu(conv(x, 1, 8)), 3, 8, groups=4, strides=2)), 1)
    ),
    "window_beside_depthwise": lambda x: add(
        conv(x), conv(relu(layers.DepthwiseConv2D(3, padding="same")(relu(conv(x, 1, 8)))), 1)
    ),
    "window_and_stride_beside_depthwise": lambda x: add(
        conv(x, strides=2), conv(relu(layers.DepthwiseConv2D(3, 2, "same")(relu(conv(x, 1, 8)))), 1)
    ),
    "window_beside_what_begins_with_an_activation": lambda x: add(conv(x, 5), conv(relu(conv(relu(x))), 1)),
    "window_before_a_cropping": lambda x: add(layers.Conv2D(4, 3)(x), layers.Cropping2D(1)(conv(relu(conv(x))))),
    "one_relu_in_several_places": with_one_relu,
    "one_addition_in_several_places": with_one_addition,
}


@pytest.mark.parametrize("block", CARRIED)
def test_layers_that_carry_a_skip(block):
    model = blocks.network(CARRIED[block])
    plain, certificate = plainify(model)
    assert_plain(plain)
    assert certificate.skips
    assert relative_difference(model, plain) < TOLERANCE


def test_a_separable_convolution_stays_one_beside_the_branches():
    """It becomes two where channels are carried alone, and its depthwise half keeps groups."""
    model = blocks.network(lambda x: separable(add(x, separable(relu(separable(x))))))
    plain, _ = plainify(model)
    kinds = [type(layer).__name__ for layer in plain.layers]
    assert kinds.count("SeparableConv2D") == 1
    assert "DepthwiseConv2D" in kinds


@pytest.mark.parametrize("rank", [1, 3])
def test_branches_of_other_ranks(rank):
    kind = getattr(layers, f"Conv{rank}D")
    inputs = keras.Input((6,) * rank + (3,))
    x = relu(kind(4, 3, padding="same")(inputs))
    model = keras.Model(inputs, add(x, kind(4, 3, padding="same")(relu(kind(4, 3, padding="same")(x)))))
    plain, _ = plainify(model)
    assert_plain(plain)


def test_causal_windows_grow_to_the_front():
    inputs = keras.Input((9, 3))
    x = relu(layers.Conv1D(4, 3, padding="causal")(inputs))
    y = layers.Conv1D(4, 3, padding="causal")(relu(layers.Conv1D(4, 3, padding="causal", dilation_rate=2)(x)))
    model = randomize(keras.Model(inputs, add(layers.Conv1D(4, 6, padding="causal")(x), y)))
    plain, _ = plainify(model, rounds=0)
    assert_plain(plain)
    assert relative_difference(model, plain) < TOLERANCE


def test_a_dilated_window_goes_into_a_kernel_of_its_dilation():
    """No kernel grows: where the window has zeros, that kernel has no tap, and needs none."""
    model = blocks.network(lambda x: add(conv(x, dilation_rate=2), conv(relu(conv(x, dilation_rate=2)), 1)))
    plain, _ = plainify(model, rounds=0)
    assert [layer.kernel_size for layer in plain.layers if isinstance(layer, layers.Conv2D)] == [(3, 3), (3, 3), (1, 1)]
    assert relative_difference(model, plain) < TOLERANCE


def test_of_several_convolutions_one_grows_and_keeps_the_size():
    """5x5 beside two 3x3, with 4 channels each: 4 are carried, and the last kernel is 5x5 on 8 channels."""
    plain, _ = plainify(blocks.network(lambda x: add(conv(x, 5), conv(relu(conv(x))))), rounds=0)
    kernels = [tuple(layer.kernel.shape) for layer in plain.layers if isinstance(layer, layers.Conv2D)]
    assert kernels[1:] == [(3, 3, 4, 8), (5, 5, 8, 4)]


REASONS = {
    "hard_swish": (lambda x: add(x, conv(ops.hard_silu(conv(x)))), "has an activation that changes what is carried"),
    "cut_above": (
        lambda x: add(x, conv(layers.ReLU(threshold=0.5, max_value=4.0)(conv(x)))),
        "the upper bound of what .* is not known",
    ),
    "numbers_for_each_place": (
        lambda x: add(x, conv(relu(conv(x)) * np.arange(6.0, dtype="float32").reshape(6, 1))),
        "has other numbers at other places",
    ),
    "constant_in_the_sum": (
        lambda x: layers.Add()([x, np.ones((1, 8, 6, 4), "float32"), conv(relu(conv(x)))]),
        "adds a constant too",
    ),
    "cropping_by_more_than_the_kernels_reach": (
        lambda x: add(
            layers.Cropping2D(((6, 0), (0, 0)))(x),
            layers.Cropping2D(((3, 3), (0, 0)), name="crop")(conv(relu(conv(x)))),
        ),
        r"a 1x1 convolution behind 'crop' \(Cropping2D\) sees other pixels than the skip",
    ),
    "window_beside_no_padding": (
        lambda x: add(layers.Conv2D(4, 5)(x), layers.Conv2D(4, 3)(relu(layers.Conv2D(4, 3, name="first")(x)))),
        "the skip's window of 5x5 pixels fits none of the layers beside it: .*; 'first' would need a larger kernel, "
        "which with padding='valid' leaves fewer pixels",
    ),
    "window_beside_dense": (
        lambda x: add(conv(x), layers.Dense(4)(layers.Dense(6, activation="relu", name="first")(x))),
        "fits none of the layers beside it: .*'first' is a Dense, whose kernel has no window",
    ),
    "upsampling": (
        lambda x: add(x, conv(layers.UpSampling2D(2, name="up")(relu(conv(x, strides=2))))),
        r"'up' \(UpSampling2D\) in its branch makes more pixels than it reads",
    ),
    "upsampled_skip": (
        lambda x: add(
            layers.UpSampling2D(2, name="up")(x), conv(layers.Conv2DTranspose(4, 3, strides=2, padding="same")(x))
        ),
        "is a transposed convolution, through which there is no rule to carry channels",
    ),
    "weights_shared": (
        lambda x: (lambda one: add(x, one(relu(one(x)))))(layers.Conv2D(4, 3, padding="same")),
        "is shared: it is called in several places",
    ),
}


@pytest.mark.parametrize("block", REASONS)
def test_what_carries_nothing_is_named_with_its_reason(block):
    make, reason = REASONS[block]
    with pytest.raises(UserError, match=reason):
        plainify(blocks.network(make))


def test_relu_with_a_threshold_by_hand():
    """Below the threshold its slope counts from there: 0.1 (0.5 - 1) = -0.05."""
    activation = activation_of(layers.ReLU(threshold=1.0, negative_slope=0.1, max_value=2.0))
    np.testing.assert_allclose(activation.function(np.array([0.5, 1.0, 1.5, 3.0])), [-0.05, 1.0, 1.5, 2.0])
    assert (activation.low, activation.high) == (1.0, 2.0)


@pytest.mark.parametrize("merge", [layers.Subtract, layers.Average], ids=["difference", "average"])
def test_training_takes_such_skips_out_too(merge):
    """The copy computes the same as long as the skip is whole; its twin has none."""
    model = blocks.network(lambda x: merge()([x, conv(relu(conv(x)))]))
    student, skips, reasons = fading(model)
    assert (len(skips), reasons) == (1, {})
    assert relative_difference(model, student) < TOLERANCE
    chain, skips, reasons = twin(model)
    assert (len(skips), reasons) == (1, {})
    assert_plain(chain)
