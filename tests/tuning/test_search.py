"""A search on real images, with networks that train in a second."""

import csv
import json
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

pytest.importorskip("keras_tuner")

from dirac_keras.files.tables import read_table
from dirac_keras.training.config import TrainConfig
from dirac_keras.training.config_file import read_config_file
from dirac_keras.training.stepping.interruption import TrainingInterrupted
from tests.run_checks import train_fields
from tuning import Budget, SearchSpace, TrainingHyperModel, search
from tuning.trials import Watch

GIVEN = {
    "data": "digits",
    "family": "plainnet",
    "recipe": "plainnet",
    "depth": "2-4",
    "units": "8,16",
    "learning_rate": "0.01-0.1",
    "max_train": 512,
    "max_test": 100,
    "validation": 0.2,
}
OPTIONS = {"tuner": "random", "max_trials": 3, "max_epochs": 2, "console": Console(quiet=True)}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return search(SearchSpace(GIVEN), tmp_path_factory.mktemp("search"), executions=2, **OPTIONS)


def rows_of(folder):
    with open(folder / "trials.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_trial_is_the_mean_of_its_trainings(result):
    assert len(result.records) == 3
    for record in result.records:
        runs = [result.workdir / "trials" / f"{record['trial']:04d}" / f"run{k}" for k in range(2)]
        configs = [TrainConfig.from_mapping(read_config_file(run / "config.json")) for run in runs]
        assert [config.seed for config in configs] == record["seeds"] == [0, 1]
        scores = [read_table(run / "metrics.csv")[-1]["val_accuracy"] for run in runs]
        assert record["scores"] == pytest.approx(scores)
        assert record["score"] == pytest.approx(sum(scores) / 2)
        assert record["spread"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)  # of two, with n - 1 below


@pytest.mark.slow
def test_every_folded_network_agrees_with_its_own(result):
    for record in result.records:
        assert record["folded_difference"] < 1e-5 and record["argmax_agreement"] == 1.0  # float32, four layers


@pytest.mark.slow
def test_tables_and_pictures_are_written(result):
    rows = rows_of(result.workdir)
    assert [int(row["trial"]) for row in rows] == [0, 1, 2]
    assert {row["status"] for row in rows} == {"COMPLETED"}
    assert {int(row["units"]) for row in rows} <= {8, 16}
    assert (result.workdir / "pareto.png").stat().st_size > 10_000
    summary = json.loads((result.workdir / "summary.json").read_text())
    assert (summary["finished"], summary["failed"], summary["best_trial"]) == (3, 0, result.best["trial"])


@pytest.mark.slow
def test_best_config_trained_alone_comes_to_the_trials_accuracy(result, tmp_path):
    fields = read_config_file(result.workdir / "best.toml")
    assert TrainConfig.from_mapping(fields) == result.best_config
    alone = train_fields(fields, tmp_path / "alone")
    assert alone.history[-1]["val_accuracy"] == pytest.approx(result.best["scores"][0], abs=1e-6)


@pytest.mark.slow
def test_finished_search_is_read_and_a_larger_one_resumes_it(result):
    before = (result.workdir / "journal.jsonl").read_text()
    again = search(SearchSpace(GIVEN), result.workdir, executions=2, **OPTIONS)
    assert again.records == result.records and (result.workdir / "journal.jsonl").read_text() == before
    more = search(SearchSpace(GIVEN), result.workdir, executions=2, **{**OPTIONS, "max_trials": 4})
    assert more.records[:3] == result.records and len(more.records) == 4


@pytest.mark.slow
def test_tensorboard_has_the_trials(result):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(result.workdir / "tb" / "0001")).Reload()
    assert events.summary_metadata["_hparams_/session_start_info"].plugin_data.plugin_name == "hparams"
    assert {"val_accuracy", "parameters", "latency_ms"} <= set(events.Tags()["tensors"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({"depth": "2-5"}, {}, r"space.families.plainnet.depth was '2,3,4', is '2,3,4,5'"),
        ({}, {"seed": 1}, "seed was 0, is 1"),
        ({}, {"tuner": "grid"}, "tuner was 'random', is 'grid'"),
    ],
)
def test_folder_of_another_search_is_refused(result, given, options, message):
    with pytest.raises(ValueError, match=f"holds another search: .*{message}.*`overwrite=True`"):
        search(SearchSpace({**GIVEN, **given}), result.workdir, executions=2, **{**OPTIONS, **options})


def test_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="holds something that is no search"):
        search(SearchSpace(GIVEN), tmp_path, overwrite=True, **OPTIONS)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@pytest.mark.slow
def test_trial_that_diverges_is_recorded_and_the_search_continues(tmp_path):
    small = {**GIVEN, "depth": "2", "units": "8", "learning_rate": "0.01,1e30,0.02", "weight_decay": "0"}
    found = search(SearchSpace(small), tmp_path, **{**OPTIONS, "tuner": "grid", "max_epochs": 1})
    failed = [record for record in found.records if record["status"] == "FAILED"]
    assert [record["values"]["learning_rate"] for record in failed] == [1e30]
    assert "diverged" in failed[0]["reason"] and len(found.records) == 3
    assert [row["reason"][:8] for row in rows_of(tmp_path) if row["reason"]] == ["diverged"]


@pytest.mark.slow
@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError("CUDA: out of memory")])
def test_trial_without_enough_memory_is_recorded_and_the_search_continues(tmp_path, monkeypatch, error):
    from tuning import trials

    real, calls = trials.train, []

    def train(*args, **options):
        calls.append(args)
        if len(calls) == 1:
            raise error
        return real(*args, **options)

    monkeypatch.setattr(trials, "train", train)
    found = search(SearchSpace(GIVEN), tmp_path, **{**OPTIONS, "max_trials": 2, "max_epochs": 1})
    assert [record["status"] for record in found.records] == ["FAILED", "COMPLETED"]
    assert found.records[0]["reason"].startswith("out of memory")


@pytest.mark.slow
def test_three_failures_in_a_row_end_the_search_in_one_line(tmp_path):
    space = SearchSpace({**GIVEN, "learning_rate": "1e30,2e30,3e30", "weight_decay": "0"})
    with pytest.raises(RuntimeError, match="3 trials in a row failed, the last: diverged"):
        search(space, tmp_path, **{**OPTIONS, "tuner": "grid", "max_trials": 9})
    assert len(rows_of(tmp_path)) == 3


@pytest.mark.slow
def test_candidate_over_the_budget_is_not_trained(tmp_path):
    limit = (64 * 8 + 8) + 2 * (8 * 8 + 8) + (8 * 10 + 10)  # three hidden layers of eight units, folded
    found = search(SearchSpace({**GIVEN, "depth": "2-6"}), tmp_path, budget=Budget(max_params=limit), **OPTIONS)
    assert found.num_rejected > 0
    assert {record["values"]["units"] for record in found.records} == {8}
    assert all(record["parameters"] <= limit for record in found.records)


@pytest.mark.slow
def test_search_without_time_left_is_resumed_when_called_again(tmp_path, monkeypatch):
    calls = []

    def run_out_in_the_second_trial(self, batch, logs=None):
        calls.append(batch)
        if len(calls) == 10:
            self.deadline = 0

        before(self, batch, logs)

    before = Watch.on_train_batch_end
    monkeypatch.setattr(Watch, "on_train_batch_end", run_out_in_the_second_trial)
    found = search(SearchSpace(GIVEN), tmp_path, time_limit=3600, **OPTIONS)
    assert len(found.records) == 1
    monkeypatch.setattr(Watch, "on_train_batch_end", before)
    found = search(SearchSpace(GIVEN), tmp_path, **OPTIONS)
    assert [record["trial"] for record in found.records] == [0, 1, 2]
    events = [json.loads(line)["event"] for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert events.count("create") == 3


@pytest.mark.slow
def test_signal_ends_the_search_with_its_status_and_the_trial_is_resumed(tmp_path, monkeypatch):
    def interrupt(self, epoch, logs=None):
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Watch, "on_epoch_end", interrupt)
        with pytest.raises(TrainingInterrupted) as stop:
            search(SearchSpace(GIVEN), tmp_path, **OPTIONS)
    assert stop.value.code == 143
    assert len(search(SearchSpace(GIVEN), tmp_path, **OPTIONS).records) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_trials": 0}, "max_trials must be a whole number, 1 or more. Received max_trials=0"),
        ({"workers": 0}, "workers must be a whole number, 1 or more"),
        ({"time_limit": 0}, "time_limit must be above 0 seconds"),
        ({"lease_seconds": 0}, "lease_seconds must be above 0 seconds"),
        ({"max_epochs": 0}, "max_epochs must be a whole number, 1 or more"),
        ({"executions": 0}, "executions must be a whole number"),
        ({"tuner": "annealing"}, "tuner must be one of random"),
        ({"chief": "nohost"}, "chief must be HOST:PORT.* Received chief='nohost'"),
        (
            {"budget": Budget(max_params=5)},
            "No candidate meets the budget. The smallest, plainnet with depth=2 and units=8",
        ),
    ],
)
def test_wrong_argument_is_named_and_nothing_begins(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        search(SearchSpace(GIVEN), tmp_path / "search", **{**OPTIONS, **options})
    assert not (tmp_path / "search").exists()


def test_search_without_validation_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="validation must be above 0, for trials are compared on it"):
        search(SearchSpace({**GIVEN, "validation": 0}), tmp_path / "search", **OPTIONS)


@pytest.mark.slow
def test_search_that_cannot_be_leaves_the_one_that_is_there(result):
    before = sorted(path.name for path in result.workdir.iterdir())
    with pytest.raises(ValueError, match="No candidate meets the budget"):
        search(SearchSpace(GIVEN), result.workdir, overwrite=True, budget=Budget(max_params=5), **OPTIONS)
    assert sorted(path.name for path in result.workdir.iterdir()) == before


@pytest.mark.slow
def test_networks_are_there_for_other_tuners(result):
    import keras_tuner

    from pipelines import load_splits

    space = SearchSpace(GIVEN)
    splits = load_splits("digits", batch_size=128, max_train=512)
    tuner = keras_tuner.RandomSearch(
        TrainingHyperModel(space, splits, epochs=1),
        "val_accuracy",
        max_trials=1,
        hyperparameters=space.hyperparameters(),
        directory=result.workdir / "other",
    )
    options = {"steps_per_epoch": 4, "validation_data": splits.test(), "shuffle": False, "verbose": 0}
    tuner.search(splits.train(), epochs=1, **options)
    assert tuner.oracle.get_best_trials()[0].score > 0


FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in GIVEN.items()]
COMMAND = [
    sys.executable,
    "-m",
    "dirac_keras.cli",
    "tune",
    *FLAGS,
    "--tuner=random",
    "--max-trials=5",
    "--max-epochs=2",
]


@pytest.mark.slow
def test_search_killed_three_times_ends_as_the_uninterrupted_one(tmp_path):
    subprocess.run([*COMMAND, f"--workdir={tmp_path / 'whole'}"], check=True)
    journal = tmp_path / "killed" / "journal.jsonl"
    for events in (1, 4, 7):  # in the first, the third, the fourth trial
        process = subprocess.Popen([*COMMAND, f"--workdir={tmp_path / 'killed'}"])
        while process.poll() is None and not (journal.exists() and len(journal.read_text().splitlines()) >= events):
            time.sleep(0.02)
        time.sleep(0.5)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    subprocess.run([*COMMAND, f"--workdir={tmp_path / 'killed'}"], check=True)
    whole, killed = rows_of(tmp_path / "whole"), rows_of(tmp_path / "killed")
    keys = ("trial", "score", "depth", "units", "learning_rate")
    assert [[row[key] for key in keys] for row in killed] == [[row[key] for key in keys] for row in whole]
    assert len(killed) == 5


@pytest.mark.slow
def test_worker_killed_in_a_trial_costs_the_search_nothing(tmp_path):
    """A chief and two workers on loopback, as on three machines."""
    address = "127.0.0.1:18473"
    join = [sys.executable, "-m", "dirac_keras.cli", "tune", f"--join={address}", f"--workdir={tmp_path}"]
    journal = tmp_path / "journal.jsonl"
    chief = subprocess.Popen([*COMMAND, f"--workdir={tmp_path}", f"--chief={address}", "--lease-seconds=10"])
    workers = [subprocess.Popen([*join, f"--name=worker{k}"]) for k in range(2)]
    while not (journal.exists() and '"worker": "worker0"' in journal.read_text()):
        assert chief.poll() is None
        time.sleep(0.05)
    workers[0].kill()
    workers[0].wait()
    assert chief.wait(timeout=200) == 0 and workers[1].wait(timeout=60) == 0
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    assert sorted(event["trial"] for event in events if event["event"] == "end") == [0, 1, 2, 3, 4]
    assert {row["status"] for row in rows_of(tmp_path)} == {"COMPLETED"}
    assert all(row["latency_ms"] for row in rows_of(tmp_path))


@pytest.mark.slow
def test_two_workers_here_find_what_one_process_finds(tmp_path):
    for workers in (1, 2):
        subprocess.run([*COMMAND, f"--workdir={tmp_path / str(workers)}", f"--workers={workers}"], check=True)
    one, two = ({row["trial"]: row["score"] for row in rows_of(tmp_path / name)} for name in "12")
    assert one == two and len(one) == 5
