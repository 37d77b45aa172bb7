"""Workers wait for each other where a signal reaches them."""

import signal
import socket
import threading
import time

import pytest

from benchmarks.replicas import free_ports
from dirac_keras.distribution.rendezvous import wait_for_workers


def addresses(count):
    return [f"127.0.0.1:{port}" for port in free_ports(count)]


@pytest.mark.slow
def test_workers_leave_together_and_their_ports_are_free_then():
    found, left = addresses(3), []

    def wait(index):
        wait_for_workers(found, index)
        left.append(index)

    workers = [threading.Thread(target=wait, args=(index,)) for index in range(3)]
    workers[0].start()
    workers[1].start()
    time.sleep(1)
    assert left == []
    # As TensorFlow's server does, which a worker opens when it has seen the others.
    workers[2].start()
    servers = []
    deadline = time.monotonic() + 20
    while len(left) < 3 and time.monotonic() < deadline:
        for index in left[len(servers) :]:
            servers.append(socket.create_server(("127.0.0.1", int(found[index].split(":")[1]))))
        time.sleep(0.05)
    for server in servers:
        server.close()
    assert sorted(left) == [0, 1, 2]


def test_signal_ends_the_waiting():
    class Stop(Exception):
        pass

    def stop(number, frame):
        raise Stop

    before = signal.signal(signal.SIGTERM, stop)
    threading.Timer(0.5, signal.raise_signal, (signal.SIGTERM,)).start()
    try:
        with pytest.raises(Stop):
            wait_for_workers(addresses(2), 0)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ValueError, match=rf"workers: {taken} cannot be listened at: Address already in use"):
            wait_for_workers([taken, "127.0.0.1:1"], 0)
