"""TensorFlow's devices: found, split, joined with other workers'."""

import logging
import os

from dirac_keras.distribution.cluster import check_cluster, cluster_of_environment, first_line, without
from dirac_keras.distribution.placement import Placement
from dirac_keras.distribution.rendezvous import wait_for_workers
from dirac_keras.distribution.replicas import Replicas
from dirac_keras.errors import UserError

logger = logging.getLogger("dirac_keras")


def open_on_tensorflow(name, workers, worker_index, tpu):
    """`open_strategy` on TensorFlow. Returns: `Placement`."""
    if name == "tpu":
        return _open_tpu(tpu)
    if name == "multiworker" or (name == "auto" and (workers or len(cluster_of_environment()[0]) > 1)):
        return _open_workers(workers, worker_index)
    devices = _devices()
    if len(devices) > 1:
        return _open_mirrored(devices)
    if name == "auto":
        return Placement("one")
    raise UserError(
        f"strategy mirrored needs several devices. Received {len(devices)}, {devices[0]}. "
        'Use `strategy="one"`, or split the CPU with `logical_devices=2`.'
    )


def split_cpu_of_tensorflow(parts):
    """`split_cpu` on TensorFlow. Raises: RuntimeError: if TensorFlow has begun to compute."""
    import tensorflow as tf

    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * parts)


def _devices():
    import tensorflow as tf

    found = [device.name for device in tf.config.list_logical_devices("GPU")]
    return found or [device.name for device in tf.config.list_logical_devices("CPU")]


def _open_mirrored(devices):
    import tensorflow as tf

    if "GPU" in devices[0]:
        return Replicas("mirrored", tf.distribute.MirroredStrategy(devices))
    # The collectives that TensorFlow takes for CPUs fail with a second model of other shapes in the same process.
    return Replicas(
        "mirrored", tf.distribute.MirroredStrategy(devices, cross_device_ops=tf.distribute.ReductionToOneDevice())
    )


def _open_workers(workers, worker_index):
    import tensorflow as tf

    addresses, index = (list(workers), worker_index) if workers else cluster_of_environment()
    check_cluster(addresses, index, "multiworker", ', or TF_CONFIG; on one machine use `strategy="mirrored"`')
    logger.info("worker %d of %d waits for %s", index, len(addresses), ", ".join(without(addresses, index)))
    wait_for_workers(addresses, index)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": addresses}), task_type="worker", task_id=index, rpc_layer="grpc"
    )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        raise UserError(
            "strategy multiworker must be opened before TensorFlow computes anything. Received it afterwards; call "
            "open_strategy first of all in a new process."
        ) from None
    except tf.errors.OpError as error:
        raise UserError(
            f"worker {index} cannot join the others at {', '.join(without(addresses, index))} from {addresses[index]} "
            f"({first_line(error)}). Give the addresses that all workers reach, each with a free port."
        ) from None
    return Replicas("multiworker", strategy, tuple(addresses), index)


def _open_tpu(name):
    import tensorflow as tf

    name = name or os.environ.get("TPU_NAME") or "local"
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, OSError, ImportError, tf.errors.OpError) as error:
        raise UserError(
            f"strategy tpu needs a TPU. Received tpu={name!r}, which cannot be reached ({first_line(error)}). "
            'Give `tpu=NAME`, or use `strategy="auto"`.'
        ) from None
    return Replicas("tpu", tf.distribute.TPUStrategy(resolver))
