"""Several devices on JAX: one program over all of them, by `keras.distribution.DataParallel`.

The compiled program is that of the whole batch. XLA cuts it into the devices' parts, so statistics, losses, clipping
and random numbers are those of one device, and nothing is refused.
"""

import contextlib
import io
import re
import types
from dataclasses import dataclass, field

import keras
import numpy as np

from dirac_keras.distribution.channel import PeerLost
from dirac_keras.distribution.compiling import compile_config
from dirac_keras.distribution.padding import PaddedBatches
from dirac_keras.distribution.placement import Placement, WorkerLost
from dirac_keras.errors import RunError, UserError

# What errors of collective operations say; of several classes, as they come up where a result is read.
_OF_PEERS = re.compile(r"(?i)gloo|nccl|mpi|collective|connection|coordination|barrier|peer")
_NOTICE_SECONDS = 10.0  # from such an error to the news that a peer is gone


@dataclass(frozen=True)
class DataParallel(Placement):
    """`Placement` of a `keras.distribution.DataParallel`.

    Attributes:
        channel: `Channel` to the other workers; None for one process.
    """

    channel: object = field(default=None, repr=False, compare=False)
    _entered: list = field(default_factory=list, repr=False, compare=False)  # whether `running`

    @property
    def num_replicas(self):
        return self.strategy.num_model_replicas

    @property
    def can_average(self):
        return self.num_workers == 1

    def scope(self):
        return self.strategy.scope()

    @contextlib.contextmanager
    def running(self):
        """Here arrays of a batch are cut into the devices' parts."""
        self._entered.append(True)
        try:
            with self.scope():
                yield
        finally:
            self._entered.pop()

    @contextlib.contextmanager
    def aside(self):
        """In the scope a variable is made on all devices: one that a single worker makes would wait for the others."""
        if not self._entered:
            yield
            return
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(self.strategy)

    def prepare(self, model):
        with self.scope():
            model.compile(**compile_config(model), jit_compile=True)
            model.optimizer.build(model.trainable_variables)
        model.test_step = types.MethodType(_masked_test_step, model)
        return model

    def train_data(self, splits, start_step=0, **options):
        if self.num_workers > 1:
            options["shard"] = (self.worker_index, self.num_workers)
        return splits.train(start_step=start_step, **options)

    def test_data(self, dataset):
        return PaddedBatches(dataset, self.num_replicas, self.worker_index, self.num_workers)

    def share(self, array, axis=None, is_part=False):
        import jax

        array = np.asarray(array)
        layout = self.layout(array.ndim, axis)
        if is_part:
            return jax.make_array_from_process_local_data(layout, array)
        return jax.make_array_from_callback(array.shape, layout, lambda index: array[index])

    def layout(self, rank, axis=0):
        import jax

        axes = [None] * rank
        if axis is not None:
            axes[axis] = self.strategy.batch_dim_name
        return jax.sharding.NamedSharding(self.strategy.device_mesh.backend_mesh, jax.sharding.PartitionSpec(*axes))

    def from_chief(self, arrays):
        if self.num_workers == 1:
            return arrays
        return _unpacked(self._naming_peers(lambda: self.channel.tell(_packed(arrays) if self.is_chief else b"")))

    def _sum(self, arrays):
        def combine(payloads):
            everyone = zip(*map(_unpacked, payloads), strict=True)
            return _packed([np.sum(values, axis=0, dtype=values[0].dtype) for values in everyone])

        return _unpacked(self._naming_peers(lambda: self.channel.exchange(_packed(arrays), combine)))

    def _naming_peers(self, function):
        try:
            return function()
        except PeerLost as error:
            raise WorkerLost(self.lost_line([error.index])) from None

    def _copies(self, variable):
        return [np.asarray(shard.data) for shard in variable.value.addressable_shards]

    @contextlib.contextmanager
    def _naming_peers_lost(self):
        """JAX gives the loss of a peer no error of its own: the channel knows."""
        try:
            yield
        except Exception as error:
            is_own = isinstance(error, (UserError, RunError))
            seconds = _NOTICE_SECONDS if _OF_PEERS.search(str(error)) else 0
            is_lost = not is_own and self.channel.wait_for_loss(seconds)
            line = self.lost_line(self.channel.gone[:1])
            self.leave_failed()
            if not is_lost:
                raise
            raise WorkerLost(line) from error

    def leave_failed(self):
        """Have the other workers end too, as this one does."""
        self.channel.notice()
        self.channel.abandon()


def _packed(arrays):
    file = io.BytesIO()
    for array in arrays:
        np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
    return file.getvalue()


def _unpacked(payload):
    file, arrays = io.BytesIO(payload), []
    while file.tell() < len(payload):
        arrays.append(np.lib.format.read_array(file, allow_pickle=False))
    return arrays


def _masked_test_step(model, state, data):
    """`keras.Model.test_step` for batches with a mask: what fills a batch up counts in no metric and no loss."""
    trainable, non_trainable, metrics = state
    x, y, mask = keras.utils.unpack_x_y_sample_weight(data)
    count = keras.ops.sum(mask)
    # Keras divides by all rows of the batch; these weights make it the mean over the examples.
    weights = mask * (mask.shape[0] / count)
    loss, (_, outputs, non_trainable, metrics) = model.compute_loss_and_updates(
        trainable, non_trainable, metrics, x, y, weights, training=False
    )
    variables = model.metrics_variables
    with keras.StatelessScope(state_mapping=list(zip(variables, metrics, strict=True))) as scope:
        tracker = next(metric for metric in model.metrics if metric.name == "loss")
        tracker.update_state(loss, sample_weight=count)
        logs = model.compute_metrics(x, y, outputs, sample_weight=mask)
    updated = [scope.get_current_value(variable) for variable in variables]
    metrics = [old if new is None else new for old, new in zip(metrics, updated, strict=True)]
    return logs, (trainable, non_trainable, metrics)
