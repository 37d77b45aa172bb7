"""Networks that are trained as one program: stacked states, one step, and the folder of each."""

import contextlib
import logging

import keras
import numpy as np

from dirac_keras.callbacks.divergence import StopOnDivergence
from dirac_keras.callbacks.progress import ProgressReport
from dirac_keras.callbacks.throughput import Throughput
from dirac_keras.training.building import compile_model
from dirac_keras.training.chunks.ends import next_end
from dirac_keras.training.chunks.feeds import clock
from dirac_keras.training.chunks.lengths import ChunkLength
from dirac_keras.training.chunks.stacked import StackedFeed, StackedProgram, StackedState, snapshot
from dirac_keras.training.fitting import Writers, averaging, family_callbacks, validated_epochs
from dirac_keras.training.folder.checkpoints import Checkpoint, describe_newest, find_checkpoints, load_latest
from dirac_keras.training.folder.identity import check_checkpoint
from dirac_keras.training.result import finish
from dirac_keras.training.start.beginning import begin
from dirac_keras.training.start.freezing import carry_over, freeze
from dirac_keras.training.stepping.position import Position, build_metrics

logger = logging.getLogger("dirac_keras")


class Together:
    """The training of runs that are not finished.

    Args:
        jobs: list of `Job`.
        positions: list of `Position`, all of the same epoch.
        models: list of compiled `keras.Model`.
        execution: `Execution`.
        interruption: `Interruption`.
        console: see `train_seeds`.
        last_epoch: int, epochs after which it ends; None: all.
    """

    def __init__(self, jobs, positions, models, execution, interruption, console, last_epoch=None):
        first = jobs[0]
        self.jobs, self.interruption = jobs, interruption
        self.config, self.steps_per_epoch = first.config, first.splits.steps_per_epoch
        self.first_epoch = positions[0].epoch
        self.last_epoch = self.config.epochs if last_epoch is None else last_epoch
        for job, position in zip(jobs, positions, strict=True):
            job.create_run(position)
        self.model = models[0]
        params = {"epochs": self.config.epochs, "steps": self.steps_per_epoch}
        states = []
        for model in models:
            family = family_callbacks(self.config)
            for callback in family:
                callback.set_params(params)
                callback.set_model(model)
                callback.on_train_begin()  # sets variables of each network; the first one's step is the program's
            if model is self.model:
                self.family = family
            model.optimizer.build(model.trainable_variables)
            build_metrics(model)
            states.append(snapshot(model))
        self.state = StackedState(self.model, states)
        self.writers = [Writers(job, position) for job, position in zip(jobs, positions, strict=True)]
        self.callbacks = [
            keras.callbacks.CallbackList(self._callbacks(job, writers), model=self.model, **params)
            for job, writers in zip(jobs, self.writers, strict=True)
        ]
        self.progress = ProgressReport(self.config.epochs, self.steps_per_epoch, console)
        feed = StackedFeed(
            [job.splits for job in jobs], execution.capacity_of_draws(first.splits, len(jobs)), first.place
        )
        self.length = ChunkLength(execution.steps_per_execution, feed.capacity)
        self.program = StackedProgram(self.model, feed, self.length.most)

    def _callbacks(self, job, writers):
        checkpoint = Checkpoint(
            job.run.checkpoints, self.config.keep_checkpoints, place=job.place, record=job.run.state_of_records
        )
        return [
            Throughput(self.config.batch_size),
            _Share(len(self.jobs)),
            *averaging(self.config, job.splits),
            StopOnDivergence(lambda: describe_newest(job.run.checkpoints, self.steps_per_epoch)),
            *writers.callbacks,
            checkpoint,
        ]

    def train(self):
        """To the last epoch; if that is the run's, test and write every run."""
        seeds = ", ".join(str(job.config.seed) for job in self.jobs)
        logger.info("seeds %s are trained as one program, from epoch %d on", seeds, self.first_epoch + 1)
        with contextlib.ExitStack() as opened:
            for writers in self.writers:
                opened.enter_context(writers)
            opened.callback(self.progress.close)
            self._each(lambda callbacks: callbacks.on_train_begin())
            for epoch in range(self.first_epoch, self.last_epoch):
                self._train_epoch(epoch)
                self._end_epoch(epoch)
            for index, job in enumerate(self.jobs):
                self._finish(index, job)

    def unfrozen(self):
        """Models without frozen layers, in the states of the networks; compiled."""
        models = []
        for index, job in enumerate(self.jobs):
            model = job.untrained_model()
            _compile(model, job)
            model.optimizer.build(model.trainable_variables)
            with self.state.loaded(index) as trained:
                carry_over(trained, model, job.place)
            models.append(model)
        return models

    def _each(self, call):
        """Call something with the callbacks of each network; the model is that network when they ask for it."""
        for index, callbacks in enumerate(self.callbacks):
            self.state.choose(index)
            call(callbacks)

    def _train_epoch(self, epoch):
        states = []
        for index in range(len(self.jobs)):
            with self.state.loaded(index) as model:
                model.reset_metrics()
                for callback in self.family:
                    callback.on_epoch_begin(epoch)  # which may change weights
                states.append(snapshot(model))
        self.state.put_together(states)
        self.progress.on_epoch_begin(epoch)
        self._each(lambda callbacks: callbacks.on_epoch_begin(epoch))
        batch, feed = 0, self.program.feed
        feed.begin(epoch * self.steps_per_epoch)
        while batch < self.steps_per_epoch:
            step = epoch * self.steps_per_epoch + batch
            longest = step + min(self.length.value, self.steps_per_epoch - batch)
            count = next_end(self.callbacks, step, longest) - step
            self._each(lambda callbacks: callbacks.on_train_batch_begin(batch))  # noqa: B023 - used at once
            chunk = feed.take(count)
            self.program.compile(self.state.arrays, chunk)
            start = clock()
            self.state.arrays, logs = self.program(self.state.arrays, chunk, count)
            batch += count
            left = self.steps_per_epoch - batch
            feed.prepare(min(self.length.value, left))
            logs = {name: np.asarray(values) for name, values in logs.items()}  # waits for the device
            self.length.measured(count, clock() - start)
            for index, callbacks in enumerate(self.callbacks):
                self.state.choose(index)
                callbacks.on_train_batch_end(batch - 1, {name: float(values[index]) for name, values in logs.items()})
            self.progress.on_train_batch_end(batch - 1, {name: float(np.mean(values)) for name, values in logs.items()})
            if self.interruption.received is not None:
                self.interruption.stop()

    def _end_epoch(self, epoch):
        rows = []
        for index, (job, callbacks) in enumerate(zip(self.jobs, self.callbacks, strict=True)):
            with self.state.loaded(index) as model:
                logs = dict(model.get_metrics_result())
                if epoch + 1 in validated_epochs(self.config):
                    validation = job.splits.validation()
                    measured = model.evaluate(
                        job.splits.test() if validation is None else validation,
                        verbose=0, return_dict=True, callbacks=callbacks,
                    )  # fmt: skip
                    logs |= {f"val_{name}": value for name, value in measured.items()}
                logs = {name: float(value) for name, value in logs.items()}
                for callback in [*self.family, *callbacks.callbacks]:  # Keras' list would give them a copy
                    callback.on_epoch_end(epoch, logs)
            rows.append(logs)
        self.progress.on_epoch_end(epoch, {name: float(np.mean([row[name] for row in rows])) for name in rows[0]})
        if self.interruption.received is not None:
            steps = (epoch + 1) * self.steps_per_epoch
            self.interruption.stop(f"step {steps} of {self.config.epochs * self.steps_per_epoch}")

    def _finish(self, index, job):
        with self.state.loaded(index) as model:
            model.optimizer.finalize_variable_values(model.trainable_weights)  # the averages, if it keeps any
            for callback in self.family:
                callback.on_train_end()
            self.callbacks[index].on_train_end()
            tested_on = "test" if job.splits.validation() is None else "validation"
            history = self.writers[index].finish(tested_on)
            if self.last_epoch == self.config.epochs:
                finish(job, model, history, self.interruption)


class _Share(keras.callbacks.Callback):
    """Turns an epoch's seconds of all networks into one network's share of them."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] /= self.count
        logs["images_per_second"] *= self.count


def start_together(jobs):
    """`(positions, models)`: the last epoch that all have saved, or the beginning; compiled models."""
    steps_per_epoch = jobs[0].splits.steps_per_epoch
    saved = [{step for step, _ in find_checkpoints(job.run.checkpoints, steps_per_epoch)} for job in jobs]
    for step in sorted(set.intersection(*saved), reverse=True):
        if step % steps_per_epoch:
            continue
        found = [
            load_latest(
                job.run.checkpoints, steps_per_epoch, lambda *of, job=job: check_checkpoint(job, *of), only_step=step
            )
            for job in jobs
        ]
        positions = [position for position, _ in found]
        if all(position.epoch * steps_per_epoch == step and not position.batch for position in positions):
            logger.info("resuming after epoch %d", positions[0].epoch)
            return positions, [model for _, model in found]
    models = []
    for job in jobs:
        model = job.untrained_model()
        begin(model, job.config, job.splits)
        freeze(model, job.config)
        _compile(model, job)
        models.append(model)
    return [Position()] * len(jobs), models


def _compile(model, job):
    compile_model(model, job.config, job.splits.steps_per_epoch, job.splits.spec, job.class_weights)
