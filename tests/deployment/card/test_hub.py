"""`config.json` and `model.safetensors`: a network rebuilt from these two gives the same outputs."""

import json

import keras
import numpy as np
import pytest

from dirac_keras import fold
from dirac_keras.deployment.card import CardFacts, load_hub_folder, write_hub_files
from dirac_keras.errors import MissingExtra, UserError
from dirac_keras.models import build_diracnet
from tests.deployment.card.test_card import DATA

SHAPE = (32, 32, 3)


@pytest.fixture(scope="module")
def model():
    """A folded DiracNet of random weights: Keras' layers alone."""
    network = build_diracnet(depth=10, width=0.25, num_classes=2)
    random = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(random.uniform(0.1, 1.0, weight.shape))
    return fold(network)[0]


@pytest.fixture
def folder(model, tmp_path):
    pytest.importorskip("safetensors")
    metadata = {"data": DATA | {"image_shape": SHAPE, "resize": 40}}
    write_hub_files(tmp_path, model, metadata, CardFacts(config={"family": "diracnet", "depth": 10}, license="mit"))
    return tmp_path


def test_rebuilt_network_gives_the_same_outputs(folder, model):
    loaded, _ = load_hub_folder(folder)
    images = np.random.default_rng(1).standard_normal((3, *SHAPE)).astype("float32")
    expected, actual = (keras.ops.convert_to_numpy(one(images)) for one in (model, loaded))
    assert np.ptp(expected) > 0
    np.testing.assert_array_equal(actual, expected)  # the same weights in the same graph


def test_configuration_is_that_of_timm(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["architecture"] == "diracnet" and config["model_args"] == {"depth": 10}
    assert config["label_names"] == ["cat", "dog | wolf"] and config["num_classes"] == 2
    cfg = config["pretrained_cfg"]
    assert cfg["input_size"] == [3, 32, 32] and cfg["crop_pct"] == pytest.approx(0.8) and cfg["license"] == "mit"
    np.testing.assert_allclose(cfg["mean"], np.array([124.0, 117.0, 104.0]) / 255)  # in units of 0 to 1
    np.testing.assert_allclose(cfg["std"], np.array([58.0, 57.0, 57.0]) / 255)


def test_weights_are_named_and_read_without_keras(folder, model):
    from safetensors.numpy import load_file

    tensors = load_file(folder / "model.safetensors")
    assert set(tensors) == {weight.path for weight in model.weights}
    np.testing.assert_array_equal(tensors[model.weights[0].path], keras.ops.convert_to_numpy(model.weights[0]))


def test_weights_of_another_network_are_refused(folder, model):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = next(iter(tensors))
    for changed in ({name: tensors[name][..., :1]}, {"other": np.zeros(1, "float32")}):
        save_file(tensors | changed, folder / "model.safetensors")
        with pytest.raises(UserError, match=f"are not those of its configuration: {next(iter(changed))}"):
            load_hub_folder(folder)


def test_damaged_folder_gets_one_line(folder, tmp_path):
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match="holds no network of a hub"):
        load_hub_folder(folder)
    with pytest.raises(UserError, match=r"config\.json cannot be read: No such file"):
        load_hub_folder(tmp_path / "absent")


def test_absent_library_names_the_extra(model, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    with pytest.raises(MissingExtra, match=r"pip install 'dirac_keras\[hub\]'"):
        write_hub_files(tmp_path, model, {})
    assert not list(tmp_path.iterdir())
