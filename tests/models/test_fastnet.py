import itertools

import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.initializers import DiracStart
from dirac_keras.layers import DiracConv2D, Gelu, WhitenedConv2D
from dirac_keras.models import build_fastnet
from tests.network_checks import check_network, images_for, outputs_of, trainable_parameters

SMALL = {"width": 0.1, "num_classes": 4, "input_shape": (12, 12, 3)}


def test_network_is_airbench94s():
    """Table of arXiv:2404.00498, appendix A: 1.97 M parameters; sides 31, 15, 7, 3 and one pixel."""
    model = build_fastnet()
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    channels = (24, 64, 64, 256, 256, 256, 256)
    expected = 9 * sum(a * b for a, b in itertools.pairwise(channels)) + 256 * 10  # kernels
    expected += 2 * 64 + 4 * 256  # beta of each normalization
    assert [layer.filters for layer in convolutions] == list(channels)
    assert trainable_parameters(model) == expected and round(expected / 1e6, 2) == 1.97
    assert [layer.output.shape[1] for layer in convolutions] == [31, 31, 15, 15, 7, 7, 3]
    assert isinstance(convolutions[0], WhitenedConv2D)
    assert not any(layer.scale for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))


@pytest.mark.slow
def test_network_does_all_that_a_network_must(tmp_path):
    check_network(lambda: build_fastnet(5, **SMALL), tmp_path, joins=False)


@pytest.mark.parametrize(("activation", "layer"), [("gelu", Gelu), ("relu", keras.layers.ReLU)])
def test_activation_stands_behind_every_convolution(activation, layer):
    model = build_fastnet(5, activation=activation, **SMALL)
    assert [one.name for one in model.layers if type(one) is layer] == [
        "whiten_act", "group1_conv1_act", "group2_conv1_act", "group3_conv1_act",
    ]  # fmt: skip


def test_dirac_layers_take_the_place_of_the_start(tmp_path):
    model = build_fastnet(5, parameterization="dirac", filter_scale=0.3, **SMALL)
    layers = [layer for layer in model.layers if isinstance(layer, DiracConv2D)]
    assert len(layers) == 3
    np.testing.assert_allclose(ops.convert_to_numpy(layers[0].filter_scale), 0.3, rtol=1e-6)


def test_start_is_the_identity_in_the_first_filters_and_random_in_the_others():
    """Five filters of two channels: two pass a channel on; three have 18 numbers within 1 / sqrt(18)."""
    kernel = ops.convert_to_numpy(DiracStart(seed=1)((3, 3, 2, 5)))
    identity = np.zeros((3, 3, 2, 2))
    identity[1, 1] = np.eye(2)
    np.testing.assert_array_equal(kernel[..., :2], identity)
    others = kernel[..., 2:]
    assert 0.8 / np.sqrt(18) < np.abs(others).max() <= 1 / np.sqrt(18) and len(np.unique(others)) == 54
    narrow = ops.convert_to_numpy(DiracStart()((1, 1, 3, 2)))
    np.testing.assert_array_equal(narrow[0, 0], np.eye(3)[:, :2])


def test_start_is_the_same_after_its_config_and_another_in_each_layer():
    start = DiracStart.from_config(DiracStart(seed=1).get_config())
    shape = (3, 3, 2, 5)
    np.testing.assert_array_equal(*(ops.convert_to_numpy(one(shape)) for one in (start, DiracStart(seed=1))))
    model = build_fastnet(8, width=0.5, input_shape=(9, 9, 1))
    first, second = (model.get_layer(f"group2_conv{k}").get_weights()[0] for k in (1, 2))
    assert not np.array_equal(second[..., :32, :], first)


@pytest.mark.parametrize(
    ("shape", "pools"), [((32, 32, 3), 3), ((8, 8, 1), 2), ((3, 3, 1), 1), ((64, 48, 3), 3), ((None, None, 3), 3)]
)
def test_images_of_any_size_are_taken(shape, pools):
    """A side of 8 pixels is 7 behind the whitened convolution, then 3 and 1, which is not halved."""
    model = build_fastnet(5, width=0.1, input_shape=shape)
    assert sum(isinstance(layer, keras.layers.MaxPooling2D) for layer in model.layers) == pools
    if None not in shape:
        assert outputs_of(model, images_for(model, count=2)).shape == (2, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 28}, r"depth must be 3 N \+ 2. Received depth=28; the nearest are 26 and 29"),
        ({"activation": "tanh"}, r"activation must be one of gelu, relu. Received activation='tanh'"),
        ({"parameterization": "skip"}, r"parameterization must be one of dirac, .* Received parameterization='skip'"),
        ({"input_shape": (2, 2, 1)}, r"at least 3 x 3 pixels here\. Received \(2, 2, 1\): give larger images"),
        ({"head_scale": 0}, r"head_scale must be a number above 0"),
    ],
)
def test_argument_that_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_fastnet(**arguments)
