"""How trials are given out, without training: a score is a function of the values."""

import itertools
import json
import pathlib
import types

import pytest

pytest.importorskip("keras_tuner")
pytest.importorskip("scipy")  # of the Gaussian process

from tuning import oracles
from tuning.journal import Journal
from tuning.oracles import COMPLETED, FAILED, IDLE, MAX_FAILURES, RECORD, RUNNING, STOPPED, TUNERS, make_oracle
from tuning.space import SearchSpace
from tuning.tuner import TrialTuner

TRIALS = 14


@pytest.fixture(scope="module")
def space():
    return SearchSpace({"data": "cifar10", "depth": "10-40", "width": "0.5-2", "schedule": "one_cycle,step"})


def begun(tuner, space, folder, why_rejected=lambda values: "", max_trials=TRIALS, **options):
    """An oracle, with what it has done before if the folder has a journal."""
    oracle = make_oracle(tuner, space, seed=0, max_trials=max_trials, max_epochs=9)
    TrialTuner(oracle, types.SimpleNamespace(), None, None, folder)
    oracle.begin(Journal(folder / "journal.jsonl"), why_rejected, **options)
    oracle.replay()
    return oracle


def score(values):
    return values["depth"] / 100 + values.get("width", 0) / 1000 + values.get("learning_rate", 0) / 10000


def end(oracle, trial, status=COMPLETED, **record):
    trial.status = status
    result = record.pop("score", None) or score(trial.hyperparameters.values)
    costs = {"parameters": 1, "macs": 1, "latency_ms": None, "folded_difference": 0.0, "argmax_agreement": 1.0}
    figures = {"score": result, "spread": None, "scores": [result], "seeds": [0], "test_accuracy": 0.5, "epochs": 1}
    if status == COMPLETED:
        record = {**figures, **costs, "seconds": 1.0, "overhead_seconds": 0.1, **record}
    trial.hyperparameters.values[RECORD] = json.dumps(record)
    oracle.end_trial(trial)


def run_to_the_end(oracle, worker="tuner0"):
    while (trial := oracle.create_trial(worker)).status == RUNNING:
        end(oracle, trial)
    assert trial.status == STOPPED
    return [(number, record["values"], record["score"]) for number, record in oracle.records.items()]


@pytest.mark.parametrize("tuner", TUNERS)
def test_search_killed_between_events_ends_as_the_uninterrupted_one(tuner, space, tmp_path):
    def why_rejected(values):
        return "too wide" if values["width"] > 1.5 else ""

    whole = run_to_the_end(begun(tuner, space, tmp_path, why_rejected))
    rejected = begun(tuner, space, tmp_path, why_rejected).num_rejected
    lines = (tmp_path / "journal.jsonl").read_text().splitlines(keepends=True)
    assert len(whole) == TRIALS and len({number for number, *_ in whole}) == TRIALS
    for kept in range(0, len(lines), 3):  # behind creations and ends alike
        folder = pathlib.Path(tmp_path / str(kept))
        folder.mkdir()
        (folder / "journal.jsonl").write_text("".join(lines[:kept]) + lines[kept][:7])  # the last line is cut short
        oracle = begun(tuner, space, folder, why_rejected)
        assert run_to_the_end(oracle) == whole
        assert oracle.num_rejected == rejected


@pytest.mark.parametrize("tuner", TUNERS)
def test_candidates_over_the_budget_are_drawn_again_and_counted(tuner, space, tmp_path):
    oracle = begun(tuner, space, tmp_path, lambda values: "too much" if values["weight_decay"] > 2.5e-4 else "")
    found = run_to_the_end(oracle)
    assert len(found) == TRIALS and all(values["weight_decay"] <= 2.5e-4 for _, values, _ in found)
    assert oracle.num_rejected > 0 and all(record["status"] == COMPLETED for record in oracle.records.values())


def test_hyperband_gives_the_best_of_a_round_more_epochs(space, tmp_path):
    found = run_to_the_end(begun("hyperband", space, tmp_path, max_trials=None))
    rounds = {}
    for _, values, result in found:
        rounds.setdefault((values["tuner/bracket"], values["tuner/round"]), []).append((values["tuner/epochs"], result))
    first, second, third = (rounds[2, number] for number in range(3))
    assert [len(part) for part in (first, second, third)] == [9, 3, 1]
    assert [part[0][0] for part in (first, second, third)] == [1, 3, 9]
    assert max(result for _, result in first) == third[0][1]


@pytest.mark.parametrize("tuner", TUNERS)
def test_trial_of_one_of_several_families_has_its_fields(tuner, tmp_path):
    space = SearchSpace({"data": "digits", "family": "diracnet,van", "depth": "10,16", "width": "0.25", "units": "8,16",
                         "phase_out_share": "0.5", "learning_rate": "0.1", "weight_decay": "0"})  # fmt: skip
    oracle = make_oracle(tuner, space, seed=0, max_trials=6, max_epochs=9)
    TrialTuner(oracle, types.SimpleNamespace(), None, None, tmp_path)
    oracle.begin(Journal(tmp_path / "journal.jsonl"), lambda values: "")
    while (trial := oracle.create_trial("tuner0")).status == RUNNING:
        config = space.config(trial.hyperparameters.values, epochs=9)
        size = {"diracnet": config.width, "van": config.units}[config.family]
        assert config.depth in (10, 16) and size in (0.25, 8, 16)
        end(oracle, trial, score=(config.depth + len(oracle.records)) / 100)
    values = [record["values"] for record in oracle.records.values()]
    assert {value["family"] for value in values} == {"diracnet", "van"}
    assert all("depth" in value and ("units" in value) == (value["family"] == "van") for value in values)


def test_grid_tries_every_combination_once(tmp_path):
    space = SearchSpace({"depth": "10-22", "width": "0.5,1", "schedule": "one_cycle,step", "learning_rate": "0.1,0.2",
                         "weight_decay": "0"})  # fmt: skip
    found = run_to_the_end(begun("grid", space, tmp_path, max_trials=None))
    tried = {tuple(sorted(values.items())) for _, values, _ in found}
    assert len(found) == len(tried) == 3 * 2 * 2 * (1 + 2)  # the step's two factors


@pytest.mark.parametrize("tuner", ["random", "hyperband", "bayesian"])
def test_small_space_is_exhausted(tuner, tmp_path):
    space = SearchSpace({"depth": "10-16", "width": "0.5,1", "learning_rate": "0.1", "weight_decay": "0"})
    found = run_to_the_end(begun(tuner, space, tmp_path, max_trials=50))
    assert {(values["depth"], values["width"]) for _, values, _ in found} == set(itertools.product((10, 16), (0.5, 1)))


def test_three_failures_in_a_row_stop_the_search(space, tmp_path):
    oracle = begun("random", space, tmp_path)
    for status in (FAILED, FAILED, COMPLETED, *(FAILED,) * MAX_FAILURES):
        end(oracle, oracle.create_trial("tuner0"), status, reason="NaN")
    assert oracle.create_trial("tuner0").status == STOPPED
    assert oracle.why_stopped == "3 trials in a row failed, the last: NaN"
    assert begun("random", space, tmp_path).create_trial("tuner0").status == RUNNING  # it may be mended since


def test_no_trial_is_given_out_after_the_deadline(space, tmp_path):
    oracle = begun("random", space, tmp_path, deadline=0.0)
    assert oracle.create_trial("tuner0").status == STOPPED and oracle.why_stopped == "the time is up"


@pytest.mark.parametrize("tuner", TUNERS)
def test_trial_of_a_worker_that_is_gone_goes_to_the_next(tuner, space, tmp_path):
    oracle = begun(tuner, space, tmp_path, lease_seconds=1000)
    lost, mine = oracle.create_trial("a"), oracle.create_trial("b")
    assert lost.trial_id != mine.trial_id
    end(oracle, mine)
    oracle.give_up("a")
    taken = oracle.create_trial("b")
    assert (taken.trial_id, taken.hyperparameters.values) == (lost.trial_id, lost.hyperparameters.values)
    assert begun(tuner, space, tmp_path, lease_seconds=1000).ongoing_trials["b"].trial_id == lost.trial_id
    end(oracle, taken)
    end(oracle, lost)  # it was not dead after all: its second result is passed over
    assert [record["trial"] for record in oracle.records.values()] == [int(mine.trial_id), int(taken.trial_id)]


def test_trial_that_costs_two_workers_stops_the_search_and_has_failed_if_it_does_so_again(space, tmp_path):
    def call():
        return begun("random", space, tmp_path, lease_seconds=1000)

    oracle = call()
    deadly = oracle.create_trial("a")
    oracle.give_up("a")
    assert oracle.create_trial("b").trial_id == deadly.trial_id
    oracle.give_up("b")
    assert oracle.create_trial("c").status == STOPPED and oracle.has_failed and not oracle.records
    assert "2 workers died in trial 0: killed for memory? It is open again" in oracle.why_stopped
    oracle = call()
    assert oracle.create_trial("c").trial_id == deadly.trial_id
    oracle.give_up("c")
    assert oracle.create_trial("d").trial_id == deadly.trial_id
    oracle.give_up("d")
    assert oracle.create_trial("e").trial_id != deadly.trial_id
    assert oracle.records[0]["reason"] == "4 workers died in it: out of memory?" == call().records[0]["reason"]


def test_trial_that_a_worker_releases_goes_to_the_next_and_is_no_death(space, tmp_path):
    oracle = begun("random", space, tmp_path, lease_seconds=1000)
    first = oracle.create_trial("a")
    for worker, other in (("a", "b"), ("b", "c"), ("c", "d")):
        trial = oracle.ongoing_trials[worker]
        trial.hyperparameters.values[RECORD] = json.dumps({"released": "No space left on device"})
        oracle.end_trial(trial)
        assert oracle.released == {worker: "No space left on device"}
        assert oracle.create_trial(other).trial_id == first.trial_id
    assert not oracle.records and not oracle.has_failed


@pytest.mark.parametrize("text", ["{}", "[]", '{"score": 8.04}', '{"score": NaN}', "no JSON"])
def test_result_that_is_none_is_refused_and_the_trial_stays_open(space, tmp_path, text):
    oracle = begun("random", space, tmp_path)
    trial = oracle.create_trial("a")
    trial.hyperparameters.values[RECORD] = text
    with pytest.raises(ValueError, match="trial 0: what its worker sends is not the result of a trial"):
        oracle.end_trial(trial)
    assert not oracle.records and "a" in oracle.ongoing_trials and oracle.error is not None


def test_worker_without_work_waits_until_no_trial_runs(tmp_path):
    space = SearchSpace({"depth": "10-16", "width": "0.5", "learning_rate": "0.1", "weight_decay": "0"})
    oracle = begun("grid", space, tmp_path, lease_seconds=1000, max_trials=None)
    first, second = oracle.create_trial("a"), oracle.create_trial("b")
    end(oracle, first)
    assert oracle.create_trial("a").status == IDLE and not oracle.is_over()
    end(oracle, second)
    assert [oracle.create_trial(worker).status for worker in "ab"] == [STOPPED, STOPPED] and oracle.is_over()


def test_search_does_not_wait_for_a_worker_that_died_waiting(tmp_path):
    space = SearchSpace({"depth": "10-16", "width": "0.5", "learning_rate": "0.1", "weight_decay": "0"})
    oracle = begun("grid", space, tmp_path, lease_seconds=1000, max_trials=1)
    trial = oracle.create_trial("a")
    assert oracle.create_trial("b").status == IDLE
    end(oracle, trial)
    assert oracle.create_trial("a").status == STOPPED and not oracle.is_over()
    oracle.give_up("b")
    assert oracle.is_over()


def test_journal_of_another_draw_is_refused(space, tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    values = {"depth": 10, "width": 3.0, "schedule": "step", "learning_rate": 0.1, "weight_decay": 1e-4}
    journal.add("create", worker="tuner0", trial=0, values=values)
    with pytest.raises(ValueError, match=r"line 1 was changed, or .* another version of KerasTuner.*`overwrite=True`"):
        begun("random", space, tmp_path)


@pytest.mark.parametrize(
    "event",
    [
        {"event": "end", "trial": 7, "status": FAILED, "record": {"reason": "NaN"}},
        {"event": "latency", "trial": 7, "latency_ms": 1.0},
        {"event": "move", "trial": 7, "from": "a", "to": "b"},
    ],
)
def test_event_of_a_trial_that_is_none_is_refused(space, tmp_path, event):
    Journal(tmp_path / "journal.jsonl").add(**event)
    with pytest.raises(ValueError, match=r"line 1 does not follow from those above it"):
        begun("random", space, tmp_path)


def test_bayesian_without_scipy_says_what_to_install(space, monkeypatch):
    def missing(**options):
        raise ImportError("scipy")

    monkeypatch.setattr(oracles, "BayesianOracle", missing)
    with pytest.raises(ImportError, match=r"tuner='bayesian' needs scipy.* pip install 'dirac_keras\[tune\]'"):
        make_oracle("bayesian", space, 0)


def test_unknown_tuner_is_named(space):
    with pytest.raises(ValueError, match=r"random, grid, hyperband, bayesian\. Received tuner='pso'"):
        make_oracle("pso", space, 0)
