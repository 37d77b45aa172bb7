import dataclasses
import io
import json
import sys

import keras
import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks import accelerator
from benchmarks.accelerator import describe, measured, show
from benchmarks.accelerator_parts import Part
from benchmarks.accelerator_session import items

on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="it measures Keras on JAX")
SMALL = {"depth": 10, "width": 0.25, "batch_size": 4, "steps": 2}


def row(way, **figures):
    return {**dataclasses.asdict(Part(way)), **figures}


def test_ratios_are_to_the_bare_scan_of_the_same_width():
    console = Console(width=120, record=True, file=io.StringIO())
    figures = {"images_s": 64000.0, "compile_s": 9.0, "device_mib": 512.0, "tflops": 30.0, "peak_share": 0.03}
    show([row("train", step_ms=2.2, **figures), row("scan", step_ms=2.0, **figures), row("fit", failed="x")], console)
    lines = [line for line in console.export_text().splitlines() if "28-1" in line]
    assert len(lines) == 2
    assert "2.20" in lines[0] and "1.10" in lines[0] and "64,000" in lines[0] and "3%" in lines[0]


def test_parts_that_fail_say_why():
    assert describe(row("torch", failed="exit status 1: no torch")) == "28-1 torch: exit status 1: no torch"
    assert describe(measured(Part("scan"), 0.01)) == "28-1 scan: took more than 0 s"


def test_session_asks_the_most_important_first_and_within_its_time(tmp_path):
    todo = items(tmp_path, "data")
    names = [item.name for item in todo]
    first = names.index("34-1 paper") + 1
    assert names[:4] == ["28-1 train", "28-1 scan", "28-10 train", "28-10 scan"]
    assert sum(item.seconds for item in todo[:first]) <= 840
    assert "--data-dir" in todo[4].command and "fast" in todo[4].command


def test_command_of_a_session_ends_at_its_limit(tmp_path):
    found = accelerator.run_command([sys.executable, "-c", "print(6 * 7)"], 60, tmp_path, None)
    assert found["status"] == 0 and found["last_lines"][-1] == "42"
    found = accelerator.run_command([sys.executable, "-c", "import time; time.sleep(60)"], 0.5, tmp_path, None)
    assert found["status"].startswith("stopped after") and found["seconds"] < 30


def test_unknown_ways_are_refused():
    result = CliRunner().invoke(accelerator.main, ["--ways", "magic"])
    assert result.exit_code == 2
    assert ("Received 'magic'" if keras.backend.backend() == "jax" else "set KERAS_BACKEND=jax") in result.output


@on_jax
@pytest.mark.slow
def test_every_way_of_keras_is_measured(tmp_path):
    flags = ["--depth=10", "--widths=0.25", "--batch-size=4", "--steps=2", "--ways=train,scan,fit", "--time-limit=900"]
    result = CliRunner().invoke(accelerator.main, [*flags, f"--json={tmp_path / 'a.json'}"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "a.json").read_text())
    assert [part["way"] for part in record["parts"]] == ["train", "scan", "fit"]
    assert all(part["step_ms"] > 0 and part["tflops"] > 0 for part in record["parts"]), record


@on_jax
@pytest.mark.slow
def test_seeds_are_measured_against_as_many_runs():
    found = measured(Part("seeds", seeds=2, **SMALL), 900)
    assert found["together_s"] > 0 and found["alone_s"] > 0, found
    assert found["largest_difference"] < 1e-3  # of 6 steps


def test_network_in_pytorch_has_the_weights_of_ours():
    torch = pytest.importorskip("torch")
    from benchmarks.torch_diracnet import build
    from dirac_keras.models import build_diracnet

    theirs = build(10, 0.5)
    assert sum(p.numel() for p in theirs.parameters()) == sum(w.size for w in build_diracnet(10, 0.5).trainable_weights)
    assert theirs(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
