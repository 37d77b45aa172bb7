"""Every entry steps once, and its report comes from the files of its runs."""

import csv
import json

import pytest

from dirac_keras.experiments import PAPERS, Experiment, Run, full_runs, quick_runs, reproduce_experiment, run_all
from dirac_keras.experiments.metrics import has_evaluated_training
from dirac_keras.experiments.report import error_table, errors, residual_by_epoch
from dirac_keras.files.tables import write_table
from dirac_keras.training.folder.directory import RunDirectory
from pipelines import DataError, load_splits

DIGITS = {"data": "digits", "family": "plainnet", "recipe": "plainnet", "depth": 2, "units": 8, "epochs": 1}
ENTRIES = [(paper, name) for paper, entries in PAPERS.items() for name in entries]


def need(data):
    try:
        load_splits(data, max_train=8, max_test=8)
    except DataError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each paper: entries that share a run find it there."""
    return {paper: tmp_path_factory.mktemp(paper) for paper in PAPERS}


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("paper", "name"), ENTRIES)
def test_entry_steps_once(paper, name, folders):
    folder = folders[paper]
    experiment = PAPERS[paper][name]
    for data in sorted({run.fields["data"] for run in experiment.runs}):
        need(data)
    lines = reproduce_experiment(experiment, folder, cut_down=True)
    assert (folder / f"{name}.md").read_text() == "\n".join(lines) + "\n"
    pictures = [line.removeprefix("picture: ") for line in lines if line.startswith("picture: ")]
    assert all((folder / picture.split("/")[-1]).stat().st_size > 1000 for picture in pictures)
    # A row for each run; an entry without runs has rows too.
    assert pictures or sum(line.startswith("| ") for line in lines) > max(1, len(quick_runs(experiment)))


@pytest.mark.slow
def test_every_run_has_a_valid_config_and_a_name_of_its_own():
    for entries in PAPERS.values():
        seen = {}
        for experiment in entries.values():
            for run in experiment.runs:
                assert seen.setdefault(run.name, run.fields) == run.fields, "one folder for two different runs"
                run.config()
            for run in quick_runs(experiment):
                run.config()


@pytest.mark.slow
def test_full_runs_that_train_the_same_share_a_folder():
    """The short runs of the VAN paper differ in length and peak rate; in full they are one training."""
    seen = {}
    for experiment in PAPERS["van"].values():
        for run in full_runs(experiment):
            config = run.config()
            assert seen.setdefault(run.name, config) == config, "one folder for two different runs"
    conv = [config for config in seen.values() if config.data.startswith("cifar")]
    assert all(one not in conv[:number] for number, one in enumerate(conv)), "one training in two folders"


def test_errors_are_read_from_the_files(tmp_path):
    directory = RunDirectory(tmp_path)
    write_table(directory.metrics, [{"epoch": 1, "accuracy": 0.5}, {"epoch": 2, "accuracy": 0.75}])
    directory.summary.write_text(json.dumps({"test_accuracy": 0.6}))
    assert errors(directory) == pytest.approx({"train_error": 25.0, "test_error": 40.0})


def test_finished_runs_are_not_repeated(tmp_path):
    runs = (Run("a", DIGITS),)
    ((_, directory),) = run_all(runs, tmp_path)
    assert has_evaluated_training(directory)
    before = directory.model.stat().st_mtime_ns
    run_all(runs, tmp_path)
    assert directory.model.stat().st_mtime_ns == before


@pytest.mark.slow
def test_diverged_run_is_recorded_and_the_others_go_on(tmp_path):
    wild = Run("wild", {**DIGITS, "scenario": "naive", "learning_rate": 1e6, "epochs": 2})
    results = run_all((wild, Run("calm", DIGITS)), tmp_path)
    assert "became" in (tmp_path / "wild" / "diverged.txt").read_text()
    assert errors(results[0][1]) == {"train_error": None, "test_error": None}
    assert errors(results[1][1])["test_error"] is not None
    run_all((wild,), tmp_path)  # is not tried again
    with open(tmp_path / "calm" / "metrics.csv") as file:
        assert len(list(csv.DictReader(file))) == 1


@pytest.mark.slow
def test_overrides_reach_every_run(tmp_path):
    ((_, directory),) = run_all((Run("a", DIGITS),), tmp_path, seed=3, epochs=None)
    assert (directory.read_config().seed, directory.read_config().epochs) == (3, 1)


@pytest.mark.slow
def test_run_that_takes_too_long_is_left_out_and_named(tmp_path):
    runs = (Run("small", DIGITS, title="small"), Run("huge", DIGITS, title="huge", only_full=True))
    experiment = Experiment("table", "Errors", "nowhere", runs, error_table, seeds=1, full_seeds=1)
    lines = reproduce_experiment(experiment, tmp_path)
    assert not (tmp_path / "huge").exists()
    assert [line for line in lines if "huge" in line] == ["Trained with `full` only: huge."]
    reproduce_experiment(experiment, tmp_path, full=True)
    assert RunDirectory(tmp_path / "huge").is_finished()


@pytest.mark.slow
def test_residual_of_the_curves_is_drawn_by_step(tmp_path):
    """A VAN whose skips fade until the middle of its second epoch: the curve's points lie within the epochs too."""
    van = {
        "data": "digits",
        "family": "van",
        "recipe": "van_dense",
        "depth": 2,
        "units": 8,
        "max_train": 512,
        "learning_rate": 0.1,
    }
    run = Run("van", {**van, "epochs": 2, "batch_size": 64, "phase_out_end": 1.5}, title="van")
    ((_, directory),) = run_all((run,), tmp_path)
    epochs, residuals = residual_by_epoch(directory)
    assert (epochs[0], residuals[0]) == (0, 1)
    assert max(epochs) == pytest.approx(2, abs=0.2) and len(epochs) > 10
    gone = next(epoch for epoch, residual in zip(epochs, residuals, strict=True) if residual < 1e-3)
    assert gone == pytest.approx(1.5, abs=0.15)
    directory.skips.unlink()
    assert residual_by_epoch(directory)[0] == (1, 2)
