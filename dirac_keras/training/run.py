"""`train(config, splits, workdir)`: from a config and data to a trained model in a run directory."""

import contextlib
import dataclasses
import json
import logging

import keras

from dirac_keras.callbacks.profile import parse_steps
from dirac_keras.callbacks.trackers import Tracking, open_tracking
from dirac_keras.distribution import Placement, open_strategy
from dirac_keras.errors import UserError
from dirac_keras.files.lock import locked
from dirac_keras.models.family import is_of_file
from dirac_keras.training.best import check_validation, is_judging, monitored, take_best
from dirac_keras.training.building import build_model, compile_model
from dirac_keras.training.fitting import check_before, fit
from dirac_keras.training.folder.checkpoints import load_latest
from dirac_keras.training.folder.directory import RunDirectory
from dirac_keras.training.folder.identity import check_checkpoint
from dirac_keras.training.job import Job
from dirac_keras.training.limits import check_size
from dirac_keras.training.optimization.accumulation import check_accumulation, say_accumulation
from dirac_keras.training.optimization.class_weights import weights_of
from dirac_keras.training.optimization.plateau import is_plateau
from dirac_keras.training.optimization.schedules import say_late_decays
from dirac_keras.training.result import finish, read_finished
from dirac_keras.training.start.beginning import begin, check_start, check_startable
from dirac_keras.training.start.freezing import carry_over, freeze, is_frozen_at
from dirac_keras.training.stepping.execution import Execution
from dirac_keras.training.stepping.interruption import Interruption
from dirac_keras.training.stepping.position import Position, generators_of
from dirac_keras.training.tasks import check_task
from dirac_keras.training.tracked import tracked
from dirac_keras.training.training_error import check_splits, parse_limit

logger = logging.getLogger("dirac_keras")
# How long a signal waits for a worker that waits for the others, in a step or before it.
BARRIER_SECONDS = 60


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
    max_gigabytes=None,
    steps_per_execution="auto",
    data_on_device="auto",
    start=None,
    evaluate_train=None,
):
    """Train the run in `workdir`, or resume it, or read its result.

    The state is saved after every epoch, and within one every `config.checkpoint_steps` or `checkpoint_seconds`. A run
    that was interrupted is resumed when `train` is called again with the same config, to the weights and the metrics of
    the uninterrupted run. A finished one is read, not repeated.

    Args:
        config: `TrainConfig`.
        splits: what `pipelines.load_splits` returns, or an object of your own with `spec`, `steps_per_epoch`,
            `train(start_step)`, an endless iterator of batches from that step on, `validation()` (or None) and
            `test()`, which Keras' `evaluate` can read again and again: a `tf.data.Dataset`, `keras.utils.PyDataset` or
            `DataLoader`. It may have no TensorFlow in it.
        workdir: folder of the run, made if absent.
        overwrite: whether to delete a run that is there: what it wrote, see `files.manifest`. Anything else in its
            folder is an error.
        callbacks: more Keras callbacks. One that sums over an epoch keeps its sums over an interruption with
            `epoch_state()` and `restore_epoch_state(state)`, a JSON-safe dict. Every worker of several calls its own.
        console: `rich.console.Console` that the progress is printed to.
        profile: str, the steps to trace for TensorBoard, such as `"10"` or `"10,20"`, counted from here.
        strategy: name or `Placement` of `dirac_keras.distribution.open_strategy`: where to compute. It does not decide
            the result. Of several workers the first alone reads and writes `workdir`.
        data_service: `grpc://host:port` of a dispatcher whose workers prepare the training batches, the same ones.
        max_gigabytes: number, 10^9 bytes that the network and a step may take, see `limits.check_size`.
        steps_per_execution, data_on_device: how the steps are executed, see `execution.Execution`. They do not decide
            the result, and a run may be resumed with others.
        start: path of the model whose weights the training begins with, for `config.start`. It is read once; a
            resumed run does not need it.
        evaluate_train: `"all"`, or a number of training images: the error on them at the end, in inference mode and
            without augmentation, goes into the summary as `train_accuracy`, `train_loss` and `train_images`. None: it
            does not. It does not decide the result; a finished run is read as it is.

    Returns: `TrainResult`; its model is one device's.
    Raises: UserError: if `workdir` holds another run, another process trains there, it cannot be written, or the
        strategy cannot compute this config. TrainingDiverged: if the loss is NaN. TrainingInterrupted: after SIGTERM
        or SIGINT, with the state saved. WorkerLost: if another worker died or failed.
    """
    if start is not None:
        config = dataclasses.replace(config, start=str(start))
    check_start(config)
    place = strategy if isinstance(strategy, Placement) else open_strategy(strategy)
    _check_place(config, place)
    check_task(config, splits.spec)
    check_size(config, splits.spec, max_gigabytes)
    execution = Execution(steps_per_execution, data_on_device)
    execution.check(splits, place, callbacks)
    check_splits(parse_limit(evaluate_train), splits)
    check_validation(config, splits)
    job = Job(
        config=config,
        splits=splits if data_service is None else _served(splits, data_service, execution),
        run=RunDirectory(workdir),
        place=place,
        policy=place.resolve_precision(config.precision)[0],
        callbacks=tuple(callbacks),
        console=console,
        traced_steps=parse_steps(profile) if profile else None,
        execution=execution,
        evaluate_train=evaluate_train,
        class_weights=weights_of(config, splits),
    )
    check_accumulation(config, splits.steps_per_epoch, place, job.policy)
    with place.naming_lost_workers():
        place.check_alike("configuration, data and versions", job.shared_text())
        if not overwrite and place.chief_decides(job.is_finished):
            return read_finished(job)
        if data_service is not None:
            splits.check_data_service(data_service, connect=True)
        tracking = place.on_chief(lambda: open_tracking(config.tracker))  # before a run that is there is deleted
        job = dataclasses.replace(job, tracking=tracking or Tracking())
        patience = None if place.num_workers == 1 else BARRIER_SECONDS
        with Interruption(patience) as interruption, contextlib.ExitStack() as held:
            start = _agree_on_start(job, lambda: _open_run(job, overwrite, held))
            if start.is_finished:
                return read_finished(job)
            job = _with_network(job)
            model = model_in_place(job, start)
            if is_judging(config) or is_plateau(config):
                monitored(config, model, splits)  # a figure that there is not must cost no run's folder
            check_before(job, start.position)
            _log_start(job, start)
            say_accumulation(config, model, splits.steps_per_epoch)
            say_late_decays(config)
            place.on_chief(lambda: job.create_run(start.position))
            with tracked(job, start.position.epoch) as figures:
                with interruption.deferred(), place.running():
                    model, history = _fit_in_stages(job, model, start.position, interruption)
                    kept = take_best(job, model, history)
                result = finish(job, model, history, interruption, kept)
                figures |= result.summary
            return result


@dataclasses.dataclass(frozen=True)
class Start:
    """Where a training begins.

    Attributes:
        position: `Position`; None for a run that is finished.
        saved: the model of the checkpoint that was found, on the first worker; None without one.
    """

    position: Position | None
    saved: keras.Model | None = None

    @property
    def is_finished(self):
        return self.position is None


def model_in_place(job, start):
    """The model that `fit` is called on: fresh, or as the checkpoint that the first worker has read."""
    config, splits, place = job.config, job.splits, job.place
    if place.strategy is None and start.saved is not None:
        return start.saved
    model = _compiled(job, is_frozen_at(config, start.position, splits.steps_per_epoch))
    if not start.position.step(splits.steps_per_epoch):  # before the first step
        begin(model, config, splits, place)
    if start.position.step(splits.steps_per_epoch):
        ours = _state_of(model)
        theirs = ours if start.saved is None else _state_of(start.saved)
        values = place.from_chief([keras.ops.convert_to_numpy(variable) for variable in theirs])
        for variable, value in zip(ours, values, strict=True):
            variable.assign(value)
    return model


def _state_of(model):
    return [*model.weights, *model.optimizer.variables, *generators_of(model)]


def _compiled(job, is_frozen):
    """The untrained model where it is computed, some of its layers frozen or none."""
    config, place = job.config, job.place
    with place.scope():
        model = job.untrained_model()
        if is_frozen:
            freeze(model, config)
        compile_model(model, config, job.splits.steps_per_epoch, job.splits.spec, job.class_weights)
    return place.prepare(model)


def _fit_in_stages(job, model, position, interruption):
    """`fit`, in two parts where layers are unfrozen between them. Returns: `(model, rows of metrics.csv)`."""
    config, steps_per_epoch = job.config, job.splits.steps_per_epoch
    unfreezes = config.unfreeze_epoch is not None and is_frozen_at(config, position, steps_per_epoch)
    if not unfreezes:
        return model, fit(job, model, position, interruption)
    boundary = Position(config.unfreeze_epoch)
    if position.step(steps_per_epoch) < boundary.step(steps_per_epoch):
        fit(job, model, position, interruption, last_epoch=boundary.epoch)
    logger.info("epoch %d: the frozen layers are trained from here on", boundary.epoch + 1)
    unfrozen = _compiled(job, is_frozen=False)
    if not unfrozen.optimizer.built:
        unfrozen.optimizer.build(unfrozen.trainable_variables)
    carry_over(model, unfrozen, job.place)
    return unfrozen, fit(job, unfrozen, boundary, interruption)


def _check_place(config, place):
    place.check_batch(config.batch_size)
    if config.ema_momentum and not place.can_average:
        raise UserError(
            f"ema_momentum averages weights on one device alone. Received ema_momentum={config.ema_momentum:g} on "
            f'{place}. Leave it out, or train with `strategy="one"`.'
        )


def _open_run(job, overwrite, held):
    """Lock the folder and find where the training begins. Returns: `Start`."""
    held.enter_context(locked(job.run.path))
    if overwrite and job.run.is_there():
        job.run.check_only_run()
        # A mistake in the config, or in what it starts from, must not cost the run that is there.
        check_startable(build_model(job.config, job.splits.spec), job.config, job.splits.spec, job.run.path)
        check_before(job, Position())
        job.run.clear()
    if job.is_finished():  # by a process that had the lock
        return Start(None)
    return Start(*load_latest(job.run.checkpoints, job.splits.steps_per_epoch, lambda *of: check_checkpoint(job, *of)))


def _with_network(job):
    """The job with its network, where that is of no family: as the first worker reads it."""
    if not is_of_file(job.config):
        return job
    found = job.place.on_chief(lambda: job.with_network().network)
    return dataclasses.replace(job, network=job.place.text_from_chief(found or ""))


def _agree_on_start(job, find):
    """The `Start` that `find()` returns on the first worker, on every worker; the others have no saved model."""
    start = job.place.on_chief(find)
    position = start and start.position and start.position.to_dict()
    position = json.loads(job.place.text_from_chief(json.dumps(position)))
    return start or Start(position and Position.from_dict(position))


def _log_start(job, start):
    steps_per_epoch, position = job.splits.steps_per_epoch, start.position
    step = position.step(steps_per_epoch)
    if step:
        total, epoch = job.config.epochs * steps_per_epoch, position.epoch + bool(position.batch)
        logger.info("resuming after step %d of %d (epoch %d)", step, total, epoch)
    elif job.place.is_chief and job.run.metrics.exists():
        logger.warning("%s has no checkpoint that can be used: the training begins anew", job.run.path)
    policy, reason = job.place.resolve_precision(job.config.precision)
    logger.info("precision %s: %s%s", policy, reason, "" if job.place.strategy is None else f"; on {job.place}")


def _served(splits, data_service, execution):
    """Splits with the data service. Raises: ValueError: if it cannot prepare their batches."""
    if not hasattr(splits, "check_data_service"):
        raise UserError(
            f"data_service takes what `pipelines` read. Received data_service={data_service!r} with a "
            f"{type(splits).__name__}: leave it out."
        )
    if execution.data_on_device == "yes":
        raise UserError(
            "`data_on_device` cuts the batches on the device, not in a data service. Received data_on_device=yes with "
            f"data_service={data_service!r}: leave one of them out."
        )
    splits.check_data_service(data_service)
    return _ServedSplits(splits, data_service)


class _ServedSplits:
    """`Splits` whose training batches the data service prepares."""

    def __init__(self, splits, data_service):
        self._splits = splits
        self._data_service = data_service

    def __getattr__(self, name):
        return getattr(self._splits, name)

    def train(self, **options):
        return self._splits.train(**options, data_service=self._data_service)
