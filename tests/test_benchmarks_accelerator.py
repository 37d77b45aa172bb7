import dataclasses
import io
import json
import sys

import click
import keras
import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks import accelerator, accelerator_figures, accelerator_session
from benchmarks.accelerator_figures import describe, measured, show
from benchmarks.accelerator_parts import Part
from benchmarks.accelerator_session import Item, items
from dirac_keras.cli.reproduce.command import reproduce
from dirac_keras.training.config import TrainConfig

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
    assert names[first] == "plain 34-1 paper" and "cifar10-plain34" in todo[first].command
    assert todo[first].workdir.name == "cifar10-plain34"
    assert sum(item.seconds for item in todo[:first]) <= 840  # what must be there even if every part takes its limit
    assert names[first:].index("28-1 fit") < names[first:].index("28-2 train")
    assert "--data-dir" in todo[4].command and "fast" in todo[4].command


def test_tiny_session_has_the_same_parts(tmp_path):
    tiny = items(tmp_path, "data", is_tiny=True)
    assert [item.name for item in tiny] == [item.name for item in items(tmp_path, "data")]
    assert all(item.part.depth == 10 for item in tiny if item.part)
    for item in tiny:
        if "reproduce" in item.command:
            assert "--quick" in item.command
        elif item.command:  # its flags are those of a configuration that can be
            flags = item.command[item.command.index("--workdir") + 2 :]
            fields = {flag[2:].replace("-", "_"): value for flag, value in zip(flags[::2], flags[1::2], strict=True)}
            numbers = {name: int(value) for name, value in fields.items() if value.isdecimal()}
            TrainConfig(**{**fields, **numbers, "width": float(fields["width"])})


@pytest.mark.parametrize("is_resumed", [False, True])
def test_session_called_again_does_what_is_left(is_resumed, tmp_path, monkeypatch):
    """The first call has time for one part; the second finds it done, and repeats the one that failed.

    Of a run that the second resumed, it does not know for how long the first compiled.
    """
    run = ("train", "--workdir", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.csv").write_text("epoch,val_accuracy,seconds\n1,0.5,9.0\n2,0.75,1.5\n")
    (tmp_path / "run" / "summary.json").write_text('{"test_accuracy": 0.8}')
    b = Item("b", 60, command=run, workdir=tmp_path / "run")
    todo = [Item("a", 60, Part("train")), b, dataclasses.replace(b, name="c", least=1e9)]
    ran = []

    def command(*arguments):
        ran.append("b")
        is_second = ran.count("b") == 2
        measured = {"seconds": 11.0, "compile_s": 8.0, "is_resumed": is_resumed and is_second, "last_lines": []}
        return {"status": 0 if is_second else "stopped", **measured}

    def part(one, seconds):
        ran.append("a")
        return {**dataclasses.asdict(one), "step_ms": 2.0, "compile_s": 1.0, "images_s": 1.0}

    monkeypatch.setattr(accelerator_session, "items", lambda *of: todo)
    monkeypatch.setattr(accelerator_figures, "run_command", command)
    monkeypatch.setattr(accelerator_figures, "measured", part)
    monkeypatch.setattr(accelerator_figures, "new_record", lambda: {"parts": []})
    console = Console(width=120, record=True, file=io.StringIO())
    for _ in range(3):
        accelerator_session.run(tmp_path, None, 600, console, is_list=False)
    assert ran == ["a", "b", "b"]
    rows = json.loads((tmp_path / "results.json").read_text())["parts"]
    assert [row["name"] for row in rows] == ["a", "b", "c"] and "it needs" in rows[2]["failed"]
    assert (rows[1].get("train_s"), rows[1]["epoch_accuracies"]) == (None if is_resumed else 2.5, [0.5, 0.75])
    said = "11 s of the command that finished a run begun before" if is_resumed else "after 2.5 s of training, compiled"
    assert "b: 80.00%" in (text := console.export_text()) and said in text
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(click.UsageError, match=r"results\.json is no record of one"):
        accelerator_session.run(tmp_path, None, 600, console, is_list=False)


def test_runs_of_the_ledger_stop_before_their_time_is_over(tmp_path):
    """What is asked of them is what is left of the session, less the time to save; each run's names exist."""
    found = [item for item in items(tmp_path, None) if item.is_budgeted]
    assert [item.command_of(130)[-2:] for item in found] == [["--budget", "100s"]] * 3
    assert items(tmp_path, None)[0].command_of(130) == []
    for item in found:
        paper, flags = item.command[4], item.command[5:]
        result = CliRunner().invoke(reproduce, [paper, *flags, "--list", "--no-measure"])
        assert result.exit_code == 0, result.output


@on_jax
@pytest.mark.slow
def test_session_measures_steps_and_trains(tmp_path, monkeypatch):
    """A step and a training of the tiny one, in processes of their own as all of them are."""
    todo = [item for item in items(tmp_path, None, is_tiny=True) if item.name in ("28-1 scan", "fast seed 0")]
    monkeypatch.setattr(accelerator_session, "items", lambda *of: todo)
    accelerator_session.run(tmp_path, None, 1800, Console(file=io.StringIO()), is_list=False)
    step, training = json.loads((tmp_path / "results.json").read_text())["parts"]
    assert step["step_ms"] > 0, step
    assert training["status"] == 0 and len(training["epoch_seconds"]) == 1, training
    assert {"test_accuracy", "test_accuracy_of_views", "train_s"} <= training.keys()


def test_command_of_a_session_ends_at_its_limit(tmp_path):
    found = accelerator_figures.run_command([sys.executable, "-c", "print(6 * 7)"], 60, tmp_path, None)
    assert found["status"] == 0 and found["last_lines"][-1] == "42" and found["compile_s"] == 0
    said = "print('steps compiled together in 1.5 s, up to 9 at a time')"
    assert accelerator_figures.run_command([sys.executable, "-c", said], 60, tmp_path, None)["compile_s"] == 1.5
    assert accelerator_figures.run_command([sys.executable, "-c", "pass"], 60, tmp_path, None)["compile_s"] == 0
    found = accelerator_figures.run_command([sys.executable, "-c", "import time; time.sleep(60)"], 0.5, tmp_path, None)
    assert found["status"].startswith("stopped after") and found["seconds"] < 30


def test_unknown_ways_are_refused():
    result = CliRunner().invoke(accelerator.main, ["--ways", "magic"])
    assert result.exit_code == 2
    assert ("Received 'magic'" if keras.backend.backend() == "jax" else "set KERAS_BACKEND=jax") in result.output


@on_jax
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--depth", "11"), "depth must be 6 N + 4"),
        (("--widths", "1,0"), "width must be above 0. Received width=0.0"),
        (("--widths", "1,x"), "Invalid value for --widths"),
        (("--steps", "0"), "0 is not in the range"),
    ],
)
def test_networks_that_cannot_be_are_refused_before_anything_is_measured(flags, message, monkeypatch):
    monkeypatch.setattr(accelerator, "measured", lambda *arguments: pytest.fail("measured"))
    result = CliRunner().invoke(accelerator.main, flags)
    assert result.exit_code and message in result.output


@on_jax
def test_command_that_has_measured_nothing_fails(monkeypatch):
    failed = {"way": "scan", "depth": 10, "width": 1.0, "failed": "took more than 1 s"}
    fields = {**dataclasses.asdict(Part("scan")), **failed}
    monkeypatch.setattr(accelerator, "measured", lambda *arguments: fields)
    result = CliRunner().invoke(accelerator.main, ["--ways", "scan", "--depth", "10", "--widths", "1"])
    assert result.exit_code == 1 and "took more than 1 s" in result.output and "--time-limit" in result.output


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
