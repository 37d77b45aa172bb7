"""`dirac-keras diagnose --quantization`, through the entry point."""

import json

import keras
import pytest

from dirac_keras.cli.diagnose import quantization as diagnose_quantization
from tests.cli.entry import status_of
from tests.deployment.quantized_networks import random_weights


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv0")(x)
    x = keras.layers.Conv2D(8, 3, padding="same", name="conv1", use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="bn")(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = random_weights(keras.Model(inputs, keras.layers.Dense(10, name="head")(x)), identity=1.0)
    bn = model.get_layer("bn")
    bn.set_weights([abs(weight) + 0.5 for weight in bn.get_weights()])  # variances are above 0
    file = tmp_path_factory.mktemp("net") / "net.keras"
    model.save(file)
    return file


@pytest.mark.slow
def test_layers_that_will_not_survive_are_named_with_what_mends_them(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(diagnose_quantization, "BITS", (4,))
    options = ["--data", "digits", "--max-images", "32", "--input", "standardized", "--output", tmp_path]
    assert status_of(["diagnose", path, "--quantization", *options], monkeypatch) == 0
    out = capsys.readouterr().out
    assert "int4: " in out and "identity tap is" in out and "measured: follow: " in out
    assert "note: 32 images are few to calibrate on" in out
    page = (tmp_path / "quantization.html").read_text()
    assert "identity tap is" in page and "32 images are few" in page and page.count("<figure") == 2
    record = json.loads((tmp_path / "quantization.json").read_text())
    assert (record["data"], record["images"]) == ("digits", 32)
    four = record["quantization"]["int4"]
    assert "conv1" in four["verdict"]["layers"]
    assert [layer["path"] for layer in four["audit"]["layers"]] == ["conv0", "conv1", "head"]  # folded first
    assert four["cures"]["trials"][0]["cures"] == ["nearest"]
    # As JSON, over its own record; that of others is not replaced.
    monkeypatch.setattr(diagnose_quantization, "BITS", ())
    assert status_of(["diagnose", path, "--quantization", "--json", *options], monkeypatch) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "quantization.json").read_text()) and printed["quantization"] == {}
    (tmp_path / "quantization.json").write_text("{}")
    assert status_of(["diagnose", path, "--quantization", *options], monkeypatch) == 1
    assert "quantization.json" in capsys.readouterr().err


def test_int8_and_int4_are_judged():
    assert diagnose_quantization.BITS == (8, 4)


def test_an_untrained_network_and_the_test_part_are_refused(path, monkeypatch, capsys):
    assert status_of(["diagnose", path, "--quantization", "--init", "--data", "digits"], monkeypatch) == 1
    assert "--quantization judges a trained network on training images. Leave out --init and --split" in " ".join(
        capsys.readouterr().err.split()
    )
