"""From a name and addresses to a `Placement`."""

import logging
import os
import re

import keras
import msgspec

from dirac_keras.distribution.placement import Placement
from dirac_keras.distribution.rendezvous import wait_for_workers
from dirac_keras.errors import UserError

STRATEGIES = ("auto", "one", "mirrored", "multiworker", "tpu")
MOST_PARTS = 256  # of a CPU: each has memory and threads of its own
logger = logging.getLogger("dirac_keras")


def open_strategy(name="auto", workers=None, worker_index=None, tpu=None):
    """Find the devices, and join the other workers.

    Call it before anything else has used TensorFlow; `multiworker` returns when all workers are there.

    Args:
        name: `"one"`: no strategy, Keras takes its device. `"mirrored"`: every GPU, or the CPU's parts made by
            `split_cpu`, each with a copy of the model. `"multiworker"`: the same over several processes. `"tpu"`.
            `"auto"`: `multiworker` if workers are given, here or by the environment's TF_CONFIG, else `mirrored` for
            several devices, else `one`.
        workers: list of `"host:port"`, one a process, the same and in the same order for all; the first writes the
            run's files. None: TF_CONFIG's.
        worker_index: int, which of them this process is.
        tpu: name or address of a TPU. None: `$TPU_NAME`, else that of this machine.

    Returns: `Placement`.
    Raises: ValueError: if the devices are not there or the addresses make no sense.
    """
    if name not in STRATEGIES:
        raise UserError(f"strategy must be one of {', '.join(STRATEGIES)}. Received strategy={name!r}.")
    _refuse_without_effect(name, workers, worker_index, tpu)
    if workers and name not in ("auto", "multiworker"):
        raise UserError(f'workers are for `strategy="multiworker"`. Received strategy={name!r}; leave one of them out.')
    if keras.backend.backend() != "tensorflow":
        if name in ("auto", "one") and not workers:
            return Placement("one")
        raise UserError(
            f"strategy {name if name != 'auto' else 'multiworker'} is TensorFlow's. Received Keras on "
            f'{keras.backend.backend()}; set KERAS_BACKEND=tensorflow, or use `strategy="one"`.'
        )
    if name == "one":
        return Placement("one")
    if name == "tpu":
        return _open_tpu(tpu)
    if name == "multiworker" or (name == "auto" and (workers or len(_environment()[0]) > 1)):
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


def _refuse_without_effect(name, workers, worker_index, tpu):
    """What is given for other devices would be ignored, and the machine would train a run of its own."""
    if worker_index is not None and not workers:
        raise UserError(
            f"`worker_index` counts among `workers`, which are not given (TF_CONFIG has an index of its own). Received "
            f"worker_index={worker_index}. Give `workers` too, or leave it out."
        )
    if tpu is not None and name != "tpu":
        raise UserError(f'`tpu` is for `strategy="tpu"`. Received tpu={tpu!r} with strategy={name!r}.')


def split_cpu(parts):
    """Make several logical devices of the CPU: no faster, but the code of several devices runs anywhere.

    Args:
        parts: int of 2 or more.

    Raises: ValueError: if TensorFlow has begun to compute, which fixes its devices.
    """
    import tensorflow as tf

    if isinstance(parts, bool) or not isinstance(parts, int) or not 2 <= parts <= MOST_PARTS:
        raise UserError(
            f"logical_devices must be a whole number of 2 or more, and at most {MOST_PARTS}. Received {parts!r}."
        )
    try:
        processor = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * parts)
    except RuntimeError:
        raise UserError(
            f"logical_devices must be set before TensorFlow computes anything. Received {parts} afterwards; "
            "call split_cpu first of all in a new process."
        ) from None


def _devices():
    import tensorflow as tf

    found = [device.name for device in tf.config.list_logical_devices("GPU")]
    return found or [device.name for device in tf.config.list_logical_devices("CPU")]


def _open_mirrored(devices):
    import tensorflow as tf

    if "GPU" in devices[0]:
        return Placement("mirrored", tf.distribute.MirroredStrategy(devices))
    # The collectives that TensorFlow takes for CPUs fail with a second model of other shapes in the same process.
    return Placement(
        "mirrored", tf.distribute.MirroredStrategy(devices, cross_device_ops=tf.distribute.ReductionToOneDevice())
    )


def _open_workers(workers, worker_index):
    import tensorflow as tf

    addresses, index = (list(workers), worker_index) if workers else _environment()
    _check_cluster(addresses, index)
    logger.info("worker %d of %d waits for %s", index, len(addresses), ", ".join(_without(addresses, index)))
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
            f"worker {index} cannot join the others at {', '.join(_without(addresses, index))} from {addresses[index]} "
            f"({_first_line(error)}). Give the addresses that all workers reach, each with a free port."
        ) from None
    return Placement("multiworker", strategy, tuple(addresses), index)


class _Task(msgspec.Struct):
    type: str = "worker"
    index: int | str = 0


class _TfConfig(msgspec.Struct):
    """TF_CONFIG, as TensorFlow documents it."""

    cluster: dict[str, list[str]] = {}
    task: _Task = msgspec.field(default_factory=_Task)


def _environment():
    """Addresses and index in TF_CONFIG: `([], None)` without it. A `chief` is the first worker."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        return [], None
    try:
        record = msgspec.json.decode(text, type=_TfConfig)
        cluster, task = record.cluster, record.task
        chief, workers = cluster.get("chief", []), cluster.get("worker", [])
        index = int(task.index) + (len(chief) if task.type == "worker" else 0)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise UserError(
            'TF_CONFIG must be JSON such as {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", '
            f'"index": 0}}. Received TF_CONFIG={text!r}.'
        ) from None
    others = sorted(set(cluster) - {"chief", "worker"}) or sorted({task.type} - {"chief", "worker"})
    if others:
        raise UserError(
            f"TF_CONFIG must name chief and workers alone: all of them train. Received {others[0]!r} in it."
        )
    return [*chief, *workers], index


def _check_cluster(addresses, index):
    if len(addresses) < 2:
        raise UserError(
            f"strategy multiworker needs two workers or more. Received {', '.join(addresses) or 'none'}. Give "
            '`workers=["host:port", "host:port"]` and `worker_index`, or TF_CONFIG; on one machine use '
            '`strategy="mirrored"`.'
        )
    for address in addresses:
        if not (isinstance(address, str) and re.fullmatch(r"[^\s:,]+:\d+|\[[0-9a-fA-F:]+\]:\d+", address)):
            raise UserError(f"workers must be host:port each. Received {address!r}.")
    if len(set(addresses)) < len(addresses):
        raise UserError(f"workers must differ. Received {', '.join(addresses)}.")
    for address in addresses:
        if not 1 <= int(address.rpartition(":")[2]) <= 65535:
            raise UserError(f"workers must have ports from 1 to 65535. Received {address!r}.")
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(addresses):
        raise UserError(
            f"worker_index must be 0 to {len(addresses) - 1}, another one for each of the {len(addresses)} workers. "
            f"Received worker_index={index}."
        )


def _without(addresses, index):
    return [address for position, address in enumerate(addresses) if position != index]


def _open_tpu(name):
    import tensorflow as tf

    name = name or os.environ.get("TPU_NAME") or "local"
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, OSError, ImportError, tf.errors.OpError) as error:
        raise UserError(
            f"strategy tpu needs a TPU. Received tpu={name!r}, which cannot be reached ({_first_line(error)}). "
            'Give `tpu=NAME`, or use `strategy="auto"`.'
        ) from None
    return Placement("tpu", tf.distribute.TPUStrategy(resolver))


def _first_line(error):
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
