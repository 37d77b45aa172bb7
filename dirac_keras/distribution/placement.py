"""One run on one device or on many: what a strategy changes about building, feeding, testing and ending it."""

import contextlib
import hashlib
import re
import types
import warnings
from dataclasses import dataclass, field

import keras
import numpy as np

from dirac_keras.distribution.alone import Alone
from dirac_keras.distribution.batches import one_batch_a_replica, padded, part_of_worker
from dirac_keras.distribution.checks import refuse_what_replicas_compute_wrongly, synchronize
from dirac_keras.errors import RunError, UserError
from dirac_keras.precision import resolve_precision

# What TensorFlow's errors say when a peer is gone.
_LOST = re.compile(
    r"(?i)collective ops is aborted|coordination service|unhealthy|heartbeat|connection reset|socket closed"
)


class WorkerLost(RunError):
    """Another worker of the run died, left, or ended with an error of its own."""


@dataclass(frozen=True)
class Placement:
    """Where a run is computed; made by `open_strategy`.

    Attributes:
        name: `"one"`, `"mirrored"`, `"multiworker"` or `"tpu"`.
        strategy: `tf.distribute.Strategy`, or None for `"one"`.
        workers: addresses of all processes, empty unless `"multiworker"`.
        worker_index: int, which of them this one is.
    """

    name: str
    strategy: object = None
    workers: tuple = ()
    worker_index: int = 0
    _entered: list = field(default_factory=list, repr=False, compare=False)  # what `running` is within
    _functions: dict = field(default_factory=dict, repr=False, compare=False)  # compiled once, for `_sum`

    @property
    def num_replicas(self):
        return 1 if self.strategy is None else self.strategy.num_replicas_in_sync

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
        if self.name == "tpu":
            if precision in ("float16", "mixed_float16"):
                raise UserError(f"A TPU computes in bfloat16 or float32. Received precision={precision!r}.")
            if precision == "auto":
                return "mixed_bfloat16", "a TPU computes in bfloat16"
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
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    @contextlib.contextmanager
    def running(self):
        """Where `fit` and `evaluate` are called: several workers need the scope there, see `prepare`."""
        if self.num_workers == 1:
            yield
            return
        with warnings.catch_warnings(), contextlib.ExitStack() as stack:
            # Said at the end of each test where a worker has several replicas; the training stream has no end.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            stack.enter_context(self.scope())
            self._entered.append(stack)
            try:
                yield
            finally:
                self._entered.pop()

    @contextlib.contextmanager
    def aside(self):
        """Within `running`, what this worker does alone, such as saving.

        In the scope of several workers, TensorFlow makes a variable on all of them at once: one that a single worker
        makes, as Keras does when it saves, would meet another operation of the others.
        """
        if not self._entered:
            yield
            return
        stack = self._entered[-1]
        stack.close()
        try:
            yield
        finally:
            stack.enter_context(self.scope())

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
        if self.strategy is None:
            return model
        if self.num_replicas > 1:
            refuse_what_replicas_compute_wrongly(model)
            synchronize(model)
        compiled = model.get_compile_config()
        optimizer = model.optimizer
        if self.num_workers > 1:
            # Keras 3.15's symbolic build of a model that knows its strategy fails for several workers. A model made
            # outside the scope does not know it, and takes the strategy in whose scope `fit` is called.
            model = keras.Model(model.inputs, model.outputs, name=model.name)
        with self.scope():
            model.compile(
                optimizer=optimizer,
                loss=_deserialized(compiled["loss"]),
                # Weighted, so that the mask of what fills up a test batch counts; training has no weights.
                weighted_metrics=[*_as_list(compiled["metrics"]), *_as_list(compiled["weighted_metrics"])],
                jit_compile=False,
            )
            model.optimizer.build(model.trainable_variables)
        model.test_step = types.MethodType(_masked_test_step, model)
        if self.num_workers > 1:
            _return_vectors(model)
        return model

    def train_data(self, splits, start_step=0, **options):
        """`splits.train(start_step)` as `fit` takes it: each worker prepares its own part of every global batch."""
        if self.strategy is None:
            return splits.train(start_step=start_step, **options)
        if self.num_workers > 1:
            options["shard"] = (self.worker_index, self.num_workers)
        return self._distributed(splits.train(start_step=start_step, **options))

    def test_data(self, dataset):
        """A stream of batches of any size as `evaluate` takes it; each example counts once."""
        if self.strategy is None:
            return dataset
        dataset = padded(dataset, self.num_replicas)
        return self._distributed(part_of_worker(dataset, self.worker_index, self.num_workers))

    def _distributed(self, dataset):
        if self.num_workers == 1:
            return self.strategy.experimental_distribute_dataset(dataset)  # cuts each batch into equal parts
        dataset = one_batch_a_replica(dataset, self.num_replicas // self.num_workers)
        return self.strategy.distribute_datasets_from_function(lambda context: dataset)

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
        if self.strategy is None:
            return 0.0
        largest = 0.0
        values = []
        for variable in model.weights:
            first, *others = map(np.asarray, self.strategy.experimental_local_results(variable.value))
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

    def _sum(self, arrays):
        """Sum over all workers, exact where all but one are zero."""
        import tensorflow as tf

        local = self.num_replicas // self.num_workers
        if "add" not in self._functions:
            self._functions["add"] = tf.function(_add_over_replicas)

        def of_replica(array):
            def value(context):
                is_first = context.replica_id_in_sync_group % local == 0
                return tf.constant(array if is_first else np.zeros_like(array))

            return self.strategy.experimental_distribute_values_from_function(value)

        summed = self.strategy.run(self._functions["add"], args=([of_replica(np.asarray(array)) for array in arrays],))
        return [self.strategy.experimental_local_results(value)[0].numpy() for value in summed]

    @contextlib.contextmanager
    def naming_lost_workers(self):
        """Turn TensorFlow's page about a peer that is gone into one line. Raises: WorkerLost."""
        if self.num_workers == 1:
            yield
            return
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as error:
            if not _LOST.search(str(error)):
                raise
            raise WorkerLost(self._lost_line(str(error))) from error

    def _lost_line(self, text):
        unhealthy = re.search(r"unhealthy[^/]*((?:\s*/job:worker/replica:\d+/task:\d+)+)", text)
        numbers = [int(number) for number in re.findall(r"task:(\d+)", unhealthy.group(1))] if unhealthy else []
        if not numbers and "Failed to send RPC to coordination service" in text:
            numbers = [0]
        lost = [f"worker {number} ({self.workers[number]})" for number in numbers if number < len(self.workers)]
        return (
            f"{' and '.join(lost) or 'another worker'} died or cannot be reached, so worker {self.worker_index} ends "
            "too. Start all workers again as before: the run resumes from its last checkpoint."
        )


def _add_over_replicas(values):
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    values = [tf.identity(value) for value in values]  # on the replica's device, which is where the sum goes
    sums = [None] * len(values)
    for dtype in sorted({value.dtype.name for value in values}):  # values of one call are packed into one tensor
        where = [index for index, value in enumerate(values) if value.dtype.name == dtype]
        added = replica.all_reduce(tf.distribute.ReduceOp.SUM, [values[index] for index in where])
        for index, value in zip(where, added, strict=True):
            sums[index] = value
    return sums


def _difference(value, other):
    difference = np.abs(value.astype("float64") - other.astype("float64"))
    return float(np.max(difference, initial=0.0))


def _masked_test_step(model, data):
    """`keras.Model.test_step` for batches with a mask: what fills a batch up counts in no metric and no loss."""
    import tensorflow as tf

    x, y, mask = keras.utils.unpack_x_y_sample_weight(data)
    outputs = model(x, training=False)
    count = tf.reduce_sum(mask)
    # Keras divides by all rows of the batch; these weights make it the mean over the examples.
    weights = mask * tf.math.divide_no_nan(tf.cast(tf.size(mask), mask.dtype), count)
    loss = model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=weights, training=False)
    loss *= tf.distribute.get_strategy().num_replicas_in_sync  # which Keras has divided it by, for the gradients
    tracker = next(metric for metric in model.metrics if metric.name == "loss")
    tracker.update_state(loss, sample_weight=count)
    return model.compute_metrics(x, y, outputs, sample_weight=mask)


def _return_vectors(model):
    """Let the steps' logs be of one element each: for several workers Keras takes their mean over axis 0.

    Verified on Keras 3.15.1, where scalars raise "Invalid reduction dimension 0 for input with 0 dimensions";
    `test_two_processes_train_as_one` says when another version does otherwise.
    """
    import tensorflow as tf

    def as_vectors(step):
        return lambda data: {name: tf.expand_dims(value, 0) for name, value in step(data).items()}

    model.train_step = as_vectors(model.train_step)
    model.test_step = as_vectors(model.test_step)


def _deserialized(config):
    return keras.saving.deserialize_keras_object(config)


def _as_list(metrics):
    return [_deserialized(metric) for metric in metrics or ()]
