"""`plainify(model, method="exact")`: plain chains with the outputs of residual networks, or every skip's reason."""

import json
import re

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras import assert_plain, plainify
from dirac_keras.conversion import measuring, methods
from dirac_keras.errors import RunError, UserError
from dirac_keras.folding import verify
from dirac_keras.models import build_resnet
from tests.conversion import blocks
from tests.folding.helpers import TOLERANCE, randomize, relative_difference

# float64 has eps 2.2e-16; what is not the same function is off by 1e-3 and more, also where borders alone differ.
TOLERANCE_FLOAT64 = 1e-12


def relu6():
    return layers.ReLU(6.0)


def leaky():
    return layers.LeakyReLU(0.25)  # TensorFlow keeps the slope in float32, which has this number


PLAIN = {
    "basic": lambda x: blocks.basic(blocks.basic(x)),
    "projection_and_stride": lambda x: blocks.basic(x, 6, 2),
    "bottlenecks": lambda x: blocks.bottleneck(blocks.bottleneck(x, 2, 4), 2, 8, 2),
    "groups": lambda x: blocks.bottleneck(x, 8, 4, groups=4),
    "pooled_shortcut": lambda x: blocks.pooled_shortcut(x, 4, 8),
    "linear_bottlenecks": lambda x: blocks.inverted(blocks.inverted(blocks.conv(x, 5, 1), layers.ReLU), layers.ReLU),
    "linear_bottlenecks_relu6": lambda x: blocks.inverted(blocks.inverted(blocks.conv(x, 5, 1), relu6), relu6),
    "preactivation": lambda x: blocks.preactivated(blocks.preactivated(blocks.preactivated(x, 4), 8, 2), 8),
    "leaky": lambda x: blocks.basic(blocks.inverted(x, layers.ReLU), activation=leaky),
    "prelu": lambda x: blocks.basic(x, activation=lambda: layers.PReLU(shared_axes=[1, 2])),
    "prelu_of_one_slope": lambda x: blocks.basic(x, activation=lambda: layers.PReLU(shared_axes=[1, 2, 3])),
    "skip_over_skips": lambda x: layers.ReLU()(layers.Add()([x, blocks.conv(blocks.basic(x), 4)])),
    "activation_before_the_sum": lambda x: layers.Add()([x, blocks.conv(x, 4, activation=layers.ReLU)]),
    "activation_in_the_layer": lambda x: layers.Add()(
        [x, layers.Conv2D(4, 3, padding="same")(layers.Conv2D(5, 3, padding="same", activation="relu")(x))]
    ),
    "three_summands": lambda x: layers.Add()(
        [x, layers.Conv2D(4, 1)(x), blocks.conv(blocks.conv(x, 5, activation=layers.ReLU), 4)]
    ),
}


@pytest.mark.parametrize("block", PLAIN)
def test_plain_chain_has_the_outputs_of_the_residual_network(block):
    activation = relu6 if block == "linear_bottlenecks_relu6" else layers.ReLU
    is_exact = keras.backend.backend() == "tensorflow"  # Keras promotes float64 to float32 on JAX
    model = blocks.network(PLAIN[block], activation=activation, dtype="float64" if is_exact else None)
    plain, certificate = plainify(model, verify=False, rounds=0)
    assert_plain(plain)
    assert certificate.skips
    inputs = np.random.default_rng(1).normal(size=(2, *model.input_shape[1:]))
    expected, actual = (keras.ops.convert_to_numpy(of(inputs)) for of in (model, plain))
    assert np.ptp(expected, axis=0).max() > 0.0, "the outputs depend on the inputs"
    tolerance = TOLERANCE_FLOAT64 if is_exact else TOLERANCE
    assert np.abs(expected - actual).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("shape", [(4,), (6, 4), (6, 5, 4)])
def test_a_dense_layer_between_others_gets_no_groups(shape):
    """It has as many outputs as inputs, where a convolution would keep its own channels in a group of theirs."""
    inputs = keras.Input(shape)
    x = start = layers.Dense(4, activation="relu")(inputs)
    for _ in range(3):
        x = layers.Dense(4, activation="relu")(x)
    model = randomize(keras.Model(inputs, layers.Add()([start, layers.Dense(4)(x)])))
    plain, certificate = plainify(model, rounds=0)
    assert_plain(plain)
    assert certificate.skips[0].channels == 4
    assert relative_difference(model, plain) < TOLERANCE


@pytest.mark.parametrize("shape", [(8, 6, 3), (None, None, 3), (6, 3), (5,)])
def test_a_skip_that_begins_at_the_input_is_carried_in_pairs(shape):
    """As in networks that learn what is to be added to an image: nothing is known of its sign."""
    kind = {1: layers.Dense, 2: layers.Conv1D, 3: layers.Conv2D}[len(shape)]
    arguments = {} if len(shape) == 1 else {"kernel_size": 3, "padding": "same"}
    inputs = keras.Input(shape)
    x = kind(4, **arguments)(layers.ReLU()(kind(4, **arguments)(inputs)))
    model = randomize(keras.Model(inputs, layers.Add()([inputs, kind(shape[-1], **arguments)(layers.ReLU()(x))])))
    plain, certificate = plainify(model, rounds=0)
    assert_plain(plain)
    (skip,) = certificate.skips
    assert (skip.start, skip.how) == ("the input", f"{shape[-1]} as max(x, 0) and max(-x, 0)")
    assert relative_difference(model, plain) < TOLERANCE


@pytest.mark.slow
def test_wide_bounds_are_carried_in_pairs_where_a_shift_would_cost_the_digits():
    """Bounds of three convolutions are some thousand times the values: shifted by them, those lose their digits."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.ReLU(6.0)(layers.Conv2D(32, 1)(inputs))
    for _ in range(3):
        x = layers.Conv2D(32, 3, padding="same")(x)
    y = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    model = keras.Model(inputs, layers.Add()([x, layers.Conv2D(32, 3, padding="same")(y)]))
    plain, certificate = plainify(model, rounds=0)
    assert [skip.how for skip in certificate.skips] == ["32 as max(x, 0) and max(-x, 0)"]
    assert relative_difference(model, plain) < TOLERANCE


@pytest.mark.parametrize(
    ("message", "ours"),
    [
        (f"fold made a wrong model: .... {verify._WAY_OUT}", r"plainify made .* plainify\(.*\) returns the plain one"),
        ("folded weights leave what float16 holds. Fold the model in float32.", "Make plain a copy of the model in"),
    ],
)
def test_a_comparison_that_fails_has_the_advice_of_plainify(monkeypatch, message, ours):
    def refuse(*arguments):
        raise RunError(message)

    monkeypatch.setattr(methods, "compare", refuse)
    with pytest.raises(RunError, match=ours) as failed:
        plainify(blocks.network(blocks.basic), rounds=0)
    assert not re.search(r"\bfold(ed)?\b", str(failed.value).lower())


def test_carried_channels_are_dirac_filters():
    """By hand: x >= 0 goes beside `relu(2 x)` through the first convolution and is added by the second."""
    inputs = keras.Input((4, 4, 1))
    x = layers.ReLU()(inputs)
    first = layers.Conv2D(1, 3, padding="same", kernel_initializer="zeros", name="first")
    second = layers.Conv2D(1, 1, kernel_initializer=keras.initializers.Constant(3.0), use_bias=False, name="second")
    model = keras.Model(inputs, layers.Add()([x, second(layers.ReLU()(first(x)))]))
    plain, certificate = plainify(model, rounds=0)
    kernel, bias = plain.get_layer("first").get_weights()
    np.testing.assert_array_equal(kernel[..., 0, 1], [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(bias, [0.0, 0.0])
    np.testing.assert_array_equal(plain.get_layer("second").get_weights()[0].ravel(), [3.0, 1.0])
    assert (certificate.skips[0].channels, certificate.skips[0].how) == (1, "1 as they are")


@pytest.mark.slow
def test_groups_take_the_carried_channels_where_sizes_allow_it():
    """3x3 of 2 channels beside 4 carried ones: 3 groups of 2, where one dense kernel would be 6 x 6."""
    model = blocks.network(lambda x: blocks.bottleneck(x, 2, 4))
    grouped, dense = (plainify(model, grouped=is_grouped, verify=False, rounds=0)[0] for is_grouped in (True, False))
    shapes = [
        next(layer.kernel.shape for layer in plain.layers[3:] if getattr(layer, "kernel_size", 0) == (3, 3))
        for plain in (grouped, dense)
    ]
    assert [tuple(shape) for shape in shapes] == [(3, 3, 2, 6), (3, 3, 6, 6)]
    assert relative_difference(model, dense) < TOLERANCE
    assert relative_difference(model, grouped) < TOLERANCE


@pytest.mark.slow
def test_sizes_may_be_open():
    model = blocks.network(lambda x: blocks.basic(blocks.basic(x, 6, 2), 6), (None, None, 3))
    plain, certificate = plainify(model, verify=False, rounds=0)
    assert relative_difference(model, plain) < TOLERANCE
    assert certificate.macs_after is None
    assert "a size is open" in str(certificate)


REFUSED = {
    "gate": (
        lambda x: layers.Multiply()([x, layers.Conv2D(4, 1, activation="sigmoid")(x)]),
        "'multiply.*': joins 2 tensors by Multiply",
    ),
    "concatenation": (
        lambda x: layers.Concatenate()([x, blocks.conv(x, 4, activation=layers.ReLU)]),
        "joins 2 tensors by Concatenate",
    ),
    "two_of_one_reason": (
        lambda x: layers.Add(name="last")([x, layers.Multiply(name="b")([x, layers.Multiply(name="a")([x, x * x])])]),
        "4 of 4 joins stay: 'multiply.*', 'a', 'b': joins .* does; 'last': a side of it ends at 'b', which stays",
    ),
    "other_activation": (
        lambda x: blocks.basic(x, activation=lambda: layers.Activation("gelu")),
        "has an activation that changes what is carried",
    ),
    "pool_in_the_branch": (
        lambda x: layers.Add()([x, blocks.conv(layers.MaxPooling2D(3, 1, "same")(x), 4)]),
        "'max_pooling2d.*' .* in its branch has no kernel that could carry",
    ),
    "no_side_is_linear": (
        lambda x: layers.Add()([blocks.conv(x, 4, activation=layers.ReLU), blocks.conv(x, 4, activation=layers.ReLU)]),
        "neither side is linear",
    ),
    "average_over_fewer_pixels": (
        lambda x: layers.Add()([blocks.basic(blocks.conv(x, 4, strides=2)), layers.AveragePooling2D(3, 2, "same")(x)]),
        r"'average_pooling2d.*' \(AveragePooling2D\) in its skip averages over fewer pixels at the borders",
    ),
    "sign_unknown_and_cut_above": (
        lambda x: blocks.inverted(blocks.conv(x, 4), relu6),
        "the sign of what .* is not known .* have no bounds",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("block", REFUSED)
def test_a_skip_that_meets_no_rule_is_refused_with_its_reason(block):
    make, reason = REFUSED[block]
    with pytest.raises(UserError, match=f"cannot be made plain by method='exact'.*{reason}"):
        plainify(blocks.network(make))


def test_shared_layers_are_refused():
    def block(x):
        shared = layers.Conv2D(4, 3, padding="same", activation="relu")
        return layers.Add()([x, layers.Conv2D(4, 3, padding="same")(shared(shared(x)))])

    with pytest.raises(UserError, match="is shared: it is called in several places"):
        plainify(blocks.network(block))


def test_a_refusal_of_many_joins_is_one_readable_sentence():
    def block(x):
        for k in range(20):  # each pool has another name, so each reason is another text
            x = layers.Add(name=f"add_{k}")([x, blocks.conv(layers.MaxPooling2D(3, 1, "same", name=f"pool_{k}")(x), 4)])
            x = layers.Multiply(name=f"gate_{k}")([x, layers.Conv2D(4, 1, activation="sigmoid")(x)])
        return x

    with pytest.raises(UserError) as refused:
        plainify(blocks.network(block))
    said = str(refused.value)
    assert "40 of 40 joins stay" in said and "'gate_0', 'gate_1', 'gate_2' and 17 more: joins 2 tensors" in said
    assert "likewise 'add_1', 'add_2', 'add_3' and 16 more" in said
    assert len(said) < 700


def test_every_skip_has_its_reason_and_the_good_ones_are_counted():
    def block(x):
        x = layers.Concatenate()([blocks.basic(x), x])
        return layers.Multiply()([x, layers.Conv2D(8, 1, activation="sigmoid")(x)])

    with pytest.raises(UserError, match=r"2 of 3 joins stay.*concatenate.*multiply"):
        plainify(blocks.network(block))


@pytest.mark.parametrize(("arguments", "message"), [
    ({"method": "magic"}, "method must be one of exact"),
    ({"data": []}, "data must hold batches"),
])  # fmt: skip
def test_wrong_arguments_are_named(arguments, message):
    inputs = keras.Input((4, 4, 2))
    with pytest.raises(UserError, match=message):
        plainify(keras.Model(inputs, layers.Conv2D(2, 3)(inputs)), **arguments)


def test_models_without_a_graph_or_with_nan_are_refused():
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, layers.Conv2D(2, 3, name="bad")(inputs))
    model.layers[1].bias.assign([np.nan, 0.0])
    with pytest.raises(UserError, match=r"finite weights.*bad/bias"):
        plainify(model)
    with pytest.raises(UserError, match=r"must be a keras\.Model"):
        plainify(layers.Dense(2))


@pytest.fixture(scope="module")
def resnet():
    model = randomize(build_resnet(8, input_shape=(8, 8, 3)))
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):  # He's scale, so that no layer's outputs explode
            layer.kernel.assign(layer.kernel * np.sqrt(2.0 / np.prod(layer.kernel.shape[:-1])))
    return model, *plainify(model)


def test_a_cifar_resnet_is_made_plain_and_saves(resnet, tmp_path):
    model, plain, certificate = resnet
    assert len(certificate.skips) == 3
    assert relative_difference(model, plain) < 1e-4
    assert certificate.max_relative_difference < 1e-4
    plain.save(tmp_path / "plain.keras")
    again = keras.saving.load_model(tmp_path / "plain.keras")
    assert relative_difference(plain, again) == 0.0


def test_certificate_counts_and_goes_to_json(resnet):
    model, plain, certificate = resnet
    record = json.loads(json.dumps(certificate.to_dict()))
    assert record["parameters_before"] == model.count_params()
    assert record["parameters_after"] == plain.count_params()
    assert record["macs_after"] > record["macs_before"]
    assert record["activations_after"]["bytes"] > 0
    assert record["skips"][0]["join"] == "group1_block1_add"
    text = str(certificate)
    assert "3 skips are gone" in text
    assert "group3_block1_add" in text
    assert record["latency_before"] > 0.0 and record["latency_after"] > 0.0


def test_a_model_that_does_not_run_here_is_made_plain_without_its_latency(monkeypatch, caplog):
    """Stands for convolutions of channels_first, which TensorFlow has for GPUs alone."""

    def refuse(models, rounds):
        raise NotImplementedError("for another device")

    monkeypatch.setattr(measuring, "_in_turn", refuse)
    plain, certificate = plainify(blocks.network(blocks.basic), verify=False)
    assert_plain(plain)
    assert certificate.latency_before is None and "latency                  not measured" in str(certificate)
    assert "does not run here (NotImplementedError: for another device)" in caplog.text


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="others add a bias where its shape says")
def test_carried_channels_that_are_as_many_as_pixels_of_a_row_are_refused_with_channels_first():
    """4 channels and 4 that are carried, in rows of 8 pixels: Keras would add the bias along the rows."""

    def of_width(width):
        inputs = keras.Input((3, 8, width))
        first = {"padding": "same", "data_format": "channels_first"}
        x = layers.Conv2D(4, 3, activation="relu", **first)(inputs)
        y = layers.Conv2D(4, 3, activation="relu", name="wide", **first)(x)
        return randomize(keras.Model(inputs, layers.Add()([x, layers.Conv2D(4, 3, **first)(y)])))

    with pytest.raises(UserError, match=r"'wide' would give 8 channels in rows of 8 pixels.*KERAS_BACKEND=jax"):
        plainify(of_width(8), verify=False, rounds=0)
    plain, _ = plainify(of_width(6), verify=False, rounds=0)
    assert_plain(plain)


def test_a_frozen_model_stays_frozen():
    model = blocks.network(blocks.basic)
    model.trainable = False
    plain, _ = plainify(model, verify=False, rounds=0)
    assert not plain.trainable and not plain.trainable_weights


def test_a_network_without_skips_is_folded_and_says_so():
    plain, certificate = plainify(blocks.network(lambda x: blocks.conv(x, 4)), rounds=0)
    assert "had no skip connections: it is folded, nothing else" in str(certificate)
    assert_plain(plain)


def test_one_of_a_thing_is_no_plural():
    _, certificate = plainify(blocks.network(blocks.basic), rounds=0, verify=False)
    assert "1 skip is gone" in str(certificate)


def test_accuracy_is_measured_on_the_data_given():
    model = blocks.network(blocks.basic)
    images = np.random.default_rng(0).normal(size=(6, 8, 6, 3)).astype("float32")
    labels = keras.ops.convert_to_numpy(model(images)).argmax(-1)
    labels[0] = (labels[0] + 1) % 3
    _, certificate = plainify(model, verify=False, rounds=0, data=[(images[:4], labels[:4]), (images[4:], labels[4:])])
    assert certificate.accuracy_before == certificate.accuracy_after == pytest.approx(5 / 6)
    assert certificate.images == 6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet50", "ResNet101", "MobileNetV2", "ResNet50V2"])
def test_networks_of_keras_applications_are_made_plain(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3))
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign(random.normal(0.0, 0.3, layer.moving_mean.shape))
            layer.moving_variance.assign(random.uniform(0.3, 2.0, layer.moving_variance.shape))
            layer.beta.assign(random.normal(0.0, 0.3, layer.beta.shape))
    plain, certificate = plainify(model)
    assert_plain(plain)
    assert certificate.max_relative_difference < 1e-4


def _repeating(name):
    """A residual block as a model, whose layers have the names of every other one's."""
    inputs = keras.Input((8, 6, 4))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(inputs)
    x = layers.Add(name="add")([inputs, layers.Conv2D(4, 3, padding="same", name="last")(x)])
    return keras.Model(inputs, layers.ReLU(name="relu")(x), name=name)


def test_layers_of_one_name_in_nested_models_are_told_apart():
    model = blocks.network(lambda x: _repeating("second")(_repeating("first")(x)))
    plain, certificate = plainify(model, rounds=0)
    assert [skip.join for skip in certificate.skips] == ["first/add", "second/add"]
    names = [layer.name for layer in plain.layers]
    assert {"conv", "second_conv"} <= set(names) and len(set(names)) == len(names)
    assert {layer.name for layer in model.get_layer("second").layers} >= {"conv", "last", "relu"}, "as it was"
    assert relative_difference(model, plain) < TOLERANCE


def test_an_output_of_a_nested_model_keeps_its_name():
    inputs = keras.Input((8, 6, 4))
    model = randomize(keras.Model(inputs, _repeating("block")(layers.Conv2D(4, 1, activation="relu")(inputs))))
    plain, _ = plainify(model, rounds=0)
    assert plain.output_names == model.output_names == ["block"]
    assert relative_difference(model, plain) < TOLERANCE


def test_a_bound_that_is_missing_above_is_no_sign():
    """Of four channels one has the gamma 0, and so a bound."""
    with pytest.raises(UserError, match=r"the upper bound of what .* is not known \(3 of 4 channels\)"):
        plainify(blocks.network(lambda x: blocks.basic(x, activation=relu6)))


def test_a_refusal_says_which_method_takes_the_network():
    with pytest.raises(UserError, match='can be trained from it: `method="phase_out"` or `method="retrain"`'):
        plainify(blocks.network(lambda x: blocks.basic(x, activation=lambda: layers.Activation("gelu"))))
    with pytest.raises(UserError) as refused:
        plainify(blocks.network(lambda x: layers.Concatenate()([x, blocks.conv(x, 4, activation=layers.ReLU)])))
    assert "phase_out" not in str(refused.value), "it takes no concatenation either"
