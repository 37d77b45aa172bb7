"""Linear branches that meet in a concatenation of channels: `fold` makes one convolution of them."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from dirac_keras import assert_plain, fold, plainify
from tests.folding.helpers import TOLERANCE, randomize, relative_difference


def conv(x, filters=4, size=3, **arguments):
    return layers.Conv2D(filters, size, **{"padding": "same", **arguments})(x)


def norm(x):
    return layers.BatchNormalization()(x)


def join(*tensors):
    return layers.Concatenate()(list(tensors))


def network(block, shape=(7, 6, 3)):
    inputs = keras.Input(shape)
    x = block(layers.ReLU()(layers.Dense(4)(inputs)))
    return randomize(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(layers.ReLU()(x)))))


MERGED = {
    "two_of_one_size": lambda x: join(conv(x, 3), conv(x, 2)),
    "small_one_first": lambda x: join(norm(conv(x, 2, 1)), norm(conv(x, 5))),
    "tensor_itself": lambda x: join(x, conv(x, 6)),
    "three_with_strides": lambda x: join(
        conv(x, 9, 2, strides=2, padding="valid"),
        layers.AveragePooling2D(2)(x),
        conv(x, 3, 1, strides=2, padding="valid"),
    ),
    "valid_beside_cropped": lambda x: join(conv(x, 5, padding="valid"), layers.Cropping2D(1)(x)),
    "operation": lambda x: ops.concatenate([conv(x, 3), conv(x, 2)], axis=-1),
    "one_in_another": lambda x: join(conv(x, 2), join(conv(x, 5), x)),
    "sum_in_it": lambda x: join(conv(x, 2), layers.Add()([conv(x, 4), x])),
    "normalization_behind": lambda x: norm(join(conv(x, 3), conv(x, 2))),
    "diverse_branch_block": lambda x: norm(conv(join(norm(conv(x, 2)), norm(conv(x, 2))), 4, 1)),
    "dense": lambda x: join(layers.Dense(3)(x), norm(layers.Dense(5)(x))),
}


@pytest.mark.parametrize("block", MERGED)
def test_branches_become_one_layer_whose_channels_are_those_of_all(block):
    model = network(MERGED[block], (8, 6, 3))
    folded, report = fold(model, verify=False)
    assert_plain(folded)
    assert not any("oncat" in type(operation).__name__ for operation in folded.operations)
    assert relative_difference(model, folded) < TOLERANCE, str(report)


def test_the_kernel_by_hand():
    """[x, 2 x + 3]: one filter is the identity, at the tap that sees the pixel."""
    inputs = keras.Input((4, 4, 1))
    one = layers.Conv2D(1, 3, padding="same", name="one")
    model = keras.Model(inputs, join(inputs, one(inputs)))
    kernel = np.zeros((3, 3, 1, 1))
    kernel[1, 1] = 2.0
    one.set_weights([kernel, np.array([3.0])])
    folded, report = fold(model)
    kernel, bias = folded.get_layer("one").get_weights()
    np.testing.assert_allclose(kernel[1, 1, 0], [1.0, 2.0])
    assert np.count_nonzero(kernel) == 2
    np.testing.assert_allclose(bias, [0.0, 3.0])
    assert "its branches (3x3, identity) merged into 'one'" in str(report)


def test_two_heads_that_are_the_output():
    inputs = keras.Input((5,))
    x = layers.Dense(4, activation="relu")(inputs)
    model = randomize(keras.Model(inputs, layers.Concatenate(name="both")([layers.Dense(2)(x), layers.Dense(3)(x)])))
    folded, _ = fold(model)
    assert folded.output_names == model.output_names
    assert relative_difference(model, folded) < TOLERANCE


LEFT = {
    "groups": (lambda x: join(conv(x, 4, groups=2), conv(x, 4)), "they have groups"),
    "growth": (lambda x: join(conv(x, 1), conv(x, 30, 1)), "times their multiply-accumulates"),
    "no_window_for_both": (lambda x: join(conv(x, 3, (1, 3)), conv(x, 3, (3, 1))), "no window of them holds all"),
    "one_that_is_depthwise": (
        lambda x: join(layers.DepthwiseConv2D(3, padding="same")(x), x),
        "has other groups",
    ),
    "einsum_alone": (
        lambda x: join(layers.EinsumDense("bhwc,cd->bhwd", output_shape=(7, 6, 3))(x), x),
        "none of them is an ordinary convolution or a dense layer",
    ),
}


@pytest.mark.parametrize("block", LEFT)
def test_what_does_not_merge_stays_with_its_reason(block):
    make, reason = LEFT[block]
    model = network(make)
    folded, report = fold(model, verify=False)
    (entry,) = [entry for entry in report.kept if "concatenate" in entry.layer]
    assert entry.reason.startswith("joins linear branches (") and reason in entry.reason
    assert relative_difference(model, folded) < TOLERANCE


def test_a_layer_that_is_read_elsewhere_stays():
    def block(x):
        y = conv(x, 4)
        return join(y, conv(x, 3)) * ops.mean(y, axis=-1, keepdims=True)

    model = network(block)
    folded, report = fold(model, verify=False)
    assert "is shared, or read in other places too" in str(report)
    assert relative_difference(model, folded) < TOLERANCE


@pytest.mark.parametrize(
    "block",
    [
        lambda x: join(layers.ReLU()(conv(x)), layers.ReLU()(conv(x, 3, 1))),  # as in Inception
        lambda x: layers.Concatenate(axis=1)([conv(x), conv(x)]),
        lambda x: join(x, conv(layers.ReLU()(conv(x)))),  # as in DenseNet
    ],
    ids=["activations", "another_axis", "densenet"],
)
def test_what_is_not_linear_or_joins_no_channels_is_none_of_these(block):
    model = network(block)
    folded, report = fold(model, verify=False)
    assert report.kept == () and report.folded == ()
    assert relative_difference(model, folded) < TOLERANCE


def test_a_network_whose_joins_are_such_is_made_plain():
    model = network(lambda x: layers.Add()([x, conv(layers.ReLU()(join(conv(x, 3), conv(x, 2, 1))))]))
    plain, certificate = plainify(model, rounds=0)
    assert_plain(plain)
    assert len(certificate.skips) == 1


@pytest.mark.slow
def test_dense_joins_keep_what_cannot_fold_and_say_it_once():
    """As in DenseNet: the running features go through a normalization and a ReLU each time, 4 + 4 k channels."""
    inputs = x = keras.Input((6, 6, 4))
    for _ in range(12):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 1)(y)))
        x = layers.Concatenate()([x, layers.Conv2D(4, 3, padding="same")(y)])
    model = randomize(keras.Model(inputs, layers.Conv2D(2, 1)(layers.ReLU()(layers.BatchNormalization()(x)))))
    folded, report = fold(model)
    assert (report.normalizations_before, report.normalizations_after) == (25, 13)
    assert relative_difference(model, folded) < TOLERANCE
    kept = str(report).partition("kept:\n")[2].splitlines()
    assert len(kept) < 5 and "more  " in kept[-1] + kept[0]
    assert len(report.to_dict()["kept"]) == 13
