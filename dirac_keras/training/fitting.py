"""The `fit` of a run: its callbacks in their order, what they write, and the pictures at the end."""

import contextlib

import keras

from dirac_keras.callbacks import plots
from dirac_keras.callbacks.divergence import StopOnDivergence
from dirac_keras.callbacks.metrics import MetricsTable
from dirac_keras.callbacks.notebook import open_report
from dirac_keras.callbacks.profile import Profile
from dirac_keras.callbacks.scales import ScaleMonitor
from dirac_keras.callbacks.tensorboard import TensorBoardScalars
from dirac_keras.callbacks.throughput import Throughput
from dirac_keras.callbacks.timing import StepTimes
from dirac_keras.callbacks.trackers import TrackerReport
from dirac_keras.models.family import find_family
from dirac_keras.phase_out import (
    DissolveIdentity,
    IdentityBound,
    IdentityDecay,
    IdentityPhaseOut,
    SkipMonitor,
    SkipPhaseOut,
    SkipTrace,
)
from dirac_keras.phase_out.identity import START_RATIO
from dirac_keras.training.best import Judge, KeepBest, is_judging, monitored
from dirac_keras.training.chunks.feeds import Waiting
from dirac_keras.training.folder.checkpoints import Checkpoint, describe_newest
from dirac_keras.training.optimization.averaging import EvaluateAverage, refresh_batches
from dirac_keras.training.optimization.plateau import FallOnPlateau, is_plateau


def fit(job, model, position, interruption, last_epoch=None):
    """Train a model from a `Position` to the end, or to the end of an epoch.

    Args:
        job: `Job`.
        model: compiled `keras.Model`, as `Placement.prepare` returns it.
        position: `Position`.
        interruption: `Interruption` whose signals end the training after a step.
        last_epoch: int, epochs after which the training stops; None: all.

    Returns: rows of `metrics.csv`; of several workers the first alone writes, and has them.
    """
    config, splits, place = job.config, job.splits, job.place
    validation = splits.validation()
    writers = Writers(job, position) if place.is_chief else None
    written = writers.callbacks if writers else []
    of_family = family_callbacks(config)
    waiting = Waiting() if job.execution.in_chunks(place) else None
    sees_input = place.strategy is None or keras.backend.backend() == "jax"
    measures = [Throughput(config.batch_size), StepTimes(sees_input, waiting)]
    judges = _judges(job, model, writers)
    checkpoint = _checkpoint(job, interruption, [*of_family, *measures, *job.callbacks, *written])
    callbacks = [
        # In this order: the logs are completed, judged, written; the checkpoint comes last, so that what it vouches
        # for is on disk.
        *of_family,
        *measures,
        *judges,
        *_plateau(job, model, writers),
        *averaging(config, splits),
        StopOnDivergence(lambda: _describe_kept(job)),
        *job.callbacks,
        *place.alone(written),
        checkpoint,
    ]
    if any(judge.has_ended() for judge in judges):  # before the run was interrupted
        last_epoch = position.epoch
    execution = job.execution.opened(job, model, position, callbacks, waiting)
    with writers or contextlib.nullcontext(), execution as fit_model:
        fit_model(
            model,
            position,
            epochs=config.epochs if last_epoch is None else last_epoch,
            steps_per_epoch=splits.steps_per_epoch,
            validation_data=place.test_data(splits.test() if validation is None else validation),
            validated=validated_epochs(config),
            callbacks=callbacks,
        )
    with place.aside():
        return writers.finish("test" if validation is None else "validation") if writers else []


def check_before(job, position):
    """Raise UserError for what `fit` cannot do from a `Position` on, before the run's folder is made."""
    acting = [*job.callbacks, *_traces(job), *_skip_traces(job), _checkpoint(job)]
    job.execution.check_ends(acting, position, job.splits.steps_per_epoch, job.config.epochs)


def _checkpoint(job, interruption=None, measured=()):
    config = job.config
    return Checkpoint(
        job.run.checkpoints,
        config.keep_checkpoints,
        config.checkpoint_steps,
        config.checkpoint_seconds,
        interruption,
        measured=measured,
        place=job.place,
        record=job.run.state_of_records,
    )


def _traces(job):
    return [Profile(*job.traced_steps, job.run.tensorboard)] if job.traced_steps else []


def _skip_traces(job):
    return [SkipTrace(job.run.skips, job.run.skips_picture)] if find_family(job.config.family).phases_out else []


def validated_epochs(config):
    """Numbers, from 1 on, of the epochs of a `TrainConfig` that end with a validation: every so many, and the last."""
    return [*range(config.validation_freq, config.epochs, config.validation_freq), config.epochs]


def _judges(job, model, writers):
    """The callback that ends the training early or keeps its best weights, as a list; empty if nothing of it is asked.

    Args:
        job: `Job`.
        model: compiled `keras.Model`.
        writers: `Writers`, of the first worker; None on others.
    """
    config = job.config
    if not is_judging(config):
        return []
    judge = Judge(monitored(config, model, job.splits), config.early_stopping, config.unfreeze_epoch or 0)
    rows = writers.rows if writers else None
    return [KeepBest(judge, job.run.checkpoints, rows, config.keep_best, job.place, job.run.identity)]


def _plateau(job, model, writers):
    """The callback that lowers the rate where the validation stands still, as a list; arguments as in `_judges`."""
    config = job.config
    if not is_plateau(config):
        return []
    judge, rows = Judge(monitored(config, model, job.splits)), writers.rows if writers else None
    peak, factor, patience = config.peak_learning_rate, config.decay_factor, config.plateau_patience
    return [FallOnPlateau(judge, rows, peak, factor, patience, job.place)]


def family_callbacks(config, **options):
    """The callbacks that the networks of a config's family are trained with.

    Args:
        config: `TrainConfig`.
        options: further arguments of `SkipPhaseOut`.
    """
    decay = [IdentityDecay(config.identity_decay)] if config.identity_decay else []
    return decay + _phase_out(config, options)


def _phase_out(config, options):
    if config.identity_bound is not None:
        return [_identity_bound(config)]
    if config.dissolve_epoch is not None:
        return [DissolveIdentity(config.dissolve_epoch, config.kurtosis_penalty, config.peak_penalty)]
    if config.identity_phase_out is not None:
        start, multiplier = config.identity_phase_out_start, config.identity_multiplier
        return [IdentityPhaseOut(config.identity_phase_out, start, multiplier)]
    if not find_family(config.family).phases_out:
        return []
    if not config.skip_constraint:
        return [SkipMonitor()]
    return [SkipPhaseOut(config.phase_out_fraction, config.phase_out_start, config.phase_out_end, **options)]


def _identity_bound(config):
    start_ratio = START_RATIO  # of W that is not normalised
    if config.parameterization == "dirac" and config.filter_scale:
        start_ratio = 1 / config.filter_scale  # a starts at 1
    return IdentityBound(
        config.identity_bound,
        config.identity_bound_start,
        config.identity_bound_end,
        max(start_ratio, config.identity_bound),
    )


def averaging(config, splits):
    """The callbacks of a training that averages its weights."""
    if not config.ema_momentum:
        return []
    return [EvaluateAverage(lambda epoch: refresh_batches(splits, epoch + 1))]


def _describe_kept(job):
    if not job.place.is_chief:
        return "worker 0 keeps what was saved"
    return describe_newest(job.run.checkpoints, job.splits.steps_per_epoch)


class Writers:
    """The callbacks that write into the run's directory, and what they write at the end; for a `with` statement.

    Args:
        job: `Job`.
        position: `Position` that the training begins at.
    """

    def __init__(self, job, position):
        config, run = job.config, job.run
        self._run, self._epochs = run, config.epochs
        self._table = MetricsTable(run.metrics, position.epoch)
        # The second part of a training that unfreezes layers is no resumed run.
        is_second = (position.epoch, position.batch) == (config.unfreeze_epoch, 0)
        resumed_after = 0 if is_second else position.step(job.splits.steps_per_epoch)
        self._progress = open_report(
            config.epochs, job.splits.steps_per_epoch, job.console, self._table.rows, resumed_after
        )
        self._tensorboard = TensorBoardScalars(run.tensorboard)
        self._scales = ScaleMonitor(run.scales, position.epoch)
        self._traces, skips = _traces(job), _skip_traces(job)
        self.callbacks = [*self._traces, *skips, self._progress, self._table, self._scales, self._tensorboard]
        self.callbacks += [TrackerReport(job.tracking)] if job.tracking else []

    @property
    def rows(self):
        """Rows of `metrics.csv`, a list that grows with each epoch."""
        return self._table.rows

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for callback in (self._progress, *self._traces):
            callback.close()
        if exception[0] is not None:  # else `finish` has more to write
            self._tensorboard.close()

    def finish(self, tested_on):
        """Draw the curves. Returns: rows of `metrics.csv`."""
        if self._table.rows:
            plots.plot_curves(self._table.rows, self._run.curves_picture, tested_on)
            self._tensorboard.write_picture("curves", self._run.curves_picture, self._epochs)
        if self._scales.rows:
            plots.plot_scales(self._scales.rows, self._run.scales_picture)
            self._tensorboard.write_picture("scales", self._run.scales_picture, self._epochs)
        self._tensorboard.close()
        return self._table.rows
