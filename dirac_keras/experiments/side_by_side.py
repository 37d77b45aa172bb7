"""Several small dense networks trained in one step, each as if it were alone.

The step of a thin network is bound by the overhead of its operations, not by their arithmetic. Here S networks that
differ in their seed alone are one wide network, and each sees the batches of its own seed.
"""

import dataclasses
import logging
import time

import keras
import numpy as np
from keras import ops

from dirac_keras.callbacks.divergence import TrainingDiverged
from dirac_keras.callbacks.progress import ProgressReport
from dirac_keras.callbacks.throughput import Throughput
from dirac_keras.errors import UserError
from dirac_keras.experiments.wide_network import PerNetwork, SumOfCrossentropies, place_side_by_side, take_apart
from dirac_keras.files.tables import write_table
from dirac_keras.phase_out import find_skips, seal_skips
from dirac_keras.training.building import compile_model, untrained_model
from dirac_keras.training.fitting import family_callbacks
from dirac_keras.training.origin import origin_of
from dirac_keras.training.result import write_results
from dirac_keras.training.run_directory import RunDirectory

logger = logging.getLogger("dirac_keras")


def train_side_by_side(configs, splits, workdirs, console=None):
    """Train the networks of several configs in one step; leaves the folder of a finished run for each.

    Each network begins as `train` begins it and sees the batches that `train` shows it. An interrupted training
    starts again from its first step.

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
        run.check(one, splits.spec.to_dict(), "float32", origin_of(splits))
    keras.utils.set_random_seed(config.seed)
    wide = place_side_by_side(models)
    compile_model(wide, config, splits.steps_per_epoch)
    wide.compile(
        wide.optimizer,
        loss=SumOfCrossentropies(len(configs), config.label_smoothing),
        metrics=[PerNetwork(len(configs), config.label_smoothing)],
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",  # on JAX False is not compiled
    )
    rows = _Rows(len(configs))
    # Each network is sealed by itself.
    phase_out = family_callbacks(config, seal=False, by_layer=False) if config.skip_constraint else []
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
            callbacks=[*phase_out, Throughput(config.batch_size * len(configs)), rows, progress],
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
            raise UserError(f"Runs side by side must differ in their seed alone. Received {first} and {other}.")
    return first


def _train_stream(splits, seeds):
    """Batches `(images, labels)` of all networks, `(batch, networks, ...)`, endless."""
    streams = [dataclasses.replace(splits, seed=seed).train() for seed in seeds]
    if keras.backend.backend() != "tensorflow":
        return _stacked(streams)
    import tensorflow as tf

    return tf.data.Dataset.zip(tuple(streams)).map(
        lambda *batches: (tf.stack([x for x, _ in batches], axis=1), tf.stack([y for _, y in batches], axis=1))
    )


def _stacked(streams):
    for batches in zip(*streams, strict=True):
        images, labels = zip(*batches, strict=True)
        yield np.stack(images, axis=1), np.stack(labels, axis=1)


def _test_stream(splits, count):
    """The test batches, the same for all networks: `(batch, networks, ...)`; can be read again."""
    if keras.backend.backend() != "tensorflow":
        return _Repeated(splits.test(), count)
    import tensorflow as tf

    def repeat(images, labels):
        return tf.repeat(images[:, None], count, axis=1), tf.repeat(labels[:, None], count, axis=1)

    return splits.test().map(repeat)


class _Repeated(keras.utils.PyDataset):
    """The batches of a `PyDataset`, for so many networks."""

    def __init__(self, batches, count):
        super().__init__()
        self._batches, self._count = batches, count

    @property
    def num_batches(self):
        return self._batches.num_batches

    def __getitem__(self, index):
        return tuple(np.repeat(part[:, None], self._count, axis=1) for part in self._batches[index])


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
    model.optimizer.build(model.trainable_variables)  # as Keras expects of a file with an optimizer
    test = model.evaluate(splits.test(), verbose=0, return_dict=True)
    run.create(config, splits.spec.to_dict(), "float32", origin_of(splits))
    write_table(run.metrics, rows)
    summary = {
        "test_accuracy": test["accuracy"],
        "test_loss": test["loss"],
        "epochs": config.epochs,
        "parameters": int(model.count_params()),
        "train_seconds": seconds,
    }
    write_results(run, model, summary, {"data": splits.spec.to_dict(), "seed": config.seed})
