"""`dirac-keras reproduce`: what it lists, refuses, leaves and says."""

import dataclasses
import json

import pytest

from dirac_keras import experiments
from dirac_keras.experiments import Experiment, Run, costs
from dirac_keras.experiments.report import error_table
from tests.cli.entry import status_of
from tests.experiments.run_files import write_ended

FIELDS = {"data": "digits", "family": "plainnet", "recipe": "plainnet", "depth": 2, "units": 8, "epochs": 1}
SMALL = Run("small", FIELDS, title="small one", paper={"test_error": 5.0}, full={"epochs": 7})
ENTRY = Experiment("table2", "Errors", "table II", (SMALL,), error_table, artefacts=("Table II",), seeds=2)
ABSENT = Experiment("fig3", "Accuracy", "Fig. 3", (Run("far", {**FIELDS, "data": "cifar100"}),), error_table, seeds=1)
PAPERS = {"diracnets": {"fig3": ABSENT}, "plainnets": {"table2": ENTRY}, "van": {}}


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Exit status, standard output and standard error in one line; the papers are two small entries."""
    monkeypatch.setattr(experiments, "PAPERS", PAPERS)

    def call(*arguments):
        status = status_of(["reproduce", *arguments], monkeypatch)
        captured = capsys.readouterr()
        return status, captured.out, " ".join(captured.err.split())

    return call


def test_list_as_json_has_a_run_for_each_network(command, tmp_path, monkeypatch):
    """By hand: 7 epochs of 11 steps and a third of 3 batches of test images are 84 steps of 0.5 s: 0.7 minutes."""
    monkeypatch.setattr(costs, "measure_step", lambda config, facts, together: 0.5)
    status, out, _ = command("plainnets", "--list", "--full", "--json", "--workdir", tmp_path)
    assert status == 0
    assert json.loads(out) == [
        {
            **{"paper": "plainnets", "entry": "table2", "artefacts": ["Table II"], "name": "small"},
            **{"title": "small one", "epochs": 7, "seeds": 5, "data": "digits", "train_images": None, "done": 0},
            **{"minutes_per_seed": 0.7, "estimated_minutes": 3.5},
        }
    ]
    monkeypatch.setattr(costs, "measure_step", lambda config, facts, together: 1 / 0)  # it is kept in the workdir
    assert command("plainnets", "--list", "--full", "--json", "--workdir", tmp_path)[1] == out
    status, out, _ = command("all", "--list", "--no-measure", "--seeds", "4", "--epochs", "3", "--workdir", tmp_path)
    assert status == 0 and "table2: Errors (table II; 4 runs)" in out and "fig3: Accuracy (Fig. 3; 4 runs)" in out


def test_a_step_is_measured_at_two_depths_and_computed_for_others(tmp_path, monkeypatch):
    seen = []

    def measured(config, facts, together):
        seen.append(config.depth)
        return 0.1 * config.depth

    monkeypatch.setattr(costs, "measure_step", measured)
    table = costs.Costs(tmp_path / "costs.json")
    for depth in (100, 2, 30):
        config = Run("a", {**FIELDS, "depth": depth}).config()
        assert table.seconds_per_step(config, costs.facts_of(config)) == pytest.approx(0.1 * depth)
    assert seen == [2, 16]


def test_seeds_trained_in_one_step_are_estimated_so(command, tmp_path, monkeypatch):
    """By hand: a step of five side by side takes 0.5 s, so the 84 steps of all are 0.7 minutes, 0.14 a seed."""
    seen = []
    beside = dataclasses.replace(ENTRY, side_by_side=True)
    monkeypatch.setitem(PAPERS, "plainnets", {"table2": beside})
    monkeypatch.setattr(costs, "measure_step", lambda config, facts, together: seen.append(together) or 0.5)
    (row,) = json.loads(command("plainnets", "--list", "--full", "--json", "--workdir", tmp_path)[1])
    assert (row["minutes_per_seed"], row["estimated_minutes"]) == (0.14, 0.7) and set(seen) == {5}
    (row,) = json.loads(command("plainnets", "--list", "--full", "--seeds", "1", "--json", "--workdir", tmp_path)[1])
    assert row["estimated_minutes"] == 0.7 and set(seen) == {5, 1}  # another step, measured apart


@pytest.mark.slow
@pytest.mark.parametrize("together", [1, 3])
def test_a_few_steps_are_measured(together):
    config = SMALL.config()
    assert 0 < costs.measure_step(config, costs.facts_of(config), together) < 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("plainnets", "--only", "table3"),
            "--only must name a table or figure. Received 'table3'. Did you mean table2?",
        ),
        (("plainnets", "--run", "smal"), "--run must name a run. Received 'smal'. Did you mean small"),
        (("plainnets", "--seeds", "0,0"), "--seeds has 0 twice. Give each seed once."),
        (("plainnets", "--seeds", "x"), "--seeds must be a number, or seeds separated by commas"),
        (("plainnets", "--budget", "12"), "--budget must be a time such as 90s, 12m"),
        (("plainnets", "--quick", "--seeds", "2"), "--seeds has no effect with --quick"),
        (("--ledger", "page.md"), "--ledger reads the folders of runs under a folder. Give it as --workdir."),
        (("--ledger", "page.md", "--quick"), "takes no --quick"),
        (("--ledger", "page.md", "--seed", "0"), "--ledger shows all results of the workdir and takes no --seed."),
        (("--ledger", "page.md", "--epochs", "3"), "takes no --epochs. Leave one of them out."),
        (("plainnets", "--list", "--budget", "12m"), "--list trains nothing and takes no --budget. Leave one of them"),
        ((), "Give the paper: diracnets, plainnets, van, or all."),
    ],
)
def test_mistakes_are_one_line_with_the_way_out(arguments, message, command):
    status, _, err = command(*arguments)
    assert status == 1 and message in err


def test_a_folder_of_another_run_is_refused_before_the_entries_before_it_are_trained(command, tmp_path, monkeypatch):
    other = Run("other", {**FIELDS, "depth": 3}, title="the other")
    later = Experiment("fig1", "Depth", "Fig. 1", (other,), error_table, seeds=1)
    monkeypatch.setitem(PAPERS, "plainnets", {"table2": ENTRY, "fig1": later})
    write_ended(tmp_path / "other", other.config(learning_rate=0.5), 0.9)
    status, out, err = command("plainnets", "--workdir", tmp_path)
    assert status == 1 and "other holds another run (learning_rate=0.5 there, 0.01 here)" in err
    assert "Give another --workdir" in err or "give another --workdir" in err
    assert not (tmp_path / "small").exists() and not out


def test_list_counts_as_done_what_would_not_be_trained_again(command, tmp_path):
    """Of a run with 7 epochs in full and 1 else, the short one is there: with `full` none is done."""
    write_ended(tmp_path / "small", SMALL.config(), 0.9)
    rows = [
        json.loads(command("plainnets", "--list", "--no-measure", "--json", "--workdir", tmp_path, *more)[1])[0]
        for more in ((), ("--full",))
    ]
    assert [row["done"] for row in rows] == [1, 0]


def test_absent_data_are_said_at_the_end_and_the_others_are_reported(command, tmp_path):
    for number, accuracy in enumerate((0.75, 0.85)):
        name = "small-seed1" if number else "small"
        write_ended(tmp_path / "plainnets" / name, SMALL.config(seed=number), accuracy, train_accuracy=0.9)
    status, out, _ = command("all", "--workdir", tmp_path, "--data-dir", tmp_path)
    assert status == 0 and "| small one | 10.00 ± 0.00 % |  | 20.00 ± 7.07 % | 5.00 % | 2 |" in out
    assert "Skipped 1 run that needs cifar100: cifar100 was not found" in out.splitlines()[-1]
    assert "--download" in out.splitlines()[-1] and "--data-dir" in out.splitlines()[-1]
    status, out, err = command("diracnets", "--workdir", tmp_path / "empty", "--data-dir", tmp_path)
    assert status == 1 and "No run has ended." in out and "No run could be trained" in err


def test_ledger_is_written_from_the_workdir(command, tmp_path):
    write_ended(tmp_path / "runs" / "small", SMALL.config(), 0.9)
    status, out, _ = command("--ledger", tmp_path / "ledger.md", "--workdir", tmp_path / "runs")
    assert status == 0 and "1 run, 0 not finished, 0 left out" in out
    assert "| small one | test error | 5.00 % | 10.00 % | 1 |" in (tmp_path / "ledger.md").read_text()


def test_spent_budget_ends_with_a_status_of_its_own(command, tmp_path, monkeypatch):
    def spend(runs, workdir, console, side_by_side, download, account, budget, **overrides):
        budget.end()
        account.left += [run.name for run in runs]
        return []

    monkeypatch.setattr(experiments, "run_all", spend)
    status, out, _ = command("plainnets", "--workdir", tmp_path, "--budget", "10m")
    assert status == 75 and not (tmp_path / "table2.md").exists()
    assert "The budget is used up: 2 runs left, the next is small." in out
    assert "Run the same command to continue." in out


def test_a_report_that_the_budget_leaves_has_that_status_too(command, tmp_path, monkeypatch):
    def spend(runs, workdir, console, side_by_side, download, account, budget, **overrides):
        budget.end()
        return []

    monkeypatch.setattr(experiments, "run_all", spend)
    status, out, _ = command("plainnets", "--workdir", tmp_path, "--budget", "10m")
    assert status == 75 and not (tmp_path / "table2.md").exists()
    assert "The budget is used up; reports left: table2" in out
