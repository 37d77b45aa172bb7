"""`train_seeds`: runs that differ in their seed alone, trained as one program (JAX).

The step of a thin network is bound by the overhead of its operations, not by their arithmetic. Here each operation is
one for all seeds: the step is mapped over stacked states, and each network sees the batches of its own seed.
"""

import contextlib
import dataclasses
import logging

import keras
from rich.console import Console

from dirac_keras.callbacks.trackers import NO_TRACKER
from dirac_keras.distribution import Placement
from dirac_keras.errors import UserError
from dirac_keras.files.lock import locked
from dirac_keras.training.chunks.device import needs_host
from dirac_keras.training.folder.directory import RunDirectory
from dirac_keras.training.job import Job
from dirac_keras.training.optimization.accumulation import check_accumulation
from dirac_keras.training.optimization.class_weights import weights_of
from dirac_keras.training.optimization.plateau import is_plateau
from dirac_keras.training.result import read_finished
from dirac_keras.training.start.beginning import check_start
from dirac_keras.training.start.freezing import is_frozen_at
from dirac_keras.training.stepping.execution import Execution
from dirac_keras.training.stepping.interruption import Interruption
from dirac_keras.training.stepping.position import Position
from dirac_keras.training.tasks import check_task
from dirac_keras.training.together import Together, start_together
from dirac_keras.training.training_error import check_splits, parse_limit

logger = logging.getLogger("dirac_keras")
QUIET = Console(quiet=True)


def train_seeds(config, splits, workdirs, seeds, console=None, steps_per_execution="auto", evaluate_train=None):
    """Train the runs of several seeds as one program; leaves the folder of each as `train` does.

    Each network begins as `train` begins it, sees the batches that `train` shows it, and is validated and tested by
    itself. What `metrics.csv` says of its seconds is its share of those of all. The state is saved after every epoch;
    an interrupted training is resumed from the last epoch that all seeds have saved, and `train` can resume each by
    itself. Finished runs are read.

    Args:
        config: `TrainConfig`; its own seed does not count.
        splits: sequence, the data of each seed, as `train` takes them; images that are decoded in memory.
        workdirs: sequence, folder of each run.
        seeds: sequence of int.
        console: `rich.console.Console` that the progress is printed to: means over the networks.
        steps_per_execution: see `Execution`.
        evaluate_train: see `train`.

    Returns: list of `TrainResult`.
    Raises: UserError: if the arguments do not fit together, the backend is not JAX, the data are not decoded in memory,
        or a folder holds another run. TrainingDiverged: if the loss of one is NaN. TrainingInterrupted: after a signal.
    """
    for name in ("early_stopping", "keep_best"):
        if getattr(config, name):
            raise UserError(
                "Each of the networks that are trained as one program would have a best epoch of its own. Received "
                f"{name}={getattr(config, name)!r}: leave it out, or train one after the other."
            )
    if config.tracker != NO_TRACKER:
        raise UserError(
            f"Networks that are trained as one program are in no tracker. Received tracker={config.tracker!r}: leave "
            "it out, or train one after the other."
        )
    if is_plateau(config):
        raise UserError(
            "Each of the networks that are trained as one program would have a rate of its own. Received "
            "schedule=plateau: give another `schedule`, or train one after the other."
        )
    if config.dropout:
        raise UserError(
            "Networks that are trained as one program would share the masks of their dropout. Received "
            f"dropout={config.dropout:g}: leave it out, or train one after the other."
        )
    _check(config, splits, workdirs, seeds)
    for one in splits:
        check_splits(parse_limit(evaluate_train), one)
    check_start(config)
    place, execution = Placement("one"), Execution(steps_per_execution, "yes")
    policy = place.resolve_precision(config.precision)[0]
    jobs = [
        Job(
            dataclasses.replace(config, seed=seed), one, RunDirectory(workdir), place, policy, console=QUIET,
            class_weights=weights_of(config, one), evaluate_train=evaluate_train,
        )
        for seed, one, workdir in zip(seeds, splits, workdirs, strict=True)
    ]  # fmt: skip
    for job in jobs:
        execution.check(job.splits, place, ())
        check_accumulation(config, job.splits.steps_per_epoch, place, policy)
    if any(job.class_weights != jobs[0].class_weights for job in jobs):
        raise UserError(
            "class_weights=balanced counts other training images for each seed, of which one program has one loss. "
            "Give weights, or train one after the other."
        )
    with Interruption() as interruption, contextlib.ExitStack() as held:
        for job in jobs:
            held.enter_context(locked(job.run.path))
        open_jobs = [job.with_network() for job in jobs if not job.is_finished()]
        if open_jobs:
            with interruption.deferred():
                _train_in_stages(open_jobs, execution, interruption, console)
        return [read_finished(job) for job in jobs]


def _check(config, splits, workdirs, seeds):
    for one in splits:
        check_task(config, one.spec)
    if keras.backend.backend() != "jax":
        raise UserError(
            f"Several seeds are one program on JAX alone. Received Keras on {keras.backend.backend()}: set "
            "KERAS_BACKEND=jax, or train one after the other."
        )
    if not len(splits) == len(workdirs) == len(seeds) or not seeds:
        raise UserError(
            "splits, workdirs and seeds must be as many, and one at least. Received "
            f"{len(splits)}, {len(workdirs)} and {len(seeds)}."
        )
    for name, values in (("seeds", seeds), ("workdirs", list(map(str, workdirs)))):
        if len(set(values)) < len(values):
            raise UserError(f"{name} must differ. Received {name}={list(values)}.")
    facts = {(one.spec.image_shape, one.spec.num_classes, one.steps_per_epoch, one.augmentation) for one in splits}
    if needs_host(splits[0]):
        raise UserError(
            "Several seeds are one program with the augmentation on the device, where randaugment, autoaugment, "
            "jitter, vflip, grey and blur are not. Leave them out of `augmentation`, or train one after the other."
        )
    if len(facts) > 1:
        raise UserError(f"splits must be of the same data, but for the seed. Received {sorted(map(str, facts))}.")


def _train_in_stages(jobs, execution, interruption, console):
    """Train runs to their end; in two parts where layers are unfrozen between them, as `train` does."""
    config, steps_per_epoch = jobs[0].config, jobs[0].splits.steps_per_epoch
    positions, models = start_together(jobs)
    if config.unfreeze_epoch is not None and is_frozen_at(config, positions[0], steps_per_epoch):
        frozen = Together(jobs, positions, models, execution, interruption, console, config.unfreeze_epoch)
        frozen.train()
        logger.info("epoch %d: the frozen layers are trained from here on", config.unfreeze_epoch + 1)
        positions, models = [Position(config.unfreeze_epoch)] * len(jobs), frozen.unfrozen()
    Together(jobs, positions, models, execution, interruption, console).train()
