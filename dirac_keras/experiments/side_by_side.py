"""Several small dense networks trained in one step, each as if it were alone.

The step of a thin network is bound by the overhead of its operations, not by their arithmetic. Here the units of S
networks that differ in their seed alone stand beside each other in every layer of one wide network: `(batch, S units)`.
What acts on single units is the same layer, wider; a dense layer becomes S products in one operation. The loss is the
sum of the networks' losses, so each gets its own gradient, and each sees the batches of its own seed.
"""

import dataclasses
import json
import logging
import time

import keras
import numpy as np
from keras import ops

from dirac_keras.artifact import save_model, write_text
from dirac_keras.callbacks import ProgressReport, Throughput, TrainingDiverged, write_table
from dirac_keras.kernels import effective_kernel, identity_kernel
from dirac_keras.layers import BatchNormalization, DiracDense, VariableSkip
from dirac_keras.losses import SmoothedCrossentropy
from dirac_keras.phase_out import SkipPhaseOut, find_skips, seal_skips
from dirac_keras.run_directory import RunDirectory
from dirac_keras.training import compile_model, untrained_model

logger = logging.getLogger("dirac_keras")

UNIT_BY_UNIT = (
    BatchNormalization,
    VariableSkip,
    keras.layers.Add,
    keras.layers.BatchNormalization,
    keras.layers.Flatten,
    keras.layers.Multiply,
    keras.layers.ReLU,
    keras.layers.Subtract,
)


def place_side_by_side(models):
    """One network of the units of several: `(batch, S, *input_shape)` -> `(batch, S * num_classes)`.

    Args:
        models: sequence of S functional models, alike but for their weights, of dense layers and of layers that act
            on single units. Convolutions have work enough to be trained alone.

    Returns: `keras.Model`; its variables hold those of the networks one after another on the last axis.
    Raises: ValueError: if a layer is of another kind, named.
    """
    first, count = models[0], len(models)

    def widen(layer):
        if isinstance(layer, DiracDense):
            return _ParallelDiracDense(count, layer)
        if isinstance(layer, keras.layers.Dense):
            return _ParallelDense(count, layer)
        if isinstance(layer, UNIT_BY_UNIT):
            return type(layer).from_config(layer.get_config())
        raise ValueError(
            f"Networks of dense layers can be placed side by side. Received '{first.name}' with layer '{layer.name}' "
            f"of type {type(layer).__name__}."
        )

    inputs = keras.Input((count, *first.input_shape[1:]), name="images")
    wide = keras.models.clone_model(first, input_tensors=inputs, clone_function=widen)
    for layer in wide.layers:
        if layer.weights:
            parts = [model.get_layer(layer.name).get_weights() for model in models]
            layer.set_weights([_join(values) for values in zip(*parts, strict=True)])
    return wide


def take_apart(wide, models):
    """Copy the weights of a network that `place_side_by_side` made back into the networks it was made of."""
    for layer in wide.layers:
        for index, model in enumerate(models):
            values = [_part(value, index, len(models)) for value in layer.get_weights()]
            if values:
                model.get_layer(layer.name).set_weights(values)


def _join(values):
    return np.concatenate(values, axis=-1) if values[0].ndim else values[0]  # a step count is common to all


def _part(value, index, count):
    return np.split(value, count, axis=-1)[index] if value.ndim else value


class _ParallelDense(keras.layers.Layer):
    """`count` dense layers: `(batch, count * in)` -> `(batch, count * units)`."""

    def __init__(self, count, dense):
        super().__init__(name=dense.name, dtype=dense.dtype_policy)
        self.count = count
        self.units = dense.units
        self.activation = dense.activation
        self.use_bias = dense.use_bias

    def build(self, input_shape):
        self.in_units = input_shape[-1] // self.count
        self.kernel = self.add_weight(name="kernel", shape=(self.in_units, self.count * self.units))
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.count * self.units,))

    def call(self, inputs):
        inputs = ops.transpose(ops.reshape(inputs, (-1, self.count, self.in_units)), (1, 0, 2))
        kernels = ops.reshape(self.effective_kernel(), (self.in_units, self.count, self.units))
        outputs = ops.matmul(inputs, ops.transpose(kernels, (1, 0, 2)))  # (count, batch, units)
        outputs = ops.reshape(ops.transpose(outputs, (1, 0, 2)), (-1, self.count * self.units))
        return self.activation(outputs + self.bias if self.use_bias else outputs)

    def effective_kernel(self):
        return ops.convert_to_tensor(self.kernel)


class _ParallelDiracDense(_ParallelDense):
    """`count` layers `DiracDense`."""

    def __init__(self, count, dense):
        super().__init__(count, dense)
        self.use_identity_scale = dense.use_identity_scale
        self.use_weight_norm = dense.use_weight_norm

    def build(self, input_shape):
        super().build(input_shape)
        outputs = (self.count * self.units,)
        self.identity_scale = self.add_weight(name="identity_scale", shape=outputs) if self.use_identity_scale else None
        self.filter_scale = self.add_weight(name="filter_scale", shape=outputs) if self.use_weight_norm else None
        self.identity = np.tile(identity_kernel((self.in_units, self.units)), (1, self.count))

    def effective_kernel(self):
        kernel, identity = ops.convert_to_tensor(self.kernel), ops.convert_to_tensor(self.identity)
        return effective_kernel(kernel, identity, self.identity_scale, self.filter_scale)


class SumOfCrossentropies(keras.losses.Loss):
    """Sum over networks side by side of each one's cross-entropy.

    Call: `y_true` `(batch, S)` integers, `y_pred` `(batch, S * classes)` logits.
    """

    def __init__(self, count, label_smoothing=0.0, name="crossentropy"):
        super().__init__(name=name)
        self.count = count
        self.single = SmoothedCrossentropy(label_smoothing)

    def call(self, y_true, y_pred):
        return ops.sum(crossentropies(y_true, y_pred, self.count, self.single), axis=-1)


def crossentropies(y_true, y_pred, count, single):
    """Loss of every example and network, `(batch, S)`."""
    logits = ops.reshape(y_pred, (-1, y_pred.shape[-1] // count))
    return ops.reshape(single.call(ops.reshape(y_true, (-1,)), logits), (-1, count))


class PerNetwork(keras.metrics.Metric):
    """`loss/0`, `accuracy/0`, `loss/1`, ...: loss and accuracy of each network side by side."""

    def __init__(self, count, label_smoothing=0.0, name="per_network"):
        super().__init__(name=name)
        self.count = count
        self.single = SmoothedCrossentropy(label_smoothing)
        self.losses = self.add_variable(shape=(count,), initializer="zeros", name="losses")
        self.correct = self.add_variable(shape=(count,), initializer="zeros", name="correct")
        self.examples = self.add_variable(shape=(), initializer="zeros", name="examples")

    def update_state(self, y_true, y_pred, sample_weight=None):
        losses = crossentropies(y_true, y_pred, self.count, self.single)
        chosen = ops.argmax(ops.reshape(y_pred, (-1, self.count, y_pred.shape[-1] // self.count)), axis=-1)
        hits = ops.cast(ops.equal(chosen, ops.cast(y_true, chosen.dtype)), "float32")
        self.losses.assign_add(ops.sum(losses, axis=0))
        self.correct.assign_add(ops.sum(hits, axis=0))
        self.examples.assign_add(ops.cast(ops.shape(hits)[0], "float32"))

    def result(self):
        found = {}
        for index in range(self.count):
            found[f"loss/{index}"] = self.losses[index] / ops.maximum(self.examples, 1.0)
            found[f"accuracy/{index}"] = self.correct[index] / ops.maximum(self.examples, 1.0)
        return found


def train_side_by_side(configs, splits, workdirs, console=None):
    """Train the networks of several configs in one step; leaves the folder of a finished run for each.

    Each network begins as `train` begins it and sees the batches that `train` shows it. An interrupted training
    begins again.

    Args:
        configs: sequence of `TrainConfig`, equal but for the seed, of dense networks in float32.
        splits: of the first config's data.
        workdirs: folder of each run.
        console: of `rich`, for the progress.

    Returns: seconds that the training took, of all networks.
    Raises: ValueError: if the configs differ in more than the seed, or a folder holds another run. TrainingDiverged.
    """
    config = _common(configs)
    runs = [RunDirectory(workdir) for workdir in workdirs]
    models = [untrained_model(one, splits.spec, "float32") for one in configs]
    for run, one in zip(runs, configs, strict=True):
        run.check(one, splits.spec.to_dict(), "float32")
    keras.utils.set_random_seed(config.seed)
    wide = place_side_by_side(models)
    compile_model(wide, config, splits.steps_per_epoch)
    wide.compile(
        wide.optimizer,
        loss=SumOfCrossentropies(len(configs), config.label_smoothing),
        metrics=[PerNetwork(len(configs), config.label_smoothing)],
        jit_compile=False,
    )
    rows = _Rows(len(configs))
    progress = ProgressReport(config.epochs, splits.steps_per_epoch, console)
    start = time.perf_counter()
    try:
        wide.fit(
            _train_stream(splits, [one.seed for one in configs]),
            epochs=config.epochs,
            steps_per_epoch=splits.steps_per_epoch,
            validation_data=_test_stream(splits, len(configs)),
            shuffle=False,
            verbose=0,
            callbacks=[*_phase_out(config), Throughput(config.batch_size * len(configs)), rows, progress],
        )
    finally:
        progress.close()
    seconds = time.perf_counter() - start
    take_apart(wide, models)
    for index, (run, one, model) in enumerate(zip(runs, configs, models, strict=True)):
        _write_run(run, one, splits, model, rows.rows[index], seconds / len(configs))
    return seconds


def _common(configs):
    """The first config, if the others differ from it in the seed alone."""
    first = configs[0]
    for other in configs[1:]:
        if dataclasses.replace(other, seed=first.seed) != first:
            raise ValueError(f"Runs side by side must differ in their seed alone. Received {first} and {other}.")
    return first


def _phase_out(config):
    if config.family != "van" or not config.skip_constraint:
        return []
    fraction, start, end = config.phase_out_fraction, config.phase_out_start, config.phase_out_end
    return [SkipPhaseOut(fraction, start, end, seal=False, by_layer=False)]  # each network is sealed by itself


def _train_stream(splits, seeds):
    import tensorflow as tf

    streams = [dataclasses.replace(splits, seed=seed).train() for seed in seeds]
    return tf.data.Dataset.zip(tuple(streams)).map(
        lambda *batches: (tf.stack([x for x, _ in batches], axis=1), tf.stack([y for _, y in batches], axis=1))
    )


def _test_stream(splits, count):
    import tensorflow as tf

    def repeat(images, labels):
        return tf.repeat(images[:, None], count, axis=1), tf.repeat(labels[:, None], count, axis=1)

    return splits.test().map(repeat)


class _Rows(keras.callbacks.Callback):
    """Rows of `metrics.csv` for each network; adds to the logs the mean accuracies that the progress shows."""

    def __init__(self, count):
        super().__init__()
        self.rows = [[] for _ in range(count)]

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise TrainingDiverged(f"The loss of one of {len(self.rows)} networks became {logs['loss']}.")
        shared = {name: logs[name] for name in ("learning_rate", "seconds", "images_per_second")}
        residuals = self._residuals()
        for index, rows in enumerate(self.rows):
            own = {
                name.removesuffix(f"/{index}"): float(value)
                for name, value in logs.items()
                if name.endswith(f"/{index}")
            }
            skips = {"skip_residual": residuals[index]} if residuals is not None else {}
            rows.append({"epoch": epoch + 1, **own, **shared, **skips})
        for name in ("accuracy", "val_accuracy"):
            logs[name] = float(np.mean([rows[-1][name] for rows in self.rows]))

    def _residuals(self):
        """`(S,)`: mean over layers of `mean((1 - alpha)^2)`; None without variable skips."""
        skips = find_skips(self.model).values()
        left = [np.reshape(ops.convert_to_numpy(skip.skip_weight()), (len(self.rows), -1)) for skip in skips]
        return np.mean([np.mean(np.square(one), axis=-1) for one in left], axis=0) if left else None


def _write_run(run, config, splits, model, rows, seconds):
    if find_skips(model) and config.skip_constraint:
        try:
            seal_skips(model)
        except ValueError as error:
            logger.warning("%s: %s", run.path.name, error)
    compile_model(model, config, splits.steps_per_epoch)
    test = model.evaluate(splits.test(), verbose=0, return_dict=True)
    run.create(config, splits.spec.to_dict(), "float32")
    write_table(run.metrics, rows)
    summary = {
        "test_accuracy": test["accuracy"],
        "test_loss": test["loss"],
        "epochs": config.epochs,
        "parameters": int(model.count_params()),
        "train_seconds": seconds,
    }
    write_text(run.summary, json.dumps(summary, indent=2) + "\n")
    save_model(model, run.model, metadata={"data": splits.spec.to_dict(), "seed": config.seed}, overwrite=True)
