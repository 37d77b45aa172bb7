"""`train(config, splits, workdir)`: from a config and data to a trained model in a run directory."""

import dataclasses
import json
import logging
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
from dirac_keras.checkpoints import Checkpoint, describe_newest, load_latest
from dirac_keras.interruption import Interruption
from dirac_keras.lock import locked
from dirac_keras.losses import SmoothedCrossentropy
from dirac_keras.models import FAMILIES
from dirac_keras.observability import Profile, StepTimes, find_limit, parse_steps
from dirac_keras.optimizers import CoupledSGD
from dirac_keras.phase_out import SkipMonitor, SkipPhaseOut, SkipTrace
from dirac_keras.precision import dtype_policy, resolve_precision
from dirac_keras.resumption import fit_from
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


def train(config, splits, workdir, overwrite=False, callbacks=(), console=None, profile=None):
    """Train, or go on with, or read the result of, the run in `workdir`.

    The state is saved after every epoch, and within one every `config.checkpoint_steps` or `checkpoint_seconds`. A run
    that was interrupted goes on from there when called again with the same config, to the weights and the metrics of
    the uninterrupted run. A finished one is read, not repeated.

    Args:
        config: `TrainConfig`.
        splits: what `pipelines.load_splits` returns: `spec`, `steps_per_epoch`, `train(start_step)`,
            `validation()`, `test()`.
        workdir: folder of the run, made if absent.
        overwrite: whether to delete a run that is there.
        callbacks: more Keras callbacks. One that sums over an epoch keeps its sums over an interruption with
            `epoch_state()` and `restore_epoch_state(state)`, a JSON-safe dict.
        console: `rich.console.Console` that the progress is printed to.
        profile: str, the steps to trace for TensorBoard, such as `"10"` or `"10,20"`, counted from here.

    Returns: `TrainResult`.
    Raises: ValueError: if `workdir` holds another run, another process trains there, or it cannot be written.
        TrainingDiverged: if the loss is NaN. TrainingInterrupted: after SIGTERM or SIGINT, with the state saved.
    """
    run = RunDirectory(workdir)
    policy, reason = resolve_precision(config.precision)
    traced = parse_steps(profile) if profile else None
    if not overwrite:
        run.check(config, splits.spec.to_dict(), policy)
        if run.is_finished():
            return _read_finished(run)
    with Interruption() as interruption, locked(run.path):
        if overwrite and run.config.exists():
            run.check_is_run()
            build_model(config, splits.spec)  # a mistake in the config must not cost the run that is there
            _ = splits.steps_per_epoch
            run.clear()
        run.check(config, splits.spec.to_dict(), policy)
        if run.is_finished():  # by a process that had the lock
            return _read_finished(run)

        position, model = load_latest(run.checkpoints, splits.steps_per_epoch)
        if model is None:
            model = untrained_model(config, splits.spec, policy)
            compile_model(model, config, splits.steps_per_epoch)
        else:
            step, steps = position.step(splits.steps_per_epoch), config.epochs * splits.steps_per_epoch
            logger.info("going on after step %d of %d (epoch %d)", step, steps, position.epoch + bool(position.batch))
        logger.info("precision %s: %s", policy, reason)
        run.create(config, splits.spec.to_dict(), policy)  # not before the model is known to be possible
        run.remove_leftovers()

        more = [*callbacks, *([Profile(*traced, run.tensorboard)] if traced else [])]
        with interruption.deferred():
            history = _fit(model, config, splits, run, position, more, console, interruption)
        summary = _finish(model, config, splits, run, history, interruption)
        return TrainResult(model, history, summary, run)


def _fit(model, config, splits, run, position, callbacks, console, interruption):
    steps_per_epoch = splits.steps_per_epoch
    table = MetricsTable(run.metrics, position.epoch)
    progress = ProgressReport(config.epochs, steps_per_epoch, console)
    tensorboard = TensorBoardScalars(run.tensorboard)
    scales = ScaleMonitor(run.scales, position.epoch)
    validation = splits.validation()
    of_family = _callbacks_of_family(config, run)
    measures = [Throughput(config.batch_size), StepTimes()]
    checkpoint = Checkpoint(
        run.checkpoints,
        config.keep_checkpoints,
        config.checkpoint_steps,
        config.checkpoint_seconds,
        interruption,
        measured=[*of_family, *measures, *callbacks],
    )
    try:
        fit_from(
            model,
            position,
            splits.train,
            config.epochs,
            steps_per_epoch,
            validation_data=validation if validation is not None else splits.test(),
            # In this order: the logs are completed, judged, written; the checkpoint comes last, so that what it
            # vouches for is on disk.
            callbacks=[
                *of_family,
                *measures,
                *_averaging(config, splits),
                StopOnDivergence(lambda: describe_newest(run.checkpoints, steps_per_epoch)),
                *callbacks,
                progress,
                table,
                scales,
                tensorboard,
                checkpoint,
            ],
        )
    finally:
        progress.close()
        for callback in callbacks:
            if isinstance(callback, Profile):
                callback.close()
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


def _callbacks_of_family(config, run):
    if config.family != "van":
        return []
    trace = SkipTrace(run.skips, run.skips_picture)
    if not config.skip_constraint:
        return [SkipMonitor(), trace]
    return [SkipPhaseOut(config.phase_out_fraction, config.phase_out_start, config.phase_out_end), trace]


def _finish(model, config, splits, run, history, interruption):
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
        **find_limit(history),
    }
    with interruption.deferred():
        write_text(run.summary, json.dumps(summary, indent=2) + "\n")
        save_model(model, run.model, metadata={"data": splits.spec.to_dict(), "seed": config.seed}, overwrite=True)
    return summary


def _read_finished(run):
    logger.info("%s holds this run, finished: nothing to train (--overwrite trains again)", run.path)
    model, _ = load_model(run.model)
    try:
        summary = json.loads(run.summary.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(
            f"workdir {run.path} holds a finished run whose {run.summary.name} is absent or damaged. "
            f"Remove {run.model.name} there to have the run end again from its last checkpoint, or --overwrite it."
        ) from None
    return TrainResult(model, read_table(run.metrics), summary, run)
