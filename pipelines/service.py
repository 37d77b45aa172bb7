"""Training batches prepared by other processes or machines: tf.data's service, with our order kept.

The service hands the numbers of the steps to its workers, each once, and each worker computes the whole batches of
its steps: batch `k` is a function of (seed, k), wherever it is computed. They arrive in any order and are put back.
"""

from __future__ import annotations

import dataclasses
import re
import socket

import tensorflow as tf

from pipelines.examples import DataError
from pipelines.listening import accept_only, listening_ports

MOST_WAITING = 512  # batches that may overtake another, several for each worker; beyond it that one is lost


def from_service(stream, address, start_step):
    """The batches of a stream, computed by the service's workers, in order.

    Args:
        stream: `tf.data.Dataset` of `(step, images, labels)`, made from one `Dataset.range` of steps.
        address: of the dispatcher, `grpc://host:port`.
        start_step: int, the first step.

    Returns: `tf.data.Dataset` of `(images, labels)`.
    Raises: DataError: if nobody listens at the address. While it is read: RuntimeError if a batch never came.
    """
    check_reachable(address)
    remote = stream.apply(
        tf.data.experimental.service.distribute(tf.data.experimental.service.ShardingPolicy.DYNAMIC, address)
    )

    def in_order():
        return ordered(remote, start_step)

    return tf.data.Dataset.from_generator(in_order, output_signature=stream.element_spec[1:])


def ordered(batches, start_step, most_waiting=MOST_WAITING):
    """Yield `(images, labels)` of `(step, images, labels)` by step, from `start_step` on without a gap."""
    waiting, due = {}, start_step
    for step, *batch in batches:
        waiting[int(step)] = tuple(batch)
        while due in waiting:
            yield waiting.pop(due)
            due += 1
        if len(waiting) > most_waiting:
            raise RuntimeError(
                f"data_service: batch {due} never came, though {most_waiting} later ones did: a worker of the service "
                "has died. Start the same training again: it resumes from the last checkpoint."
            )


def check_address(address):
    """`(host, port)` of `grpc://host:port`. Raises: DataError: if `address` is something else."""
    found = re.fullmatch(r"grpc://([^\s:/]+|\[[0-9a-fA-F:]+\]):(\d+)", str(address))
    if not found or int(found.group(2)) > 65535:
        raise DataError(f"data_service must be grpc://host:port. Received data_service={address!r}.")
    return found.group(1).strip("[]"), int(found.group(2))


def check_reachable(address):
    """Raise DataError unless `address` is `grpc://host:port` and something listens there."""
    try:
        socket.create_connection(check_address(address), timeout=10).close()
    except OSError as error:
        raise DataError(
            f"data_service {address} cannot be reached ({error.strerror or error}). Start it there with "
            "`dirac-keras data-service`, or leave `data_service` out."
        ) from None


@dataclasses.dataclass(frozen=True)
class Service:
    """A running dispatcher, workers, or both.

    Args:
        address: of the dispatcher, `grpc://host:port`.
        servers: what must be kept for as long as it is to run.
        accepts: the addresses of this machine at which this process can be reached; empty for all of them.
    """

    address: str
    servers: list
    accepts: list[str]

    def reach(self) -> str:
        """Who can connect, in words."""
        if self.accepts:
            return f"accepts connections to {' and '.join(self.accepts)} alone"
        return "accepts connections at ALL addresses of this machine"


def start_service(port=0, workers=1, dispatcher=None, host="localhost") -> Service:
    """Start a dispatcher, and workers that compute for it, in this process.

    TensorFlow binds their sockets to every address of the machine. `pipelines.listening` narrows that to `host`, where
    the system lets it and `host` is this machine's own.

    Args:
        port: of the dispatcher; 0 takes a free one.
        workers: int, how many; each computes on all cores.
        dispatcher: `grpc://host:port` of one that runs elsewhere; None starts one here.
        host: name or address under which trainers reach this machine.

    Raises: DataError: if a port is taken or the other dispatcher cannot be reached.
    """
    service = tf.data.experimental.service
    servers, before = [], listening_ports()
    bracketed = f"[{host}]" if ":" in host else host
    try:
        if dispatcher is None:
            servers.append(service.DispatchServer(service.DispatcherConfig(port=port)))
            dispatcher = f"grpc://{bracketed}:{servers[0].target.rsplit(':', 1)[1]}"
        else:
            check_reachable(dispatcher)
        for _ in range(workers):
            name = f"{bracketed}:%port%"  # TensorFlow fills the port in
            config = service.WorkerConfig(dispatcher_address=dispatcher.removeprefix("grpc://"), worker_address=name)
            servers.append(service.WorkerServer(config))
    except (tf.errors.OpError, RuntimeError) as error:
        raise DataError(
            f"The data service cannot start ({str(error).splitlines()[0][:200]}). Received port={port}; give another."
        ) from None
    return Service(dispatcher, servers, accept_only(host, listening_ports() - before))
