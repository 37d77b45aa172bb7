"""Explanations of models of every form."""

import keras
import numpy as np
import pytest

import dirac_keras
from dirac_keras.errors import RunError, UserError
from tests.explanation.networks import QUICK, Block, Subclassed, convolutional, images, linear, randomized


def nested(backbone, *, deep=False):
    """The backbone's convolutions as a model in a Sequential, or two levels deep, under another head."""
    body = keras.Model(backbone.input, backbone.get_layer("last").output, name="backbone")
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4, name="top")]
    if deep:
        inputs = keras.Input((8, 8, 3))
        body = keras.Model(inputs, body(inputs), name="wrapper")
    model = keras.Sequential([keras.Input((8, 8, 3)), body, *layers], name="user")
    model.layers[-1].set_weights(backbone.get_layer("head").get_weights())
    return model


@pytest.mark.parametrize("deep, path", [(False, "backbone/last"), (True, "wrapper/backbone/last")])
def test_a_backbone_in_a_sequential_has_the_maps_of_the_flat_model(deep, path):
    flat, x = convolutional(), images()
    model = nested(flat, deep=deep)
    for method, options in QUICK.items():
        expected = dirac_keras.explain(flat, x, method, target=1, **options)
        found = dirac_keras.explain(model, x, method, target=1, **options)
        np.testing.assert_allclose(found.maps, expected.maps, rtol=1e-5, atol=1e-6)
    assert dirac_keras.explain(model, x).layer == path
    assert dirac_keras.explain(model, x, layer="first").layer == path.replace("last", "first")


@pytest.mark.slow
def test_layers_of_layers_and_subclassed_models_are_opened():
    model, x = Subclassed(name="own"), images()
    model(x)
    randomized(model)
    found = dirac_keras.explain(model, x, target=2)
    assert found.layer == "block/norm"  # the sum behind it is an operation, no layer
    assert dirac_keras.explain(model, x, layer="conv").layer == "block/conv"
    every = np.array([dirac_keras.explain(model, x, target=[k] * 3).scores for k in range(3)]).T
    shares = np.exp(every) / np.exp(every).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, model.predict(x, verbose=0), rtol=1e-4)
    integrated = dirac_keras.explain(model, x, "integrated_gradients", target=2, steps=128)
    np.testing.assert_allclose(integrated.gaps, 0.0, atol=0.02)  # of scores near 1; the ReLU's corners are cut


def test_a_layer_of_layers_in_a_functional_model_is_opened():
    inputs = keras.Input((8, 8, 3))
    x = Block(4, name="one")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(Block(4, name="two")(x))
    model = randomized(keras.Model(inputs, keras.layers.Dense(3)(x)))
    names = ["one/conv", "one/norm", "two/conv", "two/norm"]
    for name in names:
        assert dirac_keras.explain(model, images(), layer=name).layer == name
    with pytest.raises(UserError, match=r"(?s)several are called 'conv': one/conv, two/conv\. Give the whole path"):
        dirac_keras.explain(model, images(), layer="conv")


@pytest.mark.slow
def test_a_backbone_of_keras_applications_in_a_sequential():
    backbone = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    layers = [keras.layers.RandomFlip(), keras.layers.Rescaling(1 / 127.5, -1.0), backbone]
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax", name="top")]
    model = keras.Sequential([keras.Input((32, 32, 3)), *layers, *head])
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    found = dirac_keras.explain(model, pixels, target=1, layer="block_12_add")
    assert found.layer == "mobilenetv2_0.35_32/block_12_add" and found.maps.shape == (2, 32, 32)
    assert dirac_keras.explain(model, pixels, layer="block_6_expand").coarse.shape == (2, 4, 4)
    for method in ("integrated_gradients", "occlusion"):
        options = QUICK[method] if method == "integrated_gradients" else {"window": 16}
        np.testing.assert_allclose(
            dirac_keras.explain(model, pixels, method, target=1, **options).probabilities,
            model.predict(pixels, verbose=0)[:, 1],
            rtol=1e-4,
        )


def test_a_layer_called_twice_has_two_places():
    inputs, shared = keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 3, padding="same", name="shared")
    x = shared(shared(inputs))
    model = randomized(keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))))
    assert dirac_keras.explain(model, images()).layer == "shared#2"
    first, second = (dirac_keras.explain(model, images(), layer=name).coarse for name in ("shared", "shared#2"))
    assert np.abs(first - second).max() > 1e-3


def test_a_dense_network_refuses_grad_cam_and_takes_the_others():
    model, x = linear(8, 3), images()
    with pytest.raises(UserError, match=r'no layer that can be read has positions.*`method="occlusion"`'):
        dirac_keras.explain(model, x)
    for method in ("integrated_gradients", "occlusion"):
        assert dirac_keras.explain(model, x, method, **QUICK[method]).maps.shape == (3, 8, 8)


@pytest.mark.slow
def test_folding_leaves_the_maps_as_they_are():
    """Within float32: 1e-7 an operation, some thousand of them."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    for _ in range(2):
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(dirac_keras.layers.DiracConv2D(4, 3)(x)))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = randomized(keras.Model(inputs, keras.layers.Dense(4)(x)))
    folded, _ = dirac_keras.fold(model)
    dirac_keras.assert_plain(folded)
    for method, options in QUICK.items():
        before, after = (
            dirac_keras.explain(one, images(4), method, target=[0, 1, 2, 3], **options) for one in (model, folded)
        )
        scale = np.abs(before.maps).max()
        assert scale > 0
        np.testing.assert_allclose(after.maps, before.maps, atol=1e-4 * scale)


def test_augmentation_and_dropout_in_the_model_do_nothing():
    plain, x = convolutional(), images()
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.RandomFlip(), keras.layers.GaussianNoise(1.0), plain]
    )
    for method, options in QUICK.items():
        expected = dirac_keras.explain(plain, x, method, target=1, **options).maps
        np.testing.assert_allclose(dirac_keras.explain(model, x, method, target=1, **options).maps, expected, atol=1e-6)


def test_pixels_as_whole_numbers_are_explained_like_floats():
    plain = convolutional()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("uint8")

    def build(dtype):
        inputs = keras.Input((8, 8, 3), dtype=dtype)
        return keras.Model(inputs, plain(keras.layers.Rescaling(1 / 255)(inputs)))

    for method, options in QUICK.items():
        expected = dirac_keras.explain(build("float32"), pixels.astype("float32"), method, target=1, **options).maps
        found = dirac_keras.explain(build("uint8"), pixels, method, target=1, **options).maps
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_network_of_low_precision_is_explained_in_float32():
    model = convolutional()
    config = keras.dtype_policies.DTypePolicy("mixed_float16")
    low = keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config({**layer.get_config(), "dtype": config})
    )
    low.set_weights(model.get_weights())
    for method, options in QUICK.items():
        expected = dirac_keras.explain(model, images(), method, target=1, **options).maps
        np.testing.assert_allclose(
            dirac_keras.explain(low, images(), method, target=1, **options).maps, expected, atol=1e-6
        )


@pytest.mark.slow
def test_open_sizes_fixed_batches_and_parts_give_the_same_maps():
    model, x = convolutional(side=None), images(5)
    fixed = keras.models.clone_model(model, input_tensors=keras.Input(batch_shape=(2, 8, 8, 3)))
    fixed.set_weights(model.get_weights())
    for method, options in QUICK.items():
        expected = dirac_keras.explain(model, x, method, target=1, **options).maps
        for other, size in ((model, 2), (fixed, 16)):
            found = dirac_keras.explain(other, x, method, target=1, batch_size=size, **options)
            np.testing.assert_allclose(found.maps, expected, atol=1e-6)


def test_a_model_whose_layers_do_not_show_what_it_does_is_refused():
    class Scaled(keras.layers.Layer):
        """Does in `__call__` what `call` does not show."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = keras.layers.Conv2D(2, 3)

        def call(self, inputs):
            return self.inner(inputs)

        def __call__(self, *args, **kwargs):
            return 2.0 * super().__call__(*args, **kwargs)

    inputs = keras.Input((8, 8, 3))
    layer = Scaled(name="scaled")
    x = keras.layers.Flatten()(layer(inputs))
    model = randomized(keras.Model(inputs, keras.layers.Dense(2)(x)))
    try:
        found = dirac_keras.explain(model, images(), target=0)
    except RunError as error:
        assert "does something that its layers do not show" in str(error)
    else:
        np.testing.assert_allclose(found.scores, model.predict(images(), verbose=0)[:, 0], rtol=1e-4)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"method": "grad_cam"}, r"method must be one of gradcam, .*'grad_cam'.*Did you mean gradcam"),
        ({"target": "ct", "class_names": ["cat", "dog", "cow", "hen"]}, r"target='ct'. Names: cat.*Did you mean cat"),
        ({"target": 4}, r"number, 0 to 3. Received target=4"),
        ({"target": True}, r"Received target=True"),
        ({"target": [0, 1]}, r"one for each of the 3 images. Received 2"),
        ({"class_names": ["a", "b"]}, r"class_names: the model has 4 classes. Received 2"),
        ({"layer": "lst"}, r"layer='lst'. Did you mean last.*There are first, pool, last"),
        ({"steps": 3}, r"steps is for integrated_gradients. Received steps=3 with method='gradcam'"),
        ({"method": "integrated_gradients", "steps": 0}, r"steps must be a whole number from 1"),
        ({"method": "integrated_gradients", "baseline": np.zeros((7, 7, 3))}, r"fits images of shape \(3, 8, 8, 3\)"),
        ({"method": "integrated_gradients", "baseline": float("nan")}, r"baseline holds values that are not finite"),
        ({"method": "occlusion", "window": 9}, r"window must fit into the images, 8x8. Received 9x9"),
        ({"method": "occlusion", "window": 2, "stride": 3}, r"stride must not exceed the window"),
        ({"task": "class"}, r"task must be one of classes, labels, values"),
        ({"images": images()[0]}, r"Give images\[None\] for one image"),
        ({"images": images() * np.nan}, r"not finite"),
        ({"images": images(channels=4)}, r"takes images of shape \(8, 8, 3\)\. Received \(8, 8, 4\)"),
        ({"batch_size": 0}, r"batch_size must be a whole number from 1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    arguments = {"images": images(), **arguments}
    with pytest.raises(UserError, match=message):
        dirac_keras.explain(convolutional(), **arguments)


def test_models_that_cannot_be_explained_are_refused():
    with pytest.raises(UserError, match=r"must be a built keras\.Model"):
        dirac_keras.explain(keras.Sequential([keras.layers.Dense(2)]), images())
    inputs = keras.Input((8, 8, 3))
    two = keras.Model(inputs, [keras.layers.Flatten()(inputs), inputs])
    with pytest.raises(UserError, match="1 inputs and 2 outputs; one of each is explained"):
        dirac_keras.explain(two, images())
    other = keras.Input((8, 8, 3))
    both = keras.Model([inputs, other], keras.layers.Flatten()(keras.layers.Add()([inputs, other])))
    with pytest.raises(UserError, match="2 inputs and 1 outputs; one of each is explained"):
        dirac_keras.explain(both, images())
    with pytest.raises(UserError, match=r"one row of numbers for each image"):
        dirac_keras.explain(keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs)), images())
