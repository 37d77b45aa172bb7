"""What workers tell each other, and that they notice when one is gone."""

import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from benchmarks.replicas import free_ports
from dirac_keras.distribution import channel as module
from dirac_keras.distribution.channel import Channel, PeerLost, meet


def addresses(count):
    return [f"127.0.0.1:{port}" for port in free_ports(count)]


def in_threads(functions):
    """What each function returns or raises, called at once."""
    found = [None] * len(functions)

    def call(index, function):
        try:
            found[index] = function()
        except Exception as error:
            found[index] = error

    threads = [threading.Thread(target=call, args=pair, daemon=True) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads), "a worker waits for ever"
    return found


@pytest.fixture
def channels():
    """Of three workers."""
    where = addresses(3)
    found = in_threads([lambda index=index: meet(where, index) for index in range(3)])
    yield found
    for one in found:
        one.abandon()


def test_first_worker_combines_what_all_say(channels):
    def combine(payloads):
        return b" ".join(payloads)

    found = in_threads([lambda c=c, i=i: c.exchange(b"%d" % i, combine) for i, c in enumerate(channels)])
    assert found == [b"0 1 2"] * 3


def test_first_worker_tells_what_is_larger_than_a_buffer(channels):
    text = bytes(range(256)) * 40_000  # 10 MB
    assert in_threads([lambda c=c: c.tell(text if c is channels[0] else b"") for c in channels]) == [text] * 3


def test_messages_keep_their_order(channels):
    def several(channel):
        return [channel.exchange(b"x", lambda payloads, k=k: b"%d" % k) for k in range(50)]

    expected = [b"%d" % k for k in range(50)]
    assert in_threads([lambda c=c: several(c) for c in channels]) == [expected] * 3


def test_all_hear_of_a_worker_that_is_gone(channels):
    channels[1]._peers[0].shutdown(socket.SHUT_RDWR)  # as the system does for a process that dies
    found = in_threads([lambda c=c: c.exchange(b"", b"".join) for c in (channels[0], channels[2])])
    assert all(isinstance(error, PeerLost) and error.index == 1 for error in found), found


def test_worker_that_failed_takes_the_others_along(channels):
    channels[2].abandon()
    assert channels[0].wait_for_loss(10) and channels[1].wait_for_loss(10)
    assert channels[0].lost == [2] and channels[1].lost == [2]


def test_worker_that_left_in_peace_is_lost_only_to_who_waits_for_it(channels):
    channels[1].close()
    assert channels[0].wait_for_loss(10)
    assert channels[0].lost == [] and channels[0].gone == [1]
    with pytest.raises(PeerLost):
        channels[0].exchange(b"", b"".join)


def test_silent_worker_is_lost(monkeypatch):
    monkeypatch.setattr(module, "PING_SECONDS", 1e9)  # as of a machine that stands still
    mine, theirs = socket.socketpair()
    one, other = Channel({1: mine}, 0, silence=0.3), Channel({0: theirs}, 1, silence=1e3)
    assert one.wait_for_loss(5) and one.lost == [1]
    other.abandon()


@pytest.mark.slow
def test_worker_that_pings_is_not_lost(monkeypatch):
    monkeypatch.setattr(module, "PING_SECONDS", 0.05)
    mine, theirs = socket.socketpair()
    one, other = Channel({1: mine}, 0, silence=0.5), Channel({0: theirs}, 1, silence=0.5)
    assert not one.wait_for_loss(1.5)
    one.abandon(), other.abandon()


def test_stranger_is_shown_out_and_the_first_worker_still_comes():
    where = addresses(2)
    waiting = threading.Thread(target=lambda: found.append(meet(where, 1)), daemon=True)
    found = []
    waiting.start()
    host, port = where[1].split(":")
    for _ in range(50):
        try:
            stranger = socket.create_connection((host, int(port)))
            break
        except OSError:
            time.sleep(0.1)
    with stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        first = meet(where, 0)
    waiting.join(10)
    assert found, "the second worker took the stranger for the first"
    assert in_threads([lambda: first.tell(b"here"), lambda: found[0].tell(b"")]) == [b"here", b"here"]
    for one in (first, *found):
        one.abandon()


def test_another_list_of_workers_is_named():
    where = addresses(2)
    theirs = b"dirac_keras workers 1 127.0.0.1:1,127.0.0.1:2"

    threading.Timer(0.5, lambda: module._connect(where[1], theirs)).start()
    with pytest.raises(ValueError, match=r"workers must be the same.*127\.0\.0\.1:1,127\.0\.0\.1:2, than on worker 1"):
        meet(where, 1)


@pytest.mark.slow
def test_process_that_hangs_in_a_call_for_a_lost_worker_is_ended():
    program = """
import socket, sys, time
from dirac_keras.distribution import channel as module
module.NOTICE_SECONDS = 0.5
mine, theirs = socket.socketpair()
one = module.Channel({1: mine}, 0)
one.end_process_that_hangs(lambda lost: f"worker {lost[0]} is gone")
theirs.close()
time.sleep(60)
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert process.returncode == 1 and process.stderr.endswith("Error: worker 1 is gone\n")


@pytest.mark.slow
def test_signal_ends_the_waiting_for_workers():
    class Stop(Exception):
        pass

    def stop(number, frame):
        raise Stop

    before = signal.signal(signal.SIGTERM, stop)
    where = addresses(2)
    try:
        for index in (0, 1):
            threading.Timer(0.5, signal.raise_signal, (signal.SIGTERM,)).start()
            with pytest.raises(Stop):
                meet(where, index)
    finally:
        signal.signal(signal.SIGTERM, before)
