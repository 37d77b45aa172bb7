import itertools

import keras
import numpy as np
import pytest

from dirac_keras import fold
from dirac_keras.constraints import MaxNorm
from dirac_keras.layers import BatchNormalization
from dirac_keras.models import build_plainnet
from dirac_keras.models.plainnet import COMPONENTS, CONV50_GROUPS, scenario_components
from tests.marks import slow_but


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def move_weights(model, seed=0):
    """Random weights and statistics: fresh BatchNormalization is nearly the identity."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = rng.normal(0, 0.3, weight.shape)
        if weight.name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 2.0, weight.shape)
        elif weight.name == "kernel":
            value = rng.normal(0, np.sqrt(2 / np.prod(weight.shape[:-1])), weight.shape)
        weight.assign(value)


@pytest.mark.parametrize(
    ("depth", "millions"), [(3, 0.50), (5, 0.68), (10, 1.13), (15, 1.59), (20, 2.04), (40, 3.86), (50, 4.77)]
)
def test_parameters_are_those_of_table_1(depth, millions):
    """COIL-20 at 32x32, with BatchNormalization. The paper's 4.78 at 50 layers is 4.768 here, as its others imply."""
    model = build_plainnet("dense", depth, num_classes=20, input_shape=(32, 32, 1), scenario="bn")
    assert round(trainable(model) / 1e6, 2) == millions


def test_dense_parameters_by_hand():
    """4 inputs, two layers of 3 units, 2 classes: (4*3+3) + (3*3+3) + (3*2+2) = 35, BatchNormalization adds 2*2*3."""
    options = {"depth": 2, "units": 3, "num_classes": 2, "input_shape": (4,)}
    assert trainable(build_plainnet(scenario="naive", **options)) == 35
    assert trainable(build_plainnet(scenario="proposed", **options)) == 47


def test_conv50_has_the_papers_layers_and_parameters():
    model = build_plainnet("conv50", input_shape=(32, 32, 3))
    assert trainable(model) == 723_642
    assert sum(map(len, CONV50_GROUPS)) == 50
    shapes = {layer.name: layer.output.shape[1:3] for layer in model.layers if layer.name.startswith("conv")}
    assert (shapes["conv17"], shapes["conv18"], shapes["conv36"], shapes["conv37"], shapes["conv50"]) == (
        (32, 32), (16, 16), (16, 16), (7, 7), (7, 7),
    )  # fmt: skip
    filters = [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert (filters[0], filters[16], filters[35], filters[48], filters[49]) == (16, 48, 80, 96, 128)


ALL_SUBSETS = [set(part) for n in range(4) for part in itertools.combinations(COMPONENTS, n)]


@pytest.mark.parametrize("components", ALL_SUBSETS, ids=lambda part: "+".join(sorted(part)) or "naive")
@pytest.mark.parametrize("layout", ["dense", "conv50"])
def test_scenario_decides_what_the_layers_are(layout, components):
    shape = (8, 8, 1)
    depth = 3 if layout == "dense" else None
    model = build_plainnet(layout, depth, units=6, input_shape=shape, scenario=components)
    hidden = [layer for layer in model.layers if getattr(layer, "kernel", None) is not None][:-1]
    kinds = {type(layer) for layer in model.layers}
    assert len(hidden) == (3 if layout == "dense" else 50)
    assert (BatchNormalization in kinds) == ("bn" in components)
    assert (keras.layers.LeakyReLU in kinds) == ("lrelu" in components)
    assert (keras.layers.ReLU in kinds) == ("lrelu" not in components)
    assert all(isinstance(layer.kernel_constraint, MaxNorm) == ("maxnorm" in components) for layer in hidden)
    assert model.get_layer("head_dense").kernel_constraint is None, "max-norm is for hidden units"
    assert all(layer.use_bias == (layout == "dense" or "bn" not in components) for layer in hidden)


@pytest.mark.parametrize("scenario", ["naive", "bn", "proposed", "lrelu+maxnorm"])
@pytest.mark.parametrize("layout", slow_but(["dense", "conv50"], "dense"))
def test_every_scenario_folds_to_a_plain_chain(layout, scenario):
    shape = (8, 8, 1)
    model = build_plainnet(layout, 12 if layout == "dense" else None, units=16, input_shape=shape, scenario=scenario)
    move_weights(model)
    plain, _ = fold(model)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in plain.layers)
    x = np.random.default_rng(1).normal(size=(16, *shape)).astype("float32")
    expected = model.predict(x, verbose=0)
    difference = np.abs(plain.predict(x, verbose=0) - expected).max()
    assert (
        difference <= 1e-4 * np.abs(expected).max()
    )  # 50 layers of float32 in another order; a wrong fold is off by 1


def test_network_trains_and_its_norms_hold():
    rng = np.random.default_rng(0)
    model = build_plainnet(depth=4, units=16, input_shape=(4, 4, 1), max_norm=0.7)
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(rng.normal(size=(64, 4, 4, 1)), rng.integers(0, 10, 64), epochs=2, verbose=0)
    for layer in model.layers:
        if getattr(layer, "kernel_constraint", None) is not None:
            norms = np.linalg.norm(keras.ops.convert_to_numpy(layer.kernel), axis=0)
            assert norms.max() <= 0.7 + 1e-5


def test_logits_are_float32_in_mixed_precision():
    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_plainnet(depth=2, units=8)
    finally:
        keras.config.set_dtype_policy(former)
    assert model.output.dtype == "float32" and model.get_layer("dense1").compute_dtype == "bfloat16"


@pytest.mark.parametrize("initializer", ["he_uniform", keras.initializers.HeUniform()], ids=["name", "object"])
def test_layers_start_differently(initializer):
    """A Keras initializer object gives the same numbers at every call."""
    model = build_plainnet(depth=3, units=8, input_shape=(8,), initializer=initializer)
    first, second = (keras.ops.convert_to_numpy(model.get_layer(f"dense{k}").kernel) for k in (1, 2))
    assert np.abs(first - second).max() > 0.1


@pytest.mark.parametrize(
    ("scenario", "components"),
    [
        ("naive", ()),
        ("bn", ("bn",)),
        ("proposed", ("bn", "lrelu", "maxnorm")),
        ("maxnorm + bn", ("bn", "maxnorm")),
        ({"lrelu"}, ("lrelu",)),
        ([], ()),
    ],
)
def test_scenario_is_read(scenario, components):
    assert scenario_components(scenario) == components


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": "conv"}, r"layout must be one of dense, conv50. Received layout='conv'"),
        ({"scenario": "best"}, r"scenario must be naive, proposed, or some of.*Received scenario='best'"),
        ({"scenario": {"bn", "relu"}}, r"scenario must be naive"),
        ({"scenario": None}, r"scenario must be naive.*Received scenario=None"),
        ({"depth": 0}, r"depth must be a whole number above 0. Received depth=0"),
        ({"layout": "conv50", "depth": 56}, r"depth must be 50, or None.*Received depth=56"),
        ({"units": 0}, r"units must be a whole number above 0. Received units=0"),
        ({"num_classes": -1}, r"num_classes must be a whole number above 0"),
        ({"input_shape": (16, None)}, r"input_shape must be a tuple of whole numbers"),
        ({"layout": "conv50", "input_shape": (16, 16)}, r"input_shape must be \(height, width, channels\)"),
        ({"layout": "conv50", "input_shape": (4, 4, 1)}, r"at least 6 x 6 pixels"),
        ({"initializer": "he"}, r"initializer must be a Keras initializer.*Received initializer='he'"),
        ({"negative_slope": -0.1}, r"negative_slope must be a number of 0 or more"),
        ({"max_norm": 0, "depth": 1}, r"max_norm must be a number above 0. Received max_norm=0"),
        ({"max_norm": -1, "scenario": "naive"}, r"max_norm must be a number above 0"),
        ({"scenario": [["bn"]]}, r"scenario must be naive"),
    ],
)
def test_bad_argument_gets_a_message_that_names_it(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_plainnet(**arguments)
