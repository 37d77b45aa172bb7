"""`dirac-keras plainify`: a plain file, its certificate, and one line for what does not fit."""

import json
import logging

import keras
import numpy as np
import pytest
from keras import layers

from dirac_keras import assert_plain
from dirac_keras.graph.casting import to_float32
from dirac_keras.precision import dtype_policy
from tests.cli.entry import runner_of
from tests.conversion import blocks
from tests.folding.helpers import TOLERANCE, relative_difference


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    path = tmp_path_factory.mktemp("plainify") / "net.keras"
    blocks.network(blocks.basic).save(path)
    return path


@pytest.fixture
def command(monkeypatch, capsys):
    """Exit status, standard output and standard error of the entry point."""
    return runner_of("plainify", monkeypatch, capsys)


def test_the_plain_network_lies_beside_the_file(residual, command):
    status, out, _ = command(residual)
    assert status == 0
    plain = keras.saving.load_model(residual.with_name("net-plain.keras"))
    assert_plain(plain)
    assert relative_difference(keras.saving.load_model(residual), plain) < TOLERANCE
    assert "1 skip is gone" in out
    assert "written:" in out
    status, _, err = command(residual)
    assert status == 1
    assert "exists. Give another --output, or --overwrite" in err
    assert command(residual, "--overwrite", "--dense")[0] == 0


def test_the_certificate_as_json(residual, tmp_path, command):
    status, out, _ = command(residual, "--method", "exact", "--output", tmp_path / "plain.keras", "--json")
    assert status == 0
    assert json.loads(out)["max_relative_difference"] < 1e-4


@pytest.mark.slow
def test_accuracy_on_a_data_set(tmp_path, command, caplog):
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = layers.Add()([x, layers.Conv2D(4, 3, padding="same")(layers.Conv2D(4, 1, activation="relu")(x))])
    keras.Model(inputs, layers.Dense(10)(layers.Flatten()(x))).save(tmp_path / "net.keras")
    options = ("--data", "digits", "--max-images", "64", "--input", "unit", "--json")
    with caplog.at_level(logging.INFO, logger="dirac_keras"):
        status, out, _ = command(tmp_path / "net.keras", *options)
    record = json.loads(out)
    assert status == 0
    assert caplog.text.count("input: ") == 1
    assert record["images"] == 64
    assert record["accuracy_before"] == record["accuracy_after"]


@pytest.mark.parametrize(("options", "message"), [
    (("--epochs", "3"), "--epochs has an effect only with --method phase_out or --method retrain"),
    (("--lr", "0.1"), "--lr has an effect only with"),
    (("--batch-size", "8"), "--batch-size has an effect only with"),
    (("--seed", "0"), "--seed has an effect only with"),
    (("--no-teacher",), "has an effect only with"),
    (("--input", "unit"), "--input has an effect only with --data"),
    (("--max-images", "8"), "--max-images has an effect only with --data"),
    (("--method", "retrain", "--data", "digits", "--dense"), "--dense has an effect only with --method exact"),
    (("--method", "retrain", "--data", "digits", "--features", "a"), "--features has an effect only with"),
    (("--method", "phase_out", "--data", "digits", "--feature-weight", "2"), "only with --features"),
])  # fmt: skip
def test_options_without_effect_are_refused(residual, command, options, message):
    status, _, err = command(residual, "--output", residual.with_name("not-written.keras"), *options)
    assert status == 1
    assert message in err
    assert not residual.with_name("not-written.keras").exists()


def test_what_the_images_are_scaled_to_is_asked_for_before_the_work(tmp_path, command, monkeypatch):
    def work(*of, **more):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("dirac_keras.cli.plainify.plainify", work)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(1, 3, padding="same")(inputs)
    keras.Model(inputs, layers.Dense(10)(layers.Flatten()(layers.Add()([x, inputs])))).save(tmp_path / "net.keras")
    status, _, err = command(tmp_path / "net.keras", "--data", "digits")
    assert status == 1
    assert "--input" in err


def test_what_does_not_fit_is_one_line_and_writes_nothing(residual, tmp_path, command):
    blocks.network(lambda x: layers.Concatenate()([x, layers.ReLU()(blocks.conv(x, 4))])).save(tmp_path / "dense.keras")
    status, _, err = command(tmp_path / "dense.keras")
    assert status == 1
    assert "joins 2 tensors by Concatenate" in err
    broken = keras.saving.load_model(residual)
    broken.layers[-1].bias.assign(np.full(3, np.nan))
    broken.save(tmp_path / "nan.keras")
    status, _, err = command(tmp_path / "nan.keras")
    assert status == 1
    assert "not finite" in err
    status, _, err = command(residual, "--output", tmp_path / "plain.h5")
    assert status == 1
    assert "--output must end in .keras" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense.keras", "nan.keras"]


@pytest.mark.slow
def test_a_network_of_mixed_precision_becomes_one_in_float32(tmp_path, command):
    """Else the certificate would measure the rounding of bfloat16."""
    with dtype_policy("mixed_bfloat16"):
        blocks.network(blocks.basic).save(tmp_path / "net.keras")
    status, out, _ = command(tmp_path / "net.keras")
    assert status == 0 and "it was trained in lower precision; the plain network computes in float32" in out
    plain = keras.saving.load_model(tmp_path / "net-plain.keras")
    assert {layer.compute_dtype for layer in plain.layers} == {"float32"}
    expected = to_float32(keras.saving.load_model(tmp_path / "net.keras"))
    assert relative_difference(expected, plain) < TOLERANCE
