"""Multiply-accumulates and receptive fields, against numbers worked by hand."""

import keras
import pytest
from keras import layers

from dirac_keras.graph.costs import count_macs
from dirac_keras.graph.receptive_fields import receptive_fields
from dirac_keras.layers import BatchNormalization, DiracConv2D, DiracDense


def chain(input_shape, *parts):
    x = inputs = keras.Input(input_shape)
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


# layer, input shape, positions times weights worked by hand
MACS = {
    "conv2d_same": (lambda: layers.Conv2D(5, 3, padding="same"), (8, 6, 3), 8 * 6 * 9 * 3 * 5),
    "conv2d_strided": (lambda: layers.Conv2D(5, 3, strides=2), (9, 9, 3), 4 * 4 * 9 * 3 * 5),
    "conv2d_grouped": (lambda: layers.Conv2D(6, 3, groups=2), (8, 8, 4), 6 * 6 * 9 * 2 * 6),
    "conv1d": (lambda: layers.Conv1D(5, 3), (8, 2), 6 * 3 * 2 * 5),
    "conv3d": (lambda: layers.Conv3D(5, 1), (2, 3, 4, 2), 24 * 2 * 5),
    "depthwise": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (8, 8, 3), 36 * 9 * 3 * 2),
    "separable": (lambda: layers.SeparableConv2D(5, 3), (8, 8, 3), 36 * (9 * 3 + 3 * 5)),
    "transpose": (lambda: layers.Conv2DTranspose(5, 3, strides=2), (4, 4, 3), 16 * 9 * 3 * 5),
    "dense": (lambda: layers.Dense(5), (7,), 35),
    "dense_of_rank_4": (lambda: layers.Dense(5), (2, 3, 7), 6 * 35),
    "einsum_dense": (lambda: layers.EinsumDense("abc,cde->abde", (6, 4, 5)), (6, 7), 6 * 7 * 4 * 5),
    "einsum_dense_ellipsis": (lambda: layers.EinsumDense("...x,xy->...y", 5), (6, 2, 7), 12 * 7 * 5),
    "lstm": (lambda: layers.LSTM(4), (6, 3), 6 * (3 + 4) * 4 * 4),
    "dirac_conv2d": (lambda: DiracConv2D(5, 3, padding="same"), (8, 6, 3), 8 * 6 * 9 * 3 * 5),
    "dirac_dense": (lambda: DiracDense(5), (7,), 35),
}


@pytest.mark.parametrize("layer", MACS)
def test_macs_of_a_layer_are_positions_times_weights(layer):
    make, shape, expected = MACS[layer]
    assert sum(count_macs(chain(shape, make())).values()) == expected


def test_macs_of_channels_first_count_the_same_positions():
    model = chain((3, 8, 6), layers.Conv2D(5, 3, data_format="channels_first"))
    assert list(count_macs(model).values()) == [6 * 4 * 9 * 3 * 5]


def test_macs_of_matmul():
    a, b = keras.Input((4, 5)), keras.Input((5, 6))
    assert sum(count_macs(keras.Model([a, b], keras.ops.matmul(a, b))).values()) == 4 * 5 * 6


def test_layers_that_multiply_no_two_tensors_are_left_out():
    model = chain((8, 8, 3), layers.ReLU(), BatchNormalization(), layers.MaxPooling2D(2), layers.Dense(2, name="head"))
    assert count_macs(model) == {"head": 16 * 3 * 2}


def test_macs_of_a_shared_layer_are_summed():
    a, b, dense = keras.Input((7,)), keras.Input((7,)), layers.Dense(5, name="shared")
    assert count_macs(keras.Model([a, b], [dense(a), dense(b)])) == {"shared": 70}


def test_layers_of_nested_models_are_named_by_path():
    inner = keras.Sequential([keras.Input((7,)), layers.Dense(5, name="dense")], name="inner")
    assert count_macs(chain((7,), inner)) == {"inner/dense": 35}


def test_macs_are_of_one_sample_whatever_the_batch_size():
    model = keras.Sequential([keras.Input(batch_shape=(8, 7)), layers.Dense(5)])
    assert list(count_macs(model).values()) == [35]


def test_unknown_sizes_are_asked_for():
    with pytest.raises(ValueError, match="input_shapes must leave no size unknown"):
        count_macs(chain((None, None, 3), layers.Conv2D(5, 3)))


def test_unknown_sizes_can_be_given():
    model = chain((None, None, 3), layers.Conv2D(5, 3, padding="same", name="conv"))
    assert count_macs(model, [(1, 4, 6, 3)]) == {"conv": 24 * 9 * 3 * 5}


@pytest.mark.slow
def test_macs_of_resnet50_are_those_of_the_literature():
    """He et al. 2016, arXiv:1512.03385, table 1, give 3.8e9; like Keras they stride the first 1x1."""
    model = keras.applications.ResNet50(weights=None)
    assert sum(count_macs(model).values()) == pytest.approx(3.86e9, rel=0.01)


# Receptive fields -----------------------------------------------------------------------------------------
def last_field(model):
    return list(receptive_fields(model).values())[-1]


FIELDS = {
    "conv_3x5": ([lambda: layers.Conv2D(2, (3, 5))], (3, 5)),
    "two_convs": ([lambda: layers.Conv2D(2, 3), lambda: DiracConv2D(2, 3)], (5, 5)),
    "pooling_doubles_what_follows": ([lambda: layers.MaxPooling2D(2), lambda: layers.Conv2D(2, 3)], (6, 6)),
    "stride_doubles_what_follows": (
        [lambda: layers.Conv2D(2, 3, strides=2), lambda: layers.Conv2D(2, 3)],
        (7, 7),
    ),
    "dilation": ([lambda: layers.Conv2D(2, 3, dilation_rate=2)], (5, 5)),
    "upsampling_halves_what_follows": (
        [lambda: layers.Conv2D(2, 3, strides=2), lambda: layers.UpSampling2D(2), lambda: layers.Conv2D(2, 3)],
        (5, 5),
    ),
    "pointwise": ([lambda: layers.ReLU(), lambda: BatchNormalization(), lambda: layers.Dense(2)], (1, 1)),
    "global_pooling": ([lambda: layers.GlobalAveragePooling2D(), lambda: layers.Dense(2)], "all"),
    "flatten": ([lambda: layers.Flatten()], "all"),
}


@pytest.mark.parametrize("case", FIELDS)
def test_receptive_field(case):
    parts, expected = FIELDS[case]
    assert last_field(chain((32, 32, 3), *(part() for part in parts))) == expected


def test_receptive_field_of_a_branch_is_the_larger_one():
    x = keras.Input((32, 32, 3))
    wide = layers.Conv2D(3, 5, padding="same")(layers.Conv2D(3, 3, padding="same")(x))
    assert last_field(keras.Model(x, layers.Add()([wide, x]))) == (7, 7)
    assert last_field(keras.Model(x, keras.ops.relu(wide + x))) == (7, 7)


def test_receptive_field_without_spatial_axes_is_none():
    assert last_field(chain((7,), layers.Dense(3))) is None


def test_receptive_field_of_an_unknown_layer_is_none():
    class Unknown(layers.Layer):
        def call(self, inputs):
            return inputs[:, ::-1]

    assert last_field(chain((8, 8, 3), Unknown())) is None


def test_receptive_fields_of_vgg16_are_those_of_the_literature():
    """212 pixels behind the last pooling; the recursion of Araujo et al., doi.org/10.23915/distill.00021."""
    fields = receptive_fields(keras.applications.VGG16(weights=None, include_top=False, input_shape=(64, 64, 3)))
    assert fields["block1_conv2"] == (5, 5)
    assert fields["block5_pool"] == (212, 212)


@pytest.mark.parametrize("function", [count_macs, receptive_fields])
@pytest.mark.parametrize("make", [lambda: "model", lambda: keras.Sequential([layers.Dense(3)])])
def test_models_without_a_graph_are_refused(function, make):
    with pytest.raises(ValueError, match=r"model must be (a keras\.Model|built)"):
        function(make())
