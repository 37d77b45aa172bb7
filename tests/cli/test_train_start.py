"""`dirac-keras train --start`: the network of the start, resumed without it, and one line for what does not fit."""

import json
import shutil

import keras
import pytest

from tests.cli.entry import status_of

COMMON = ("--data", "digits", "--max-train", "256", "--max-test", "64", "--precision", "float32", "--no-export")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A finished run of a network that no recipe has."""
    folder = tmp_path_factory.mktemp("start") / "first"
    with pytest.MonkeyPatch.context() as patch:
        options = ("--family", "plainnet", "--depth", "2", "--units", "12", "--recipe", "plainnet", "--epochs", "1")
        assert status_of(("train", *options, *COMMON, "--workdir", folder), patch) == 0
    return folder


@pytest.fixture
def command(monkeypatch, capsys):
    def call(*arguments):
        status = status_of(("train", *arguments, *COMMON), monkeypatch)
        return (status, *capsys.readouterr())

    return call


def test_the_network_is_that_of_the_start_and_resuming_needs_it_no_more(start, tmp_path, command):
    copy = tmp_path / "copy"
    shutil.copytree(start, copy)
    options = ("--start", copy, "--recipe", "finetune", "--epochs", "1", "--freeze", "dense1*", "--workdir")
    status, out, _ = command(*options, tmp_path / "run")
    assert status == 0 and "test accuracy" in out
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (record["family"], record["depth"], record["units"]) == ("plainnet", 2, 12)
    assert record["learning_rate_of"] == "head_dense=1,*=0.1"
    assert len(record["start_sha256"]) == 64
    shutil.rmtree(copy)
    status, out, _ = command(*options, tmp_path / "run")
    assert status == 0 and "test accuracy" in out


@pytest.mark.parametrize(("options", "message"), [
    (("--depth", "3"), "its network has depth=2 there, 3 here"),
    (("--family", "vgg", "--depth", "11"), "its network has family=plainnet there, vgg here"),
    (("--unfreeze-epoch", "1"), "unfreeze_epoch needs --freeze"),
    (("--freeze", "conv*"), "freeze must fit names of layers with weights"),
])  # fmt: skip
def test_what_does_not_fit_is_one_line_and_writes_nothing(start, tmp_path, command, options, message):
    size = ("--image-size", "16") if "vgg" in options else ()
    status, _, err = command("--start", start, *options, *size, "--epochs", "2", "--workdir", tmp_path / "run")
    assert status == 1
    assert message in err
    assert not (tmp_path / "run" / "config.json").exists()


def test_the_recipe_needs_a_start(tmp_path, command):
    status, _, err = command("--recipe", "finetune", "--depth", "10", "--workdir", tmp_path / "run")
    assert status == 1
    assert "Give --start, the folder of a run or a .keras file" in err


@pytest.fixture
def network(tmp_path):
    """A network of no family, without metadata."""
    parts = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(7, activation="softmax")]
    keras.Sequential([keras.Input((8, 8, 1)), *parts], name="mine").save(tmp_path / "mine.keras")
    return tmp_path / "mine.keras"


def test_a_file_of_no_family_is_trained_as_it_stands(network, tmp_path, command):
    options = ("--start", network, "--recipe", "finetune", "--epochs", "1", "--workdir", tmp_path / "run")
    status, out, _ = command(*options)
    assert status == 0 and "test accuracy" in out
    assert json.loads((tmp_path / "run" / "config.json").read_text())["family"] == "file"
    network.unlink()
    status, out, _ = command(*options)
    assert status == 0 and "test accuracy" in out


@pytest.mark.parametrize(("options", "message"), [
    (("--family", "file", "--depth", "3"), "family=file takes the network as it stands in the file of --start"),
    (("--depth", "10"), "--family file trains the network as it stands in the file"),
    (("--start-input", "pixel"), "start_input must be"),
])  # fmt: skip
def test_what_a_file_of_no_family_does_not_take_is_one_line(network, tmp_path, command, options, message):
    status, _, err = command("--start", network, *options, "--epochs", "2", "--workdir", tmp_path / "run")
    assert status == 1 and message in " ".join(err.split())
    assert not (tmp_path / "run" / "config.json").exists()
