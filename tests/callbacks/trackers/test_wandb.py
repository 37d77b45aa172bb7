"""Weights & Biases in its offline mode; nothing is sent."""

import logging
import struct
import time

import pytest

from dirac_keras.callbacks.trackers import TrackedRun, open_tracking
from dirac_keras.errors import UserError

wandb = pytest.importorskip("wandb")
RUN = TrackedRun("one", "0123456789abcdef", {"epochs": 3, "start": None})
BLOCK, HEADER = 32768, 7


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    return tmp_path


def records(path):
    """The records of a `.wandb` file, a log of LevelDB with 7 bytes before it."""
    from wandb.proto import wandb_internal_pb2

    data, position, parts, found = path.read_bytes(), HEADER, b"", []
    while position + HEADER <= len(data):
        if BLOCK - position % BLOCK < HEADER:
            position += BLOCK - position % BLOCK
        _, length, kind = struct.unpack("<IHB", data[position : position + HEADER])
        parts += data[position + HEADER : position + HEADER + length]
        position += HEADER + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            found.append(record)
            parts = b""
    return found


def rows(path):
    return [
        {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
        for record in records(path)
        if record.WhichOneof("record_type") == "history"
    ]


def train(epochs, summary, status):
    tracked = open_tracking("wandb")
    tracked.start(RUN)
    for epoch in epochs:
        tracked.log(epoch, {"loss": 1 / epoch, "val_accuracy": epoch / 10})
    tracked.finish(summary, status)


@pytest.mark.slow
def test_config_epochs_and_results_are_there_and_a_resumed_run_has_the_same_identifier(offline, caplog):
    train([1, 2], {}, "interrupted")
    train([3], {"test_accuracy": 0.75}, "finished")
    files = sorted(offline.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    assert [path.name for path in files] == ["run-0123456789abcdef.wandb"] * 2
    deadline = time.monotonic() + 60  # a process of wandb's own writes them; its `finish` does not always wait for it
    while not all(map(rows, files)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [[(row["_step"], row["loss"]) for row in rows(path)] for path in files] == [
        [("1", "1"), ("2", "0.5")],
        [("3", repr(1 / 3))],
    ]
    [run] = [one.run for one in records(files[0]) if one.WhichOneof("record_type") == "run"][:1]
    assert (run.run_id, run.display_name, run.project) == ("0123456789abcdef", "one", "dirac-keras")
    assert {item.key: item.value_json for item in run.config.update}["epochs"] == "3"
    said = {
        item.key or item.nested_key[0]: item.value_json
        for one in records(files[1])
        if one.WhichOneof("record_type") == "summary"
        for item in one.summary.update
    }
    assert (said["test_accuracy"], said["status"]) == ("0.75", '"finished"')
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_who_is_not_logged_in_gets_the_way_out_and_no_question(monkeypatch, tmp_path):
    for variable in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    with pytest.raises(UserError, match=r"wandb is not logged in .*WANDB_MODE=offline"):
        open_tracking("wandb")
