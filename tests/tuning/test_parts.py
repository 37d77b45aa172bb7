"""Budget, front, importance, workers' address: the small parts of a search."""

import subprocess
import sys
import time

import pytest

pytest.importorskip("keras_tuner")

from dirac_keras.folding import fold
from dirac_keras.training.config import TrainConfig
from pipelines import load_splits
from tuning.budget import Budget, Cost, CostMeter, check_that_something_fits
from tuning.fleet.protocol import parse_address, reach
from tuning.oracles import COMPLETED, FAILED
from tuning.progress import best_record, scaled
from tuning.report.importance import importances
from tuning.report.pareto import front, on_some_front, plot_fronts
from tuning.space import SearchSpace


@pytest.fixture(scope="module")
def spec():
    return load_splits("digits", batch_size=64).spec


def test_cost_is_that_of_the_folded_network(spec):
    from dirac_keras.training.building import build_model

    config = TrainConfig(depth=10, width=0.5)
    _, report = fold(build_model(config, spec), verify=False)
    cost = CostMeter(spec, with_latency=False).of(config)
    assert (cost.parameters, cost.macs) == (report.parameters_after, report.macs_after)
    assert cost.parameters < report.parameters_before


def test_cost_of_a_van_is_that_without_its_skips(spec):
    van = {"family": "van", "layout": "dense", "recipe": "van_dense", "depth": 5, "units": 20}
    meter = CostMeter(spec, with_latency=False)
    first, *blocks, last = 64 * 20 + 20, *[20 * 20 + 20] * 5, 20 * 10 + 10
    assert meter.of(TrainConfig(**van)).parameters == first + sum(blocks) + last


@pytest.mark.slow
def test_structure_is_measured_once_whatever_its_training(spec, monkeypatch):
    meter = CostMeter(spec, with_latency=True)
    cost = meter.of(TrainConfig(depth=10, width=0.25, learning_rate=0.1))
    assert cost.latency_ms > 0
    assert meter.of(TrainConfig(depth=10, width=0.25, learning_rate=0.3, seed=1)) is cost
    assert meter.of(TrainConfig(depth=16, width=0.25)) is not cost


def test_budget_says_what_is_exceeded():
    budget = Budget(max_params=1000, max_macs=2000, max_latency_ms=3)
    assert budget.exceeded(Cost(1000, 2000, 3.0)) == ""
    assert budget.exceeded(Cost(1001, 2000, 3.5)) == "1,001 parameters, over 1,000; 3.50 ms, over 3"


@pytest.mark.parametrize("limit", ["max_params", "max_macs", "max_latency_ms"])
def test_budget_without_room_is_refused(limit):
    with pytest.raises(ValueError, match=f"{limit} must be above 0. Received {limit}=0"):
        Budget(**{limit: 0})


def test_budget_that_nothing_meets_names_the_smallest_candidate(spec):
    space = SearchSpace({"data": "digits", "depth": "10-22", "width": "0.25-1"})
    meter = CostMeter(spec, with_latency=False)
    smallest = meter.of(TrainConfig(depth=10, width=0.25))
    message = f"depth=10 and width=0.25, has {smallest.parameters:,} parameters, .* over 100\\."
    with pytest.raises(ValueError, match=message):
        check_that_something_fits(space, meter, Budget(max_params=100), epochs=1)
    check_that_something_fits(space, meter, Budget(max_params=smallest.parameters), epochs=1)


def record(trial, score, parameters, macs=1, latency_ms=1.0, **more):
    costs = {"parameters": parameters, "macs": macs, "latency_ms": latency_ms}
    return {"trial": trial, "status": COMPLETED, "score": score, "epochs": 1, "values": {}, **costs, **more}


def test_front_by_hand():
    records = [record(0, 0.5, 10), record(1, 0.6, 10), record(2, 0.6, 20), record(3, 0.7, 30), record(4, 0.65, 40)]
    records.append({"trial": 5, "status": FAILED, "values": {}, "reason": "NaN"})
    assert [r["trial"] for r in front(records, "parameters")] == [1, 3]
    assert [(r["trial"], costs) for r, costs in on_some_front(records)] == [
        (1, ["parameters"]),
        (3, ["parameters", "macs", "latency_ms"]),
    ]
    assert best_record(dict(enumerate(records)))["trial"] == 3


def test_picture_is_drawn_with_and_without_latencies(tmp_path):
    plot_fronts([record(0, 0.5, 10, latency_ms=None), record(1, 0.6, 2000)], tmp_path / "front.png")
    assert (tmp_path / "front.png").stat().st_size > 10_000


@pytest.mark.slow
def test_what_decides_the_score_is_the_most_important():
    values = [{"depth": depth, "schedule": word} for depth in (10, 16, 22, 28) for word in ("one_cycle", "step")] * 3
    records = [record(k, v["depth"] / 100, 1, values=v) for k, v in enumerate(values)]
    rows, explained = importances(records)
    assert rows[0]["hyperparameter"] == "depth" and rows[0]["importance"] > 10 * abs(rows[1]["importance"])
    assert explained > 0.9


def test_importance_needs_some_trials():
    assert importances([record(k, k / 10, 1, values={"depth": k}) for k in range(9)]) == ([], None)


@pytest.mark.parametrize("address", ["", "host", "host:", ":80", "host:0", "host:99999", "host:http"])
def test_address_without_a_port_is_named(address):
    with pytest.raises(ValueError, match=f"address must be HOST:PORT, .* Received address={address!r}"):
        parse_address(address)


def test_chief_that_does_not_answer_is_named():
    with pytest.raises(ValueError, match=r"No chief answers at 127.0.0.1:9, tried for 1 s\. Start it first"):
        reach("127.0.0.1:9", seconds=1)


@pytest.mark.slow
def test_worker_of_a_chief_ends_with_it():
    """The chief holds the other end of the standard input. Port 9 answers nobody, for which a worker has 30 seconds."""
    code = """
from tuning.fleet import worker
print("imported", flush=True)
worker.run_worker("127.0.0.1:9", "nowhere", end_with_parent=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "imported\n"
    time.sleep(1)
    assert process.poll() is None
    start = time.monotonic()
    process.stdin.close()
    assert process.wait(timeout=20) == 1 and time.monotonic() - start < 10
    process.stdout.close()


def test_import_without_keras_tuner_says_what_to_install():
    code = "import sys; sys.modules['keras_tuner'] = None; import tuning"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last_line = process.stderr.strip().splitlines()[-1]
    assert process.returncode == 1
    assert last_line == (
        "dirac_keras.errors.MissingExtra: tune needs keras-tuner, which is not installed: "
        "pip install 'dirac_keras[tune]'"
    )


@pytest.mark.parametrize(("number", "text"), [(999, "999"), (1500, "1.5 k"), (60_000_000, "60 M"), (1.2e9, "1.2 G")])
def test_counts_are_scaled(number, text):
    assert scaled(number) == text
