"""Waiting for the other workers in Python, where a signal is heeded.

TensorFlow waits for them in a call that lets no Python run, and takes SIGTERM for itself meanwhile: a process whose
peers never come could only be killed. Here each worker listens at its address until it has seen each other's open, by
such a listener or by TensorFlow's server after it; then all of them are there, and TensorFlow has nothing to wait for.
"""

import contextlib
import socket
import time

from dirac_keras.errors import UserError

_TRY_SECONDS, _PAUSE_SECONDS = 2.0, 0.3


def wait_for_workers(addresses, index):
    """Return when every other worker's address has been seen open.

    Args:
        addresses: list of `"host:port"`.
        index: int, this worker's.

    Raises: ValueError: if this worker's port is taken.
    """
    others = [address for position, address in enumerate(addresses) if position != index]
    with listening(addresses[index]):
        while others := [address for address in others if not _is_open(address)]:
            time.sleep(_PAUSE_SECONDS)


@contextlib.contextmanager
def listening(address):
    """A socket that listens at `"host:port"`, in a `with` statement. Raises: ValueError: if the port is taken."""
    host, port = parts(address)
    try:
        listener = _bind(host, port)
    except OSError as error:
        raise UserError(
            f"workers: {address} cannot be listened at: {error.strerror or error}. Give each worker a free port."
        ) from error
    with listener:
        yield listener


def _bind(host, port):
    """At the host's own address; where that is none of this machine's (a service in front of it), at all of them."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return _open(family, place)
    except OSError:
        return _open(socket.AF_INET, ("", port))


def _open(family, place):
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _is_open(address):
    try:
        with socket.create_connection(parts(address), timeout=_TRY_SECONDS):
            return True
    except OSError:  # not there yet, or its name is not known yet
        return False


def parts(address):
    """Host and port, a text and an int, of `"host:port"`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
