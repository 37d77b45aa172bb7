"""Trackers that fail, hang, or are not there: none of them costs a training."""

import logging
import time

import pytest

from dirac_keras.callbacks.trackers import NAMES, TrackedRun, Tracker, Tracking, open_tracking, tracker_names, tracking
from dirac_keras.errors import MissingExtra, UserError

RUN = TrackedRun("one", "0123456789abcdef", {"epochs": 3})


class Noted(Tracker):
    """A tracker that notes what it was told, and fails in the epochs of `bad`, for the first `times` times."""

    name, way_out = "noted", "Mend it."

    def __init__(self, bad=(), times=10**6, at_start=None, at_finish=None, waits=0):
        self.bad, self.times, self.at_start, self.at_finish, self.waits = bad, times, at_start, at_finish, waits
        self.rows, self.ended = [], []

    def start(self, run):
        if self.at_start is not None:
            raise self.at_start
        print("a banner")
        return "here"

    def log(self, epoch, figures):
        if epoch in self.bad and self.times:
            self.times -= 1
            time.sleep(self.waits)
            raise RuntimeError("the server is gone\nwith much detail")
        self.rows.append((epoch, figures))

    def finish(self, epoch, summary, status):
        if self.at_finish is not None:
            raise self.at_finish
        self.ended.append((epoch, summary, status))


def train(*trackers, epochs=3, summary=None):
    tracked = Tracking(trackers)
    tracked.start(RUN)
    for epoch in range(1, epochs + 1):
        tracked.log(epoch, {"loss": 1 / epoch})
    tracked.finish(summary or {"test_accuracy": 0.5}, "finished")


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_every_tracker_gets_every_epoch_and_the_end(caplog, capsys):
    one, two = Noted(), Noted()
    train(one, two)
    assert one.rows == two.rows == [(1, {"loss": 1.0}), (2, {"loss": 0.5}), (3, {"loss": 1 / 3})]
    assert one.ended == [(3, {"test_accuracy": 0.5}, "finished")]
    assert warnings(caplog) == [] and capsys.readouterr().out == ""  # what a package prints is not the command's


def test_what_a_tracker_has_not_taken_is_sent_with_the_next_epoch(caplog):
    tracker, other = Noted(bad=[2], times=1), Noted()
    train(tracker, other)
    assert [epoch for epoch, _ in tracker.rows] == [epoch for epoch, _ in other.rows] == [1, 2, 3]
    first, last = warnings(caplog)
    assert first.startswith("tracker: noted: the server is gone; the training goes on") and "detail" not in first
    assert last == "tracker: noted: 1 calls failed; 0 epochs are not there"


def test_a_tracker_that_dies_is_warned_of_once_and_counted(caplog):
    tracker = Noted(bad=[2, 3])
    train(tracker)
    assert [epoch for epoch, _ in tracker.rows] == [1]
    assert len(warnings(caplog)) == 2 and warnings(caplog)[1].endswith("3 calls failed; 2 epochs are not there")


def test_a_tracker_that_does_not_answer_is_left_alone(caplog, monkeypatch):
    monkeypatch.setattr(tracking, "LOG_SECONDS", 0.05)
    tracker = Noted(bad=[1], waits=5.0)
    start = time.monotonic()
    train(tracker, epochs=20)
    assert time.monotonic() - start < 2  # of a hundred that 20 epochs would wait
    assert "no answer within 0.05 s" in warnings(caplog)[0]
    assert warnings(caplog)[1].endswith("1 calls failed; 20 epochs are not there")


def test_an_end_that_fails_is_no_end_of_the_training(caplog):
    train(Noted(at_finish=SystemExit(3)))
    assert "SystemExit 3; the training goes on" in warnings(caplog)[0]


def test_a_tracker_that_cannot_begin_is_an_error_with_the_way_out_and_closes_the_others():
    first = Noted()
    with pytest.raises(UserError, match=r"tracker: noted cannot begin: no route\. Mend it\."):
        Tracking([first, Noted(at_start=ConnectionError("no route"))]).start(RUN)
    assert first.ended == [(0, {}, "failed")]


@pytest.mark.parametrize(
    ("text", "names"), [("none", ()), ("wandb", ("wandb",)), ("mlflow, wandb", ("mlflow", "wandb"))]
)
def test_names_are_joined_by_commas(text, names):
    assert tracker_names(text) == names


@pytest.mark.parametrize("text", ["tensorboard", "wandb,wandb", "none,wandb", "", "wandb,", 3, None])
def test_other_names_are_refused(text):
    with pytest.raises(UserError, match="tracker must be none, or of wandb, mlflow, trackio one or several"):
        tracker_names(text)


@pytest.mark.parametrize("name", NAMES)
def test_a_package_that_is_absent_is_named_with_its_extra(name, monkeypatch):
    import sys

    for module in [one for one in sys.modules if one.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'dirac_keras\[{name}\]'"):
        open_tracking(name)
