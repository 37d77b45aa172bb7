"""What a position sees: boxes by hand, against the gradient, against the sizes of `receptive_fields`."""

import keras
import numpy as np
import pytest

import dirac_keras
from dirac_keras.errors import UserError
from dirac_keras.explanation import receptive_field, receptive_fields_by_depth
from dirac_keras.explanation.opened import open_network
from dirac_keras.graph.receptive_boxes import receptive_box
from dirac_keras.graph.receptive_fields import receptive_fields
from tests.explanation.networks import images, linear, randomized

LAYERS = keras.layers


def chain(side, *layers, channels=1):
    inputs = x = keras.Input((side, side, channels))
    for layer in layers:
        x = layer(x)
    x = LAYERS.GlobalAveragePooling2D(name="mean")(x)
    return randomized(keras.Model(inputs, LAYERS.Dense(2, name="head")(x)))


def box_of(model, layer, position):
    graph, _ = open_network(model, [(None, *model.input_shape[1:])])
    (tensor,) = [call.outputs[0] for call in graph.calls if call.path == layer]
    return receptive_box(graph, tensor, position)


def test_boxes_by_hand():
    """Padding "same", side 8, stride 2, 3 taps: 1 pixel in all, which goes behind; position p sees 2p to 2p + 2."""
    model = chain(
        9,
        LAYERS.Conv2D(1, 2, name="valid"),  # 8: p .. p+1
        LAYERS.Conv2D(1, 3, strides=2, padding="same", name="strided"),  # 4: 2p .. 2p+2 of those
        LAYERS.Conv2D(1, 3, padding="same", dilation_rate=2, name="dilated"),  # 4: p-2 .. p+2
    )
    assert box_of(model, "valid", (3, 4)) == ((3, 4), (4, 5))
    assert box_of(model, "strided", (1, 0)) == ((2, 5), (0, 3))
    assert box_of(model, "dilated", (1, 2)) == ((-2, 9), (0, 11))
    assert box_of(model, "mean", ()) == "all"


CHAINS = {
    "same": lambda: [LAYERS.Conv2D(2, 3, padding="same"), LAYERS.Conv2D(2, 3, strides=2, padding="same", name="last")],
    "padded": lambda: [
        LAYERS.ZeroPadding2D(((2, 1), (0, 3))),
        LAYERS.Conv2D(2, 3, strides=2),
        LAYERS.Cropping2D(((1, 0), (0, 1))),
        LAYERS.Conv2D(2, 2, name="last"),
    ],
    "pooled": lambda: [
        LAYERS.Conv2D(2, 3, padding="same"),
        LAYERS.AveragePooling2D(3, 2, padding="same"),
        LAYERS.BatchNormalization(),
        LAYERS.Activation("tanh", name="last"),
    ],
    "enlarged": lambda: [LAYERS.AveragePooling2D(2), LAYERS.UpSampling2D(2), LAYERS.Conv2D(2, 3, name="last")],
    "separable": lambda: [LAYERS.DepthwiseConv2D(3, padding="same"), LAYERS.SeparableConv2D(2, 5, name="last")],
}


@pytest.mark.parametrize("name", CHAINS)
def test_the_box_is_what_the_gradient_reaches_inside_the_image(name):
    model = chain(11, *CHAINS[name]())
    found = receptive_field(model, images(2, 11, 1), layer="last")
    rows, columns = np.nonzero(found.effective.sum(axis=1))[0], np.nonzero(found.effective.sum(axis=0))[0]
    top, left, bottom, right = found.box
    assert (max(top, 0), min(bottom, 10)) == (rows.min(), rows.max())
    assert (max(left, 0), min(right, 10)) == (columns.min(), columns.max())
    assert found.effective.max() == 1.0 and found.effective.shape == (11, 11)


@pytest.mark.parametrize(
    ("interpolation", "taps"), [("nearest", 1), ("bilinear", 2), ("bicubic", 4), ("lanczos3", 6), ("lanczos5", 10)]
)
@pytest.mark.parametrize("factor", [2, 3])
def test_an_enlargement_sees_the_pixels_that_its_interpolation_takes(interpolation, taps, factor):
    """Of side 12 the middle position of the result lies between pixels 5 and 6, by either factor."""
    model = chain(12, LAYERS.UpSampling2D(factor, interpolation=interpolation), LAYERS.Conv2D(1, 1, name="last"))
    found = receptive_field(model, images(2, 12, 1), layer="last")
    rows = np.flatnonzero(found.effective.sum(axis=1))
    assert found.box[::2] == found.box[1::2] == (rows.min(), rows.max())
    assert found.sides == receptive_fields(model)["last"] == (taps, taps)


def test_the_sides_are_those_of_the_chain_and_the_effective_one_is_no_larger():
    model = chain(24, *[LAYERS.Conv2D(2, 3, padding="same", name=f"conv{k}") for k in range(5)])
    by_depth = receptive_fields_by_depth(model, images(2, 24, 1))
    sizes = receptive_fields(model)
    assert [one.layer for one in by_depth] == [f"conv{k}" for k in range(5)]
    assert [one.depth for one in by_depth] == [1, 2, 3, 4, 5]
    assert [one.sides for one in by_depth] == [sizes[one.layer] for one in by_depth]
    assert [one.sides for one in by_depth] == [(2 * k + 3,) * 2 for k in range(5)]
    assert all(one.effective_side <= one.sides[0] for one in by_depth)
    found = receptive_fields_by_depth(model, images(2, 24, 1), layer="conv1")
    assert [one.layer for one in found] == ["conv0", "conv1"]
    some = receptive_fields_by_depth(model, images(2, 24, 1), most=3)
    assert [one.layer for one in some] == ["conv0", "conv3", "conv4"]


def test_where_branches_meet_the_box_holds_both():
    inputs = keras.Input((9, 9, 1))
    x = LAYERS.Conv2D(2, 3, padding="same")(inputs)
    x = LAYERS.Add(name="sum")([x, LAYERS.Conv2D(2, 5, padding="same")(inputs)])
    model = keras.Model(inputs, LAYERS.Dense(2)(LAYERS.GlobalAveragePooling2D()(x)))
    assert box_of(model, "sum", (4, 4)) == ((2, 6), (2, 6))


def test_a_layer_of_unknown_type_has_no_box_but_an_effective_field():
    class Own(LAYERS.Layer):
        def call(self, inputs):
            return inputs * 2.0

    model = chain(8, LAYERS.Conv2D(2, 3), Own(name="own"))
    found = receptive_field(model, images(1, 8, 1), layer="own")
    assert found.box is None and found.sides is None and found.effective_side <= 3.0  # a 3x3 kernel


def test_a_network_without_positions_has_no_receptive_field():
    with pytest.raises(UserError, match="has no receptive fields"):
        receptive_field(linear(8, 3), images())


def test_scales_of_dirac_layers_stand_beside():
    layer = dirac_keras.layers.DiracConv2D(3, 3, name="dirac")
    model = chain(8, LAYERS.Conv2D(3, 1, name="stem"), layer)
    layer.identity_scale.assign([0.5, 1.0, 1.5])
    layer.filter_scale.assign([0.1, -0.1, 0.3])
    stem, dirac = receptive_fields_by_depth(model, images(1, 8, 1))
    assert stem.scales is None
    assert (dirac.scales.identity_scale_mean, dirac.scales.filter_scale_mean) == pytest.approx((1.0, 0.1))
    assert dirac.record()["scales"]["filter_scale_min"] == pytest.approx(0.1)
