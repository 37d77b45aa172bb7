"""The journal of a search: bound to it line by line, mended where a kill has cut it, refused where it was changed."""

import json

import pytest

pytest.importorskip("keras_tuner")

from tuning.journal import Journal
from tuning.records import parse_result

SEARCH = {"search": "5ea2c4", "seed": 0}
RESULT = {
    **{"score": 0.804, "spread": None, "scores": [0.804], "seeds": [0], "test_accuracy": 0.75, "epochs": 2},
    **{"parameters": 826, "macs": 784, "latency_ms": 0.35, "folded_difference": 2e-7, "argmax_agreement": 1.0},
    **{"seconds": 2.2, "overhead_seconds": 0.1},
}
EVENTS = (
    {"event": "cost", "network": "depth=4", "cost": {"parameters": 826, "macs": 784, "latency_ms": None}},
    {"event": "create", "worker": "tuner0", "trial": 0, "values": {"depth": 4, "learning_rate": 0.0168}},
    {"event": "end", "trial": 0, "status": "COMPLETED", "record": RESULT},
    {"event": "move", "trial": 1, "from": "a", "to": "b", "death": True},
)


def written(path, search=SEARCH, events=EVENTS):
    journal = Journal(path, search)
    for event in events:
        journal.add(**event)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


def test_events_come_back(path):
    written(path)
    assert Journal(path, SEARCH).events == list(EVENTS)


@pytest.mark.slow
def test_every_changed_byte_is_refused_with_its_line_or_is_the_end_that_a_kill_cuts(path):
    """Each byte in turn: no change goes unnoticed, and none is a traceback."""
    data = written(path)
    starts = [0, *(k + 1 for k, byte in enumerate(data) if byte == ord("\n"))]
    for position in range(len(data) - 1):
        changed = bytearray(data)
        changed[position] ^= 1
        path.write_bytes(changed)
        line = sum(start <= position for start in starts)
        with pytest.raises(ValueError, match=rf"journal.jsonl, .*line ({line}|{line + 1})\b.*`overwrite=True`"):
            Journal(path, SEARCH)


def test_accuracy_of_one_changed_digit_is_refused(path):
    path.write_bytes(written(path).replace(b'"score": 0.804', b'"score": 8.04'))
    with pytest.raises(ValueError, match=r"line 3 was changed, .* delete line 3 and all below it.* behind line 2"):
        Journal(path, SEARCH)


@pytest.mark.parametrize("order", [(0, 2, 3), (1, 2, 3), (0, 2, 1, 3), (0, 1, 1, 2, 3)])
def test_lines_left_out_moved_or_repeated_are_refused(path, order):
    lines = written(path).splitlines(keepends=True)
    path.write_bytes(b"".join(lines[k] for k in order))
    with pytest.raises(ValueError, match="its checksum does not fit"):
        Journal(path, SEARCH)


@pytest.mark.parametrize("other", [{"search": "a11be5", "seed": 0}, {"search": "5ea2c4", "seed": 1}])
def test_journal_of_another_search_is_refused_at_its_first_line(path, other):
    written(path, other)
    with pytest.raises(ValueError, match="line 1 was changed, or is not this search's"):
        Journal(path, SEARCH)


def test_lines_without_checksums_are_refused_in_a_search_that_has_them(path):
    path.write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    with pytest.raises(ValueError, match="line 1 was changed: it has no checksum"):
        Journal(path, SEARCH)


@pytest.mark.parametrize("length", [1, 40])
def test_last_line_that_a_kill_has_cut_is_dropped_and_said(path, length, caplog):
    data = written(path)
    whole = data.rstrip(b"\n").rfind(b"\n") + 1
    path.write_bytes(data[: whole + length])
    journal = Journal(path, SEARCH)
    assert journal.events == list(EVENTS[:3]) and path.read_bytes() == data[:whole]
    assert "ends within a line, which a kill has cut short; it is dropped" in caplog.text
    journal.add(**EVENTS[3])
    assert path.read_bytes() == data


def test_end_of_zeros_after_a_power_cut_is_dropped(path):
    data = written(path)
    path.write_bytes(data + bytes(300))
    assert Journal(path, SEARCH).events == list(EVENTS) and path.read_bytes() == data


@pytest.mark.parametrize("search", [None, {"seed": 0}])
def test_old_journal_goes_on_and_its_lines_are_bound_by_the_first_new_one(path, search):
    old = "".join(json.dumps(event) + "\n" for event in EVENTS[:3])
    path.write_text(old)
    Journal(path, search).add(**EVENTS[3])
    assert Journal(path, search).events == list(EVENTS)
    path.write_text(path.read_text().replace("0.0168", "0.0169"))
    with pytest.raises(ValueError, match="line 4 was changed"):
        Journal(path, search)


@pytest.mark.parametrize(
    ("text", "changed", "message"),
    [
        ('"score": 0.804', '"score": 8.04', r"<= 1.0"),
        ('"score": 0.804', '"score": 0.904', r"score 0.904 is not the mean"),
        ('"scores": [0.804]', '"scores": []', r"length >= 1"),
        ('"seeds": [0]', '"seeds": [0, 1]', r"1 scores have 2 seeds"),
        ('"test_accuracy": 0.75', '"test_accuracy": NaN', r"malformed"),
        ('"epochs": 2', '"epochs": "2"', r"Expected `int`, got `str`"),
        ('"epochs": 2, ', "", r"missing required field `epochs`"),
        ('"macs": 784, "latency_ms": null', '"macs": -784, "latency_ms": null', r">= 0"),
        ('"event": "end"', '"event": "finish"', r"Invalid value 'finish'"),
        ('"COMPLETED"', '"DONE"', r"Invalid enum value 'DONE'"),
        ('"worker": "tuner0", ', "", r"missing required field `worker`"),
        ('{"event": "cost"', '["event": "cost"', r"got `array`"),
    ],
)
def test_old_line_of_the_wrong_shape_is_refused_with_its_number(path, text, changed, message):
    old = "".join(json.dumps(event) + "\n" for event in EVENTS[:3])
    assert text in old
    path.write_text(old.replace(text, changed))
    with pytest.raises(ValueError, match=rf"line [123], is not an event of a search, .*{message}.*delete (line|it)"):
        Journal(path)


def test_event_that_cannot_be_written_leaves_no_half_line(path, monkeypatch):
    data = written(path)
    journal = Journal(path, SEARCH)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(ValueError, match=r"journal.jsonl cannot be written: No space left on device"):
            journal.add(**EVENTS[0])
    assert path.read_bytes() == data
    with pytest.raises(ValueError, match="cannot be written"):  # what failed once would leave a gap
        journal.add(**EVENTS[0])
    assert Journal(path, SEARCH).events == list(EVENTS)


def test_number_that_is_none_is_not_written(path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        Journal(path).add("latency", trial=0, latency_ms=float("nan"))
    assert not path.exists()


def test_result_of_a_worker_is_checked():
    assert parse_result(json.dumps(RESULT), "trial 0") == RESULT
    assert parse_result('{"reason": "diverged"}', "trial 0") == {"reason": "diverged"}
    with pytest.raises(ValueError, match=r"trial 0 is not the result of a trial"):
        parse_result(json.dumps({**RESULT, "argmax_agreement": 1.5}), "trial 0")
