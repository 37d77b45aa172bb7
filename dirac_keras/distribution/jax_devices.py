"""JAX's devices: found, split, joined with other processes'."""

import atexit
import contextlib
import logging

import keras

from dirac_keras.distribution.channel import meet
from dirac_keras.distribution.cluster import check_cluster, first_line, without
from dirac_keras.distribution.data_parallel import DataParallel
from dirac_keras.distribution.placement import Placement
from dirac_keras.distribution.rendezvous import listening
from dirac_keras.errors import UserError

logger = logging.getLogger("dirac_keras")
# JAX's own: until a process that has not been heard is given up, and until one that ends has seen the others end. The
# channel's come first; the last bounds how long the first worker may fold and export while the others wait for it.
HEARTBEAT_SECONDS, SHUTDOWN_SECONDS, JOIN_SECONDS = 120, 3600, 60


def open_on_jax(name, workers, worker_index):
    """`open_strategy` on JAX. Returns: `Placement`."""
    channel = None
    if workers:
        addresses = list(workers)
        check_cluster(addresses, worker_index, "data_parallel", "; on one machine leave `workers` out")
        channel = _join(addresses, worker_index)
    import jax

    # In the order of the processes, as each gives its part of a batch.
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
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
    channel.tell(b"")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is ours
    jax.config.update(
        "jax_enable_recoverability", True
    )  # a lost peer is the channel's to report, not a reason to abort
    try:
        jax.distributed.initialize(
            coordinator_address=addresses[0],
            num_processes=len(addresses),
            process_id=index,
            cluster_detection_method="deactivate",
            initialization_timeout=JOIN_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
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
    atexit.register(channel.close)  # before JAX, which registered earlier, waits for the others
    return channel
