"""A line between the first worker and each of the others, on which they agree and notice that one is gone.

JAX exchanges gradients between processes, and says of a process that died what it says of any error; it waits in calls
that let no Python run. Here each process reads from its peers in threads of their own, and whoever waits for a message
waits in Python, where a signal is heeded. A closed connection is a peer that is gone, and so is a silent one.
"""

import contextlib
import os
import queue
import socket
import struct
import threading
import time

from dirac_keras.distribution.rendezvous import listening, parts
from dirac_keras.errors import UserError

PING_SECONDS = 5.0
SILENCE_SECONDS = 60.0  # of a peer whose machine is gone; one that died closes its connection at once
NOTICE_SECONDS = 30.0  # until a process that hangs in a call for a lost peer is ended
_TRY_SECONDS, _PAUSE_SECONDS = 2.0, 0.3
_HEADER = struct.Struct("!cQ")  # kind, bytes that follow
_DATA, _PING, _GOODBYE, _LOSS = b"d", b"p", b"g", b"l"
_GREETING = b"dirac_keras workers 1 "
_PIECE = 2**20


class PeerLost(Exception):
    """A peer is gone.

    Attributes:
        index: int, which worker.
    """

    def __init__(self, index):
        super().__init__(f"worker {index} is gone")
        self.index = index


def meet(addresses, index):
    """Connect the first worker to all others; return when all of them are there.

    Every worker but the first listens at its address, until the first has come.

    Args:
        addresses: list of `"host:port"`, the same on all workers.
        index: int, this worker's.

    Returns: `Channel`.
    Raises: ValueError: if this worker's port is taken.
    """
    greeting = _GREETING + ",".join(addresses).encode()
    if index:
        return Channel({0: _accept(addresses[index], greeting, index)}, index)
    with contextlib.ExitStack() as opened:
        peers = {}
        while len(peers) < len(addresses) - 1:
            for other, address in enumerate(addresses):
                if other and other not in peers:
                    found = _connect(address, greeting)
                    if found is not None:
                        peers[other] = opened.enter_context(found)
            if len(peers) < len(addresses) - 1:
                time.sleep(_PAUSE_SECONDS)
        opened.pop_all()
    return Channel(peers, index)


def _connect(address, greeting):
    """A connection to a worker that greets back, or None: not there yet, or its name is not known yet."""
    try:
        peer = socket.create_connection(parts(address), timeout=_TRY_SECONDS)
    except OSError:
        return None
    try:
        peer.sendall(_HEADER.pack(_DATA, len(greeting)) + greeting)
        if _receive(peer) == (_DATA, greeting):
            return peer
    except OSError:
        pass
    peer.close()
    return None


def _accept(address, greeting, index):
    """The first worker's connection; others that come to this port are shown out."""
    with listening(address) as listener:
        listener.settimeout(_PAUSE_SECONDS)
        while True:
            try:
                peer, _ = listener.accept()
            except TimeoutError:
                continue
            try:
                peer.settimeout(_TRY_SECONDS)
                heard = _receive(peer, most=len(greeting) + 4096)
                if heard == (_DATA, greeting):
                    peer.sendall(_HEADER.pack(_DATA, len(greeting)) + greeting)
                    return peer
            except OSError:
                heard = None
            peer.close()
            if heard and heard[1].startswith(_GREETING):
                theirs = heard[1].removeprefix(_GREETING).decode(errors="replace")
                raise UserError(
                    f"workers must be the same, in the same order, for all of them. Received another list on worker 0, "
                    f"{theirs}, than on worker {index}. Give the same `workers` everywhere."
                )


def _receive(peer, most=None):
    """One message, `(kind, bytes)`. Raises: OSError: if the peer is gone or silent, or no peer of ours."""
    kind, size = _HEADER.unpack(_read(peer, _HEADER.size))
    if kind not in (_DATA, _PING, _GOODBYE, _LOSS) or (most is not None and size > most):
        raise OSError("another protocol")
    return kind, bytes(_read(peer, size))


def _read(peer, size):
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        count = peer.recv_into(view[done:], min(size - done, _PIECE))
        if not count:
            raise OSError("closed")
        done += count
    return data


class Channel:
    """Messages between the first worker and the others.

    Args:
        peers: dict of index to connected socket: of the first worker all others, of another the first.
        index: int, this worker's.
        silence: seconds without a word after which a peer is gone.
    """

    def __init__(self, peers, index, silence=SILENCE_SECONDS):
        self._index = index
        self._peers = peers
        self._received = {other: queue.SimpleQueue() for other in peers}
        self._locks = {other: threading.Lock() for other in peers}
        self._is_closed = threading.Event()
        self._is_noticed = threading.Event()
        self._has_lost = threading.Event()
        self._lost, self._left = [], set()
        self._listeners = [threading.Thread(target=self._listen, args=pair, daemon=True) for pair in peers.items()]
        for peer in peers.values():
            peer.settimeout(silence)
            if peer.family != socket.AF_UNIX:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for thread in (*self._listeners, threading.Thread(target=self._ping, daemon=True)):
            thread.start()

    @property
    def lost(self):
        """Numbers of the workers that are gone, in the order in which they went."""
        return list(self._lost)

    @property
    def gone(self):
        """Numbers of the workers that are lost or have left."""
        return self.lost or sorted(self._left)

    def wait_for_loss(self, seconds):
        """Whether a worker is gone within some seconds."""
        deadline = time.monotonic() + seconds
        while not self.gone and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS / 10)
        return bool(self.gone)

    def exchange(self, payload, combine):
        """On every worker what the first makes of all their payloads.

        Args:
            payload: bytes of this worker.
            combine: function of the list of all payloads, by index, to bytes; called on the first worker.

        Raises: PeerLost: if a worker is gone.
        """
        if self._index:
            self._send(0, payload)
            return self._take(0)
        everyone = [payload, *(self._take(other) for other in sorted(self._peers))]
        return self.tell(combine(everyone))

    def tell(self, payload):
        """The first worker's payload, on every worker. Raises: PeerLost: if a worker is gone."""
        if self._index:
            return self._take(0)
        for other in self._peers:
            self._send(other, payload)
        return payload

    def close(self):
        """Leave the others, who then do not take this worker for lost. May be called again."""
        if self._is_closed.is_set():
            return
        self._is_closed.set()
        for other, peer in self._peers.items():
            with contextlib.suppress(OSError), self._locks[other]:
                peer.sendall(_HEADER.pack(_GOODBYE, 0))
                peer.shutdown(socket.SHUT_WR)
            if other in self._left:
                peer.close()

    def abandon(self):
        """Leave the others, who then end as well: this worker failed."""
        self._is_closed.set()
        self._tell_of_loss()
        for peer in self._peers.values():
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        for thread, peer in zip(self._listeners, self._peers.values(), strict=True):
            thread.join(1)
            peer.close()

    def notice(self):
        """Say that the process knows of the loss and ends by itself."""
        self._is_noticed.set()

    def end_process_that_hangs(self, message):
        """Have this process ended, with a line, some time after a peer is lost unless it has noticed by then.

        Args:
            message: function of the numbers of lost workers to a line.
        """

        def watch():
            self._has_lost.wait()
            if not self._is_noticed.wait(NOTICE_SECONDS) and not self._is_closed.is_set():
                os.write(2, f"Error: {message(self.lost)}\n".encode())
                os._exit(1)

        threading.Thread(target=watch, daemon=True).start()

    def _send(self, other, payload):
        try:
            with self._locks[other]:
                self._peers[other].sendall(_HEADER.pack(_DATA, len(payload)))
                for start in range(0, len(payload), _PIECE):  # each has the whole time
                    self._peers[other].sendall(payload[start : start + _PIECE])
        except OSError:
            self._lose(other)
            raise PeerLost(self._lost[0]) from None

    def _take(self, other):
        while True:
            try:
                return self._received[other].get(timeout=_PAUSE_SECONDS)
            except queue.Empty:
                if other in self._left:
                    self._lose(other)
                if self._lost:
                    raise PeerLost(self._lost[0]) from None

    def _listen(self, other, peer):
        try:
            while True:
                kind, payload = _receive(peer)
                if kind == _GOODBYE:
                    self._left.add(other)
                    if self._is_closed.is_set():
                        peer.close()
                    return
                if kind == _LOSS:
                    self._lose(int(payload))
                if kind == _DATA:
                    self._received[other].put(payload)
        except OSError:
            if not self._is_closed.is_set():
                self._lose(other)
            peer.close()

    def _lose(self, other):
        if other not in self._lost:
            self._lost.append(other)
        self._has_lost.set()
        self._tell_of_loss()

    def _tell_of_loss(self):
        """The first worker alone sees all the others."""
        for other, peer in self._peers.items():
            if self._lost and self._index == 0 and other not in self._lost:
                with contextlib.suppress(OSError), self._locks[other]:
                    text = str(self._lost[0]).encode()
                    peer.sendall(_HEADER.pack(_LOSS, len(text)) + text)

    def _ping(self):
        while not self._is_closed.wait(PING_SECONDS):
            for other, peer in self._peers.items():
                with contextlib.suppress(OSError):  # its listener says so
                    if self._locks[other].acquire(blocking=False):  # else it hears from us right now
                        try:
                            peer.sendall(_HEADER.pack(_PING, 0))
                        finally:
                            self._locks[other].release()
