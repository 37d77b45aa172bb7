"""Several small dense networks trained in one step, each as if it were alone.

The step of a thin network is bound by the overhead of its operations, not by their arithmetic. Here S networks that
differ in their seed alone are one wide network, and each sees the batches of its own seed.
"""

import contextlib
import dataclasses
import functools
import logging

import keras

from dirac_keras.callbacks.progress import ProgressReport
from dirac_keras.callbacks.throughput import Throughput
from dirac_keras.distribution import Placement
from dirac_keras.errors import UserError
from dirac_keras.experiments.group_state import Rows, SaveEach, load_optimizers, write_run
from dirac_keras.experiments.group_streams import test_stream, train_stream
from dirac_keras.experiments.wide_network import PerNetwork, SumOfCrossentropies, place_side_by_side
from dirac_keras.files.amounts import counted
from dirac_keras.files.lock import locked
from dirac_keras.training.building import compile_model, untrained_model
from dirac_keras.training.fitting import family_callbacks
from dirac_keras.training.folder.checkpoints import load_latest
from dirac_keras.training.folder.directory import RunDirectory
from dirac_keras.training.folder.identity import check_checkpoint
from dirac_keras.training.job import Job
from dirac_keras.training.stepping.interruption import Interruption

logger = logging.getLogger("dirac_keras")
# What fields must be here: with other values `train` alone does what they say. A clipped norm would be that of all
# networks together, Muon would orthogonalize the kernels of all as one, the loss is the sum of their cross-entropies.
REQUIRED = {
    "start": None,
    "freeze": None,
    "learning_rate_of": None,
    "ema_momentum": 0,
    "validation_freq": 1,
    "optimizer": "sgd",
    "clip_norm": None,
    "dropout": 0.0,
    "loss": "crossentropy",
    "class_weights": None,
    "early_stopping": None,
    "keep_best": False,
    "tracker": "none",
    "test_time_augmentation": "none",
}


def train_side_by_side(configs, splits, workdirs, console=None, callbacks=()):
    """Train the networks of several configs in one step; leaves the folder of a finished run for each.

    Each network begins as `train` begins it and sees the batches that `train` shows it. What is saved every
    `checkpoint_seconds`, and when a signal comes, is a checkpoint of each run as `train` writes it, of the end of an
    epoch: an interrupted training resumes from there, in this company or another, or alone. Networks that are at
    different epochs are trained in a group for each. One whose loss is no number gets a `diverged.txt`; the others go
    on.

    Args:
        configs: sequence of `TrainConfig`, equal but for the seed, of dense networks in float32.
        splits: `pipelines.Splits` of each config, see `splits_of`.
        workdirs: folder of each run.
        console: of `rich`, for the progress.
        callbacks: more Keras callbacks.

    Returns: seconds that the training of all networks took in all, before an interruption too.
    Raises: ValueError: if the configs differ in more than the seed, or a folder holds another run. TrainingInterrupted:
        after SIGTERM or SIGINT.
    """
    _check_alike(configs)
    if any(one.augmentation.mixes for one in splits):
        raise UserError(
            "augmentation must not mix images for runs side by side. Received "
            f"augmentation={configs[0].augmentation!r}: train each by itself."
        )
    jobs = [
        Job(config, one, RunDirectory(workdir), Placement("one"), "float32", console=console)
        for config, one, workdir in zip(configs, splits, workdirs, strict=True)
    ]
    seconds = 0.0
    with Interruption() as interruption, contextlib.ExitStack() as held:
        groups = {}
        for job in jobs:
            held.enter_context(locked(job.run.path))
            if not job.is_finished():  # which raises for another run's folder
                check = functools.partial(check_checkpoint, job)
                position, saved = load_latest(job.run.checkpoints, job.splits.steps_per_epoch, check)
                if position.batch:
                    logger.info("%s was interrupted within an epoch: it is resumed alone", job.run.path.name)
                else:
                    groups.setdefault(position.epoch, []).append((job, position, saved))
        for members in groups.values():
            seconds += _train_group(*zip(*members, strict=True), interruption, callbacks)
    return seconds


def _check_alike(configs):
    """Raise UserError unless configs differ in their seed alone."""
    first = configs[0]
    for other in configs[1:]:
        if dataclasses.replace(other, seed=first.seed) != first:
            raise UserError(f"Runs side by side must differ in their seed alone. Received {first} and {other}.")
    if first.schedule == "plateau":
        raise UserError(
            "schedule must not be plateau for runs side by side, which have one rate: train each by itself."
        )
    for name, value in REQUIRED.items():
        if getattr(first, name) != value:
            raise UserError(
                f"{name} must be {value} for runs side by side. Received {name}={getattr(first, name)!r}: train each "
                "by itself."
            )


def splits_of(configs, load):
    """The `pipelines.Splits` of configs that differ in their seed, with one copy of the images where that can be.

    Args:
        configs: sequence of `TrainConfig`.
        load: function `config -> Splits`.
    """
    if configs[0].validation or configs[0].data == "coil20":  # whose parts the seed decides
        return [load(config) for config in configs]
    first = load(configs[0])
    return [dataclasses.replace(first, seed=config.seed) for config in configs]


def _train_group(jobs, positions, saved, interruption, callbacks):
    """Train networks that have finished the same number of epochs. Returns: seconds of their training in all."""
    config, steps_per_epoch, epoch = jobs[0].config, jobs[0].splits.steps_per_epoch, positions[0].epoch
    models = [untrained_model(job.config, job.splits.spec, job.policy) for job in jobs]
    for model, former in zip(models, saved, strict=True):
        compile_model(model, config, steps_per_epoch)
        model.optimizer.build(model.trainable_variables)
        if former is not None:
            _take_over(model, former)
    for job, position in zip(jobs, positions, strict=True):
        job.create_run(position)
    if epoch:
        logger.info("resuming %s after epoch %d of %d", counted(len(jobs), "network"), epoch, config.epochs)
    keras.utils.set_random_seed(config.seed)
    wide = compiled_side_by_side(models, config, steps_per_epoch)
    load_optimizers(wide, models)
    rows = Rows(jobs, epoch)
    save = SaveEach(jobs, models, rows, interruption)
    # Each network is sealed by itself.
    phase_out = family_callbacks(config, seal=False, by_layer=False) if config.skip_constraint else []
    progress = ProgressReport(config.epochs, steps_per_epoch, jobs[0].console)
    measures = [Throughput(config.batch_size * len(jobs)), rows]
    splits = [job.splits for job in jobs]
    try:
        with interruption.deferred():
            wide.fit(
                train_stream(splits, epoch * steps_per_epoch),
                initial_epoch=epoch,
                epochs=config.epochs,
                steps_per_epoch=steps_per_epoch,
                validation_data=test_stream(splits),
                shuffle=False,
                verbose=0,
                callbacks=[*phase_out, *measures, progress, *callbacks, save],
            )
    finally:
        progress.close()
    if save.is_stopped:  # by a callback that set `stop_training`
        return rows.seconds()
    save.take_apart(wide)
    with interruption.deferred():
        for index, (job, model) in enumerate(zip(jobs, models, strict=True)):
            if index not in rows.diverged:
                write_run(job, model, rows, index)
    return rows.seconds()


def compiled_side_by_side(models, config, steps_per_epoch):
    """One wide network of several, with the optimizer of a config, the sum of their losses and the metrics of each.

    Args:
        models: see `place_side_by_side`.
        config: `TrainConfig`.
        steps_per_epoch: int, which the learning rate falls by.
    """
    wide = place_side_by_side(models)
    compile_model(wide, config, steps_per_epoch)
    wide.compile(
        wide.optimizer,
        loss=SumOfCrossentropies(len(models), config.label_smoothing),
        metrics=[PerNetwork(len(models), config.label_smoothing)],
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",  # on JAX False is not compiled
    )
    return wide


def _take_over(model, saved):
    """Give a fresh network the weights and the optimizer's state of its checkpoint."""
    pairs = (model.weights, saved.weights), (model.optimizer.variables, saved.optimizer.variables)
    for own, there in pairs:
        for variable, value in zip(own, there, strict=True):
            variable.assign(value)
