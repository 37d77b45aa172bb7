"""`train(config, splits, workdir)`: from a config and data to a trained model in a run directory."""

import contextlib
import json
import logging

import keras

from dirac_keras import __version__
from dirac_keras.callbacks import plots
from dirac_keras.callbacks.divergence import StopOnDivergence
from dirac_keras.callbacks.metrics import MetricsTable
from dirac_keras.callbacks.profile import Profile, parse_steps
from dirac_keras.callbacks.progress import ProgressReport
from dirac_keras.callbacks.scales import ScaleMonitor
from dirac_keras.callbacks.tensorboard import TensorBoardScalars
from dirac_keras.callbacks.throughput import Throughput
from dirac_keras.callbacks.timing import StepTimes
from dirac_keras.distribution import Placement, open_strategy
from dirac_keras.errors import UserError
from dirac_keras.files.lock import locked
from dirac_keras.phase_out import SkipMonitor, SkipPhaseOut, SkipTrace
from dirac_keras.training.averaging import EvaluateAverage, refresh_batches
from dirac_keras.training.building import build_model, compile_model, untrained_model
from dirac_keras.training.checkpoints import Checkpoint, describe_newest, load_latest
from dirac_keras.training.interruption import Interruption
from dirac_keras.training.position import Position
from dirac_keras.training.result import TrainResult, finish, read_finished
from dirac_keras.training.resumable_fit import fit_from
from dirac_keras.training.run_directory import WHERE_ONLY, RunDirectory

__all__ = ["TrainResult", "build_model", "compile_model", "train", "untrained_model"]


logger = logging.getLogger("dirac_keras")


FINISHED = -1  # in place of a number of steps


def train(
    config,
    splits,
    workdir,
    overwrite=False,
    callbacks=(),
    console=None,
    profile=None,
    strategy="auto",
    data_service=None,
):
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
            `epoch_state()` and `restore_epoch_state(state)`, a JSON-safe dict. Every worker of several calls its own.
        console: `rich.console.Console` that the progress is printed to.
        profile: str, the steps to trace for TensorBoard, such as `"10"` or `"10,20"`, counted from here.
        strategy: name or `Placement` of `dirac_keras.distribution.open_strategy`: where to compute. It does not decide
            the result. Of several workers the first alone reads and writes `workdir`.
        data_service: `grpc://host:port` of a dispatcher whose workers prepare the training batches, the same ones.

    Returns: `TrainResult`; its model is one device's.
    Raises: ValueError: if `workdir` holds another run, another process trains there, it cannot be written, or the
        strategy cannot compute this config. TrainingDiverged: if the loss is NaN. TrainingInterrupted: after SIGTERM
        or SIGINT, with the state saved. WorkerLost: if another worker died or failed.
    """
    place = strategy if isinstance(strategy, Placement) else open_strategy(strategy)
    _check_place(config, place)
    if data_service is not None:
        splits = _Remote(splits, data_service)
    with place.naming_lost_workers():
        return _train(config, splits, RunDirectory(workdir), overwrite, list(callbacks), console, profile, place)


def _check_place(config, place):
    place.check_batch(config.batch_size)
    if config.ema_momentum and place.strategy is not None:
        raise UserError(
            f"ema_momentum averages weights on one device alone. Received ema_momentum={config.ema_momentum:g} on "
            f"{place}. Leave it out, or train with strategy one."
        )


class _Remote:
    """`Splits` whose training batches the data service prepares."""

    def __init__(self, splits, data_service):
        self._splits = splits
        self._data_service = data_service

    def __getattr__(self, name):
        return getattr(self._splits, name)

    def train(self, **options):
        return self._splits.train(**options, data_service=self._data_service)


def _train(config, splits, run, overwrite, callbacks, console, profile, place):
    policy, reason = place.resolve_precision(config.precision)
    traced = parse_steps(profile) if profile else None
    place.check_alike("configuration, data and versions", _what_workers_share(config, splits, policy))
    spec, steps_per_epoch = splits.spec.to_dict(), splits.steps_per_epoch
    position, saved = Position(), None

    def is_finished():
        run.check(config, spec, policy)
        return run.is_finished()

    if not overwrite and place.chief_decides(is_finished):
        return read_finished(run, place)
    with Interruption() as interruption, contextlib.ExitStack() as held:

        def open_run():
            nonlocal position, saved
            held.enter_context(locked(run.path))
            if overwrite and run.config.exists():
                run.check_is_run()
                build_model(config, splits.spec)  # a mistake in the config must not cost the run that is there
                run.clear()
            if is_finished():  # by a process that had the lock
                return FINISHED
            position, saved = load_latest(run.checkpoints, steps_per_epoch)
            return position.step(steps_per_epoch)

        def create_run():  # not before the model is known to be possible
            run.create(config, spec, policy)
            run.remove_leftovers()
            return 0

        step = place.chief_decides(open_run)
        if step == FINISHED:
            return read_finished(run, place)
        if place.num_workers > 1:
            position = Position.from_dict(json.loads(place.text_from_chief(json.dumps(position.to_dict()))))
        model = _model_in_place(config, splits, policy, place, saved, goes_on=step > 0)
        if step:
            steps, epoch = config.epochs * steps_per_epoch, position.epoch + bool(position.batch)
            logger.info("going on after step %d of %d (epoch %d)", step, steps, epoch)
        logger.info("precision %s: %s%s", policy, reason, "" if place.strategy is None else f"; on {place}")
        place.chief_decides(create_run)

        traces = [Profile(*traced, run.tensorboard)] if traced and place.is_chief else []
        with interruption.deferred(), place.running():
            history = _fit(model, config, splits, run, position, callbacks, traces, console, interruption, place)
        return finish(model, config, splits, policy, run, history, interruption, place)


def _what_workers_share(config, splits, policy):
    """What must be the same on all workers, as text; where a machine keeps its data may differ."""
    fields = {name: value for name, value in config.to_dict().items() if name not in (*WHERE_ONLY, "data")}
    spec = {name: value for name, value in splits.spec.to_dict().items() if name != "name"}
    return json.dumps([fields, spec, policy, __version__, keras.__version__])


def _model_in_place(config, splits, policy, place, saved=None, goes_on=False):
    """The model that `fit` is called on: fresh, or as the checkpoint `saved`, which the first worker has read."""
    if place.strategy is None and saved is not None:
        return saved
    with place.scope():
        model = untrained_model(config, splits.spec, policy)
        compile_model(model, config, splits.steps_per_epoch)
    model = place.prepare(model)
    if goes_on:
        ours = [*model.weights, *model.optimizer.variables]
        theirs = ours if saved is None else [*saved.weights, *saved.optimizer.variables]
        values = place.from_chief([keras.ops.convert_to_numpy(variable) for variable in theirs])
        for variable, value in zip(ours, values, strict=True):
            variable.assign(value)
    return model


def _fit(model, config, splits, run, position, callbacks, traces, console, interruption, place):
    """Train; of several workers the first alone writes. Returns: rows of `metrics.csv`, none on the others."""
    steps_per_epoch = splits.steps_per_epoch
    validation = splits.validation()
    writers = _Writers(config, steps_per_epoch, run, position, console) if place.is_chief else None
    of_family = _callbacks_of_family(config)
    measures = [Throughput(config.batch_size), StepTimes(sees_input=place.strategy is None)]
    written = [*traces, *writers.callbacks] if writers else []
    checkpoint = Checkpoint(
        run.checkpoints,
        config.keep_checkpoints,
        config.checkpoint_steps,
        config.checkpoint_seconds,
        interruption,
        measured=[*of_family, *measures, *callbacks, *written],
        place=place,
    )

    def describe_kept():
        return describe_newest(run.checkpoints, steps_per_epoch) if place.is_chief else "worker 0 keeps what was saved"

    try:
        fit_from(
            model,
            position,
            lambda start_step: place.train_data(splits, start_step),
            config.epochs,
            steps_per_epoch,
            validation_data=place.test_data(validation if validation is not None else splits.test()),
            # In this order: the logs are completed, judged, written; the checkpoint comes last, so that what it
            # vouches for is on disk.
            callbacks=[
                *of_family,
                *measures,
                *_averaging(config, splits),
                StopOnDivergence(describe_kept),
                *callbacks,
                *place.alone(written),
                checkpoint,
            ],
        )
    finally:
        if writers:
            writers.progress.close()
        for trace in traces:
            trace.close()
    with place.aside():
        return writers.finish("test" if validation is None else "validation") if writers else []


class _Writers:
    """The callbacks that write into the run's directory, and what they write at the end."""

    def __init__(self, config, steps_per_epoch, run, position, console):
        self.run = run
        self.epochs = config.epochs
        self.table = MetricsTable(run.metrics, position.epoch)
        self.progress = ProgressReport(config.epochs, steps_per_epoch, console)
        self.tensorboard = TensorBoardScalars(run.tensorboard)
        self.scales = ScaleMonitor(run.scales, position.epoch)
        skips = [SkipTrace(run.skips, run.skips_picture)] if config.family == "van" else []
        self.callbacks = [*skips, self.progress, self.table, self.scales, self.tensorboard]

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


def _averaging(config, splits):
    if not config.ema_momentum:
        return []
    return [EvaluateAverage(lambda epoch: refresh_batches(splits, epoch + 1))]


def _callbacks_of_family(config):
    if config.family != "van":
        return []
    if not config.skip_constraint:
        return [SkipMonitor()]
    return [SkipPhaseOut(config.phase_out_fraction, config.phase_out_start, config.phase_out_end)]
