"""The addresses of the processes of a run: checked, or read from TF_CONFIG."""

import os
import re
import textwrap

import msgspec

from dirac_keras.errors import UserError


def check_cluster(addresses, index, strategy, on_one_machine):
    """Raise UserError unless addresses and index make a cluster of two workers or more.

    Args:
        addresses: list of `"host:port"`.
        index: int, this worker's.
        strategy: text, its name for a message.
        on_one_machine: text, what serves where there is one process alone.
    """
    if len(addresses) < 2:
        raise UserError(
            f"strategy {strategy} needs two workers or more. Received {', '.join(addresses) or 'none'}. Give "
            f'`workers=["host:port", "host:port"]` and `worker_index`{on_one_machine}.'
        )
    for address in addresses:
        if not (isinstance(address, str) and re.fullmatch(r"[^\s:,]+:\d+|\[[0-9a-fA-F:]+\]:\d+", address)):
            raise UserError(f"workers must be host:port each, as host0:2222. Received {address!r}.")
    if len(set(addresses)) < len(addresses):
        raise UserError(f"workers must differ. Received {', '.join(addresses)}.")
    for address in addresses:
        if not 1 <= int(address.rpartition(":")[2]) <= 65535:
            raise UserError(f"workers must have ports from 1 to 65535. Received {address!r}.")
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(addresses):
        raise UserError(
            f"worker_index must be 0 to {len(addresses) - 1}, another one for each of the {len(addresses)} workers. "
            f"Received worker_index={index}: give each process its own `worker_index`."
        )


def without(addresses, index):
    """The other workers' addresses."""
    return [address for position, address in enumerate(addresses) if position != index]


def first_line(error):
    """Of an error's text, for a message; a long one ends with a whole word and `...`."""
    lines = str(error).strip().splitlines()
    return textwrap.shorten(lines[0], 200, placeholder=" ...") if lines else type(error).__name__


class _Task(msgspec.Struct):
    type: str = "worker"
    index: int | str = 0


class _TfConfig(msgspec.Struct):
    """TF_CONFIG, as TensorFlow documents it."""

    cluster: dict[str, list[str]] = {}
    task: _Task = msgspec.field(default_factory=_Task)


def cluster_of_environment():
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
