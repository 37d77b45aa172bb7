"""trackio on this machine alone."""

import pytest

from dirac_keras.callbacks.trackers import TrackedRun, open_tracking
from dirac_keras.errors import UserError

trackio = pytest.importorskip("trackio")
RUN = TrackedRun("one", "0123456789abcdef", {"epochs": 3, "start": None})


def train(epochs, summary, status):
    tracked = open_tracking("trackio")
    tracked.start(RUN)
    for epoch in epochs:
        tracked.log(epoch, {"loss": 1 / epoch})
    tracked.finish(summary, status)


def test_a_resumed_run_goes_on_in_the_same_one(tmp_path, monkeypatch, capsys):
    import trackio.sqlite_storage
    import trackio.utils

    for module in (trackio.utils, trackio.sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path)  # read once, when trackio is imported
    train([1, 2], {}, "interrupted")
    train([3], {"test_accuracy": 0.75, "weights": "averaged"}, "finished")
    assert capsys.readouterr().out == ""
    [run] = trackio.Api().runs("dirac-keras")
    assert run.name == "one-01234567" and run.config["epochs"] == 3
    found = trackio.sqlite_storage.SQLiteStorage.get_logs("dirac-keras", run.name)
    assert [(row["step"], row["loss"]) for row in found if "loss" in row] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert found[-1]["final/test_accuracy"] == 0.75


def test_a_space_without_a_login_is_an_error_with_the_way_out(monkeypatch):
    monkeypatch.setenv("TRACKIO_SPACE_ID", "me/curves")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(UserError, match=r"Space me/curves, and nobody is logged in .* Unset TRACKIO_SPACE_ID"):
        open_tracking("trackio")
