import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.layers import BatchNormalization, DiracConv2D
from dirac_keras.models import build_diracnet
from tests.marks import slow_but
from tests.network_checks import check_network


def trainable_parameters(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def folded_parameters(model):
    """Kernel and one bias a channel for every convolution, and the head: what is left after folding."""
    count = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            count += int(np.prod(layer.kernel.shape)) + layer.filters
        elif isinstance(layer, keras.layers.Dense):
            count += layer.count_params()
    return count


@pytest.mark.parametrize(("depth", "width", "count"), [(28, 1, 368_730), (28, 2, 1_465_514)])
def test_cifar_net_has_exactly_the_papers_parameters(depth, width, count):
    assert trainable_parameters(build_diracnet(depth=depth, width=width)) == count


@pytest.mark.slow
@pytest.mark.parametrize(("width", "millions"), [(5, 9.1), (10, 36.5)])
def test_wide_cifar_net_has_the_papers_parameters_in_millions(width, millions):
    assert round(trainable_parameters(build_diracnet(28, width)) / 1e6, 1) == millions


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "count"), [(18, 11_511_784), (34, 21_616_232)])
def test_folded_imagenet_net_has_exactly_the_papers_parameters(depth, count):
    model = build_diracnet(depth, num_classes=1000, input_shape=(224, 224, 3), layout="imagenet")
    assert folded_parameters(model) == count
    assert model.get_layer("group4_block2_conv").output.shape == (None, 7, 7, 512)


def test_depth_counts_the_layers_with_weights():
    model = build_diracnet(34)
    kernels = [layer for layer in model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]
    assert len(kernels) == 34 - 4 + 2  # 6 N in the groups, stem and head; the paper's formula adds 4


def test_network_is_a_chain():
    model = build_diracnet(10)
    for layer in model.layers[1:]:
        assert not isinstance(layer.input, list), f"{layer.name} joins branches"


@pytest.mark.parametrize(
    "parameterization", slow_but(["dirac", "dirac_unnormalized", "dirac_unscaled", "plain"], "dirac")
)
def test_network_trains_saves_and_reloads(parameterization, tmp_path):
    model = build_diracnet(10, 0.25, 3, (8, 8, 1), parameterization=parameterization)
    images = np.random.default_rng(0).normal(size=(16, 8, 8, 1)).astype("float32")
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, np.arange(16) % 3, epochs=1, verbose=0)
    model.save(tmp_path / "net.keras")
    expected = ops.convert_to_numpy(model(images))
    reloaded = ops.convert_to_numpy(keras.models.load_model(tmp_path / "net.keras")(images))
    np.testing.assert_array_equal(reloaded, expected)


def test_plain_net_differs_in_its_convolutions_alone():
    dirac, plain = build_diracnet(10), build_diracnet(10, parameterization="plain")
    assert [layer.name for layer in dirac.layers] == [layer.name for layer in plain.layers]
    for ours, theirs in zip(dirac.layers, plain.layers, strict=True):
        assert type(ours) is type(theirs) or (type(ours), type(theirs)) == (DiracConv2D, keras.layers.Conv2D)
        assert ours.output.shape == theirs.output.shape


@pytest.mark.slow
def test_dense_net_does_all_that_a_network_must(tmp_path):
    options = {"num_classes": 4, "input_shape": (4, 4, 1), "layout": "dense", "units": 6}
    check_network(lambda: build_diracnet(3, **options), tmp_path, joins=False)


def test_dense_net_by_hand():
    """4 inputs, 3 units, 2 Dirac layers, 2 classes: 4*3+3, 2 (3*3+3 and two scales of 3), 3*2+2, three of BN."""
    options = {"num_classes": 2, "input_shape": (4,), "layout": "dense", "units": 3}
    model = build_diracnet(2, **options)
    assert trainable_parameters(model) == 15 + 2 * (12 + 6) + 8 + 3 * 6
    assert [type(layer).__name__ for layer in model.layers[2:7]] == [
        "Dense", "BatchNormalization", "ReLU", "DiracDense", "BatchNormalization",
    ]  # fmt: skip
    plain = build_diracnet(2, parameterization="plain", **options)
    assert trainable_parameters(plain) == 15 + 2 * 12 + 8 + 3 * 6


def test_layers_are_named_by_position():
    names = [layer.name for layer in build_diracnet(10).layers]
    assert names[:5] == ["images", "conv1", "conv1_bn", "group1_block1_relu", "group1_block1_conv"]
    assert names[-3:] == ["head_relu", "head_pool", "head_dense"]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32_in_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    model = build_diracnet(10, 0.25)
    assert model.output.dtype == "float32"
    assert model.get_layer("group3_block1_bn").output.dtype == keras.DTypePolicy(policy).compute_dtype


def test_classifier_activation_gives_probabilities():
    model = build_diracnet(10, 0.25, classifier_activation="softmax")
    probabilities = ops.convert_to_numpy(model(np.zeros((2, 32, 32, 3), "float32")))
    np.testing.assert_allclose(probabilities.sum(-1), 1.0, rtol=1e-6)


def test_normalization_class_can_be_keras_own():
    model = build_diracnet(10, normalization=keras.layers.BatchNormalization)
    assert not any(isinstance(layer, BatchNormalization) for layer in model.layers)


def test_layers_start_differently_from_an_initializer_object():
    model = build_diracnet(10, kernel_initializer=keras.initializers.HeNormal())
    first, second = (
        keras.ops.convert_to_numpy(model.get_layer(f"group1_block{block}_conv").kernel) for block in (1, 2)
    )
    assert np.abs(first - second).max() > 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 30}, r"depth must be 6 N \+ 4.*Received depth=30; the nearest are 28 and 34"),
        ({"depth": 2}, r"Received depth=2; the nearest are 10 and 16"),
        ({"depth": 28.5}, r"Received depth=28.5; the nearest are 28 and 34"),
        (
            {"depth": 50, "layout": "imagenet"},
            r"depth must be 18 or 34 for layout='imagenet'. Received depth=50",
        ),
        ({"depth": 28, "width": -1}, r"width must be a number above 0. Received width=-1"),
        ({"depth": 28, "num_classes": 0}, r"num_classes must be a whole number above 0"),
        ({"depth": 28, "layout": "mnist"}, r"layout must be 'cifar', 'imagenet' or 'dense'. Received 'mnist'"),
        (
            {"depth": 28, "parameterization": "skip"},
            r"parameterization must be one of dirac,.*Received parameterization='skip'",
        ),
        ({"depth": "28"}, r"depth must be 6 N \+ 4.*Received depth='28'"),
        ({"depth": 28, "width": float("inf")}, r"width must be a number above 0. Received width=inf"),
        ({"depth": 28, "num_classes": 2.5}, r"num_classes must be a whole number above 0. Received num_classes=2.5"),
        ({"depth": 28, "filter_scale": "x"}, r"filter_scale must be a number of 0 or more. Received filter_scale='x'"),
        ({"depth": 28, "kernel_initializer": "he"}, r"kernel_initializer must be a Keras initializer.*='he'"),
        ({"depth": 0, "layout": "dense"}, r"depth must be a whole number above 0. Received depth=0"),
        ({"depth": 3, "layout": "dense", "units": 0}, r"units must be a whole number above 0"),
        ({"depth": 3, "layout": "dense", "input_shape": (None, 3)}, r"input_shape must be a tuple of whole numbers"),
        ({"depth": 28, "input_shape": 32}, r"input_shape must be \(height, width, channels\).*Received 32"),
        ({"depth": 28, "input_shape": (32, 32)}, r"input_shape must be \(height, width, channels\)"),
        ({"depth": 28, "input_shape": (32, 32, None)}, r"known number of channels"),
        ({"depth": 28, "input_shape": (3, 3, 3)}, r"at least 4 x 4 pixels"),
    ],
)
def test_bad_argument_gets_a_message_that_names_it(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_diracnet(**arguments)
