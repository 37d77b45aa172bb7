"""`--budget`: a training is interrupted with its state saved, and what is left is said."""

import contextlib
import signal
import threading
import time

import pytest

from dirac_keras.experiments import Account, Budget, Run, run_all
from dirac_keras.training.folder.checkpoints import find_checkpoints
from tests.experiments.run_files import write_ended

FIELDS = {"data": "digits", "family": "plainnet", "recipe": "plainnet", "depth": 2, "units": 8, "epochs": 100_000}


@contextlib.contextmanager
def ended_after_an_epoch(budget, folder):
    """Ends a budget as soon as a run has a row of metrics, so that no clock decides the test."""

    def watch():
        while not done.wait(0.02):
            if (folder / "metrics.csv").exists():
                budget.end()
                return

    done = threading.Event()
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


RUNS = (Run("long", FIELDS), Run("next", {**FIELDS, "epochs": 1}))


@pytest.mark.slow
def test_budget_ends_a_training_within_and_leaves_the_others(tmp_path):
    account, before = Account(), signal.getsignal(signal.SIGTERM)
    with Budget(600) as budget, ended_after_an_epoch(budget, tmp_path / "long"):
        assert run_all(RUNS, tmp_path, account=account, budget=budget) == []
    assert signal.getsignal(signal.SIGTERM) is before
    assert account.left == ["long", "next"] and budget.is_spent
    steps = find_checkpoints(tmp_path / "long" / "checkpoints", 11)
    assert steps and not (tmp_path / "next").exists()


def test_a_budget_that_suffices_changes_nothing(tmp_path):
    account = Account()
    write_ended(tmp_path / "next", RUNS[1].config(), 0.9)
    with Budget(600) as budget:
        assert len(run_all(RUNS[1:], tmp_path, account=account, budget=budget)) == 1
    assert account.lines() == [] and account.ended == 1


def test_signal_of_somebody_else_is_not_the_budgets():
    caught = []
    before = signal.signal(signal.SIGTERM, lambda *_: caught.append("theirs"))
    try:
        with Budget(600):
            signal.raise_signal(signal.SIGTERM)
        assert caught == ["theirs"]
        with Budget(0.05) as budget:
            time.sleep(0.5)
        assert budget.is_spent and caught == ["theirs"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_budget_needs_the_main_thread():
    raised = []

    def enter():
        with pytest.raises(ValueError, match="only the main thread"), Budget(1):
            pass
        raised.append(True)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert raised
