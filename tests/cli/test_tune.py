"""`dirac-keras tune` through its entry point."""

import json
import re

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("keras_tuner")

from tests.cli.test_cli import command  # noqa: F401  # a fixture
from tuning.fleet import protocol

TUNE = ("tune", "--data", "digits", "--family", "plainnet", "--recipe", "plainnet", "--depth", "2,3", "--units", "8")
FEW = ("--tuner", "grid", "--max-epochs", "1", "--max-train", "256", "--max-test", "50", "--learning-rate", "0.01")


@pytest.fixture
def tune(command, tmp_path):  # noqa: F811
    return lambda *arguments: command(*TUNE, *FEW, "--weight-decay", "0", "--workdir", tmp_path / "search", *arguments)


@pytest.mark.slow
def test_search_says_what_it_found_and_how_to_train_it(tune, command, tmp_path):  # noqa: F811
    status, out, err = tune()
    assert status == 0, err
    assert re.search(
        r"trial 0: depth=2\s+val_accuracy 0\.\d{4}  1 epoch in .* parameters, [\d.]+ (k )?MACs, [\d.]+ ms", out
    )
    assert "On the front of accuracy against a cost" in out and "2 trials finished" in out
    line = re.search(r"train it: dirac-keras (train --config \S+)", out).group(1)
    status, out, err = command(*line.split(), "--workdir", tmp_path / "best", "--no-export")
    assert status == 0 and "test accuracy" in out, err


@pytest.mark.slow
def test_file_gives_the_space_and_flags_win(command, tmp_path):  # noqa: F811
    (tmp_path / "space.toml").write_text(
        'data = "digits"\nfamily = "plainnet"\nrecipe = "plainnet"\ndepth = [2, 3, 4]\nunits = "8"\nweight_decay = 0\n'
    )
    arguments = ("--space", tmp_path / "space.toml", *FEW, "--depth", "2-3", "--workdir", tmp_path / "search")
    status, _, err = command("tune", *arguments)
    assert status == 0, err
    record = json.loads((tmp_path / "search" / "search.json").read_text())
    assert record["space"]["families"] == {"plainnet": {"depth": "2,3"}}
    assert record["space"]["fixed"]["weight_decay"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--time", "0"), "must be above 0"),
        (("--time", "soon"), "expected a time such as 20m"),
        (("--tuner", "annealing"), "'annealing' is not one of"),
        (("--depth", "two"), "depth must be whole numbers.*Received 'two'"),
        (("--depth", "2"), "The search space is empty"),
        (
            ("--max-params", "100"),
            "No candidate meets the budget. The smallest, plainnet with depth=2 and units=8, has 682",
        ),
        (("--max-macs", "-1"), "max_macs must be above 0. Received max_macs=-1.0"),
        (("--search", "momentum"), "momentum has no default range here"),
        (("--chief", "here"), "chief must be HOST:PORT"),
        (("--space", "absent.toml"), "absent.toml cannot be read"),
        (("--data", "imagenet21k"), "imagenet21k"),
        (("--batch-size", "512,1024"), "batch_size must be at most the number of training examples"),
    ],
)
def test_mistake_gets_one_line(tune, arguments, message):
    status, out, err = tune(*arguments)
    assert status != 0 and "Traceback" not in out + err
    assert re.search(message, " ".join(re.sub("[│╭╮╰╯─]", " ", out + err).split()))


def test_worker_without_a_chief_gives_up_in_one_line(command, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(protocol.reach, "__defaults__", (1,))
    status, _, err = command("tune", "--join", "127.0.0.1:9", "--workdir", tmp_path)
    assert status == 1 and "No chief answers at 127.0.0.1:9, tried for 1 s" in err


@pytest.mark.parametrize(("text", "seconds"), [("20m", 1200), ("1h30m", 5400), ("45s", 45), ("90", 90), ("1.5h", 5400)])
def test_time_is_read(text, seconds):
    from dirac_keras.cli.tune import _Seconds

    assert _Seconds().convert(text, None, None) == seconds


def test_help_names_the_tuners_there_are():
    from dirac_keras.cli import tune as module
    from tuning import oracles

    assert module.TUNERS == oracles.TUNERS  # written twice, as importing them takes KerasTuner


@pytest.mark.slow
def test_the_validation_part_of_the_data_is_taken_as_train_takes_it(tune, tmp_path):
    """Of data without one a tenth of the training images is held out, see `tests/pipelines/test_own_validation.py`."""
    random = np.random.default_rng(0)
    for part in ("train", "val", "test"):
        for label in "ab":
            (tmp_path / "data" / part / label).mkdir(parents=True)
            for k in range(8):
                pixels = random.integers(0, 256, (8, 8, 3)).astype("uint8")
                Image.fromarray(pixels).save(tmp_path / "data" / part / label / f"{k}.png")
    status, out, err = tune("--data", f"folder:{tmp_path / 'data'}", "--depth", "2,3", "--batch-size", "8")
    assert status == 0, err
    assert "trials are compared on the validation part that folder:" in out
    record = json.loads((tmp_path / "search" / "search.json").read_text())
    assert record["space"]["fixed"]["validation"] == 0
