"""`fit_in_chunks`: what takes the place of Keras' `fit` where many steps are one program (JAX)."""

import contextlib
import threading

import keras

from dirac_keras.training.chunks.ends import flatten, longest_chunk, next_end
from dirac_keras.training.chunks.feeds import clock
from dirac_keras.training.chunks.lengths import ChunkLength
from dirac_keras.training.chunks.program import ChunkProgram
from dirac_keras.training.chunks.state import ModelState
from dirac_keras.training.stepping.position import build_metrics


def fit_in_chunks(
    model, position, feed, epochs, steps_per_epoch, validation_data, callbacks, validated=None,
    steps_per_execution="auto", waiting=None,
):  # fmt: skip
    """Train from a `Position` to the end, chunk by chunk.

    The callbacks see what they see in `fit_from`, but for the batches: `on_train_batch_begin(first)` and
    `on_train_batch_end(last)` of a chunk, with the logs after its last step. Which steps a chunk ends with, see `ends`.

    Args:
        model, position, epochs, steps_per_epoch, validation_data, callbacks, validated: as for `fit_from`.
        feed: see `feeds`.
        steps_per_execution: `"auto"` or int, most steps of a chunk.
        waiting: `Waiting` that is told how long the device waited for the host, or None.

    Returns: `ChunkProgram`, for who wants to know what it cost.
    """
    training = keras.callbacks.CallbackList(
        callbacks, add_history=True, verbose=0, model=model, epochs=epochs, steps=steps_per_epoch,
        first_batch=position.batch,
    )  # fmt: skip
    length = ChunkLength(steps_per_execution, feed.capacity)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    build_metrics(model)
    model.make_train_function()  # before the callbacks, as `fit` does
    model.stop_training = False
    training.on_train_begin()
    most = longest_chunk(training.callbacks, length.most)
    program = ChunkProgram(model, feed, most)  # what the callbacks have changed is part of it
    state, logs = ModelState(model), {}
    total = epochs * steps_per_epoch
    try:
        for epoch in range(position.epoch, epochs):
            model.reset_metrics()
            training.on_epoch_begin(epoch)
            first = position.batch if epoch == position.epoch else 0
            if first:
                position.restore(model, flatten(training.callbacks))
            with state.attached():
                _run_epoch(program, state, training, epoch * steps_per_epoch, first, total, length, waiting)
            logs = dict(model.get_metrics_result())
            if validation_data is not None and (validated is None or epoch + 1 in validated):
                x, y, _ = keras.utils.unpack_x_y_sample_weight(validation_data)
                measured = model.evaluate(x, y, verbose=0, return_dict=True, callbacks=training)
                logs |= {f"val_{name}": value for name, value in measured.items()}
            training.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    finally:
        # As `fit` does: the averages take the weights' place, if the optimizer keeps any.
        model.optimizer.finalize_variable_values(model.trainable_weights)
    training.on_train_end(logs)
    return program


def _run_epoch(program, state, training, epoch_start, first, total, length, waiting):
    """The steps of an epoch from its `first` on."""
    model, feed, steps_per_epoch = program.model, program.feed, training.params["steps"]
    batch = first
    feed.begin(epoch_start + first)
    while batch < steps_per_epoch and not model.stop_training:
        step = epoch_start + batch
        longest = epoch_start + min(steps_per_epoch, batch + length.value)
        count = next_end(training.callbacks, step, longest) - step
        training.on_train_batch_begin(batch)
        chunk, arrays = feed.take(count), state.take()
        program.compile(arrays, chunk)
        start = clock()
        arrays, logs = program(arrays, chunk, count)
        state.give(arrays)
        done = _when_ready(logs)
        left = steps_per_epoch - batch - count or steps_per_epoch  # of this epoch, or of the next
        feed.prepare(min(length.value, left, total - step - count))
        prepared = clock()
        finished = done()
        length.measured(count, finished - start)
        if waiting is not None:
            waiting.add(finished, prepared)
        batch += count
        training.on_train_batch_end(batch - 1, logs)


def _when_ready(logs):
    """Watch arrays that a device is computing. Returns: function that waits for them, and says when they were ready."""
    import jax

    times = []

    def watch():
        with contextlib.suppress(Exception):  # who reads the logs is told
            jax.block_until_ready(logs)
        times.append(clock())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()

    def done():
        thread.join()
        return times[0]

    return done
