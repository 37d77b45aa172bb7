"""`dirac-keras runs`: the table, JSON, the picture; `prune` asks, or is told."""

import json
import os
import subprocess
import sys

import pytest

from dirac_keras.cli.speech.output import console
from dirac_keras.run_folders import find_runs, read_runs
from tests.cli.entry import status_of
from tests.run_folders.test_run_folders import make


@pytest.fixture
def folder(tmp_path):
    make(tmp_path / "runs" / "[red]one", accuracy=0.5)
    make(tmp_path / "runs" / "two", accuracy=0.75)
    make(tmp_path / "runs" / "cut", ended=False, epochs=1)
    return tmp_path


@pytest.fixture
def command(monkeypatch, capsys, folder):
    monkeypatch.chdir(folder)

    def call(*arguments):
        status = status_of(["runs", *arguments], monkeypatch)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_json_is_a_list_of_runs_in_the_order_asked_for(command):
    status, out, err = command("runs", "--sort", "accuracy", "--json")
    assert (status, err) == (0, "")
    assert [(row["path"], row["test"], row["status"]) for row in json.loads(out)] == [
        ("runs/two", 0.75, "ended"), ("runs/[red]one", 0.5, "ended"), ("runs/cut", None, "interrupted"),
    ]  # fmt: skip


@pytest.mark.parametrize("words", [(), ("runs",), ("list", "runs"), ("--sort", "time", "runs")])
def test_the_table_names_each_run_as_it_is(words, command):
    status, out, _ = command(*words)
    assert status == 0 and "[red]one" in out and "diracnet 16 x0.5" in out and "1/3" in out
    assert "3 runs: 2 ended, 1 interrupted" in out


@pytest.mark.parametrize(("width", "missing"), [(200, ()), (80, ("time", "size", "recipe"))])
def test_a_narrow_terminal_has_whole_columns_and_names_those_left_out(width, missing, command, monkeypatch):
    monkeypatch.setattr(console, "width", width)
    status, out, _ = command("runs")
    lines = out.splitlines()
    heading = next(line.split() for line in lines if " run " in line and "status" in line)
    assert status == 0 and all(len(line) <= width for line in lines if "0.5000" in line)
    assert not set(missing) & set(heading) and {"run", "epochs", "test", "status"} <= set(heading)
    assert "interrupted" in out and "0.7500" in out
    note = [line for line in lines if line.startswith("no room for ")]
    assert len(note) == bool(missing) and all(name in note[0] for name in missing)


def test_a_notebooks_backend_is_not_inherited(command, monkeypatch):
    """The kernel's `MPLBACKEND` names a module that need not be there, which matplotlib would raise for."""
    monkeypatch.setenv("MPLBACKEND", "module://nowhere.backend_inline")
    assert command("runs")[0] == 0 and os.environ["MPLBACKEND"] == "agg"


def test_the_picture_is_written_and_not_replaced_unasked(command, folder):
    pytest.importorskip("matplotlib")
    assert command("runs", "--picture", "curves.png")[0] == 0
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    status, _, err = command("runs", "--picture", "curves.png")
    assert status == 1 and "--overwrite" in err
    status, _, err = command("runs", "--picture", "curves.txt")
    assert status == 1 and "--picture must end in .png." in err


def test_a_run_without_validation_is_not_in_the_picture(command, folder, monkeypatch):
    axes, lines = pytest.importorskip("matplotlib.axes"), []
    monkeypatch.setattr(axes.Axes, "plot", lambda self, *points, label, **_: lines.append((label, points)))
    table = folder / "runs" / "two" / "metrics.csv"
    table.write_text("epoch,loss,accuracy\n1,0.5,0.9\n2,0.4,0.95\n")
    status, out, _ = command("runs", "--picture", "curves.png")
    assert status == 0 and "not in the picture, without figures of validation images: two" in out
    assert dict(lines) == {"[red]one": ((1, 2, 3), (0.1, 0.2, 0.3)), "cut": ((1,), (0.1,))}
    for name in ("[red]one", "cut"):
        (folder / "runs" / name / "metrics.csv").write_text(table.read_text())
    status, _, err = command("runs", "--picture", "others.png")
    assert status == 1 and "no run has an epoch with figures of validation images" in " ".join(err.split())


def test_a_run_of_another_task_is_not_in_the_picture(tmp_path):
    """Its loss is a squared error: beside those of classes it would press them together."""
    pytest.importorskip("matplotlib")
    from dirac_keras.run_folders.picture import plot_runs

    for name, metric in {"a": "accuracy", "b": "accuracy", "c": "mae"}.items():
        make(tmp_path / name, ended=False)
        (tmp_path / name / "metrics.csv").write_text(f"epoch,{metric},val_loss,val_{metric}\n1,0.5,40,0.5\n")
    rows, _ = read_runs(find_runs(tmp_path))
    assert plot_runs(rows, ["a", "b", "c"], tmp_path / "curves.png") == ([], ["c"])


def test_prune_says_what_it_would_remove(command, folder):
    status, out, _ = command("prune", "runs", "--dry-run")
    assert status == 0 and "two: ended, 2 checkpoints, 30 bytes" in out and "cut: interrupted: it can be resumed" in out
    assert len(list(folder.rglob("step-*.keras"))) == 6
    said = json.loads(command("prune", "runs", "--dry-run", "--json")[1])
    assert (said["bytes"], said["dry_run"], len(said["removed"])) == (60, True, 2)


def test_prune_removes_nothing_where_nobody_can_be_asked(command, folder, monkeypatch):
    status, _, err = command("prune", "runs")
    assert status == 1 and "Give --yes, or --dry-run" in err and len(list(folder.rglob("step-*.keras"))) == 6


@pytest.mark.parametrize(("answer", "left"), [("y\n", 2), ("n\n", 6), ("\n", 6)])
def test_prune_asks(answer, left, command, folder, monkeypatch):
    import io

    stream = io.StringIO(answer)
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", stream)
    assert command("prune", "runs")[0] == 0
    assert len(list(folder.rglob("step-*.keras"))) == left


def test_a_record_is_written_also_where_nothing_was_removed(command, folder, monkeypatch):
    import io

    stream = io.StringIO("n\n")
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", stream)
    assert command("prune", "runs", "--json", "pruned.json")[0] == 0
    record = json.loads((folder / "pruned.json").read_text())
    assert (record["removed"], record["bytes"], record["dry_run"]) == ([], 0, False)
    assert {row["reason"] for row in record["kept"]} >= {"the question was answered with no"}
    assert {row["path"] for row in record["kept"]} == {"runs/two", "runs/[red]one", "runs/cut"}


def test_prune_with_yes_asks_nothing_and_reports(command, folder):
    status, out, _ = command("prune", "runs", "--yes", "--json")
    assert status == 0 and json.loads(out)["bytes"] == 60
    assert sorted(path.parent.parent.name for path in folder.rglob("step-*.keras")) == ["cut", "cut"]
    assert "nothing to remove" in command("prune", "runs", "--yes")[1]


def test_a_folder_that_is_not_there_is_one_line(command):
    status, _, err = command("absent")
    assert status == 1 and err.startswith("Error: folder: absent does not exist.")


def test_debug_and_help_are_those_of_every_command(command):
    assert command("--debug", "runs")[0] == 0
    status, out, _ = command("--help")
    assert status == 0 and "prune" in out and "list" in out


def test_no_keras_is_imported(folder):
    code = "import sys; from dirac_keras import cli; sys.argv = ['dirac-keras', 'runs', 'runs']; cli.main(); " \
           "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], cwd=folder).returncode == 0
