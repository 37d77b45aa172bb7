"""At which addresses a server of TensorFlow's can be reached, held against real connections to this machine."""

import socket
import sys

import pytest

from pipelines import listening
from pipelines.service import start_service

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="filters of packets are Linux's")

HERE, ALSO_HERE = "127.0.0.1", "127.0.0.2"  # all of 127.0.0.0/8 is this machine


def answers(address, port):
    """A packet that is dropped gets no answer: half a second is long on the machine itself."""
    try:
        socket.create_connection((address, port), timeout=0.5).close()
    except OSError:
        return False
    return True


@pytest.fixture
def server():
    """A socket at every address, of IPv4 and IPv6, as gRPC opens it."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        yield server.getsockname()[1]


def test_listening_socket_is_found_by_its_port(server):
    assert server in listening.listening_ports()


@pytest.mark.slow
@pytest.mark.parametrize("host", [HERE, ALSO_HERE, "::1"])
def test_connections_to_other_addresses_than_the_hosts_are_dropped(server, host):
    assert answers(host, server)
    assert listening.accept_only(host, {server}) == [host]
    assert {address: answers(address, server) for address in (HERE, ALSO_HERE, "::1")} == {
        address: address == host for address in (HERE, ALSO_HERE, "::1")
    }


def test_localhost_is_the_loopback_address(server):
    accepted = listening.accept_only("localhost", {server})
    assert HERE in accepted and set(accepted) <= {HERE, "::1"}
    assert answers("localhost", server) and not answers(ALSO_HERE, server)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.77", "nowhere.invalid"])
def test_host_that_is_no_address_of_this_machine_leaves_all_open(server, host):
    """As behind a translation of addresses; 192.0.2.0/24 is for documentation alone."""
    assert listening.accept_only(host, {server}) == []
    assert answers(HERE, server) and answers(ALSO_HERE, server)


def test_name_that_only_this_machine_takes_for_loopback_leaves_all_open(server, monkeypatch):
    """Debian gives a machine's own name the address 127.0.1.1; other machines reach it elsewhere."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.1.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert listening.accept_only("host2", {server}) == []


def test_system_without_filters_is_said(server, monkeypatch):
    monkeypatch.setattr(listening, "DESCRIPTORS", "/nowhere")
    assert listening.listening_ports() == set() and listening.accept_only(HERE, {server}) == []


def test_service_is_reached_at_its_host_alone_and_says_so():
    before = listening.listening_ports()
    service = start_service(workers=1, host=HERE)
    opened = listening.listening_ports() - before
    assert len(opened) == 2 and int(service.address.rsplit(":", 1)[1]) in opened
    assert service.reach() == "accepts connections to 127.0.0.1 alone"
    for port in opened:
        assert answers(HERE, port) and not answers(ALSO_HERE, port)


def test_service_for_other_machines_says_that_all_addresses_are_open():
    service = start_service(workers=0, host="192.0.2.77")
    assert service.address.startswith("grpc://192.0.2.77:")
    assert "at ALL addresses of this machine" in service.reach()
    assert answers(ALSO_HERE, int(service.address.rsplit(":", 1)[1]))
