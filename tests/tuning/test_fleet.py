"""Chief and workers: what each does when the other is frozen, gone, of another kind, or cannot train."""

import dataclasses
import socket
import threading
import time
import types

import pytest

pytest.importorskip("keras_tuner")

from dirac_keras.errors import RunError
from tuning.fleet import chief, worker
from tuning.settings import Settings
from tuning.space import SearchSpace


def test_worker_does_not_wait_for_a_chief_that_is_frozen(monkeypatch):
    """The sign of life is a call that may hang for an hour; a signal must not wait for it."""
    asked, never = threading.Event(), threading.Event()

    def hang(trial_id):
        asked.set()
        never.wait(30)

    monkeypatch.setattr(worker, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(worker, "reach", lambda address: None)
    tuner = types.SimpleNamespace(oracle=types.SimpleNamespace(get_trial=hang))
    with worker._signs_of_life(tuner, "127.0.0.1:9", "0"):
        assert asked.wait(10)
        start = time.monotonic()
    assert time.monotonic() - start < 10
    never.set()


def test_port_of_another_chief_is_refused():
    """gRPC itself would share it, and the workers would go to one or the other."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RunError, match=f"cannot listen at {address}: .*Give `chief` an address of this machine"):
            chief._check_port(address)
    chief._check_port(address)


def test_address_of_another_machine_is_refused():
    with pytest.raises(RunError, match=r"cannot listen at 192\.0\.2\.77:18999"):  # TEST-NET-1, nobody's
        chief._check_port("192.0.2.77:18999")


def oracle(**values):
    return types.SimpleNamespace(**{"error": None, "released": {}, **values})


def test_chief_stops_for_what_its_own_workers_lack_and_goes_on_without_others(caplog):
    local = types.SimpleNamespace(started={"worker0"}, reported=set())
    chief._check_oracle(oracle(), local)
    for _ in range(2):
        chief._check_oracle(oracle(released={"other-7": "No space left on device"}), local)
    assert caplog.text.count("other-7 cannot train its trial, which is open again: No space left on device") == 1
    with pytest.raises(RunError, match=r"worker0 cannot train .* not the trial's fault: No space left on device"):
        chief._check_oracle(oracle(released={"worker0": "No space left on device"}), local)


def test_chief_raises_what_a_worker_s_call_has_raised():
    with pytest.raises(KeyError):
        chief._check_oracle(oracle(error=KeyError("x")), None)


@pytest.mark.parametrize("text", ["", "{}", '{"space": 1}', "no JSON"])
def test_chief_of_another_kind_is_named(text):
    with pytest.raises(ValueError, match="what the chief at a:1 sends is not the record of a search"):
        Settings.from_text(text, "what the chief at a:1 sends")


def test_settings_reach_the_workers():
    settings = Settings(SearchSpace({"depth": "10-40"}), "random", max_gigabytes=3.5)
    again = Settings.from_text(settings.to_text(), "x")
    assert again.to_text() == settings.to_text() and again.max_gigabytes == 3.5
    assert "max_gigabytes" not in settings.to_dict() and settings.differences(again.to_dict()) == []


def test_a_worker_and_a_resumed_search_have_the_backend_of_the_search():
    settings = Settings(SearchSpace({"depth": "10-40"}), "random")
    other = dataclasses.replace(settings, backend="another")
    with pytest.raises(ValueError, match=r"a:1 sends is a search on Keras' backend another; .* KERAS_BACKEND=another"):
        Settings.from_text(other.to_text(), "what the chief at a:1 sends")
    assert settings.differences(other.to_dict()) == [f"backend was 'another', is {settings.backend!r}"]
    before = {name: value for name, value in settings.to_dict().items() if name != "backend"}  # 0.1.0 had no such field
    assert settings.differences(before) == []
