import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from benchmarks import identity_fade as fading
from benchmarks.__main__ import main
from benchmarks.identity_fade import METHODS, table
from benchmarks.identity_fade import main as identity_fade
from benchmarks.survival import main as survival
from benchmarks.timing import Timing, time_in_turn
from tests.marks import slow_but


def test_alternatives_are_timed_in_turn():
    calls = []
    time_in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, calls=1, warmup=1)
    assert calls == ["a", "b", "a", "b", "a", "b"]


def test_ratio_is_of_neighbours():
    median, low, high = Timing("a", [2.0, 9.0, 4.0]).ratio_to(Timing("b", [1.0, 3.0, 4.0]))
    assert (median, low, high) == (2.0, 1.0, 3.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    slow_but(["training", "normalization", "precision", "inference", "floor", "observation", "strategy"], "inference"),
)
def test_case_prints_ratios_and_writes_them(case, tmp_path):
    arguments = [case, "--depth=10", "--width=0.25", "--batch-size=4", "--rounds=1", f"--json={tmp_path / 'b.json'}"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0 and "ratio" in result.output
    record = json.loads((tmp_path / "b.json").read_text())
    assert all(row["ratio"] > 0 for row in record["cases"][case])


@pytest.mark.slow
def test_interrupted_runs_end_as_those_left_alone():
    arguments = ["--kills=2", "--terminations=1", "--damaged=1", "--full-disk=1"]
    command = [sys.executable, "-m", "benchmarks.survival", *arguments]  # forks, which this process no longer may
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout


def test_survival_says_what_it_does():
    result = CliRunner().invoke(survival, ["--help"])
    assert result.exit_code == 0 and "compare weights and metrics" in result.output


def test_ways_to_small_identities_are_valid_trainings():
    configs = {name: method.config(0, depth=10, epochs=20) for name, method in METHODS.items()}
    assert configs["dissolved at 50 %"].dissolve_epoch == 10
    assert configs["a faded to 0 by 60 %"].identity_bound_end == 12
    assert configs["a faded to 0 by 60 %, twice the epochs"].identity_bound_end == 24
    assert configs["multipliers on a, the paper's, from 25 %"].identity_phase_out_start == 5
    measured = dict.fromkeys(("accuracy", "ratio", "tap", "nearest_8_db", "nearest_8_accuracy"), 1.0)
    measured |= dict.fromkeys(("follow_8_db", "nearest_4_accuracy", "follow_4_accuracy"), 2.0)
    rows = table({"plain": [measured, {**measured, "accuracy": 4.0}, {**measured, "accuracy": 3.0}]})
    assert rows[2].startswith("| plain | 3.0 (1.0-4.0) |")
    assert fading._mean([1.0, 4.0, 3.0]) == "2.7 ± 1.5"  # squares (25 + 16 + 1) / 9, over two: 7/3
    assert fading._mean([2.0]) == "2.0"


@pytest.mark.slow
def test_a_study_that_is_broken_off_goes_on_where_it_was(tmp_path, monkeypatch):
    trained, limit = [], 3
    monkeypatch.setattr(fading, "load_arrays", lambda splits: ())
    monkeypatch.setattr(fading, "end_ratio", lambda model: 0.0)
    measured = dict.fromkeys(("accuracy", "tap", "nearest_8_db", "nearest_8_accuracy"), 50.0)
    monkeypatch.setattr(fading, "measure_rounding", lambda *rest: measured)

    def train_network(config, splits):
        if len(trained) == limit:
            raise KeyboardInterrupt
        trained.append((config.parameterization, config.seed))

    monkeypatch.setattr(fading, "train_network", train_network)
    arguments = ["--seeds=2", "--only=plain", "--only=Dirac", f"--json={tmp_path / 'new' / 'study.json'}"]
    assert CliRunner().invoke(identity_fade, arguments).exit_code == 1
    assert trained == [("plain", 0), ("dirac", 0), ("plain", 1)]
    limit = 9
    done = CliRunner().invoke(identity_fade, arguments, catch_exceptions=False)
    assert trained[3:] == [("dirac", 1)] and "2 seeds from 0" in done.output
    assert "| Dirac | 50.0 (50.0-50.0) |" in done.output and "| Dirac | 50.0 ± 0.0 |" in done.output
    CliRunner().invoke(identity_fade, [*arguments, "--seeds=3"], catch_exceptions=False)
    assert trained[4:] == [("plain", 2), ("dirac", 2)]


@pytest.mark.slow
def test_ways_to_small_identities_are_trained_once_and_measured(tmp_path):
    arguments = ["--depth=10", "--width=0.25", "--epochs=2", "--seeds=1", "--max-train=256"]
    one_of_a_kind = ["plain", "Dirac", "dissolved at 50 %", "a faded to 0 by 60 %"]
    one_of_a_kind.append("multipliers on a, the paper's, from 25 %")
    arguments += [f"--json={tmp_path / 'f.json'}", *(f"--only={name}" for name in one_of_a_kind)]
    result = CliRunner().invoke(identity_fade, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert sum(line.startswith("| ") for line in result.output.splitlines()) == len(one_of_a_kind) + 1
    assert CliRunner().invoke(identity_fade, arguments, catch_exceptions=False).output == result.output
    other = CliRunner().invoke(identity_fade, [*arguments, "--epochs=3"])
    assert other.exit_code == 2 and "holds runs of" in other.output
