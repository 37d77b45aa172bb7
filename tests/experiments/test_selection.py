"""Seeds, names of entries and runs: what is trained, and what is refused."""

import pytest

from dirac_keras.experiments import PAPERS, Experiment, Run, Selection, full_runs, runs, short_runs
from dirac_keras.experiments.account import Account
from dirac_keras.experiments.artefacts import ARTEFACTS
from dirac_keras.experiments.budget import parse_duration
from dirac_keras.experiments.runs import seed_list, with_seeds
from dirac_keras.experiments.selection import find_entries

FIELDS = {"data": "digits", "family": "plainnet", "recipe": "plainnet", "depth": 2, "units": 8, "epochs": 1}
ENTRY = Experiment(
    "table2",
    "Errors",
    "nowhere",
    (
        Run("small", FIELDS, full={"epochs": 9}, full_name="small-full"),
        Run("one-seed", FIELDS, seeds=1, full_seeds=1),
        Run("huge", FIELDS, only_full=True, title="the huge one"),
    ),
    None,
    seeds=2,
    full_seeds=3,
)
ENTRIES = {"table2": ENTRY, "depth": Experiment("depth", "Depth", "nowhere", (Run("deep", FIELDS),), None)}


def names(some):
    return [run.name for run in some]


def test_each_run_has_the_seeds_that_it_or_its_entry_asks_for():
    assert names(short_runs(ENTRY)) == ["small", "small-seed1", "one-seed"]
    assert names(full_runs(ENTRY)) == [
        *("small-full", "small-full-seed1", "small-full-seed2", "one-seed"),
        *("huge", "huge-seed1", "huge-seed2"),
    ]
    assert [run.config().seed for run in full_runs(ENTRY)] == [0, 1, 2, 0, 0, 1, 2]
    assert {run.config().epochs for run in full_runs(ENTRY) if run.network == "small-full"} == {9}


def test_a_number_or_a_list_of_seeds_is_for_every_run():
    assert names(short_runs(ENTRY, 1)) == ["small", "one-seed"]
    assert names(with_seeds(ENTRY.runs[:1], (0, 3))) == ["small", "small-seed3"]


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ((0, 3, 3), "has 3 twice"),
        (0, "at least 1"),
        ((), "at least 1"),
        (10**8, r"at most 1,000.* such as 0,100000000"),
    ],
)
def test_a_seed_twice_none_and_too_many_are_refused(seeds, message):
    with pytest.raises(ValueError, match=message):
        seed_list(seeds)


def test_runs_are_chosen_with_a_seed_and_without():
    assert names(Selection(names=("small",)).runs(ENTRY)) == ["small", "small-seed1"]
    assert names(Selection(names=("small-seed1",)).runs(ENTRY)) == ["small-seed1"]
    assert [*find_entries(ENTRIES, (), Selection(names=("deep",)))] == ["depth"]
    assert Selection().left_to_full(ENTRY) == ["the huge one"] and not Selection("full").left_to_full(ENTRY)


@pytest.mark.parametrize(
    ("only", "run", "message"),
    [
        (("table3",), (), r"`only` must name a table or figure. Received 'table3'. Did you mean table2\?"),
        ((), ("smal",), r"`run` must name a run. Received 'smal'. Did you mean small"),
        (("depth",), ("small",), r"Received 'small'. It is a run of table2\."),
        (("depth",), ("shallow",), r"Received 'shallow'. There are deep"),
        ((), ("small-seed7",), r"Of small there are the seeds 0, 1; `seeds` takes others, such as 0,7"),
        ((), ("huge",), "It is a run with `full`"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(only, run, message):
    with pytest.raises(ValueError, match=message):
        find_entries(ENTRIES, only, Selection(names=run))


def test_a_run_that_quick_leaves_out_is_said_to_be_one(monkeypatch):
    """Cut down, `small` and `twin` are the same network: one is trained."""
    twin = Experiment(
        "twins", "", "", (Run("small", FIELDS), Run("twin", {**FIELDS, "depth": 3, "max_train": 9})), None
    )
    monkeypatch.setattr(runs, "QUICK_DEPTH", 2)
    with pytest.raises(ValueError, match="It is a run without `quick`, which trains one of those that are the same"):
        find_entries({"twins": twin}, (), Selection("quick", names=("twin",)))


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("12m", 720), ("1h30m", 5400), ("0.5d", 43200)])
def test_budget_is_read_with_its_units(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["12", "12 m", "m", "", "-3m", "0m", "12m!", "1e9d", "9999999999999d"])
def test_budget_without_a_time_is_refused(text):
    with pytest.raises(ValueError, match="`budget` must be a time such as 90s"):
        parse_duration(text)


def test_account_counts_each_run_once():
    account = Account(absent={"cifar100": ("not found.", ["a", "b", "a"])}, left=["c"])
    assert account.lines() == [
        "Skipped 2 runs that need cifar100: not found.",
        "The budget is used up: 1 run left, the next is c.",
    ]


def test_every_artefact_has_an_entry_and_every_entry_names_artefacts_that_there_are():
    for paper, entries in PAPERS.items():
        shown = [name for experiment in entries.values() for name in experiment.artefacts]
        assert {*shown} == {*ARTEFACTS[paper]}
