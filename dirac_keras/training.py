"""`train(config, splits, workdir)`: from a config and data to a trained model in a run directory."""

import dataclasses
import json
import logging
import shutil
import time

import keras

from dirac_keras import __version__, plots
from dirac_keras.artifact import load_model, save_model, write_text
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
from dirac_keras.distribution import Alone, Placement, open_strategy
from dirac_keras.losses import SmoothedCrossentropy
from dirac_keras.models import FAMILIES
from dirac_keras.optimizers import CoupledSGD
from dirac_keras.phase_out import SkipMonitor, SkipPhaseOut
from dirac_keras.precision import dtype_policy
from dirac_keras.run_directory import WHERE_ONLY, RunDirectory
from dirac_keras.schedules import build_schedule

logger = logging.getLogger("dirac_keras")

FINISHED = -1  # in place of a number of finished epochs


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
        ),
        loss=SmoothedCrossentropy(config.label_smoothing),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",  # XLA is slower here on a CPU
    )


def train(config, splits, workdir, overwrite=False, callbacks=(), console=None, strategy="auto", data_service=None):
    """Train, or go on with, or read the result of, the run in `workdir`.

    The state is saved after every epoch. A run that was interrupted goes on from there when called again with the
    same config, to the weights of the uninterrupted run. A finished one is read, not repeated.

    Args:
        config: `TrainConfig`.
        splits: what `pipelines.load_splits` returns: `spec`, `steps_per_epoch`, `train(start_step)`,
            `validation()`, `test()`.
        workdir: folder of the run, made if absent.
        overwrite: whether to delete a run that is there.
        callbacks: more Keras callbacks; every worker of several calls its own.
        console: `rich.console.Console` that the progress is printed to.
        strategy: name or `Placement` of `dirac_keras.distribution.open_strategy`: where to compute. It does not decide
            the result. Of several workers the first alone reads and writes `workdir`.
        data_service: `grpc://host:port` of a dispatcher whose workers prepare the training batches, the same ones.

    Returns: `TrainResult`; its model is one device's.
    Raises: ValueError: if `workdir` holds another run, or the batch does not divide over the replicas.
        TrainingDiverged: if the loss is NaN. WorkerLost: if another worker died or failed.
    """
    place = strategy if isinstance(strategy, Placement) else open_strategy(strategy)
    place.check_batch(config.batch_size)
    if data_service is not None:
        splits = _Remote(splits, data_service)
    with place.naming_lost_workers():
        return _train(config, splits, RunDirectory(workdir), place, overwrite, list(callbacks), console)


def _train(config, splits, run, place, overwrite, callbacks, console):
    policy, reason = place.resolve_precision(config.precision)
    place.check_alike("configuration, data and versions", _what_workers_share(config, splits, policy))
    saved = None

    def look_into_run():
        nonlocal saved
        if overwrite and run.config.exists():
            run.check_is_run()
            build_model(config, splits.spec)  # a mistake in the config must not cost the run that is there
            _ = splits.steps_per_epoch
            shutil.rmtree(run.path)
        run.check(config, splits.spec.to_dict(), policy)
        if run.is_finished():
            return FINISHED
        finished_epochs, saved = load_latest(run.checkpoints)
        return finished_epochs

    finished_epochs = place.chief_decides(look_into_run)
    if finished_epochs == FINISHED:
        logger.info("%s holds this run, finished: nothing to train (--overwrite trains again)", run.path)
        return _read_finished(run) if place.is_chief else TrainResult(None, [], {}, run)

    if finished_epochs:
        logger.info("going on after epoch %d of %d", finished_epochs, config.epochs)
    model = _model_in_place(config, splits, policy, place, finished_epochs, saved)
    logger.info("precision %s: %s; on %s", policy, reason, place)
    if place.is_chief:
        run.create(config, splits.spec.to_dict(), policy)  # not before the model is known to be possible
        run.remove_leftovers()

    with place.running():
        history = _fit(model, config, splits, run, finished_epochs, callbacks, console, place)
        start = time.perf_counter()
        test = model.evaluate(place.test_data(splits.test()), verbose=0, return_dict=True)
    summary = _summary(model, config, history, test, time.perf_counter() - start)
    summary |= {"replicas": place.num_replicas, "replica_difference": place.replica_difference(model)}
    place.chief_decides(lambda: _write_result(model, config, splits, run, summary))
    return TrainResult(_model_of_result(model, config, splits, policy, place, run), history, summary, run)


def _what_workers_share(config, splits, policy):
    """What must be the same on all workers, as text; where a machine keeps its data may differ."""
    fields = {name: value for name, value in config.to_dict().items() if name not in (*WHERE_ONLY, "data")}
    spec = {name: value for name, value in splits.spec.to_dict().items() if name != "name"}
    return json.dumps([fields, spec, policy, __version__, keras.__version__])


def _model_in_place(config, splits, policy, place, finished_epochs, saved):
    """The model that `fit` is called on: fresh, or as the checkpoint `saved`, which the first worker has read."""
    if place.strategy is None and saved is not None:
        return saved
    with place.scope():
        model = untrained_model(config, splits.spec, policy)
        compile_model(model, config, splits.steps_per_epoch)
    model = place.prepare(model)
    if finished_epochs:
        ours = [*model.weights, *model.optimizer.variables]
        theirs = ours if saved is None else [*saved.weights, *saved.optimizer.variables]
        values = place.from_chief([keras.ops.convert_to_numpy(variable) for variable in theirs])
        for variable, value in zip(ours, values, strict=True):
            variable.assign(value)
    return model


def _fit(model, config, splits, run, finished_epochs, callbacks, console, place):
    """Call `fit`; the first worker alone writes. Returns: rows of `metrics.csv`, none on the others."""
    validation = splits.validation()
    writers = _Writers(config, splits, run, finished_epochs, console) if place.is_chief else None
    try:
        model.fit(
            place.train_data(splits, start_step=finished_epochs * splits.steps_per_epoch),
            epochs=config.epochs,
            initial_epoch=finished_epochs,
            steps_per_epoch=splits.steps_per_epoch,
            validation_data=place.test_data(validation if validation is not None else splits.test()),
            shuffle=False,  # the stream is shuffled
            verbose=0,
            # In this order: the logs are completed, judged, written; the checkpoint comes last, so that what it
            # vouches for is on disk.
            callbacks=[
                Throughput(config.batch_size),
                StopOnDivergence(),
                *_callbacks_of_family(config),
                *callbacks,
                *([Alone(writers.callbacks, place)] if writers else ()),
            ],
        )
    finally:
        if writers:
            writers.progress.close()
    with place.aside():
        return writers.finish("test" if validation is None else "validation") if writers else []


class _Remote:
    """`Splits` whose training batches the data service prepares."""

    def __init__(self, splits, data_service):
        self._splits = splits
        self._data_service = data_service

    def __getattr__(self, name):
        return getattr(self._splits, name)

    def train(self, **options):
        return self._splits.train(**options, data_service=self._data_service)


class _Writers:
    """The callbacks that write into the run's directory, and what they write at the end."""

    def __init__(self, config, splits, run, finished_epochs, console):
        self.run = run
        self.epochs = config.epochs
        self.table = MetricsTable(run.metrics, finished_epochs)
        self.progress = ProgressReport(config.epochs, splits.steps_per_epoch, console)
        self.tensorboard = TensorBoardScalars(run.tensorboard)
        self.scales = ScaleMonitor(run.scales, finished_epochs)
        checkpoint = Checkpoint(run.checkpoints, config.keep_checkpoints)
        self.callbacks = [self.progress, self.table, self.scales, self.tensorboard, checkpoint]

    def finish(self, tested_on):
        """Draw the curves. Returns: rows of `metrics.csv`."""
        if self.table.rows:
            plots.plot_curves(self.table.rows, self.run.curves_picture, tested_on)
            self.tensorboard.write_picture("curves", self.run.curves_picture, self.epochs)
        if self.scales.rows:
            plots.plot_scales(self.scales.rows, self.run.scales_picture)
            self.tensorboard.write_picture("scales", self.run.scales_picture, self.epochs)
        self.tensorboard.close()
        return self.table.rows


def _callbacks_of_family(config):
    if config.family != "van":
        return []
    if not config.skip_constraint:
        return [SkipMonitor()]
    return [SkipPhaseOut(config.phase_out_fraction, config.phase_out_start, config.phase_out_end)]


def _summary(model, config, history, test, test_seconds):
    summary = {
        "test_accuracy": test["accuracy"],
        "test_loss": test["loss"],
        "epochs": config.epochs,
        "parameters": int(sum(w.size for w in map(keras.ops.convert_to_numpy, model.trainable_weights))),
        "test_seconds": test_seconds,
    }
    if history:  # the first worker's
        summary["train_seconds"] = sum(row["seconds"] for row in history)
        summary["median_images_per_second"] = sorted(row["images_per_second"] for row in history)[len(history) // 2]
    return summary


def _write_result(model, config, splits, run, summary):
    write_text(run.summary, json.dumps(summary, indent=2) + "\n")
    save_model(model, run.model, metadata={"data": splits.spec.to_dict(), "seed": config.seed}, overwrite=True)
    return 0


def _model_of_result(model, config, splits, policy, place, run):
    """The trained model without a strategy: the one that was written, or on other workers its copy."""
    if place.strategy is None:
        return model
    if place.is_chief:
        return load_model(run.model)[0]
    copy = untrained_model(config, splits.spec, policy)
    copy.set_weights(model.get_weights())
    return copy


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
