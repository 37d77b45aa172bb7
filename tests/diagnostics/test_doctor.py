"""The verdict before training on networks that the thresholds were not chosen on, against what training came to.

`doctor_outcomes.json` is what `dirac-keras reproduce plainnets --only doctor` wrote: whether each network trained.
"""

import json
import pathlib

import pytest

from dirac_keras.diagnostics import judge, measure
from dirac_keras.experiments import PAPERS
from dirac_keras.experiments.doctor import choosing_runs
from dirac_keras.training import untrained_model
from pipelines import DataError, load_splits
from tests.marks import slow_but

OUTCOMES = json.loads(pathlib.Path(__file__).with_name("doctor_outcomes.json").read_text(encoding="utf-8"))
RUNS = {run.name: run for run in PAPERS["plainnets"]["doctor"].runs}
QUANTITIES = ("activations", "spectrum", "gradients")
SOME = (
    "usps-300-5-naive",
    "coil20-300-100-naive",
    "usps-300-15-naive-random_uniform",
    "usps-300-20-bn",
    "usps-300-100-bn",
    "coil20-300-20-proposed",
    "coil20-dirac-10",
)


def will_train(name):
    config = RUNS[name].config()
    try:
        splits = load_splits(**config.data_arguments())
    except DataError as error:
        pytest.skip(str(error))
    model = untrained_model(config, splits.spec, "float32")
    return judge(measure(model, splits.train_in_order(512), QUANTITIES, at_start=True)).will_train


def test_networks_are_not_those_of_the_thresholds():
    assert set(OUTCOMES) == set(RUNS)
    chosen_on = [run.fields for run in choosing_runs()]
    assert not {run["data"] for run in chosen_on} & {run.fields["data"] for run in RUNS.values()}


def test_networks_of_both_kinds_are_many():
    trained = sum(OUTCOMES.values())
    assert len(OUTCOMES) >= 24 and trained >= 8 and len(OUTCOMES) - trained >= 8


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", slow_but(SOME, "usps-300-5-naive", "usps-300-20-bn", "coil20-300-20-proposed"))
def test_verdict_is_what_came_of_it(name):
    assert will_train(name) == OUTCOMES[name]


@pytest.mark.data
@pytest.mark.slow
def test_nine_verdicts_in_ten_hold():
    right = [name for name in RUNS if will_train(name) == OUTCOMES[name]]
    assert len(right) >= 0.9 * len(RUNS), sorted(set(RUNS) - set(right))
