import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
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
    arguments = ["--kills=4", "--terminations=2", "--damaged=1", "--full-disk=1"]
    command = [sys.executable, "-m", "benchmarks.survival", *arguments]  # forks, which this process no longer may
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout


def test_survival_says_what_it_does():
    result = CliRunner().invoke(survival, ["--help"])
    assert result.exit_code == 0 and "compare weights and metrics" in result.output
