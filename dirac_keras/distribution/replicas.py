"""Several devices on TensorFlow: a copy of the model on each, by `tf.distribute`."""

import contextlib
import re
import types
import warnings
from dataclasses import dataclass, field

import keras
import numpy as np

from dirac_keras.distribution.batches import one_batch_a_replica, padded, part_of_worker
from dirac_keras.distribution.checks import refuse_what_replicas_compute_wrongly, synchronize
from dirac_keras.distribution.compiling import compile_config
from dirac_keras.distribution.placement import Placement, WorkerLost
from dirac_keras.errors import UserError

# What TensorFlow's errors say when a peer is gone.
_LOST = re.compile(
    r"(?i)collective ops is aborted|coordination service|unhealthy|heartbeat|connection reset|socket closed"
)


@dataclass(frozen=True)
class Replicas(Placement):
    """`Placement` of a `tf.distribute.Strategy`."""

    _entered: list = field(default_factory=list, repr=False, compare=False)  # what `running` is within
    _functions: dict = field(default_factory=dict, repr=False, compare=False)  # compiled once, for `_sum`

    @property
    def num_replicas(self):
        return self.strategy.num_replicas_in_sync

    def resolve_precision(self, precision):
        if self.name == "tpu":
            if precision in ("float16", "mixed_float16"):
                raise UserError(f"A TPU computes in bfloat16 or float32. Received precision={precision!r}.")
            if precision == "auto":
                return "mixed_bfloat16", "a TPU computes in bfloat16"
        return super().resolve_precision(precision)

    def scope(self):
        return self.strategy.scope()

    @contextlib.contextmanager
    def running(self):
        """Several workers need the scope, see `prepare`."""
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
        """In the scope of several workers, TensorFlow makes a variable on all of them at once.

        One that a single worker makes, as Keras does when it saves, would meet another operation of the others.
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

    def prepare(self, model):
        if self.num_replicas > 1:
            refuse_what_replicas_compute_wrongly(model)
            synchronize(model)
        given = model
        if self.num_workers > 1:
            # Keras 3.15's symbolic build of a model that knows its strategy fails for several workers. A model made
            # outside the scope does not know it, and takes the strategy in whose scope `fit` is called.
            model = keras.Model(model.inputs, model.outputs, name=model.name)
        with self.scope():  # metrics make their variables as they are made: elsewhere each worker would count alone
            model.compile(**compile_config(given), jit_compile=False)
            model.optimizer.build(model.trainable_variables)
        model.test_step = types.MethodType(_masked_test_step, model)
        if self.num_workers > 1:
            _return_vectors(model)
        return model

    def train_data(self, splits, start_step=0, **options):
        if self.num_workers > 1:
            options["shard"] = (self.worker_index, self.num_workers)
        return self._distributed(splits.train(start_step=start_step, **options))

    def test_data(self, dataset):
        dataset = padded(dataset, self.num_replicas)
        return self._distributed(part_of_worker(dataset, self.worker_index, self.num_workers))

    def _distributed(self, dataset):
        if self.num_workers == 1:
            return self.strategy.experimental_distribute_dataset(dataset)  # cuts each batch into equal parts
        dataset = one_batch_a_replica(dataset, self.num_replicas // self.num_workers)
        return self.strategy.distribute_datasets_from_function(lambda context: dataset)

    def _copies(self, variable):
        return list(map(np.asarray, self.strategy.experimental_local_results(variable.value)))

    def _sum(self, arrays):
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
    def _naming_peers_lost(self):
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as error:
            if not _LOST.search(str(error)):
                raise
            raise WorkerLost(self.lost_line(_lost_workers(str(error)))) from error


def _lost_workers(text):
    """Numbers of the workers that a message of TensorFlow names as lost."""
    unhealthy = re.search(r"unhealthy[^/]*((?:\s*/job:worker/replica:\d+/task:\d+)+)", text)
    numbers = [int(number) for number in re.findall(r"task:(\d+)", unhealthy.group(1))] if unhealthy else []
    if not numbers and "Failed to send RPC to coordination service" in text:
        return [0]
    return numbers


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
