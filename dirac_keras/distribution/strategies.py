"""From a name and addresses to a `Placement`."""

import keras

from dirac_keras.distribution.placement import Placement
from dirac_keras.errors import UserError, check_choice

# Each with the backend that it is of; the others are of every backend.
BACKEND_OF = {"data_parallel": "jax", "mirrored": "tensorflow", "multiworker": "tensorflow", "tpu": "tensorflow"}
STRATEGIES = ("auto", "one", *BACKEND_OF)
WITH_WORKERS = ("auto", "multiworker", "data_parallel")
MOST_PARTS = 256  # of a CPU: each has memory and threads of its own


def open_strategy(name="auto", workers=None, worker_index=None, tpu=None):
    """Find the devices, and join the other workers.

    Call it before anything else has computed; with several workers it returns when all of them are there.

    Args:
        name: `"one"`: no strategy, Keras takes its device. `"data_parallel"`: on JAX, all GPUs, TPU chips or parts of
            the CPU made by `split_cpu`, of one process or, with workers, of several. On TensorFlow `"mirrored"`: every
            GPU or part of the CPU, each with a copy of the model. `"multiworker"`: the same over several processes.
            `"tpu"`. `"auto"`: what serves for the workers that are given, here or, on TensorFlow, by the environment's
            TF_CONFIG; else for several devices; else `"one"`.
        workers: list of `"host:port"`, one a process, the same and in the same order for all; the first writes the
            run's files. None: TF_CONFIG's, on TensorFlow.
        worker_index: int, which of them this process is.
        tpu: name or address of a TPU for TensorFlow. None: `$TPU_NAME`, else that of this machine.

    Returns: `Placement`.
    Raises: ValueError: if the devices are not there or the addresses make no sense.
    """
    check_choice("strategy", name, STRATEGIES)
    _refuse_without_effect(name, workers, worker_index, tpu)
    backend = keras.backend.backend()
    if BACKEND_OF.get(name, backend) != backend:
        raise UserError(_of_another_backend(name, backend))
    if name == "one":
        if backend == "jax":
            from dirac_keras.distribution.jax_devices import find_devices

            find_devices()
        return Placement("one")
    if backend == "tensorflow":
        from dirac_keras.distribution.tensorflow_devices import open_on_tensorflow

        return open_on_tensorflow(name, workers, worker_index, tpu)
    if backend == "jax":
        from dirac_keras.distribution.jax_devices import open_on_jax

        return open_on_jax(name, workers, worker_index)
    if workers:
        raise UserError(
            f"workers are for Keras on JAX or TensorFlow. Received Keras on {backend}; set KERAS_BACKEND, or leave "
            "`workers` out."
        )
    return Placement("one")


def _of_another_backend(name, backend):
    wanted = BACKEND_OF[name]
    here = {"jax": '`strategy="data_parallel"`', "tensorflow": '`strategy="mirrored"` or `strategy="multiworker"`'}
    instead = here.get(backend, '`strategy="one"`')
    proper = {"jax": "JAX", "tensorflow": "TensorFlow"}[wanted]
    return (
        f"strategy {name} is for Keras on {proper}. Received strategy={name!r} with Keras on {backend}; use {instead}, "
        f"or set KERAS_BACKEND={wanted}."
    )


def _refuse_without_effect(name, workers, worker_index, tpu):
    """What is given for other devices would be ignored, and the machine would train a run of its own."""
    if workers and name not in WITH_WORKERS:
        raise UserError(
            f'workers are for `strategy="multiworker"` (TensorFlow) and `strategy="data_parallel"` (JAX). Received '
            f"strategy={name!r}; leave one of them out."
        )
    if worker_index is not None and not workers:
        raise UserError(
            f"`worker_index` counts among `workers`, which are not given (TF_CONFIG has an index of its own). Received "
            f"worker_index={worker_index}. Give `workers` too, or leave it out."
        )
    if tpu is not None and name != "tpu":
        raise UserError(
            f'`tpu` is for `strategy="tpu"`. Received tpu={tpu!r} with strategy={name!r}: leave it out, or give '
            '`strategy="tpu"`.'
        )


def split_cpu(parts):
    """Make several logical devices of the CPU: no faster, but the code of several devices runs anywhere.

    Args:
        parts: int of 2 or more.

    Raises: ValueError: if the backend has begun to compute, which fixes its devices.
    """
    if isinstance(parts, bool) or not isinstance(parts, int) or not 2 <= parts <= MOST_PARTS:
        raise UserError(
            f"logical_devices must be a whole number of 2 or more, and at most {MOST_PARTS}. Received {parts!r}."
        )
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from dirac_keras.distribution.tensorflow_devices import split_cpu_of_tensorflow as split
    elif backend == "jax":
        from dirac_keras.distribution.jax_devices import split_cpu_of_jax as split
    else:
        raise UserError(
            f"`logical_devices` are for Keras on JAX or TensorFlow. Received {parts} with Keras on {backend}: leave it "
            "out."
        )
    try:
        split(parts)
    except RuntimeError:
        library = {"tensorflow": "TensorFlow", "jax": "JAX"}[backend]
        raise UserError(
            f"logical_devices must be set before {library} computes anything. Received {parts} afterwards; "
            "call split_cpu first of all in a new process."
        ) from None
