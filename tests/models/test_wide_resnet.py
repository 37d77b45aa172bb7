import types

import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.layers import DiracConv2D
from dirac_keras.models import build_wide_resnet
from dirac_keras.models.family import find_family
from dirac_keras.training.config import TrainConfig
from tests.network_checks import branches, check_network, images_for, outputs_of, randomize, trainable_parameters

SMALL = {"depth": 10, "width": 0.5, "num_classes": 4, "input_shape": (8, 8, 3)}


@pytest.mark.slow
def test_wrn_28_10_has_exactly_the_authors_parameters():
    """36.5 M in the paper."""
    assert trainable_parameters(build_wide_resnet(28, 10)) == 36_479_194


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "width", "millions"), [(40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (16, 8, 11.0)])
def test_parameters_are_those_of_the_papers_table(depth, width, millions):
    assert round(trainable_parameters(build_wide_resnet(depth, width)) / 1e6, 1) == millions


def test_parameters_by_hand():
    """A stem of 16, one block a group of 8, 16, 32 channels on one input channel, two classes."""
    model = build_wide_resnet(10, 0.5, num_classes=2, input_shape=(8, 8, 1))
    convolutions = 9 * (16 + (16 * 8 + 8 * 8) + (8 * 16 + 16 * 16) + (16 * 32 + 32 * 32))
    projections = 16 * 8 + 8 * 16 + 16 * 32
    normalizations = 2 * ((16 + 8) + (8 + 16) + (16 + 32) + 32)
    assert trainable_parameters(model) == convolutions + projections + normalizations + (32 * 2 + 2)


def test_depth_counts_the_convolutions_of_a_wide_net():
    """`6 N + 4`: the stem, two a block, and a projection in every group."""
    model = build_wide_resnet(16, 2)
    assert len([layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]) == 16


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [{}, {"skips": False}, {"sigma": 0.1}], ids=str)
def test_network_does_all_that_a_network_must(arguments, tmp_path):
    check_network(lambda: build_wide_resnet(**SMALL, **arguments), tmp_path, joins=arguments.get("skips", True))


def test_skip_of_a_block_without_projection_is_its_input_before_the_activation():
    model = randomize(build_wide_resnet(10, 1, input_shape=(8, 8, 3)))
    kernel = model.get_layer("group1_block1_conv2").kernel
    kernel.assign(np.zeros(kernel.shape))
    ends = [model.get_layer(name).output for name in ("conv1", "group1_block1_add")]
    before, behind = keras.Model(model.input, ends)(images_for(model))
    np.testing.assert_array_equal(ops.convert_to_numpy(behind), ops.convert_to_numpy(before))


def test_plain_net_has_neither_adds_nor_projections():
    plain = build_wide_resnet(10, 2, skips=False)
    assert not branches(plain)
    assert not [layer for layer in plain.layers if "projection" in layer.name]


def test_dirac_net_computes_what_the_ordinary_net_does_with_its_effective_kernels():
    dirac = randomize(build_wide_resnet(sigma=0.1, **SMALL))
    plain = build_wide_resnet(**SMALL)
    for layer in plain.layers:
        source = dirac.get_layer(layer.name) if layer.weights else None
        if isinstance(source, DiracConv2D):
            layer.kernel.assign(source.effective_kernel())
        elif source is not None:
            layer.set_weights(source.get_weights())
    images = images_for(dirac)
    expected = outputs_of(plain, images)
    # Ten layers of float32 sums; the identity left out is off by the outputs' size.
    assert np.abs(outputs_of(dirac, images) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_all_weights_start_with_sigma_whatever_their_shape():
    """Means of 400 to 9216 squares: five of their standard deviations are at most 18 % of the variance."""
    model = build_wide_resnet(10, sigma=0.01)
    kernels = {layer.name: ops.convert_to_numpy(layer.kernel) for layer in model.layers if hasattr(layer, "kernel")}
    assert len(kernels) == 1 + 3 * 2 + 2 + 1
    for name, kernel in kernels.items():
        spread = 5 * np.sqrt(2 / kernel.size)
        assert abs(np.mean(kernel**2) / 0.01**2 - 1) <= spread, name


def test_orthogonal_start_beside_sigma_is_one_times_sigma():
    """Columns of W are orthogonal and of length sigma, in the classifier too; the identity is not among them."""
    config = TrainConfig(family="wide_resnet", depth=10, width=0.25, sigma=0.01, kernel_initializer="orthogonal")
    spec = types.SimpleNamespace(num_classes=4, image_shape=(8, 8, 3))
    model = find_family("wide_resnet").build(config, spec)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            kernel = ops.convert_to_numpy(layer.kernel).reshape(-1, layer.kernel.shape[-1])
            products = kernel.T @ kernel if kernel.shape[0] >= kernel.shape[1] else kernel @ kernel.T
            np.testing.assert_allclose(products, 1e-4 * np.eye(len(products)), atol=1e-9)


@pytest.mark.slow
def test_zero_weights_never_wake_what_the_image_does_not_reach():
    """Section 3.4: "does not converge when all weights are zeros". Channels beyond red, green, blue get no gradient."""
    model = build_wide_resnet(10, sigma=0, num_classes=4, input_shape=(8, 8, 3))
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images_for(model), np.arange(8) % 4, batch_size=8, epochs=3, verbose=0)
    stem = ops.convert_to_numpy(model.get_layer("conv1").kernel)  # (3, 3, 3, 16)
    assert np.any(stem[..., :3] != 0) and not np.any(stem[..., 3:])
    classifier = ops.convert_to_numpy(model.get_layer("head_dense").kernel)  # (64, 4)
    assert np.any(classifier[:3] != 0) and not np.any(classifier[3:])


def test_layers_are_named_by_position():
    names = [layer.name for layer in build_wide_resnet(10).layers]
    assert names[:5] == ["images", "conv1", "group1_block1_bn1", "group1_block1_relu1", "group1_block1_conv1"]
    assert names[-4:] == ["head_bn", "head_relu", "head_pool", "head_dense"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 26}, r"depth must be 6 N \+ 4. Received depth=26; the nearest are 22 and 28"),
        ({"depth": 4}, r"Received depth=4; the nearest are 10 and 16"),
        ({"width": float("nan")}, r"width must be a number above 0. Received width=nan"),
        ({"num_classes": 1.5}, r"num_classes must be a whole number above 0"),
        ({"sigma": "x"}, r"sigma must be a number of 0 or more. Received sigma='x'"),
        ({"sigma": 0, "kernel_initializer": "zeros"}, r"sigma is the start of the kernels"),
        ({"input_shape": (32, 32)}, r"input_shape must be \(height, width, channels\)"),
        ({"input_shape": (3, 32, 3)}, r"at least 4 x 4 pixels"),
    ],
)
def test_bad_argument_gets_a_message_that_names_it(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_wide_resnet(**{"depth": 28, **arguments})
