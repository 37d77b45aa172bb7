import keras
import numpy as np
import pytest

from dirac_keras import fold
from dirac_keras.models import build_vgg
from tests.network_checks import check_network, images_for, outputs_of, randomize, trainable_parameters


def kernel_shapes(model):
    return [tuple(layer.kernel.shape) for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "name"), [(16, "VGG16"), (19, "VGG19")])
def test_folded_network_has_the_convolutions_of_keras_applications(depth, name):
    theirs = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(32, 32, 3))
    ours = build_vgg(depth)
    assert kernel_shapes(ours) == kernel_shapes(theirs)
    folded, _ = fold(ours, verify=False)
    assert folded.count_params() == theirs.count_params() + 512 * 10 + 10


@pytest.mark.slow
def test_folded_network_computes_what_keras_applications_does():
    """Theirs, up to the last convolution, with our folded weights; then the head, a mean and a matrix."""
    ours = randomize(build_vgg(16, num_classes=3, input_shape=(32, 32, 3)))
    folded, _ = fold(ours, verify=False)
    theirs = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    sources = [layer for layer in folded.layers if isinstance(layer, keras.layers.Conv2D)]
    targets = [layer for layer in theirs.layers if isinstance(layer, keras.layers.Conv2D)]
    for source, target in zip(sources, targets, strict=True):
        target.set_weights(source.get_weights())
    images = images_for(ours, count=2)
    features = outputs_of(keras.Model(theirs.input, targets[-1].output), images).mean(axis=(1, 2))
    kernel, bias = ours.get_layer("head_dense").get_weights()
    expected = features @ kernel + bias
    # Sixteen layers of float32; a wrong layer is off by the outputs' size.
    assert np.abs(outputs_of(ours, images) - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.slow
def test_the_16_convolutions_have_the_20_million_parameters_of_diracnets_table_2():
    model = build_vgg(19)
    assert len(kernel_shapes(model)) == 16
    assert round(trainable_parameters(model) / 1e6) == 20


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_depth_counts_the_three_dense_layers_of_the_original(depth):
    assert len(kernel_shapes(build_vgg(depth, width=0.03))) == depth - 3


@pytest.mark.slow
def test_network_does_all_that_a_network_must(tmp_path):
    check_network(lambda: build_vgg(11, 0.0625, 4, (16, 16, 3)), tmp_path, joins=False)


def test_layers_are_named_by_position():
    model = build_vgg(11, width=0.1)
    names = [layer.name for layer in model.layers]
    assert names[:6] == [
        "images",
        "group1_conv1",
        "group1_conv1_bn",
        "group1_conv1_relu",
        "group2_pool",
        "group2_conv1",
    ]
    assert names[-3:] == ["group5_conv2_relu", "head_pool", "head_dense"]
    assert model.get_layer("group5_conv2").output.shape == (None, 2, 2, 51)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 12}, r"depth must be 11, 13, 16 or 19. Received depth=12"),
        ({"depth": "16"}, r"Received depth='16'"),
        ({"width": 0}, r"width must be a number above 0"),
        ({"num_classes": -1}, r"num_classes must be a whole number above 0"),
        ({"kernel_initializer": "he"}, r"kernel_initializer must be a Keras initializer"),
        ({"input_shape": (8, 8, 3)}, r"at least 16 x 16 pixels"),
    ],
)
def test_bad_argument_gets_a_message_that_names_it(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_vgg(**arguments)
