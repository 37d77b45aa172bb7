"""Backbones for other heads: strides, a segmentation and a detection head that train, and the fold of the backbone."""

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras import features, fold
from dirac_keras.errors import UserError
from dirac_keras.models import (
    build_diracnet,
    build_fastnet,
    build_highway,
    build_plainnet,
    build_resnet,
    build_van,
    build_vgg,
    build_wide_resnet,
)
from tests.folding.helpers import TOLERANCE, randomize, relative_difference

SHAPE = (16, 16, 3)
CONVOLUTIONAL = {
    "diracnet": lambda **of: build_diracnet(10, 0.25, input_shape=SHAPE, **of),
    "resnet": lambda **of: build_resnet(8, 0.25, input_shape=SHAPE, **of),
    "van": lambda **of: build_van("conv", 10, width=0.25, input_shape=SHAPE, **of),
    "wide_resnet": lambda **of: build_wide_resnet(10, 0.25, input_shape=SHAPE, **of),
    "vgg": lambda **of: build_vgg(11, 0.05, input_shape=SHAPE, **of),
    "highway": lambda **of: build_highway("conv", 7, width=0.1, input_shape=SHAPE, **of),
    "plainnet": lambda **of: build_plainnet("conv50", input_shape=SHAPE, **of),
    "fastnet": lambda **of: build_fastnet(5, 0.1, input_shape=SHAPE, **of),
}
DENSE = {
    "diracnet": lambda **of: build_diracnet(2, layout="dense", units=7, input_shape=(4,), **of),
    "resnet": lambda **of: build_resnet(2, layout="dense", units=7, input_shape=(4,), **of),
    "van": lambda **of: build_van("dense", 2, units=7, input_shape=(4,), **of),
    "highway": lambda **of: build_highway("dense", 2, units=7, input_shape=(4,), **of),
    "plainnet": lambda **of: build_plainnet("dense", 2, units=7, input_shape=(4,), **of),
}


@pytest.mark.parametrize("family", CONVOLUTIONAL)
def test_without_its_top_a_network_gives_features_over_places(family):
    whole, top = CONVOLUTIONAL[family](), CONVOLUTIONAL[family](include_top=False)
    names = [layer.name for layer in top.layers]
    assert names == [layer.name for layer in whole.layers][: len(names)]
    assert {layer.name for layer in whole.layers[len(names) :]} <= {"head_pool", "head_scale", "head_dense"}
    assert len(top.output_shape) == 4
    _, levels = features(top)
    assert levels[-1].layer == names[-1]
    assert levels[-1].channels == top.output_shape[-1]


@pytest.mark.parametrize("family", DENSE)
def test_without_its_top_a_dense_network_gives_units(family):
    assert DENSE[family](include_top=False).output_shape == (None, 7)
    assert DENSE[family](include_top=False).layers[-1].name != "head_dense"


def test_strides_and_channels_worked_by_hand():
    """16 pixels in groups of strides 1, 2, 4 and channels 4, 8, 16."""
    backbone, levels = features(build_resnet(8, 0.25, input_shape=SHAPE, include_top=False))
    assert [(level.strides, level.channels) for level in levels] == [((1, 1), 4), ((2, 2), 8), ((4, 4), 16)]
    assert [tensor.shape[1:] for tensor in backbone.outputs] == [(16, 16, 4), (8, 8, 8), (4, 4, 16)]


def test_what_only_scales_the_images_is_no_level():
    """As in EfficientNet, whose stem has strides; without weights behind it, it is all that there is."""
    inputs = keras.Input(SHAPE)
    scaled = layers.Normalization(mean=[0.5] * 3, variance=[0.1] * 3, name="norm")(layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, layers.Conv2D(4, 3, strides=2, name="stem")(scaled))
    assert [(level.layer, level.strides) for level in features(model)[1]] == [("stem", (2, 2))]
    assert [level.layer for level in features(keras.Model(inputs, scaled))[1]] == ["norm"]


def residual(shape=SHAPE, strided=True):
    """A stem and a bottleneck with its stride on the 3x3: its first layer has the strides of the stem."""
    inputs = keras.Input(shape)
    x = layers.ReLU(name="stem")(layers.Conv2D(4, 3, padding="same")(inputs))
    y = layers.Conv2D(2, 1, name="inside")(x)
    y = layers.Conv2D(4, 3, strides=2 if strided else 1, padding="same")(y)
    skip = layers.Conv2D(4, 1, strides=2)(x) if strided else x
    return keras.Model(inputs, layers.Flatten()(layers.Add(name="sum")([skip, y])))


def test_a_level_is_no_layer_inside_a_block():
    """As in ResNets, ResNeXts and RegNets, whose next block narrows the channels before its stride."""
    assert [(level.layer, level.channels) for level in features(residual())[1]] == [("stem", 4), ("sum", 4)]
    assert [level.layer for level in features(residual(strided=False))[1]] == ["sum"]


def test_the_layers_beside_one_that_is_read_later_are_levels_where_there_are_no_others():
    """As in a U-Net, whose finest features are read again at its end."""
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same", name="fine")(inputs)
    y = layers.Conv2D(4, 3, strides=2, padding="same", name="coarse")(x)
    y = layers.Conv2D(4, 3, padding="same", name="coarse2")(y)
    model = keras.Model(inputs, layers.Concatenate(name="end")([x, layers.UpSampling2D(2)(y)]))
    assert [level.layer for level in features(model)[1]] == ["end", "coarse2"]


@pytest.mark.parametrize(("shape", "sides"), [((24, 20, 3), (24, 20)), ((None, None, 3), (14, 18))])
def test_a_backbone_takes_images_of_another_size(shape, sides):
    """The model ends in Flatten: its backbone does not. Where the sizes are equal, so are the outputs."""
    model = randomize(residual())
    backbone, levels = features(model, input_shape=shape)
    fine, coarse = backbone(np.zeros((1, *sides, 3), "float32"))
    assert fine.shape == (1, *sides, 4) and coarse.shape == (1, sides[0] // 2, sides[1] // 2, 4)
    assert backbone.get_layer("inside") is model.get_layer("inside")
    assert [level.strides for level in levels] == [(1, 1), (2, 2)]
    again, _ = features(model, input_shape=SHAPE)
    images = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype("float32")
    for mine, theirs in zip(again(images), features(model)[0](images), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("shape", [(24, 20, 1), (24, 3), (24, 20, 0.5)])
def test_a_shape_that_the_layers_do_not_take_is_told(shape):
    with pytest.raises(UserError, match=r"input_shape must be one that the layers take\. Received input_shape=\(24, "):
        features(residual(), input_shape=shape)


class Scale(layers.Layer):
    """A layer that nobody knows, as LayerScale of ConvNeXt; `step` leaves places out."""

    def __init__(self, step=1, **kwargs):
        super().__init__(**kwargs)
        self.step = step

    def call(self, x):
        return 0.5 * x[:, :: self.step, :: self.step]


@pytest.mark.parametrize("side", [16, None])
def test_levels_go_on_behind_unknown_layers_that_give_as_many_places_as_they_read(side, caplog):
    inputs = keras.Input((side, side, 3))
    x = Scale()(layers.Conv2D(4, 3, strides=2, padding="same", name="first")(inputs))
    model = keras.Model(inputs, layers.Conv2D(6, 3, strides=2, padding="same", name="second")(x))
    _, levels = features(model)
    assert [(level.strides, level.channels) for level in levels] == [((2, 2), 4), ((4, 4), 6)]
    assert not caplog.records


def test_levels_that_an_unknown_layer_hides_are_said(caplog):
    inputs = keras.Input(SHAPE)
    x = Scale(2, name="leaps")(layers.Conv2D(4, 3, padding="same", name="first")(inputs))
    model = keras.Model(inputs, layers.Conv2D(6, 3, strides=2, padding="same", name="second")(x))
    assert [level.layer for level in features(model)[1]] == ["first"]
    assert "layers behind 'leaps' are no levels" in caplog.text and "second" not in caplog.text


def test_the_layers_asked_for_come_in_their_order():
    model = build_diracnet(10, 0.25, input_shape=SHAPE)
    backbone, levels = features(model, ["group3_block1_bn", "group1_block1_bn"])
    assert [level.strides for level in levels] == [(4, 4), (1, 1)]
    assert [tensor.shape[1] for tensor in backbone.outputs] == [4, 16]


def test_one_layer_may_be_asked_for_by_its_name_alone():
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(5, 3, strides=2, name="conv")(inputs)
    backbone, (level,) = features(keras.Model(inputs, layers.ReLU()(x)), "conv")
    assert (level.layer, level.strides, level.channels) == ("conv", (2, 2), 5) and len(backbone.outputs) == 1


def test_channels_in_the_first_place_stay_there_behind_layers_that_do_not_say_so():
    inputs = keras.Input((3, 8, 6))
    x = layers.Conv2D(5, 1, data_format="channels_first", name="conv")(inputs)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(axis=1, name="norm")(x))
    _, levels = features(keras.Model(inputs, x), ["conv", "norm", "relu"])
    assert [level.channels for level in levels] == [5, 5, 5]


@pytest.mark.parametrize("names", [["nowhere"], "nowhere", 3, ["head_dense"], []])
def test_layers_that_have_no_places_are_named(names):
    with pytest.raises(UserError, match="layers must be names of layers with channels over places"):
        features(build_diracnet(10, 0.25, input_shape=SHAPE), names)


def segmentation(backbone, levels):
    """Every level at the size of the finest, added; two classes for each pixel."""
    sums = [
        layers.UpSampling2D(level.strides[0])(layers.Conv2D(4, 1)(tensor))
        for level, tensor in zip(levels, backbone.outputs, strict=True)
    ]
    return keras.Model(backbone.input, layers.Conv2D(2, 1)(layers.Add()(sums)))


def detection(backbone, levels):
    """For each position of the two coarsest levels one box and one score."""
    rows = [layers.Reshape((-1, 5))(layers.Conv2D(5, 3, padding="same")(tensor)) for tensor in backbone.outputs[-2:]]
    return keras.Model(backbone.input, layers.Concatenate(axis=1)(rows))


@pytest.mark.slow
@pytest.mark.parametrize(("head", "shape"), [(segmentation, (16, 16, 2)), (detection, (8 * 8 + 4 * 4, 5))])
def test_a_backbone_trains_under_another_head_and_folds(head, shape):
    keras.utils.set_random_seed(0)
    backbone, levels = features(build_diracnet(10, 0.25, input_shape=SHAPE, include_top=False))
    model = head(backbone, levels)
    assert model.output_shape[1:] == shape
    images = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype("float32")
    before = [keras.ops.convert_to_numpy(weight) for weight in backbone.trainable_weights]
    model.compile("sgd", "mse")
    model.fit(images, np.ones((4, *shape), "float32"), epochs=1, verbose=0)
    after = [keras.ops.convert_to_numpy(weight) for weight in backbone.trainable_weights]
    assert sum(np.any(a != b) for a, b in zip(before, after, strict=True)) > len(before) / 2
    randomize(model)
    folded, report = fold(model)
    assert not report.kept
    assert relative_difference(model, folded) < TOLERANCE


@pytest.mark.slow
def test_the_backbone_alone_folds_with_all_its_outputs():
    backbone, _ = features(randomize(build_resnet(8, 0.25, input_shape=SHAPE, include_top=False)))
    folded, _ = fold(backbone)
    images = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype("float32")
    for mine, theirs in zip(backbone(images), folded(images), strict=True):
        mine, theirs = map(keras.ops.convert_to_numpy, (mine, theirs))
        assert np.abs(mine - theirs).max() < TOLERANCE * np.abs(mine).max()


def test_a_sequential_that_was_loaded_has_features_too(tmp_path):
    """Keras gives `input` to a Sequential that was built by hand, but not to one out of a file."""
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3, name="conv"), layers.Flatten()])
    model.save(tmp_path / "net.keras")
    backbone, levels = features(keras.saving.load_model(tmp_path / "net.keras"), ["conv"])
    images = np.random.default_rng(0).random((2, 8, 8, 3), "float32")
    (found,) = keras.tree.flatten(backbone(images))
    np.testing.assert_allclose(found, model.get_layer("conv")(images), rtol=1e-6)
    assert [level.channels for level in levels] == [4]


def _called_again(before):
    """`(model, layers)`: two convolutions that another model has called first, behind a layer of their own."""
    inputs = keras.Input(SHAPE)
    shared = [layers.Conv2D(4, 3, padding="same", name="fine"), layers.Conv2D(4, 3, 2, "same", name="coarse")]
    keras.Sequential([inputs, *shared])
    x = before(inputs)
    for layer in shared:
        x = layer(x)
    return randomize(keras.Model(inputs, x))


def test_layers_that_another_model_called_first_give_what_they_give_in_this_one():
    model = _called_again(layers.Rescaling(3.0))
    backbone, levels = features(model)
    assert [level.layer for level in levels] == ["fine", "coarse"]
    last = keras.Model(backbone.input, backbone.outputs[-1])
    assert relative_difference(model, last) == 0.0  # the same layers on the same numbers


def test_layers_of_a_model_on_other_inputs_are_found():
    base = _called_again(layers.Rescaling(3.0))
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, base.get_layer("coarse")(base.get_layer("fine")(inputs)))
    backbone, _ = features(model, "coarse")
    assert relative_difference(model, keras.Model(backbone.input, backbone.outputs[0])) == 0.0


def test_a_layer_that_is_called_twice_is_no_level():
    inputs = keras.Input(SHAPE)
    shared = layers.Conv2D(3, 3, 2, "same", name="shared")
    model = keras.Model(inputs, layers.ReLU(name="relu")(shared(shared(inputs))))
    assert [level.layer for level in features(model)[1]] == ["relu"]
    with pytest.raises(UserError, match=r"that the model calls once\. Received 'shared', which .* calls 2 times"):
        features(model, "shared")


def test_a_model_without_places_is_told_so():
    inputs = keras.Input((4,))
    with pytest.raises(UserError, match="model must have layers that give channels over places"):
        features(keras.Model(inputs, layers.Dense(2)(inputs)))
