"""What the entries of the VAN paper train, short and in full."""

import json

import pytest

from dirac_keras.experiments import full_runs, short_runs
from dirac_keras.experiments.van import EXPERIMENTS
from dirac_keras.experiments.van.dense import dense_run
from dirac_keras.experiments.van.table1 import table1_report, table1_runs
from dirac_keras.files.tables import write_table
from dirac_keras.training.folder.directory import RunDirectory


@pytest.mark.slow
def test_fig1_has_all_depths_and_ten_seeds_in_full():
    full, short = full_runs(EXPERIMENTS["fig1"]), short_runs(EXPERIMENTS["fig1"])
    assert {run.fields["depth"] for run in full} == set(range(1, 31))
    assert {run.fields["seed"] for run in full} == set(range(10)) and len(full) == 30 * 2 * 6 * 10
    assert {run.config().epochs for run in full} == {50}
    assert {run.fields["depth"] for run in short} == {1, 10, 20, 30} and len(short) == 4 * 2 * 6 * 3


def test_networks_of_other_papers_have_their_own_training_in_full():
    recipes = {run.series: (run.config().recipe, run.config().epochs) for run in full_runs(EXPERIMENTS["table1"])}
    assert recipes["van"] == recipes["van0"] == recipes["resnet_cifar"] == ("van", 165)
    assert recipes["diracnet"] == recipes["diracnet_wide"] == ("cifar", 200)
    assert recipes["wrn10"] == ("wide_resnet", 200)
    assert {run.config().recipe for run in short_runs(EXPERIMENTS["table1"])} == {"quick"}


def test_even_timetables_keep_their_share_in_full():
    run = dense_run("mnist", "van", 30, end=0.25)
    assert run.config().phase_out_end == 2.5
    (full,) = full_runs(EXPERIMENTS["timetable"].__class__("one", "", "", (run,), None, full_seeds=1))
    assert full.config().phase_out_end == 12.5 and full.config().epochs == 50


def test_timetables_follow_the_epochs_that_are_asked_for():
    """All runs, with fewer epochs than the epoch at which some skips are gone: the share of the training is kept."""
    for entry in EXPERIMENTS.values():
        for run in (*full_runs(entry, 1), *short_runs(entry, 1)):
            own, brief = run.config(), run.config(epochs=2)
            if own.phase_out_end is not None:
                assert brief.phase_out_end / 2 == pytest.approx(own.phase_out_end / own.epochs)


def test_titles_name_the_share_that_short_and_full_runs_have_in_common():
    (run,) = (run for run in EXPERIMENTS["end"].runs if run.name == "cifar10-van26-end2.6-rate01-brief")
    assert run.title == "van-26, linear until 65% of the training"
    assert run.config().phase_out_end / run.config().epochs == 0.65
    (run,) = (run for run in full_runs(EXPERIMENTS["end"], 1) if run.name == "cifar10-van26-end107.25")
    assert run.title == "van-26, linear until 65% of the training" and run.config().phase_out_end == 0.65 * 165


def test_skips_that_go_at_once_are_the_cause_of_what_has_them_alone():
    for name in ("fig2", "table1", "end"):
        for run in EXPERIMENTS[name].runs:
            goes_at_once = run.fields["family"] == "van" and run.fields.get("skip_constraint", True)
            assert ("the skips are gone after" in run.cause) == (goes_at_once and "phase_out_end" not in run.fields)
    assert not EXPERIMENTS["table1"].cause


def test_table_has_best_mean_and_deviation_beside_the_papers(tmp_path):
    """Errors of 7 % and 9 %: mean 8, deviation sqrt(2)."""
    run = next(run for run in table1_runs("cifar10") if run.title == "van-26")
    results = []
    for seed, accuracy in enumerate((0.93, 0.91)):
        directory = RunDirectory(tmp_path / f"{seed}")
        directory.create(run.config(seed=seed), {}, "float32")
        write_table(directory.metrics, [{"epoch": 1, "accuracy": 0.5}])
        record = {"test_accuracy": accuracy, "train_accuracy": 0.95, "run": directory.record().run}
        directory.summary.write_text(json.dumps(record))
        results.append((run, directory))
    lines = table1_report("cifar10")(EXPERIMENTS["table1"], results, tmp_path)
    assert lines[2:-2] == ["| van-26 | 7.00 % (8.00 ± 1.41) | 6.08 % (6.35 ± 0.21) | 2 | quick, 4 |"]
    assert lines[-1] == "The paper quotes beside them: Highway-32 8.80 %, ELU-18 6.55 %, DenseNet-160 3.46 %."
