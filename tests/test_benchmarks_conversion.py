"""The commands that compare fine-tuning and plain networks: their tables, tiny, and that they resume."""

import dataclasses
import json

import pytest
from click.testing import CliRunner

from benchmarks.finetuning_start import Comparison, row_of, spread
from benchmarks.finetuning_start import main as finetuning_start
from benchmarks.plainify import main as plainify_table
from benchmarks.plainify_trained import Setting, _plain_row
from benchmarks.plainify_trained import main as plainify_trained
from dirac_keras.errors import UserError
from dirac_keras.models import build_resnet


def test_a_spread_is_the_mean_and_the_range():
    assert spread([1.0, 2.0, 6.0]) == "3.0 (1.0 to 6.0)"
    assert spread([2.0], "+.1f") == "+2.0"


def test_few_images_are_seen_for_more_epochs():
    comparison = Comparison("cifar100", "cifar10", {"family": "diracnet", "depth": 28, "width": 1.0}, 15)
    assert [comparison.epochs_of(share) for share in (1.0, 0.1, 0.01)] == [15, 47, 60]
    tuned, scratch = (comparison.config(0.01, 50_000, 1, start) for start in ("runs/source", None))
    assert (tuned.max_train, tuned.epochs, tuned.batch_size, tuned.seed) == (500, 60, 62, 1)
    assert (tuned.start, tuned.learning_rate_of) == ("runs/source", "head_dense=1,*=0.1")
    assert (scratch.start, scratch.recipe, scratch.epochs) == (None, "quick", 60)


def test_a_row_has_the_difference_seed_by_seed():
    row = {"share": 0.1, "images": 5000, "epochs": 47, "random": [0.5, 0.6], "finetuned": [0.7, 0.7]}
    assert row_of(row) == [
        "10 %",
        "5,000",
        "47",
        "55.0 (50.0 to 60.0)",
        "70.0 (70.0 to 70.0)",
        "+15.0 (+10.0 to +20.0)",
    ]


def test_a_method_that_failed_says_so_in_its_row():
    failed = {"failed": "a skip is still there", "epochs": 1}
    good = {"accuracy": 0.5, "epochs": 1, "parameters": 1000, "macs": None}
    said = "50.0 of 1; 1 of 2 failed: a skip is still there"
    assert _plain_row("phase_out", [failed, good]) == ["phase_out", "1", said, "1,000", "unknown"]
    said = "2 of 2 failed: a skip is still there"
    assert _plain_row("phase_out", [failed, failed]) == ["phase_out", "1", said, "-", "-"]


def test_a_result_of_another_setting_is_not_taken(tmp_path):
    setting = Setting("digits", None, 1, 1, 0.1, 0.1, None, None, None, "float32", tmp_path)
    assert setting.kept("exact", 0, lambda: {"accuracy": 0.5}, depth=8)["accuracy"] == 0.5
    assert setting.kept("exact", 0, pytest.fail, depth=8)["accuracy"] == 0.5
    for other, network in ((dataclasses.replace(setting, learning_rate=0.2), {"depth": 8}), (setting, {"depth": 20})):
        with pytest.raises(UserError, match=r"exact-seed0\.json is of another setting"):
            other.kept("exact", 0, pytest.fail, **network)


def test_a_network_of_ones_own_has_a_row(tmp_path):
    path = tmp_path / "own.keras"
    build_resnet(8, width=0.25, input_shape=(8, 8, 1)).save(path)
    result = CliRunner().invoke(plainify_table, [str(path), "--rounds=0"], catch_exceptions=False)
    name, skips, difference = [cell.strip() for cell in result.output.splitlines()[-1].split("|")[1:4]]
    assert (name, skips) == (str(path), "3")
    assert float(difference) < 1e-5


def test_a_network_that_no_row_knows_is_refused():
    result = CliRunner().invoke(plainify_table, ["ResNet51"])
    assert result.exit_code == 2
    assert "or a file .keras. Received 'ResNet51'" in result.output


@pytest.mark.slow
def test_fine_tuning_is_run_read_again_and_printed(tmp_path):
    arguments = ["--source=digits", "--target=digits", "--depth=10", "--width=0.25", "--epochs=1", "--shares=0.1,1"]
    arguments += ["--seeds=0,1", "--max-source=256", "--max-target=256", "--max-test=64", f"--workdir={tmp_path}"]
    first = CliRunner().invoke(finetuning_start, arguments, catch_exceptions=False)
    again = CliRunner().invoke(finetuning_start, arguments, catch_exceptions=False)
    assert first.exit_code == 0
    assert first.output.splitlines()[-2:] == again.output.splitlines()[-2:]
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["images"] for row in rows] == [26, 256]
    assert [len(row["finetuned"]) for row in rows] == [2, 2]


@pytest.mark.slow
def test_plain_networks_and_dirac_kernels_are_compared(tmp_path):
    arguments = ["--data=digits", "--depth=8", "--vgg-depth=11", "--vgg-width=0.0625", "--epochs=1", "--seeds=0"]
    arguments += ["--tuning-epochs=1", "--max-train=256", "--max-test=64", "--image-size=16", "--precision=float32"]
    arguments += [f"--workdir={tmp_path}"]
    result = CliRunner().invoke(plainify_trained, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    trained = ["ResNet-8", "plain-8, from its start"]
    rows = {label: "1" for label in trained} | {f"{label}, twice as long": "2" for label in trained}
    rows |= {"plainify, exact": "1", "plainify, phase_out": "1 + 1", "plainify, retrain": "1 + 1"}
    for label, epochs in rows.items():
        assert f"| {label} | {epochs} |" in result.output
    for label in ("VGG11", "VGG11, diracify"):
        assert f"| {label} |" in result.output
    exact = json.loads((tmp_path / "exact8-seed0.json").read_text())
    assert exact["accuracy"] == exact["before"]
    dirac = json.loads((tmp_path / "vgg11-dirac-seed0.json").read_text())
    assert dirac["difference"] < 1e-4
