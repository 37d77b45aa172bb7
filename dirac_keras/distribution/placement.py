"""Where a run is computed: what that changes about building, feeding, testing and ending it."""

import contextlib
import hashlib
from dataclasses import dataclass

import keras
import numpy as np

from dirac_keras.distribution.alone import Alone
from dirac_keras.errors import RunError, UserError
from dirac_keras.precision import resolve_precision


class WorkerLost(RunError):
    """Another worker of the run died, left, or ended with an error of its own."""


@dataclass(frozen=True)
class Placement:
    """Where a run is computed; made by `open_strategy`. This one is one device, of which the others are made.

    Attributes:
        name: `"one"`, `"data_parallel"` (JAX), `"mirrored"`, `"multiworker"` or `"tpu"` (TensorFlow).
        strategy: `keras.distribution.DataParallel` on JAX, `tf.distribute.Strategy` on TensorFlow, None for `"one"`.
        workers: addresses of all processes, empty for one.
        worker_index: int, which of them this one is.
    """

    name: str
    strategy: object = None
    workers: tuple = ()
    worker_index: int = 0

    @property
    def num_replicas(self):
        """Devices that share a batch."""
        return 1

    @property
    def can_average(self):
        """Whether a model can be tested with averaged weights in the middle of training."""
        return self.strategy is None

    @property
    def num_workers(self):
        return max(len(self.workers), 1)

    @property
    def is_chief(self):
        """Whether this process writes the run's files."""
        return self.worker_index == 0

    def __str__(self):
        if self.strategy is None:
            return "one device"
        processes = f" in {self.num_workers} processes, this is worker {self.worker_index}" if self.workers else ""
        return f"{self.num_replicas} replicas ({self.name}){processes}"

    def resolve_precision(self, precision):
        """`dirac_keras.precision.resolve_precision` for these devices."""
        return resolve_precision(precision)

    def check_batch(self, batch_size):
        """Raise ValueError unless the replicas' parts of a training batch are equal."""
        if batch_size % self.num_replicas:
            lower = batch_size // self.num_replicas * self.num_replicas
            raise UserError(
                f"batch_size must divide evenly over {self.num_replicas} replicas. Received batch_size={batch_size}; "
                f"give {f'{lower} or ' if lower else ''}{lower + self.num_replicas}."
            )

    def scope(self):
        """Where models, optimizers and metrics are made."""
        return contextlib.nullcontext()

    def running(self):
        """Where `fit` and `evaluate` are called."""
        return contextlib.nullcontext()

    def aside(self):
        """Within `running`, what this worker does alone, such as saving."""
        return contextlib.nullcontext()

    def alone(self, callbacks):
        """Callbacks of the first worker that the others do not have, as it lists them for `fit`."""
        return [Alone(callbacks, self)] if self.num_workers > 1 and callbacks else callbacks

    def prepare(self, model):
        """Make a compiled model, built within `scope`, ready for `fit` and `evaluate` here.

        Args:
            model: compiled `keras.Model`.

        Returns: the `keras.Model` to call; same layers, weights and optimizer.
        Raises: ValueError: if replicas would compute something else than one device.
        """
        return model

    def train_data(self, splits, start_step=0, **options):
        """`splits.train(start_step)` as `fit` takes it: each worker prepares its own part of every global batch."""
        return splits.train(start_step=start_step, **options)

    def test_data(self, dataset):
        """A stream of batches of any size as `evaluate` takes it; each example counts once."""
        return dataset

    def share(self, array, axis=None, is_part=False):
        """An array of the host, as the devices take it in a compiled program of one's own.

        Args:
            array: NumPy array.
            axis: int, the axis of a batch's examples, of which each device gets its part. None: each gets all.
            is_part: bool, whether every worker has its own part of `axis`, as of the batches of `train_data`. False:
                all of them have the same array.

        Returns: on several devices of JAX a `jax.Array`, elsewhere the array.
        """
        return array

    def layout(self, rank, axis=0):
        """The `jax.sharding.NamedSharding` of what `share` gives an array of so many axes; None on one device."""
        return None

    def from_chief(self, arrays):
        """The first worker's arrays, on every worker.

        Args:
            arrays: list of numpy arrays, of the same shapes and types on all workers.
        """
        if self.num_workers == 1:
            return arrays
        return self._sum([array if self.is_chief else np.zeros_like(array) for array in arrays])

    def text_from_chief(self, text):
        """The first worker's text, on every worker."""
        if self.num_workers == 1:
            return text
        codes = np.frombuffer(text.encode(), np.uint8).astype(np.int32)
        length = self.chief_decides(lambda: len(codes))
        [codes] = self.from_chief([codes if self.is_chief else np.zeros(length, np.int32)])
        return codes.astype(np.uint8).tobytes().decode()

    def any_worker(self, *flags):
        """For each flag whether any worker has given it. All workers call it at the same place."""
        if self.num_workers == 1:
            return flags
        return tuple(bool(count) for count in self._sum([np.array(flags, np.int32)])[0])

    def chief_decides(self, function):
        """What `function()` returns on the first worker, an int, on every worker.

        Raises: WorkerLost: on the other workers, if `function` raises on the first one.
        """
        if self.num_workers == 1:
            return function()
        value, error = 0, None
        if self.is_chief:
            try:
                value = function()
            except Exception as raised:
                error = raised
        decided, failed = self._sum([np.int64(value), np.int64(error is not None)])
        if error is not None:
            raise error
        if failed:
            raise WorkerLost("worker 0 ended the run; its message says why.")
        return int(decided)

    def on_chief(self, function):
        """What `function()` returns on the first worker, there; None on the others. Raises: as `chief_decides`."""
        returned = []

        def call():
            returned.append(function())
            return 0

        self.chief_decides(call)
        return returned[0] if returned else None

    def replica_difference(self, model):
        """Largest absolute difference of any weight or statistic between two replicas, of all workers; 0 if right."""
        largest = 0.0
        values = []
        for variable in model.weights:
            first, *others = self._copies(variable)
            largest = max([largest, *(_difference(first, other) for other in others)])
            values.append(first)
        chief = self.from_chief(values)
        largest = max([largest, *map(_difference, values, chief)])
        if self.num_workers == 1:
            return largest
        differences = np.zeros(self.num_workers)
        differences[self.worker_index] = largest
        return float(np.max(self._sum([differences])[0]))

    def check_alike(self, what, text):
        """Raise ValueError on every worker unless all of them give the same text."""
        if self.num_workers == 1:
            return
        digests = np.zeros((self.num_workers, 4), np.int64)
        digests[self.worker_index] = np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], np.uint32)
        digests = self._sum([digests])[0]
        different = [index for index, digest in enumerate(digests) if (digest != digests[0]).any()]
        if different:
            raise UserError(
                f"All workers must have the same {what}. Received another one on worker {different[0]} than on worker "
                "0. Give the same options, data and versions everywhere."
            )

    def naming_lost_workers(self):
        """Turn a library's page about a peer that is gone into one line. Raises: WorkerLost."""
        return contextlib.nullcontext() if self.num_workers == 1 else self._naming_peers_lost()

    def lost_line(self, numbers):
        """The message of WorkerLost.

        Args:
            numbers: list of the workers that are lost; empty if nobody knows which.
        """
        lost = [f"worker {number} ({self.workers[number]})" for number in numbers if number < len(self.workers)]
        return (
            f"{' and '.join(lost) or 'another worker'} died or cannot be reached, so worker {self.worker_index} ends "
            "too. Start all workers again as before: the run resumes from its last checkpoint."
        )

    def _naming_peers_lost(self):
        """`naming_lost_workers` of one of several workers."""
        raise NotImplementedError

    def _sum(self, arrays):
        """Sum over all workers, exact where all but one are zero."""
        raise NotImplementedError

    def _copies(self, variable):
        """What each replica of this worker has of a variable, as NumPy arrays."""
        return [keras.ops.convert_to_numpy(variable)]


def _difference(value, other):
    difference = np.abs(value.astype("float64") - other.astype("float64"))
    return float(np.max(difference, initial=0.0))
