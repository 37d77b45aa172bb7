"""JAX's devices: found, split, joined with other processes'."""

import atexit
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys

import keras

from dirac_keras.distribution import coordinator
from dirac_keras.distribution.channel import meet
from dirac_keras.distribution.cluster import check_cluster, first_line, without
from dirac_keras.distribution.data_parallel import DataParallel
from dirac_keras.distribution.placement import Placement
from dirac_keras.distribution.rendezvous import listening
from dirac_keras.errors import UserError

logger = logging.getLogger("dirac_keras")
# JAX's own: until a process that has not been heard is given up, which the channel notices earlier; and until all of
# them, which the channel has brought together, have found the coordinator.
HEARTBEAT_SECONDS, JOIN_SECONDS = 120, 60


def open_on_jax(name, workers, worker_index):
    """`open_strategy` on JAX. Returns: `Placement`."""
    channel = None
    if workers:
        addresses = list(workers)
        check_cluster(addresses, worker_index, "data_parallel", "; on one machine leave `workers` out")
        channel = _join(addresses, worker_index)
    import jax

    # In the order of the processes, as each gives its part of a batch.
    devices = sorted(find_devices(), key=lambda device: (device.process_index, device.id))
    if len(devices) == 1:
        if name == "auto":
            return Placement("one")
        raise UserError(
            f"strategy data_parallel needs several devices. Received one, {devices[0].platform}:{devices[0].id}. "
            'Use `strategy="one"`, or split the CPU with `logical_devices=2`.'
        )
    strategy = keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
    if channel is None:
        return DataParallel("data_parallel", strategy)
    place = DataParallel("data_parallel", strategy, tuple(addresses), worker_index, channel)
    channel.end_process_that_hangs(lambda lost: place.lost_line(lost[:1]))
    place.check_alike("number of devices", str(jax.local_device_count()))
    return place


def find_devices():
    """JAX's devices, of all processes. Raises: UserError: if the ones that JAX_PLATFORMS asks for are not there."""
    import jax

    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # of JAX 0.10, without a word, where no plugin knows the platform
        asked = os.environ.get("JAX_PLATFORMS")
        if not asked:
            raise
        reason = first_line(error) if str(error) else "no plugin for it is installed"
        raise UserError(
            f"JAX finds no device of the kind it is asked for. Received JAX_PLATFORMS={asked} ({reason}). Install "
            "jax[cuda13] or jax[tpu] in the version of jax that is here, or unset JAX_PLATFORMS to use the CPU."
        ) from None


def split_cpu_of_jax(parts):
    """`split_cpu` on JAX. Raises: RuntimeError: if JAX has begun to compute."""
    import jax

    jax.config.update("jax_num_cpu_devices", parts)


def _join(addresses, index):
    """Meet the other workers, then have JAX know all of them. Returns: `Channel`."""
    import jax

    with listening(addresses[index]) if index == 0 else contextlib.nullcontext():
        pass  # a port that is taken is an error before anybody waits
    logger.info("worker %d of %d waits for %s", index, len(addresses), ", ".join(without(addresses, index)))
    channel = meet(addresses, index)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is ours
    own = {} if index else _start_coordinator(addresses)
    where = json.loads(channel.tell(json.dumps(own.get("coordinator_address", addresses[0])).encode()))
    try:
        jax.distributed.initialize(
            **{"coordinator_address": where, **own},
            num_processes=len(addresses),
            process_id=index,
            cluster_detection_method="deactivate",
            initialization_timeout=JOIN_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except RuntimeError as error:
        channel.abandon()
        if "before" in str(error) or "once" in str(error):
            raise UserError(
                "strategy data_parallel of several workers must be opened before JAX computes anything. Received it "
                "afterwards; call open_strategy first of all in a new process."
            ) from None
        raise UserError(
            f"worker {index} cannot join the others at {', '.join(without(addresses, index))} from {addresses[index]} "
            f"({first_line(error)}). Give the addresses that all workers reach, each with a free port."
        ) from None
    atexit.register(channel.close)
    return channel


def _start_coordinator(addresses):
    """JAX's coordinator in a process of its own, see `coordinator`.

    Returns: dict of arguments of `jax.distributed.initialize` for the first worker, which then has an idle coordinator
        of its own; empty if this version of JAX has no such process, and the first worker is the coordinator.
    """
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    host = addresses[0].rpartition(":")[0]
    command = [sys.executable, coordinator.__file__, f"[::]:{port}", str(len(addresses)), str(HEARTBEAT_SECONDS)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    atexit.register(process.stdin.close)
    with process.stdout:
        if process.stdout.readline() != b"ready\n":
            return {}
    return {"coordinator_address": f"{host}:{port}", "coordinator_bind_address": "127.0.0.1:0"}
