"""`from_preset`: names build the papers' networks; weights come from a file given or found, never from the network."""

import dataclasses
import logging

import numpy as np
import pytest
from keras import ops

from dirac_keras import from_preset
from dirac_keras.errors import UserError
from dirac_keras.models import build_diracnet
from dirac_keras.weights import preset_names
from dirac_keras.weights.catalogue import find_layouts
from dirac_keras.weights.preset_list import PRESETS, Preset
from tests.weights.test_importing import save
from tests.weights.test_networks import dirac_state

pytestmark = pytest.mark.usefixtures("no_network")
SMALL = "small_cifar"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DIRAC_KERAS_WEIGHTS", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    monkeypatch.setitem(
        PRESETS,
        SMALL,
        Preset("build_diracnet", {"depth": 10}, "tiny", "diracnet_10_1_cifar", "small.pth", None, "here"),
    )
    return tmp_path / "cache"


@pytest.fixture
def state():
    return dict(dirac_state((2, 2, 2), (16, 32, 64), 3))


def test_the_paper_s_network_of_28_layers_and_width_5_has_its_parameters(caplog):
    with caplog.at_level(logging.WARNING, logger="dirac_keras"):
        model = from_preset("diracnet_28_5_cifar")
    # 24 Dirac convolutions and the stem; table 2 of the paper: 9.1 M parameters.
    assert round(sum(int(np.prod(w.shape)) for w in model.trainable_weights) / 1e6, 1) == 9.1
    assert "diracnet_28_5_cifar is not trained" in caplog.text and "diracnet_28_5_cifar.keras" in caplog.text


@pytest.mark.parametrize("name", [name for name in PRESETS if PRESETS[name].architecture])
def test_presets_name_networks_that_can_be_imported(name):
    assert find_layouts(PRESETS[name].architecture) and preset_names()[name]


@pytest.mark.slow
def test_weights_are_found_in_the_cache_or_given(cache, state, tmp_path):
    given = from_preset(SMALL, save(state, tmp_path / "own.pth"))
    save(state, cache / "small.pth")
    found = from_preset(SMALL, load_weights=True)
    assert found.output_shape == (None, 5), "the classes of the file"
    for one, two in zip(given.weights, found.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(two))
    kernel = ops.convert_to_numpy(found.get_layer("conv1").kernel)
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), state["conv"])
    assert from_preset(SMALL, load_weights=False).output_shape == (None, 10)


@pytest.mark.slow
def test_a_model_that_was_saved_is_taken_by_its_name_in_the_cache(cache):
    model = build_diracnet(10)
    model.save(cache / f"{SMALL}.keras")
    found = from_preset(SMALL)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(found.get_layer("conv1").kernel), ops.convert_to_numpy(model.get_layer("conv1").kernel)
    )
    build_diracnet(16).save(cache / f"{SMALL}.keras")
    with pytest.raises(UserError, match="is of another network than small_cifar"):
        from_preset(SMALL)


def test_without_a_file_it_says_which_to_put_where(cache):
    with pytest.raises(UserError, match="Put the file") as error:
        from_preset(SMALL, load_weights=True)
    assert str(cache / "small.pth") in str(error.value) and "hf://" in str(error.value)
    with pytest.raises(UserError, match="diracnet18v2folded-a2174e15"):
        from_preset("diracnet_18_imagenet_folded")


def test_a_file_with_another_checksum_is_refused(cache, state):
    path = save(state, cache / "small.pth")
    with pytest.raises(UserError, match="SHA-256"):
        from_preset(SMALL, path, sha256="0" * 64)


@pytest.mark.slow
def test_the_checksum_of_a_preset_is_that_of_its_file_alone(cache, state, monkeypatch, tmp_path):
    monkeypatch.setitem(PRESETS, SMALL, dataclasses.replace(PRESETS[SMALL], sha256="0" * 64))
    build_diracnet(10).save(cache / f"{SMALL}.keras")
    assert from_preset(SMALL).output_shape == (None, 10), "one's own network under the name of the preset"
    assert from_preset(SMALL, save(state, tmp_path / "own.pth")).output_shape == (None, 5)
    with pytest.raises(UserError, match="damaged or another file"):
        from_preset(SMALL, save(state, tmp_path / "small.pth"))
    save(state, cache / "small.pth")
    with pytest.raises(UserError, match="damaged or another file"):
        from_preset(SMALL)


def test_arguments_are_the_builder_s(state, tmp_path):
    path = save(state, tmp_path / "own.pth")
    assert from_preset(SMALL, path, input_shape=(16, 16, 3)).input_shape == (None, 16, 16, 3)
    assert from_preset(SMALL, load_weights=False, num_classes=7).output_shape == (None, 7)
    with pytest.raises(UserError, match="name must be one of"):
        from_preset("diracnet_28_5")
    with pytest.raises(UserError, match="another network"):
        from_preset(SMALL, path, num_classes=7)
    with pytest.raises(UserError, match="load_weights=False"):
        from_preset(SMALL, path, load_weights=False)


@pytest.mark.parametrize("num_classes", [0, 2.0, "10", True])
def test_a_number_of_classes_that_is_none_is_named(num_classes):
    with pytest.raises(UserError, match=r"num_classes must be a whole number above 0\. Received num_classes="):
        from_preset("diracnet_18_imagenet_folded", load_weights=False, num_classes=num_classes)
