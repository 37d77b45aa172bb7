import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.kernels import identity_kernel
from dirac_keras.models import build_diracnet, build_resnet
from dirac_keras.models.blocks import even_conv
from dirac_keras.models.residual import dirac_conv
from dirac_keras.training.optimization.optimizers import is_kernel
from tests.network_checks import branches, check_network, images_for, outputs_of, randomize, trainable_parameters

# The BatchNormalization that torchvision's post-activation networks have behind their three projections.
PROJECTION_NORMS = 2 * (128 + 256 + 512)
SMALL = {
    "cifar": {"depth": 8, "width": 0.25, "input_shape": (8, 8, 3)},
    "van": {"depth": 10, "width": 0.25, "input_shape": (8, 8, 3)},
    "imagenet": {"depth": 18, "width": 0.0625, "input_shape": (32, 32, 3)},
    "dense": {"depth": 3, "units": 6, "input_shape": (4, 4, 1)},
}


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "torchvision"), [(18, 11_689_512), (34, 21_797_672)])
def test_imagenet_net_has_torchvisions_parameters_but_the_projections_normalization(depth, torchvision):
    """Pre-activation normalizes before a block, so nothing normalizes a projection."""
    model = build_resnet(depth, num_classes=1000, input_shape=(224, 224, 3), layout="imagenet")
    assert trainable_parameters(model) == torchvision - PROJECTION_NORMS
    assert model.get_layer("group4_block1_add").output.shape == (None, 7, 7, 512)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.73)])
def test_cifar_net_has_the_papers_parameters(depth, millions):
    """He et al. 2015, table 6, gives 1.7 M for 110 layers. Its shortcuts have none; three projections have 0.003 M."""
    assert round(trainable_parameters(build_resnet(depth)) / 1e6 - 0.0026, 2) == millions


def test_parameters_by_hand():
    """One block a group of 1, 2, 4 channels on one input channel; convolutions 9 in out, a projection in out."""
    model = build_resnet(8, width=1 / 16, num_classes=2, input_shape=(8, 8, 1))
    convolutions = 9 * 1 * 1 + (9 + 9) + (18 + 36) + (72 + 144)
    projections = 1 * 2 + 2 * 4
    normalizations = 2 * (1 + 1 + (1 + 2) + (2 + 4) + 4)  # stem; second; both; both; head
    assert trainable_parameters(model) == convolutions + projections + normalizations + (4 * 2 + 2)


def test_dense_parameters_by_hand():
    """4 inputs, 3 units, 2 blocks, 2 classes: 4*3+3, 2 (3*3+3), 3*2+2, and three normalizations of 3 units."""
    options = {"depth": 2, "layout": "dense", "units": 3, "num_classes": 2, "input_shape": (4,)}
    assert trainable_parameters(build_resnet(**options)) == 15 + 24 + 8 + 18


@pytest.mark.parametrize(("depth", "layout"), [(20, "cifar"), (26, "van"), (34, "imagenet")])
def test_depth_counts_the_layers_with_weights_but_the_projections(depth, layout):
    model = build_resnet(depth, width=0.125, layout=layout, input_shape=(32, 32, 3))
    kernels = [layer.name for layer in model.layers if hasattr(layer, "kernel")]
    assert len([name for name in kernels if "projection" not in name]) == depth
    assert len([name for name in kernels if "projection" in name]) == (2 if layout == "cifar" else 3)


def test_van_net_has_four_groups_that_halve_the_image():
    model = build_resnet(10, layout="van")
    shapes = [model.get_layer(f"group{group}_block1_add").output.shape[1:] for group in (1, 2, 3, 4)]
    assert shapes == [(32, 32, 16), (16, 16, 32), (8, 8, 64), (4, 4, 128)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "skips"), [("cifar", True), ("van", True), ("van", False), ("imagenet", True), ("dense", True)]
)
def test_network_does_all_that_a_network_must(layout, skips, tmp_path):
    check_network(lambda: build_resnet(num_classes=4, layout=layout, skips=skips, **SMALL[layout]), tmp_path, skips)


@pytest.mark.slow
def test_dirac_start_does_all_that_a_network_must(tmp_path):
    check_network(lambda: build_resnet(num_classes=4, sigma=0.1, **SMALL["cifar"]), tmp_path, joins=True)


def test_layers_are_named_by_position():
    names = [layer.name for layer in build_resnet(14, width=0.25).layers]
    assert names[:8] == [
        "images", "conv1", "conv1_bn", "conv1_relu", "group1_block1_conv1", "group1_block1_bn2", "group1_block1_relu2",
        "group1_block1_conv2",
    ]  # fmt: skip
    assert [name for name in names if "group2_block1" in name] == [
        f"group2_block1_{part}"
        for part in ("bn1", "relu1", "conv1_pad", "conv1", "bn2", "relu2", "projection", "conv2", "add")
    ]
    assert names[-4:] == ["head_bn", "head_relu", "head_pool", "head_dense"]
    assert build_resnet(14, width=0.25).name == "resnet_cifar_14_0p25"


def test_plain_net_is_the_resnet_without_adds_and_projections():
    residual, plain = build_resnet(14, width=0.25), build_resnet(14, width=0.25, skips=False)
    names = {layer.name for layer in plain.layers}
    gone = {layer.name for layer in residual.layers} - names
    assert gone == {*branches(residual), "group2_block1_projection", "group3_block1_projection"}
    assert not names - {layer.name for layer in residual.layers}
    assert trainable_parameters(residual) - trainable_parameters(plain) == 4 * 8 + 8 * 16


def test_projection_reads_the_activated_input():
    model = build_resnet(8, width=0.25)
    assert model.get_layer("group2_block1_projection").input is model.get_layer("group2_block1_relu1").output


def test_block_of_zero_residual_passes_its_input_on():
    model = randomize(build_resnet(14, width=0.25, input_shape=(8, 8, 3)))
    for block in (1, 2):
        kernel = model.get_layer(f"group1_block{block}_conv2").kernel
        kernel.assign(np.zeros(kernel.shape))
    probe = keras.Model(
        model.input, [model.get_layer("conv1_relu").output, model.get_layer("group1_block2_add").output]
    )
    stem, behind = probe(images_for(model))
    np.testing.assert_array_equal(ops.convert_to_numpy(behind), ops.convert_to_numpy(stem))


def test_dense_block_adds_its_input():
    """One unit, `x + W relu(x)`: BatchNormalization with variance 1 - epsilon and mean 0 is the identity."""
    model = build_resnet(2, layout="dense", units=1, num_classes=2, input_shape=(1,))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign([1.0 - layer.epsilon])
    for name, weight in (("dense1", 1.0), ("block1_dense", 3.0), ("block2_dense", -0.5)):
        model.get_layer(name).set_weights([np.array([[weight]]), np.zeros(1)])
    model.get_layer("head_dense").set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
    # x = 2: 2 + 3*2 = 8, 8 - 0.5*8 = 4. x = -2: relu gives 0 everywhere, and -2 is cut off at the head.
    np.testing.assert_allclose(outputs_of(model, np.array([[2.0], [-2.0]])), [[4.0, -4.0], [0.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_strided_convolution_sees_the_pixels_of_its_skip(kernel_size, size):
    """A kernel that is the identity picks every second pixel, from the first on, whatever the kernel's size."""
    inputs = keras.Input((size, size, 2))
    model = keras.Model(inputs, even_conv(inputs, 2, kernel_size, 2, "conv"))
    model.get_layer("conv").kernel.assign(identity_kernel((kernel_size, kernel_size, 2, 2)))
    images = images_for(model)
    np.testing.assert_array_equal(outputs_of(model, images), images[:, ::2, ::2])


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("size", [7, 8])
def test_strided_dirac_convolution_is_that_of_the_effective_kernel(kernel_size, size):
    inputs = keras.Input((size, size, 2))
    dirac = keras.Model(inputs, dirac_conv(0.5)(inputs, 3, kernel_size, 2, "conv"))
    plain = keras.Model(inputs, even_conv(inputs, 3, kernel_size, 2, "conv"))
    plain.get_layer("conv").kernel.assign(dirac.get_layer("conv").effective_kernel())
    images = images_for(dirac)
    # A few products of order 1 in another order.
    np.testing.assert_allclose(outputs_of(dirac, images), outputs_of(plain, images), atol=1e-5)


def test_plain_dense_net_is_the_plain_diracnet():
    """Both are dense, BN, ReLU, dense, BN, ReLU, ..., so one's weights are the other's."""
    options = {"depth": 3, "layout": "dense", "units": 5, "input_shape": (6,)}
    one = randomize(build_resnet(skips=False, **options))
    other = build_diracnet(parameterization="plain", **options)
    other.set_weights(one.get_weights())
    images = images_for(one)
    np.testing.assert_allclose(outputs_of(other, images), outputs_of(one, images), rtol=1e-6)


def test_weight_decay_is_on_kernels_alone():
    model = build_resnet(8, width=0.25, sigma=0.1)
    assert {weight.name for weight in model.trainable_weights} == {"kernel", "gamma", "beta", "bias"}
    decayed = {weight.path for weight in model.trainable_weights if is_kernel(weight)}
    assert decayed == {f"{layer.name}/kernel" for layer in model.layers if hasattr(layer, "kernel")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 28}, r"depth must be 6 N \+ 2 for layout='cifar'. Received depth=28; the nearest are 26 and 32"),
        ({"depth": 2}, r"Received depth=2; the nearest are 8 and 14"),
        ({"depth": 20, "layout": "van"}, r"depth must be 8 N \+ 2 for layout='van'.*the nearest are 18 and 26"),
        ({"depth": 50, "layout": "imagenet"}, r"depth must be 18 or 34 for layout='imagenet'. Received depth=50"),
        ({"depth": 0, "layout": "dense"}, r"depth must be a whole number above 0. Received depth=0"),
        ({"depth": float("inf")}, r"depth must be 6 N \+ 2.*Received depth=inf; the nearest are 8 and 14"),
        ({"depth": "20"}, r"Received depth='20'"),
        ({"depth": True}, r"Received depth=True"),
        ({"layout": "svhn"}, r"layout must be one of cifar, van, imagenet, dense. Received layout='svhn'"),
        ({"width": 0}, r"width must be a number above 0. Received width=0"),
        ({"num_classes": 0}, r"num_classes must be a whole number above 0"),
        ({"units": 2.5}, r"units must be a whole number above 0"),
        ({"sigma": -1}, r"sigma must be a number of 0 or more. Received sigma=-1"),
        ({"sigma": 1, "kernel_initializer": "he_normal"}, r"sigma is the start.*kernel_initializer='he_normal'"),
        ({"kernel_initializer": "he"}, r"kernel_initializer must be a Keras initializer.*'he'"),
        ({"input_shape": (2, 2, 3)}, r"at least 4 x 4 pixels"),
        ({"input_shape": (4, 4, 3), "layout": "van", "depth": 10}, r"at least 8 x 8 pixels"),
        ({"input_shape": (16, 16, 3), "layout": "imagenet", "depth": 18}, r"at least 32 x 32 pixels"),
        ({"input_shape": (None, 4), "layout": "dense"}, r"input_shape must be a tuple of whole numbers"),
    ],
)
def test_bad_argument_gets_a_message_that_names_it(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_resnet(**{"depth": 20, **arguments})
