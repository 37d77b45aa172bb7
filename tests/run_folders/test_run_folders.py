"""Runs on disk: how they stand, what of them can go, and what never does."""

import json
import os
import subprocess
import sys

import pytest

from dirac_keras.errors import UserError
from dirac_keras.files.lock import is_held, locked
from dirac_keras.files.manifest import Manifest
from dirac_keras.run_folders import find_runs, plan_pruning, prune, read_run, read_runs, sort_runs, survey

CONFIG = {"data": "digits", "family": "diracnet", "depth": 16, "width": 0.5, "units": None, "epochs": 3,
          "recipe": "quick", "versions": {"keras": "3"}, "started": "2026-11-28T00:00:00+00:00"}  # fmt: skip

MODEL = "PK\5\6" + 18 * "\0"  # the end of a zip file with nothing in it


def make(folder, identity="a1", epochs=3, accuracy=0.5, ended=True, diverged=False, checkpoints=(10, 20), **fields):
    """A run's folder, as `train` leaves it."""
    manifest = Manifest(folder)
    manifest.begin()
    manifest.add(patterns=["tb/events.out.tfevents.*"])
    files = {"config.json": json.dumps({**CONFIG, "run": identity, **fields})}
    rows = "".join(f"{n},{1 / n},{n / 10},2.0\n" for n in range(1, epochs + 1))
    files["metrics.csv"] = f"epoch,loss,val_accuracy,seconds\n{rows}" if epochs else "epoch,loss\n"
    files |= {f"checkpoints/step-{step:08d}.keras": "x" * step for step in checkpoints}
    if ended:
        files |= {"summary.json": json.dumps({"test_accuracy": accuracy, "parameters": 7}), "model.keras": MODEL}
    if diverged:
        files["diverged.txt"] = f"The loss became nan.\nrun: {diverged}\n"
    if checkpoints:
        (folder / "checkpoints").mkdir()
    for name, text in files.items():
        manifest.add(name)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def runs(tmp_path):
    make(tmp_path / "ended", accuracy=0.5)
    make(tmp_path / "deep" / "er" / "better", accuracy=0.75)
    make(tmp_path / "cut", ended=False, epochs=1)
    make(tmp_path / "none", ended=False, epochs=0, checkpoints=())
    make(tmp_path / "nan", ended=False, diverged="a1", epochs=1)
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text('{"architectures": ["ResNet"]}')
    return tmp_path


def read(folder):
    return {row["path"].removeprefix(f"{folder}/"): row for row in read_runs(find_runs(folder))[0]}


def test_every_run_is_found_and_what_is_none_is_named(runs):
    rows, problems = read_runs(find_runs(runs))
    assert len(rows) == 5 and [problem for problem in problems if "hub/config.json is not the record" in problem]
    assert find_runs(runs / "ended") == [runs / "ended"]


@pytest.mark.parametrize("text", ['{"architectures": ["ResNet"]}', "[1]", "no JSON"])
def test_a_config_of_something_else_hides_no_runs_below_it(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    make(tmp_path / "one")
    make(tmp_path / "one" / "checkpoints" / "of")  # where a run has its own files nothing is looked for
    assert find_runs(tmp_path) == [tmp_path, tmp_path / "one"]
    rows, problems = read_runs(find_runs(tmp_path))
    assert [row["path"] for row in rows] == [str(tmp_path / "one")] and len(problems) == 1


def test_a_run_in_a_run_is_found_and_its_bytes_count_once(tmp_path):
    outer = make(tmp_path / "outer")
    alone = read_run(outer)["bytes"]
    make(outer / "more" / "inner", identity="b2", accuracy=0.75)
    (outer / "hub").mkdir()
    (outer / "hub" / "config.json").write_text('{"architectures": ["DiracNet"]}')  # an export beside it is no fault
    paths = find_runs(tmp_path)
    assert paths == [outer, outer / "more" / "inner"]
    rows, problems = read_runs(paths)
    assert not problems and rows[0]["bytes"] == alone + 31 and rows[1]["test"] == 0.75  # 31: hub/config.json


def test_paths_may_be_texts_and_one_path_is_no_list_of_them(runs):
    assert read_run(str(runs / "ended")) == read_run(runs / "ended")
    assert len(read_runs([str(runs / "ended")])[0]) == 1
    with pytest.raises(UserError, match=r"paths must be a list of folders.*give find_runs"):
        read_runs(str(runs))


def test_a_list_of_runs_is_a_line(runs):
    rows, _ = read_runs(find_runs(runs))
    assert repr(rows) == "<5 runs: 2 ended, 2 interrupted, 1 diverged>" == repr(sort_runs(rows, "accuracy"))
    assert json.loads(json.dumps(rows)) == list(rows)


def test_a_row_says_what_was_reached(runs):
    row = read(runs)["ended"]
    assert (row["epochs_done"], row["epochs"], row["metric"], row["test"]) == (3, 3, "accuracy", 0.5)
    assert (row["validation"], row["seconds"], row["parameters"]) == (0.3, 6.0, 7)
    assert row["bytes"] == sum(path.stat().st_size for path in (runs / "ended").rglob("*") if path.is_file())


def test_the_status_is_that_of_the_files_and_of_the_lock(runs):
    assert {name: row["status"] for name, row in read(runs).items()} == {
        "ended": "ended", "deep/er/better": "ended", "cut": "interrupted", "none": "interrupted", "nan": "diverged",
    }  # fmt: skip
    make(runs / "again", identity="b2", ended=False, diverged="of-another-run")
    assert read(runs)["again"]["status"] == "interrupted"


HOLDER = """
import pathlib, sys
from dirac_keras.files.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def held(runs):
    """A run that another process trains."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLDER, runs / "cut"], **pipes)
    assert process.stdout.readline() == "held\n"
    yield runs
    process.communicate("\n")


def test_a_run_that_another_process_trains_is_running_and_keeps_everything(held):
    assert read(held)["cut"]["status"] == "running"
    plan, kept = plan_pruning(list(read(held).values()), failed=True)
    assert held / "cut" not in [one.path for one in plan] and (held / "cut", "it is running") in kept


def test_a_lock_file_that_was_left_behind_holds_nothing(tmp_path):
    assert not is_held(tmp_path)
    (tmp_path / ".lock").write_text("")
    assert not is_held(tmp_path)
    with locked(tmp_path):
        pass
    assert not is_held(tmp_path)


def test_pruning_takes_the_checkpoints_of_ended_runs_alone(runs):
    (runs / "ended" / "checkpoints" / "mine.keras").write_text("mine")
    (runs / "ended" / "checkpoints" / "step-00000099.keras").write_text("copied here by somebody")
    before = {path for path in runs.rglob("*") if path.is_file()}
    plan, kept = plan_pruning(list(read(runs).values()))
    assert {one.path.name: one.bytes for one in plan} == {"ended": 30, "better": 30}
    assert {path.name for path, _ in kept} == {"cut", "none", "nan"}
    assert {path for path in runs.rglob("*") if path.is_file()} == before  # a plan removes nothing
    gone, left = prune(plan)
    assert len(gone) == 2 and left == []
    assert {path.relative_to(runs).as_posix() for path in before if not path.exists()} == {
        f"{run}/checkpoints/step-000000{step}.keras" for run in ("ended", "deep/er/better") for step in (10, 20)
    }
    assert (runs / "ended" / "checkpoints" / "mine.keras").exists()
    assert plan_pruning(list(read(runs).values()))[0] == []


def test_failed_runs_go_as_a_whole_if_it_is_asked_for_and_nothing_else_is_in_them(runs):
    (runs / "nan" / "notes.txt").write_text("mine")
    plan, _ = plan_pruning(list(read(runs).values()), failed=True)
    assert {one.path.name for one in plan if one.is_whole} == {"none", "nan"}
    _, left = prune(plan)
    assert not (runs / "none").exists() and (runs / "cut" / "checkpoints").exists()
    [(path, reason)] = left
    assert path.name == "nan" and "notes.txt" in reason and (runs / "nan" / "metrics.csv").exists()


def test_a_run_that_has_changed_since_the_plan_is_left(runs):
    plan, _ = plan_pruning(list(read(runs).values()))
    (runs / "ended" / "model.keras").unlink()
    _, left = prune(plan)
    assert left == [(runs / "ended", "it has changed since")]
    assert (runs / "ended" / "checkpoints" / "step-00000010.keras").exists()


def test_a_link_among_the_checkpoints_stays(runs):
    outside = runs / "elsewhere.keras"
    outside.write_text("kept")
    link = runs / "ended" / "checkpoints" / "step-00000030.keras"
    link.symlink_to(outside)
    Manifest(runs / "ended").add("checkpoints/step-00000030.keras")
    prune(plan_pruning(list(read(runs).values()))[0])
    assert link.is_symlink() and outside.exists()


@pytest.mark.parametrize(("order", "first"), [("accuracy", "better"), ("name", "cut"), ("epochs", "better")])
def test_orders(order, first, runs):
    rows = sort_runs(list(read(runs).values()), order)
    assert rows[0]["path"].endswith(first)
    if order == "accuracy":
        assert [row["test"] for row in rows] == [0.75, 0.5, None, None, None]


def test_of_mean_errors_the_smallest_is_first():
    rows = [{"path": str(error), "metric": "mae", "test": error} for error in (2.0, 0.5, 1.0)]
    assert [row["test"] for row in sort_runs(rows, "accuracy")] == [0.5, 1.0, 2.0]


def test_a_damaged_table_is_one_line_and_the_others_are_listed(runs):
    (runs / "cut" / "metrics.csv").write_text("epoch,loss\nx,y,z\n")
    rows, problems = read_runs(find_runs(runs))
    assert len(rows) == 4 and [one for one in problems if "metrics.csv" in one]


@pytest.mark.parametrize("what", ["absent", "file"])
def test_what_is_no_folder_is_refused(what, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Give the folder of a run"):
        find_runs(tmp_path / what)


def test_a_config_that_is_no_json_is_no_run(tmp_path):
    (tmp_path / "config.json").write_text("{")
    assert read_run(tmp_path) is None


def test_figures_that_are_kept_without_their_model_are_of_a_run_that_ended(tmp_path):
    """As the runs behind a ledger are kept; nothing of them may go as of a run that failed."""
    folder = make(tmp_path / "kept", accuracy=0.75)
    for name in ("model.keras", "metrics.csv"):
        (folder / name).unlink(missing_ok=True)
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    assert read(tmp_path)["kept"]["status"] == "interrupted"  # whose checkpoints may come back
    (folder / "checkpoints").rmdir()
    row = read(tmp_path)["kept"]
    assert (row["status"], row["test"]) == ("ended", 0.75)
    assert plan_pruning([row], failed=True) == ([], [])


@pytest.mark.parametrize(
    ("fields", "what"),
    [({"epochs": "many"}, "Expected `int`, got `str` - at `$.epochs`"), ({"width": "wide"}, "`$.width`"),
     ({"start": 3}, "`$.start`"), ({"data": None}, "`$.data`"), ({"depth": [1]}, "`$.depth`")],
)  # fmt: skip
def test_a_record_whose_fields_have_other_types_is_left_out_and_said(fields, what, tmp_path):
    """As a later version may write it: a list, an order or a table of it would fail on the field."""
    later = make(tmp_path / "later")
    (later / "config.json").write_text(json.dumps({**CONFIG, **fields}))
    make(tmp_path / "run", new_field=3)
    rows, (problem,) = read_runs(find_runs(tmp_path))
    assert [row["path"] for row in rows] == [str(tmp_path / "run")]
    assert what in problem and problem.startswith(str(tmp_path / "later"))


def test_figures_of_other_types_are_not_known(tmp_path):
    run = make(tmp_path / "run")
    (run / "summary.json").write_text('{"test_accuracy": "0.9", "parameters": "x"}')
    (run / "metrics.csv").write_text("epoch,other,val_accuracy,seconds\n1,bar,nan,nan\n2,x,inf,2\n")
    row = read_run(run)
    assert (row["test"], row["parameters"], row["validation"], row["seconds"]) == (None, None, None, 2.0)


@pytest.mark.parametrize("name", ["config.json", "metrics.csv", "summary.json", "diverged.txt"])
@pytest.mark.parametrize("make_it", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_waited_for(name, make_it, tmp_path):
    """Nobody writes to the pipe: to open it would never end."""
    run = make(tmp_path / "run", diverged="a1")
    (run / name).unlink()
    make_it(run / name)
    rows, problems = read_runs(find_runs(tmp_path))
    assert not rows
    if name != "config.json":
        assert problems == [f"{run / name} is no file, as a run writes it."]


@pytest.mark.parametrize("versions", [{"torch": "2"}, "9", None, ["keras"]])
def test_the_record_of_another_program_is_none_of_ours(versions, tmp_path):
    """It has the same names, no list of files, and checkpoints that are called as ours."""
    other = tmp_path / "other"
    (other / "checkpoints").mkdir(parents=True)
    (other / "config.json").write_text(json.dumps({**CONFIG, "versions": versions}))
    (other / "checkpoints" / "epoch-1.keras").write_text("theirs")
    (other / "summary.json").write_text("{}")
    (other / "model.keras").write_text(MODEL)
    rows, (problem,) = read_runs(find_runs(tmp_path))
    assert not rows and "is not the record of a run" in problem


def test_checkpoints_beside_a_broken_model_stay(tmp_path):
    run = make(tmp_path / "run")
    (run / "model.keras").write_text("cut")
    assert plan_pruning([read_run(run)]) == (
        [],
        [(run, "its model.keras is damaged or absent: the checkpoints are all that is left")],
    )


def test_links_are_not_followed_and_named(tmp_path):
    make(tmp_path / "runs" / "one")
    make(tmp_path / "elsewhere")
    links = {"run": tmp_path / "elsewhere", "loop": tmp_path / "runs", "itself": tmp_path / "runs" / "itself"}
    for name, target in links.items():
        (tmp_path / "runs" / name).symlink_to(target)
    assert survey(tmp_path / "runs") == ([tmp_path / "runs" / "one"], [tmp_path / "runs" / "run"])


def test_a_run_inside_a_run_stays_and_keeps_the_outer_one(tmp_path):
    """Of the outer one, which diverged, nothing goes: something else is in its folder."""
    outer = make(tmp_path / "outer", diverged="a1", ended=False)
    make(outer / "inner")
    plan, _ = plan_pruning([read_run(outer)], failed=True)
    gone, ((path, reason),) = prune(plan)
    assert not gone and path == outer and "inner/" in reason
    assert (outer / "checkpoints" / "step-00000010.keras").exists() and (outer / "inner" / "model.keras").exists()
