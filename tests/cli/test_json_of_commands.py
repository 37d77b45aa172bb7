"""`--json` of every command that reports: JSON alone on standard output."""

import importlib
import json

import pytest
import rich_click as click

from dirac_keras.cli.program import COMMANDS
from tests.cli.entry import status_of

# What reports nothing: it serves until it is interrupted, or prints a script for a shell.
WITHOUT = {"data-service", "completion"}
SMALL = ("--data", "digits", "--family", "plainnet", "--depth", "2", "--units", "8", "--max-train", "256")
TRAIN = ("train", *SMALL, "--max-test", "64", "--batch-size", "64", "--epochs", "1", "--precision", "float32")


def every_command():
    """Words that call a command, and the command, those of groups among them."""
    for name, (module, function, _) in COMMANDS.items():
        yield from below((name,), getattr(importlib.import_module(module), function))


def below(words, command):
    if not isinstance(command, click.Group):
        yield words, command
        return
    for name, (module, function, _) in command.where.items():
        yield from below((*words, name), getattr(importlib.import_module(module), function))


def test_every_command_that_reports_has_the_option():
    lacking = {
        " ".join(words)
        for words, command in every_command()
        if not any("--json" in option.opts and not option.is_flag for option in command.params)
    }
    assert lacking == WITHOUT


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run and an image, and what `train --json` said."""
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("json")
    Image.fromarray(np.arange(64, dtype="uint8").reshape(8, 8)).save(folder / "image.png")
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    with pytest.MonkeyPatch.context() as patch:
        import contextlib
        import io

        out = io.StringIO()
        patch.chdir(folder)
        with contextlib.redirect_stdout(out):
            assert status_of([*TRAIN, "--no-export", "--workdir", "runs/one", "--json"], patch) == 0
    return folder, json.loads(out.getvalue())


def test_train_prints_its_final_figures(trained):
    folder, said = trained
    summary = json.loads((folder / "runs" / "one" / "summary.json").read_text())
    assert said["test_accuracy"] == summary["test_accuracy"] and said["deployment"] is None
    assert said["workdir"] == "runs/one"


CALLS = {
    "evaluate": (("runs/one",), lambda said: 0 <= said["accuracy"] <= 1),
    "predict": (("runs/one", "image.png"), lambda said: len(said["classes"]) == 5),
    "fold": (("runs/one", "--output", "plain.keras"), lambda said: said["output"] == "plain.keras"),
    "info": (("runs/one",), lambda said: said["layers"]),
    "diagnose": (("runs/one", "--max-images", "64", "--output", "diagnosis"), lambda said: said["verdict"]),
    "reproduce": (("plainnets", "--list", "--no-measure"), lambda said: said[0]["paper"] == "plainnets"),
}


@pytest.mark.parametrize("name", CALLS)
def test_standard_output_is_json_alone(name, trained, monkeypatch, capsys):
    monkeypatch.chdir(trained[0])
    arguments, is_right = CALLS[name]
    assert status_of([name, *arguments, "--json"], monkeypatch) == 0
    assert is_right(json.loads(capsys.readouterr().out, parse_constant=pytest.fail))


def test_a_file_takes_the_same_and_the_words_are_printed(trained, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(trained[0])
    assert status_of(["info", "runs/one", "--json"], monkeypatch) == 0
    said = json.loads(capsys.readouterr().out)
    assert status_of(["info", "runs/one", "--json", tmp_path / "info.json"], monkeypatch) == 0
    out = capsys.readouterr().out
    assert json.loads((tmp_path / "info.json").read_text()) == said
    assert "trainable parameters" in out and "written:" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "is_right"),
    [
        (("export", "runs/one", "--output", "served"), lambda said: said["max_abs_difference"] < 1e-4),
        (("benchmark", "runs/one", "--data", "digits", "--max-images", "32", "--rounds", "3", "--batch", "1"),
         lambda said: said["rows"]),
        (("tune", *SMALL, "--max-test", "64", "--tuner", "random", "--max-trials", "1", "--max-epochs", "1",
          "--workdir", "search"), lambda said: said["best"]["trial"] == said["records"][0]["trial"]),
        (("reproduce", "plainnets", "--only", "table2", "--quick", "--run", "absent"), None),
    ],
)  # fmt: skip
def test_standard_output_of_slow_commands_is_json_alone(arguments, is_right, trained, monkeypatch, capsys):
    if arguments[0] == "tune":
        pytest.importorskip("keras_tuner")
    monkeypatch.chdir(trained[0])
    status = status_of([*arguments, "--json"], monkeypatch)
    out = capsys.readouterr().out
    if is_right is None:
        assert (status, out) == (1, "")  # an error has its line on standard error alone
    else:
        assert status == 0 and is_right(json.loads(out, parse_constant=pytest.fail))
