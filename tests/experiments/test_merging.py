"""Folders copied in: those that are the entry's runs count, others are refused with their reason."""

import dataclasses
import shutil

import pytest

from dirac_keras.experiments import Account, Experiment, Run, reproduce_experiment, run_all, short_runs
from dirac_keras.experiments.data import splits_of_run
from dirac_keras.experiments.endings import has_ended
from dirac_keras.experiments.merging import gather
from dirac_keras.experiments.report import error_table
from dirac_keras.training.folder.directory import RunDirectory
from tests.experiments.run_files import write_ended

FIELDS = {"data": "digits", "family": "plainnet", "recipe": "plainnet", "depth": 2, "units": 8, "epochs": 1}
NETWORK = Run("a", FIELDS, title="network a", paper={"test_error": 20.0})
ENTRY = Experiment("table", "Errors", "nowhere", (NETWORK,), error_table, seeds=2)


@pytest.fixture
def folder(tmp_path):
    for run, accuracy in zip(short_runs(ENTRY), (0.75, 0.85), strict=True):
        write_ended(tmp_path / run.name, run.config(), accuracy, train_accuracy=0.9)
    return tmp_path


def test_report_is_of_the_seeds_that_are_there(folder):
    """Mean and sample deviation by hand: 25 and 15 % are 20 % on average, +-5, so 7.07."""
    more = short_runs(ENTRY, (7,))[0]
    lines = reproduce_experiment(ENTRY, folder)
    assert "| network a | 10.00 ± 0.00 % |  | 20.00 ± 7.07 % | 20.00 % | 2 |" in lines
    write_ended(folder / more.name, more.config(), 0.80, train_accuracy=0.9)
    assert "| network a | 10.00 ± 0.00 % |  | 20.00 ± 5.00 % | 20.00 % | 3 |" in reproduce_experiment(ENTRY, folder)


def test_training_error_that_was_not_evaluated_is_named(tmp_path):
    run = short_runs(ENTRY, 1)[0]
    write_ended(tmp_path / run.name, run.config(), 0.75)
    text = "\n".join(reproduce_experiment(ENTRY, tmp_path, seeds=1))
    assert "| network a | 50.00 % |" in text and "the mean of the last epoch while it ran" in text


def test_folder_of_another_configuration_is_refused_and_left_out(folder):
    config = NETWORK.config(seed=1, learning_rate=0.5)
    shutil.rmtree(folder / "a-seed1")
    write_ended(folder / "a-seed1", config, 0.5)
    with pytest.raises(ValueError, match=r"a-seed1 holds another run \(learning_rate=0.5 there, 0.01 here\)"):
        run_all(short_runs(ENTRY), folder)
    results, notes = gather(short_runs(ENTRY), folder)
    assert [run.name for run, _ in results] == ["a"]
    assert notes == ["a-seed1 is left out: it holds another run (learning_rate=0.5 there, 0.01 here)."]


def test_a_run_of_another_configuration_that_has_not_ended_is_refused_before_any_training(folder):
    shutil.rmtree(folder / "a")
    shutil.rmtree(folder / "a-seed1")
    directory = write_ended(folder / "a-seed1", NETWORK.config(seed=1, learning_rate=0.5), 0.5)
    directory.summary.unlink()
    directory.model.unlink()
    with pytest.raises(ValueError, match=r"a-seed1 holds another run \(learning_rate=0.5 there, 0.01 here\)"):
        run_all(short_runs(ENTRY), folder)
    assert not (folder / "a").exists()


def test_figures_that_are_kept_without_the_model_count_in_tables_and_are_not_trained_again(folder):
    """As the runs behind the ledger are kept: config and summary alone."""
    for name in ("a", "a-seed1"):
        for file in ("model.keras", "metrics.csv"):
            (folder / name / file).unlink()
    lines = reproduce_experiment(ENTRY, folder)
    assert "| network a | 10.00 ± 0.00 % |  | 20.00 ± 7.07 % | 20.00 % | 2 |" in lines
    assert "Kept without their models, so in no picture of a single network: a, a-seed1." in lines
    assert sorted(path.name for path in (folder / "a").glob("[!.]*")) == ["config.json", "summary.json"]
    assert not [line for line in lines if "not evaluated" in line or "Lacking" in line]


def test_what_looks_into_networks_is_shown_those_with_their_model(folder):
    shown = []

    def report(experiment, results, folder):
        shown.append([run.name for run, _ in results])
        return ["a line"]

    entry = dataclasses.replace(ENTRY, report=report, looks_into=True)
    (folder / "a" / "model.keras").unlink()
    reproduce_experiment(entry, folder)
    (folder / "a-seed1" / "model.keras").unlink()
    assert "a line" not in reproduce_experiment(entry, folder) and shown == [["a-seed1"]]


def test_a_run_that_was_killed_between_its_figures_and_its_model_has_not_ended(folder):
    (folder / "a" / "model.keras").unlink()
    (folder / "a" / "checkpoints").mkdir()
    assert not has_ended(RunDirectory(folder / "a")) and has_ended(RunDirectory(folder / "a-seed1"))


def test_a_seed_under_the_name_of_another_is_refused(folder):
    shutil.rmtree(folder / "a-seed1")
    shutil.copytree(folder / "a", folder / "a-seed1")
    with pytest.raises(ValueError, match=r"a-seed1 holds another run \(seed=0 there, 1 here\)"):
        run_all(short_runs(ENTRY), folder)


def test_folder_of_another_version_is_refused(folder):
    shutil.rmtree(folder / "a")
    write_ended(folder / "a", NETWORK.config(), 0.5, version="0.0.9")
    with pytest.raises(ValueError, match=r"a holds a run of dirac_keras 0.0.9; this is \d"):
        run_all(short_runs(ENTRY), folder)


def test_diverged_runs_are_named_below_the_report(folder):
    directory = RunDirectory(folder / "a-seed1")
    directory.summary.unlink()
    (directory.path / "diverged.txt").write_text(f"The loss became nan.\nrun: {directory.record().run}\n")
    assert "Diverged, so in no picture and no mean: a-seed1." in reproduce_experiment(ENTRY, folder)


def test_a_report_looks_at_the_data_of_this_machine(tmp_path):
    """Wherever the machine that trained had them; where there are none, the report is left out and said."""
    elsewhere = NETWORK.config(data_dir="/on/another/machine", data="cifar100")
    run = Run("a", {**FIELDS, "data": "cifar100"}, title="network a")
    seen = []

    def report(experiment, results, folder):
        ((_, directory),) = results
        seen.append(directory.read_config().data_dir)
        return [str(splits_of_run(directory))]

    entry = Experiment("look", "Pictures", "nowhere", (run,), report, seeds=1)
    write_ended(tmp_path / "a", elsewhere, 0.75)
    account = Account()
    assert reproduce_experiment(entry, tmp_path, account=account, data_dir=str(tmp_path)) == []
    assert seen == [str(tmp_path)] and not (tmp_path / "look.md").exists()
    (said,) = account.lines()
    assert said.startswith("The report of look is not written: cifar100 was not found")
    with pytest.raises(ValueError, match="cifar100 was not found"):
        reproduce_experiment(entry, tmp_path, data_dir=str(tmp_path))


def test_absent_data_skip_only_the_runs_that_need_them(tmp_path):
    absent = {**FIELDS, "data": "cifar100"}
    entry = Experiment("table", "Errors", "nowhere", (Run("b", absent, title="b"), NETWORK), error_table, seeds=1)
    account = Account()
    write_ended(tmp_path / "a", NETWORK.config(), 0.75)
    lines = reproduce_experiment(entry, tmp_path, account=account, data_dir=str(tmp_path))
    assert "Lacking: 1 of 2 runs: b." in lines and any(line.startswith("| network a") for line in lines)
    assert [line.split(": cifar100 was")[0] for line in account.lines()] == ["Skipped 1 run that needs cifar100"]
    with pytest.raises(ValueError, match="cifar100 was not found"):
        reproduce_experiment(entry, tmp_path, data_dir=str(tmp_path))
