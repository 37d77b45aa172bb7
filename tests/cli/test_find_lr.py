"""`dirac-keras find-lr` through its entry point."""

import json

import pytest

from dirac_keras.training.optimization import rate_finder
from dirac_keras.training.optimization.rate_finder import RateTest
from tests.cli.entry import status_of

ARGUMENTS = ("find-lr", "--data", "digits", "--family", "plainnet", "--depth", "1", "--units", "8")
ARGUMENTS += ("--batch-size", "64", "--precision", "float32", "--max-train", "256", "--steps", "30")


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    def call(*arguments):
        monkeypatch.chdir(tmp_path)
        status = status_of(arguments, monkeypatch)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.mark.slow
def test_rate_and_picture_are_all_that_is_left(command, tmp_path):
    status, out, _ = command(*ARGUMENTS, "--output", "lr", "--highest", "100")
    assert status == 0 and "train with --learning-rate" in out
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {
        "lr", "lr/learning-rate.json", "lr/learning-rate.png",
    }  # fmt: skip
    record = json.loads((tmp_path / "lr" / "learning-rate.json").read_text())
    assert f"learning rate {record['learning_rate']:.2g}" in out and record["optimizer"] == "sgd"
    assert (tmp_path / "lr" / "learning-rate.png").read_bytes().startswith(b"\x89PNG")

    status, _, error = command(*ARGUMENTS, "--output", "lr")
    assert status == 1 and "learning-rate.png exists" in error.replace("\n", "") and "--overwrite" in error
    status, out, _ = command(
        *ARGUMENTS, "--output", "lr", "--overwrite", "--json", "--optimizer", "adamw", "--steps", "12"
    )
    assert status == 0 and json.loads(out)["optimizer"] == "adamw"


@pytest.mark.slow
def test_muon_is_told_both_rates(command, tmp_path):
    status, out, _ = command(*ARGUMENTS, "--recipe", "quick_muon", "--lowest", "1e-3")
    record = json.loads((tmp_path / "learning-rate.json").read_text())
    rates = f"--learning-rate {record['learning_rate']:.2g} --muon-learning-rate {record['muon_learning_rate']:.2g}"
    assert status == 0 and rates in " ".join(out.split())


@pytest.mark.slow
def test_rates_that_lower_no_loss_are_named(command):
    status, _, error = command(*ARGUMENTS, "--lowest", "1e30", "--highest", "1e31")
    assert status == 1 and "lowered the loss" in error and "--lowest" in error


@pytest.mark.parametrize(("suggestion", "is_told"), [(10.0, True), (1.0, False)])
def test_rate_at_the_end_of_the_range_is_told(suggestion, is_told, command, monkeypatch):
    found = RateTest([0.1, 1.0, 10.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0], suggestion, suggestion, None, False)
    monkeypatch.setattr(rate_finder, "find_learning_rate", lambda *arguments: found)
    status, out, _ = command(*ARGUMENTS)
    assert status == 0 and ("a larger --highest" in " ".join(out.split())) == is_told


def test_rate_is_at_no_end_where_the_loss_diverged():
    assert not RateTest([0.1, 1.0], [3.0, 2.0], [3.0, 2.0], 1.0, 1.0, None, has_diverged=True).is_at_end


def test_option_without_effect_is_refused(command, tmp_path):
    status, _, error = command(*ARGUMENTS, "--focal-gamma", "1")
    assert status == 1 and "--focal-gamma has an effect only with --loss focal" in " ".join(error.split())
    assert not list(tmp_path.iterdir())
