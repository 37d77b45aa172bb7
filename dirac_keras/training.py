"""`train(config, splits, workdir)`: from a config and data to a trained model in a run directory."""

import dataclasses
import json
import logging
import shutil
import time

import keras

from dirac_keras import plots
from dirac_keras.artifact import load_model, save_model, write_text
from dirac_keras.averaging import REFRESH_BATCHES, EvaluateAverage, refresh_statistics
from dirac_keras.callbacks import (
    MetricsTable,
    ProgressReport,
    ScaleMonitor,
    StopOnDivergence,
    TensorBoardScalars,
    Throughput,
    read_table,
)
from dirac_keras.checkpoints import Checkpoint, load_latest
from dirac_keras.losses import SmoothedCrossentropy
from dirac_keras.models import FAMILIES
from dirac_keras.optimizers import CoupledSGD
from dirac_keras.phase_out import SkipMonitor, SkipPhaseOut
from dirac_keras.precision import dtype_policy, resolve_precision
from dirac_keras.run_directory import RunDirectory
from dirac_keras.schedules import build_schedule

logger = logging.getLogger("dirac_keras")

TOP5_FROM_CLASSES = 21  # with fewer, five guesses say little


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a run gave.

    Attributes:
        model: the trained `keras.Model`.
        history: list of `metrics.csv`'s rows.
        summary: dict of the final figures, as in `summary.json`.
        run: `RunDirectory`.
    """

    model: keras.Model
    history: list
    summary: dict
    run: RunDirectory


def build_model(config, spec):
    """The untrained model of a `TrainConfig` for a data set's `spec` (`image_shape`, `num_classes`)."""
    if config.family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}. Received family={config.family!r}.")
    if spec.num_classes < 2:
        raise ValueError(f"data {spec.name} has one class, {spec.class_names[0]}: nothing to tell apart. Add another.")
    return FAMILIES[config.family](config, spec)


def untrained_model(config, spec, policy):
    """The model of a run before its first step: `build_model` with the config's seed and a dtype policy's name."""
    keras.utils.set_random_seed(config.seed)
    with dtype_policy(policy):
        return build_model(config, spec)


def compile_model(model, config, steps_per_epoch):
    """Compile with the config's loss, schedule and weight decay."""
    model.compile(
        optimizer=CoupledSGD(
            build_schedule(config, steps_per_epoch),
            momentum=config.momentum,
            nesterov=config.nesterov,
            l2=config.weight_decay,
            **({"use_ema": True, "ema_momentum": config.ema_momentum} if config.ema_momentum else {}),
        ),
        loss=SmoothedCrossentropy(config.label_smoothing),
        metrics=_metrics(model.output_shape[-1]),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",  # XLA is slower here on a CPU
    )


def _metrics(num_classes):
    top1 = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    if num_classes < TOP5_FROM_CLASSES:
        return [top1]
    return [top1, keras.metrics.SparseTopKCategoricalAccuracy(5, name="top5")]


def train(config, splits, workdir, overwrite=False, callbacks=(), console=None):
    """Train, or go on with, or read the result of, the run in `workdir`.

    The state is saved after every epoch. A run that was interrupted goes on from there when called again with the
    same config, to the weights of the uninterrupted run. A finished one is read, not repeated.

    Args:
        config: `TrainConfig`.
        splits: what `pipelines.load_splits` returns: `spec`, `steps_per_epoch`, `train(start_step)`,
            `validation()`, `test()`.
        workdir: folder of the run, made if absent.
        overwrite: whether to delete a run that is there.
        callbacks: more Keras callbacks.
        console: `rich.console.Console` that the progress is printed to.

    Returns: `TrainResult`.
    Raises: ValueError: if `workdir` holds another run. TrainingDiverged: if the loss is NaN.
    """
    run = RunDirectory(workdir)
    policy, reason = resolve_precision(config.precision)
    if overwrite and run.config.exists():
        run.check_is_run()
        build_model(config, splits.spec)  # a mistake in the config must not cost the run that is there
        _ = splits.steps_per_epoch
        shutil.rmtree(run.path)
    run.check(config, splits.spec.to_dict(), policy)
    if run.is_finished():
        logger.info("%s holds this run, finished: nothing to train (--overwrite trains again)", run.path)
        return _read_finished(run)

    finished_epochs, model = load_latest(run.checkpoints)
    if model is None:
        model = untrained_model(config, splits.spec, policy)
        compile_model(model, config, splits.steps_per_epoch)
    else:
        logger.info("going on after epoch %d of %d", finished_epochs, config.epochs)
    logger.info("precision %s: %s", policy, reason)
    run.create(config, splits.spec.to_dict(), policy)  # not before the model is known to be possible
    run.remove_leftovers()

    history = _fit(model, config, splits, run, finished_epochs, list(callbacks), console)
    summary = _finish(model, config, splits, run, history)
    return TrainResult(model, history, summary, run)


def _fit(model, config, splits, run, finished_epochs, callbacks, console):
    table = MetricsTable(run.metrics, finished_epochs)
    progress = ProgressReport(config.epochs, splits.steps_per_epoch, console)
    tensorboard = TensorBoardScalars(run.tensorboard)
    scales = ScaleMonitor(run.scales, finished_epochs)
    validation = splits.validation()
    try:
        model.fit(
            splits.train(start_step=finished_epochs * splits.steps_per_epoch),
            epochs=config.epochs,
            initial_epoch=finished_epochs,
            steps_per_epoch=splits.steps_per_epoch,
            validation_data=validation if validation is not None else splits.test(),
            shuffle=False,  # the stream is shuffled
            verbose=0,
            # In this order: the logs are completed, judged, written; the checkpoint comes last, so that what it
            # vouches for is on disk.
            callbacks=[
                Throughput(config.batch_size),
                StopOnDivergence(),
                *_callbacks_of_family(config),
                *_averaging(config, splits),
                *callbacks,
                progress,
                table,
                scales,
                tensorboard,
                Checkpoint(run.checkpoints, config.keep_checkpoints),
            ],
        )
    finally:
        progress.close()
    if table.rows:
        plots.plot_curves(table.rows, run.curves_picture, "test" if validation is None else "validation")
        tensorboard.write_picture("curves", run.curves_picture, config.epochs)
    if scales.rows:
        plots.plot_scales(scales.rows, run.scales_picture)
        tensorboard.write_picture("scales", run.scales_picture, config.epochs)
    tensorboard.close()
    return table.rows


def _averaging(config, splits):
    if not config.ema_momentum:
        return []
    return [EvaluateAverage(lambda epoch: _refresh_batches(splits, epoch + 1))]


def _refresh_batches(splits, finished_epochs):
    """The training batches that would come next."""
    return splits.train(start_step=finished_epochs * splits.steps_per_epoch).take(REFRESH_BATCHES)


def _callbacks_of_family(config):
    if config.family != "van":
        return []
    if not config.skip_constraint:
        return [SkipMonitor()]
    return [SkipPhaseOut(config.phase_out_fraction, config.phase_out_start, config.phase_out_end)]


def _finish(model, config, splits, run, history):
    start = time.perf_counter()
    if config.ema_momentum:  # `fit` has put the averages in place of the weights
        refresh_statistics(model, _refresh_batches(splits, config.epochs))
    test = model.evaluate(splits.test(), verbose=0, return_dict=True)
    summary = {
        "test_accuracy": test["accuracy"],
        "test_loss": test["loss"],
        **({"test_top5": test["top5"]} if "top5" in test else {}),
        **({"weights": f"averaged, ema_momentum {config.ema_momentum:g}"} if config.ema_momentum else {}),
        "epochs": config.epochs,
        "parameters": int(sum(w.size for w in map(keras.ops.convert_to_numpy, model.trainable_weights))),
        "train_seconds": sum(row["seconds"] for row in history),
        "median_images_per_second": sorted(row["images_per_second"] for row in history)[len(history) // 2],
        "test_seconds": time.perf_counter() - start,
    }
    write_text(run.summary, json.dumps(summary, indent=2) + "\n")
    save_model(model, run.model, metadata={"data": splits.spec.to_dict(), "seed": config.seed}, overwrite=True)
    return summary


def _read_finished(run):
    model, _ = load_model(run.model)
    try:
        summary = json.loads(run.summary.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(
            f"workdir {run.path} holds a finished run whose {run.summary.name} is absent or damaged. "
            f"Remove {run.model.name} there to have the run end again from its last checkpoint, or --overwrite it."
        ) from None
    return TrainResult(model, read_table(run.metrics), summary, run)
