"""Families of networks as `TrainConfig` names them."""

import types

import keras
import numpy as np
import pytest
from keras import ops

from dirac_keras.cli import train as train_command
from dirac_keras.models import FAMILIES
from dirac_keras.training import build_model, train
from dirac_keras.training.config import TrainConfig
from pipelines import load_splits
from tests.network_checks import branches

SPEC = types.SimpleNamespace(name="toy", num_classes=3, image_shape=(16, 16, 3), class_names=("a", "b", "c"))


def build(**fields):
    return build_model(TrainConfig(**fields), SPEC)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"family": "van", "depth": 2, "units": 7}, "van_dense_2_7"),
        ({"family": "van", "depth": 2, "skip_constraint": False}, "van_dense_2_50_unconstrained"),
        ({"family": "van", "depth": 10, "layout": "conv", "width": 0.25}, "van_conv_10_0p25"),
        ({"family": "resnet", "depth": 8, "width": 0.5}, "resnet_cifar_8_0p5"),
        ({"family": "resnet", "depth": 10, "width": 0.5, "layout": "van"}, "resnet_van_10_0p5"),
        ({"family": "resnet", "depth": 8, "width": 0.5, "skips": False}, "plain_resnet_cifar_8_0p5"),
        ({"family": "resnet", "depth": 2, "layout": "dense", "units": 7}, "resnet_dense_2_7"),
        ({"family": "wide_resnet", "depth": 10, "width": 0.5}, "wide_resnet_10_0p5"),
        ({"family": "wide_resnet", "depth": 10, "skips": False}, "plain_wide_resnet_10_1"),
        ({"family": "highway", "depth": 2, "units": 7}, "highway_dense_2_7"),
        ({"family": "highway", "depth": 7, "layout": "conv", "width": 0.25}, "highway_conv_7_0p25"),
        ({"family": "highway", "depth": 2, "units": 7, "skips": False}, "plain_highway_dense_2_7"),
        ({"family": "vgg", "depth": 11, "width": 0.0625}, "vgg_11_0p0625"),
        ({"family": "fastnet", "depth": 5, "width": 0.1}, "fastnet_5_0p1"),
        ({"family": "diracnet", "depth": 2, "layout": "dense", "units": 7}, "diracnet_dense_2_7"),
    ],
)
def test_config_builds_the_network_it_names(fields, name):
    model = build(**fields)
    assert (model.name, model.output.shape) == (name, (None, 3))
    assert bool(branches(model)) == (
        fields["family"] in ("van", "resnet", "wide_resnet", "highway") and "plain" not in name
    )


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"file"}))
@pytest.mark.parametrize(("policy", "logits"), [("float64", "float64"), ("mixed_bfloat16", "float32")])
def test_logits_have_the_precision_of_the_network_or_float32(family, policy, logits):
    """Else a network in float64 would give seven digits, and comparisons in float64 would see no difference below."""
    if policy == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX makes float32 of float64")
    keras.config.set_dtype_policy(policy)
    model = build(
        family=family,
        **{"resnet": {"depth": 8}, "vgg": {"depth": 11}, "fastnet": {"depth": 8}}.get(family, {"depth": 10}),
    )
    assert {model.output.dtype, model.get_layer("head_dense").compute_dtype} == {logits}


def test_every_family_is_in_the_help_of_the_field():
    (text,) = (f.metadata["help"] for f in TrainConfig.__dataclass_fields__.values() if f.name == "family")
    assert all(family in text for family in FAMILIES)


@pytest.mark.parametrize("family", ["resnet", "wide_resnet"])
def test_sigma_of_the_config_is_the_kernels_deviation(family):
    """And wins over the start that a recipe names. 2304 and 9216 numbers: five deviations of the mean are 15 %."""
    model = build(family=family, depth=8 if family == "resnet" else 10, sigma=1e-3, recipe="quick")
    kernel = ops.convert_to_numpy(model.get_layer("group2_block1_conv2").kernel)
    assert np.std(kernel) == pytest.approx(1e-3, rel=0.15)


def test_gate_bias_of_the_config_is_the_gates_start():
    gate = build(family="highway", depth=1, gate_bias=-4.0).get_layer("dense2_gate")
    assert np.all(ops.convert_to_numpy(gate.bias) == -4.0)


@pytest.mark.parametrize(
    ("family", "layer", "depth", "size"),
    [
        ("resnet", "group1_block1_conv1", 8, {"width": 0.1}),
        ("highway", "dense2", 1, {"units": 4}),
        ("vgg", "group2_conv1", 11, {"width": 0.1}),
    ],
)
def test_kernel_initializer_of_the_config_is_the_kernels_start(family, layer, depth, size):
    fields = {"family": family, "depth": depth, **size}
    assert not np.any(ops.convert_to_numpy(build(kernel_initializer="zeros", **fields).get_layer(layer).kernel))
    own = build(kernel_initializer="paper", **fields).get_layer(layer)
    assert isinstance(own.kernel_initializer, keras.initializers.HeNormal)


@pytest.mark.parametrize(
    ("fields", "folder"),
    [
        ({}, "digits-dirac-28-1"),
        ({"layout": "dense", "depth": 5, "units": 50}, "digits-dirac-dense-5-50"),
        ({"family": "plainnet", "depth": 9}, "digits-plainnet-dense-9-300-proposed"),
        ({"family": "resnet", "depth": 20}, "digits-resnet-cifar-20-1"),
        ({"family": "resnet", "depth": 9, "layout": "dense"}, "digits-resnet-dense-9-50"),
        ({"family": "wide_resnet", "sigma": 1e-8}, "digits-wide_resnet-28-1-sigma1e-08"),
        ({"family": "wide_resnet", "skips": False}, "digits-wide_resnet-28-1-plain"),
        ({"family": "highway", "depth": 9}, "digits-highway-dense-9-50"),
        ({"family": "highway", "layout": "conv", "depth": 19}, "digits-highway-conv-19-1"),
        ({"family": "van", "depth": 9}, "digits-van-dense-9-50"),
        (
            {"family": "van", "layout": "conv", "depth": 18, "skip_constraint": False},
            "digits-van-conv-18-1-unconstrained",
        ),
        ({"family": "vgg", "depth": 16, "width": 0.5}, "digits-vgg-16-0.5"),
        ({"family": "fastnet"}, "digits-fastnet-8-1"),
        ({"family": "fastnet", "activation": "relu", "parameterization": "dirac"}, "digits-fastnet-8-1-dirac-relu"),
    ],
)
def test_folder_of_a_run_names_its_network(fields, folder):
    assert str(train_command._default_workdir(TrainConfig(**fields))) == f"runs/{folder}-quick15-seed0"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"family": "resnet"}, r"depth must be 6 N \+ 2.*Received depth=28; the nearest are 26 and 32"),
        ({"family": "wide_resnet", "sigma": -1.0}, r"sigma must be 0 or more. Received sigma=-1"),
        ({"family": "highway", "gate_bias": "low"}, r"gate_bias must be a finite number"),
        ({"family": "vgg"}, r"depth must be 11, 13, 16 or 19. Received depth=28"),
        ({"family": "resnet", "skips": "no"}, r"skips must be true or false. Received skips='no'"),
    ],
)
def test_field_that_does_not_fit_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        build(**fields)


@pytest.mark.slow
def test_run_of_a_resnet_trains_in_a_compiled_step(tmp_path):
    config = TrainConfig(
        data="digits", family="resnet", depth=8, width=0.25, epochs=2, max_train=256, max_test=64, precision="float32"
    )
    result = train(config, load_splits(**config.data_arguments()), tmp_path / "run")
    assert result.model.name == "resnet_cifar_8_0p25"
    assert result.history[-1]["loss"] < result.history[0]["loss"]
