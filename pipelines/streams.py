"""The tf.data chains: order, gather, augment, normalise, prefetch.

The training stream is random access: batch `k` is a pure function of (seed, k), so a run resumes at any step
at once and exactly. tf.data's autotuner is off: with it, an iterator's end can wait seconds for its thread.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from pipelines import augment, encoded, tfrecords
from pipelines.additions import in_graph
from pipelines.cores import PARALLEL_CALLS
from pipelines.orders import AUGMENT, alternating_flips, epoch_orders, fold, step_orders, stream_seed
from pipelines.splits_base import shard_bounds

PREFETCH_BATCHES = 4


def train_stream(
    examples, view, *, augmentation, batch_size, steps_per_epoch, seed, start_step=0, shard=(0, 1), by_step=False,
    stage=None,
):  # fmt: skip
    """The endless training stream, see `Splits.train`.

    Args:
        examples, view, augmentation, batch_size, steps_per_epoch, seed, start_step, shard: as for `Splits.train`.
        by_step: whether it gives `(step, images, labels)`, each step on its own.
        stage: what is added to its batches, see `pipelines.additions.stage`.
    """
    flips = alternating_flips(len(examples), augmentation, seed, steps_per_epoch)

    def batches_of(order):
        if examples.images is not None:
            return _batches_from_memory(order, examples, view, augmentation, seed, batch_size, shard, flips, stage)
        return _batches_of_encoded(order, examples, view, augmentation, seed, batch_size, shard, flips, stage)

    def batch_of(step, positions):
        order = tf.data.Dataset.from_tensors((step, positions))
        return batches_of(order).map(lambda images, labels: (step, images, labels))

    where = (len(examples), batch_size, steps_per_epoch, seed, start_step)
    if by_step:
        # A stream of its own for each step: the service shares out the elements of a stream's source, and a source
        # that is read twice, as for images in large files, would be shared out twice, each time otherwise.
        stream = step_orders(*where).interleave(
            batch_of, cycle_length=PARALLEL_CALLS, block_length=1, num_parallel_calls=PARALLEL_CALLS
        )
    else:
        stream = batches_of(epoch_orders(*where))
    return stream.prefetch(PREFETCH_BATCHES).with_options(stream_options())


def evaluation_stream(examples, view, batch_size):
    """The examples in order, once, see `Splits.test`."""
    if examples.images is not None:
        stream = _in_order_from_memory(examples, view, batch_size)
    else:
        stream = _in_order_of_encoded(examples, view, batch_size)
    return stream.prefetch(PREFETCH_BATCHES).with_options(stream_options())


def batch_maker(examples, view, augmentation, seed, flips, on_device=False, part=None, stage=None):
    """Function `(step, positions) -> (images, labels)`: the batch of a step, from examples in memory.

    Args:
        examples, view, augmentation, seed, flips, stage: as for a stream.
        part: from which image of the batch to before which it is made; None for all of it.
        on_device: whether the data are copied to the device that TensorFlow takes by itself, for a function that is
            called in a training step there; else they stay on the CPU, where tf.data computes.
    """
    base = stream_seed(seed, AUGMENT)
    images, rows, labels = as_tensor(examples.images), tf.constant(examples.rows), tf.constant(examples.labels)
    if on_device:
        images, rows, labels = (tf.identity(part) for part in (images, rows, labels))

    def make(step, positions):
        batch = tf.gather(images, tf.gather(rows, positions))  # (batch, h, w, c) uint8
        crop_seed, shift_seed = tf.unstack(tf.random.split(fold(base, step), 2))
        if augmentation.resized_crop:
            batch = augment.random_resized_crops(batch, crop_seed, view.image_shape)
        mirrored = None if flips is None else flips(step, positions)
        batch = augment.augment_batch(_fit(batch, view.image_shape), shift_seed, augmentation, mirrored)
        targets = tf.gather(labels, positions)
        # The draws are the whole batch's, so that a part looks as it does in one piece.
        if stage is not None:
            numbers = stage.needed(part)
            batch, targets = tf.gather(_as_uint8(batch), numbers), tf.gather(targets, numbers)
            batch, targets = in_graph.whole(stage, batch, targets, step, part)
        elif part is not None:
            batch, targets = batch[part[0] : part[1]], targets[part[0] : part[1]]
        return augment.normalize(batch, view.mean, view.std), targets

    return make


def _batches_from_memory(order, examples, view, augmentation, seed, batch_size, shard, flips, stage):
    part = shard_bounds(batch_size, shard)
    make = batch_maker(examples, view, augmentation, seed, flips, part=part, stage=stage)
    return order.map(make, num_parallel_calls=PARALLEL_CALLS)


def _as_uint8(images):
    return images if images.dtype == tf.uint8 else augment.to_uint8(images)


def one_core_an_operation(stream):
    """Images are spread over the cores whole: to split one's operations too takes more processor time."""
    options = tf.data.Options()
    options.threading.max_intra_op_parallelism = 1
    return stream.with_options(options)


def _batches_of_encoded(order, examples, view, augmentation, seed, batch_size, shard, flips, stage):
    part = shard_bounds(batch_size, shard)
    numbers = np.arange(*part) if stage is None else stage.needed(part)
    rule = _rule(examples, view)
    base = stream_seed(seed, AUGMENT)
    labels = tf.constant(examples.labels)

    def examples_of(step, positions):
        """The draws of a whole batch at once: one by one they would take as long as a resize."""
        crop_seed, flip_seed, shift_seed = tf.unstack(tf.random.split(fold(base, step), 3))
        draws = augment.crop_draws(crop_seed, batch_size)
        mirrored = tf.random.stateless_uniform([batch_size], flip_seed) < (0.5 if augmentation.flip else 0.0)
        if flips is not None:
            mirrored = flips(step, positions)
        shift_seeds = tf.random.split(shift_seed, batch_size)
        chance = (draws.heights, draws.widths, draws.place, mirrored, shift_seeds)
        drawn = tuple(tf.gather(values, numbers) for values in (positions, *chance))
        return tf.data.Dataset.from_tensor_slices((*drawn, tf.fill([len(numbers)], step), numbers))

    def load(data, position, heights, widths, place, mirrored, shift_seed, step, number):
        if augmentation.resized_crop:
            image = encoded.random_resized_crop(data, heights, widths, place, mirrored, view.image_shape, rule)
        else:
            image = encoded.evaluation_pixels(data, view.image_shape, view.resize, rule)
            settled = None if flips is None else mirrored[None]
            image = augment.augment_batch(image[None], shift_seed, augmentation, settled)[0]
        if stage is not None:
            image = _as_uint8(image)
        if augmentation.changes_pixels:
            image = in_graph.change_pixels(stage, image, step, number)
        if augmentation.mixes:
            return image, labels[position], step
        return augment.normalize(image, view.mean, view.std), labels[position]

    stream = load_encoded(order.flat_map(examples_of), examples, load).batch(len(numbers), drop_remainder=True)
    if augmentation.mixes:

        def mix(images, targets, steps):
            images, targets = in_graph.mix(stage, images, targets, steps[0], part)
            return augment.normalize(images, view.mean, view.std), targets

        stream = stream.map(mix, num_parallel_calls=PARALLEL_CALLS)
    return one_core_an_operation(stream)


def _rule(examples, view):
    return dataclasses.replace(view.rule, only_usual=examples.only_usual)


def _in_order_of_encoded(examples, view, batch_size):
    labels, rule = tf.constant(examples.labels), _rule(examples, view)

    def load(data, position):
        image = encoded.evaluation_pixels(data, view.image_shape, view.resize, rule)
        return augment.normalize(image, view.mean, view.std), labels[position]

    positions = tf.data.Dataset.range(len(examples))
    return one_core_an_operation(load_encoded(positions, examples, load).batch(batch_size))


def load_encoded(stream, examples, load):
    """Map `load(data, position, *rest)` over a stream of `(position, *rest)`: data is the image's bytes."""
    rows = tf.constant(examples.rows)
    if examples.records is not None:
        records = tfrecords.as_tensors(examples.records)
        positions = stream.map(lambda position, *_: position)
        data = positions.interleave(
            lambda position: tfrecords.open_record(records, rows[position]),
            cycle_length=PARALLEL_CALLS, block_length=1, num_parallel_calls=PARALLEL_CALLS,
        )  # fmt: skip
        if not isinstance(stream.element_spec, tuple):
            stream = stream.map(lambda position: (position,))

        def load_record(record, element):
            return load(tfrecords.whole_image_in(records, record, rows[element[0]]), *element)

        return tf.data.Dataset.zip(data, stream).map(load_record, num_parallel_calls=PARALLEL_CALLS)
    if examples.encoded is not None:
        bytes_of = as_tensor(examples.encoded).__getitem__
    else:
        paths = tf.constant(examples.paths)

        def bytes_of(row):
            return tf.io.read_file(paths[row])

    return stream.map(
        lambda position, *rest: load(bytes_of(rows[position]), position, *rest), num_parallel_calls=PARALLEL_CALLS
    )


def _in_order_from_memory(examples, view, batch_size):
    images, rows, labels = as_tensor(examples.images), tf.constant(examples.rows), tf.constant(examples.labels)

    def load(step):
        batch_rows = rows[step * batch_size : (step + 1) * batch_size]
        batch = _fit(tf.gather(images, batch_rows), view.image_shape)
        return (
            augment.normalize(batch, view.mean, view.std),
            labels[step * batch_size : (step + 1) * batch_size],
        )

    steps = -(-len(examples) // batch_size)
    return tf.data.Dataset.range(steps).map(load, num_parallel_calls=PARALLEL_CALLS)


def _fit(batch, image_shape):
    """Scale a stored batch that was too large to be kept at `image_shape`."""
    if tuple(batch.shape[1:3]) == tuple(image_shape[:2]):
        return batch
    return augment.to_uint8(augment.resize(batch, *image_shape[:2]))


def as_tensor(values):
    """An array, of bytes too, as a tensor on the CPU: tf.data reads it there, a GPU's memory is for the model."""
    with tf.device("/CPU:0"):
        return tf.convert_to_tensor(values)


def stream_options():
    """Deterministic, no autotuner, each worker of several takes its share of every global batch."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options
