"""The threads of an operation decide in which order it sums: to the last digit, a result depends on their number.

Measured on TensorFlow 2.21, on 1 and 2 cores: weights are equal bit for bit where `intra_op` is, and only there;
neither the cores that run the threads nor the number of operations side by side changes a digit.
"""

import logging
import os

import keras

logger = logging.getLogger("dirac_keras")


def threads_in_effect():
    """`{"intra_op": threads of an operation}` of this process, as a run records it."""
    return {"intra_op": _configured() or _of_environment() or cores()}


def cores():
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def restore_threads(recorded):
    """Take the number of threads that a run began with, or say that its last digits may differ.

    TensorFlow takes one until it computes, PyTorch at any time; JAX takes that of the machine.

    Args:
        recorded: what `threads_in_effect` gave when the run began; None of a run of 0.1.0 or before.
    """
    wanted = (recorded or {}).get("intra_op")
    if wanted is None or wanted == threads_in_effect()["intra_op"]:
        return
    if _take(wanted):
        logger.info("computing in %d threads, as the run did when it began", wanted)
        return
    logger.warning(
        "the run began with %d threads for an operation, here it has %d: its last digits may differ from those of the "
        "uninterrupted run",
        wanted,
        threads_in_effect()["intra_op"],
    )


def _take(wanted):
    """Whether the backend takes a number of threads from now on."""
    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(wanted)
        return True
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(wanted)
    except RuntimeError:
        return False
    return True


def _configured():
    if keras.backend.backend() == "torch":
        import torch

        return torch.get_num_threads()
    if keras.backend.backend() != "tensorflow":
        return 0
    import tensorflow as tf

    return tf.config.threading.get_intra_op_parallelism_threads()


def _of_environment():
    """What TensorFlow reads."""
    try:
        return max(0, int(os.environ.get("TF_NUM_INTRAOP_THREADS", "")))
    except ValueError:
        return 0
