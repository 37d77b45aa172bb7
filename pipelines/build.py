"""The tf.data chains: order, gather, augment, normalise, prefetch.

The training stream is random access: batch `k` is a pure function of (seed, k), so a run resumes at any step
at once and exactly. tf.data's autotuner is off: with it, an iterator's end can wait seconds for its thread.
"""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import tensorflow as tf

from pipelines import augment

PARALLEL_CALLS = min(os.cpu_count() or 1, 16)
PREFETCH_BATCHES = 4
ENDLESS = np.iinfo(np.int64).max
# Streams of random numbers that must not meet: the order of an epoch and the augmentation of a batch.
ORDER, AUGMENT = 0, 1


@dataclasses.dataclass(frozen=True)
class View:
    """How stored images become a model's input; the fields are those of `DataSpec`."""

    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Images and labels of one split, either in memory or as file names.

    Args:
        labels: `(n,)` int32.
        images: `(m, h, w, c)` uint8 tensor on the CPU, or None. Splits of one source share it, hence:
        rows: `(n,)` int64, which row of `images` or `paths` belongs to each label.
        paths: `(m,)` strings, or None. Exactly one of `images` and `paths` is given.
    """

    labels: np.ndarray
    rows: np.ndarray
    images: tf.Tensor | None = None
    paths: np.ndarray | None = None

    @classmethod
    def in_memory(cls, images: np.ndarray, labels: np.ndarray) -> Examples:
        with tf.device("/CPU:0"):  # tf.data reads it there; a GPU's memory is for the model
            return cls(np.asarray(labels, np.int32), np.arange(len(labels)), images=tf.constant(images, tf.uint8))

    @classmethod
    def in_files(cls, paths: list[str], labels: np.ndarray) -> Examples:
        return cls(np.asarray(labels, np.int32), np.arange(len(labels)), paths=np.asarray(paths, dtype=object))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Examples:
        """The examples at `indices`, without a copy of the images."""
        return dataclasses.replace(self, labels=self.labels[indices], rows=self.rows[indices])


def train_stream(
    examples, view, *, augmentation, batch_size, steps_per_epoch, seed, start_step=0, part=(0, 1), by_step=False
):
    """The endless training stream, see `Splits.train`; `by_step`: `(step, images, labels)`, each step on its own."""
    orders = step_orders if by_step else epoch_orders
    order = orders(len(examples), batch_size, steps_per_epoch, seed, start_step)
    index, count = part
    rows = slice(batch_size * index // count, batch_size * (index + 1) // count)
    if examples.images is not None:
        stream = _batches_from_memory(order, examples, view, augmentation, seed, rows)
    else:
        stream = _batches_from_files(order, examples, view, augmentation, seed, batch_size, rows)
    if not by_step:
        stream = stream.map(lambda step, images, labels: (images, labels))
    return stream.prefetch(PREFETCH_BATCHES).with_options(stream_options())


def evaluation_stream(examples, view, batch_size):
    """The examples in order, once, see `Splits.test`."""
    if examples.images is not None:
        stream = _in_order_from_memory(examples, view, batch_size)
    else:
        stream = _in_order_from_files(examples, view, batch_size)
    return stream.prefetch(PREFETCH_BATCHES).with_options(stream_options())


def epoch_orders(num_examples, batch_size, steps_per_epoch, seed, start_step=0):
    """Endless pairs (step, `(batch,)` int64 positions): each epoch is a fresh permutation of all examples.

    `tf.random.experimental.index_shuffle` would need no permutation in memory, but its orders of successive
    epochs are correlated: 20 times more than chance at 50,000 examples (TF 2.21). The permutation costs 1 ms.
    """
    base = stream_seed(seed, ORDER)

    def epoch_batches(epoch):
        order = tf.random.experimental.stateless_shuffle(tf.range(num_examples, dtype=tf.int64), fold(base, epoch))
        batches = tf.reshape(order[: steps_per_epoch * batch_size], (steps_per_epoch, batch_size))
        return tf.data.Dataset.from_tensor_slices(batches)

    epoch, position = divmod(start_step, steps_per_epoch)
    batches = tf.data.Dataset.range(epoch, ENDLESS).flat_map(epoch_batches).skip(position)
    return tf.data.Dataset.zip((tf.data.Dataset.range(start_step, ENDLESS), batches))


def step_orders(num_examples, batch_size, steps_per_epoch, seed, start_step=0):
    """The pairs of `epoch_orders`, each made from its step alone, from one range of steps.

    What `pipelines.service` can hand out step by step; the permutation is drawn for every step, not every epoch.
    """
    base = stream_seed(seed, ORDER)

    def positions_of(step):
        epoch, position = step // steps_per_epoch, step % steps_per_epoch
        order = tf.random.experimental.stateless_shuffle(tf.range(num_examples, dtype=tf.int64), fold(base, epoch))
        positions = order[position * batch_size : (position + 1) * batch_size]
        return step, tf.ensure_shape(positions, (batch_size,))

    return tf.data.Dataset.range(start_step, ENDLESS).map(positions_of)


def _batches_from_memory(order, examples, view, augmentation, seed, rows_of_batch):
    base = stream_seed(seed, AUGMENT)
    images, rows, labels = examples.images, tf.constant(examples.rows), tf.constant(examples.labels)

    def load(step, positions):
        batch = tf.gather(images, tf.gather(rows, positions))  # (batch, h, w, c) uint8
        crop_seed, shift_seed = tf.unstack(tf.random.split(fold(base, step), 2))
        if augmentation.resized_crop:
            batch = augment.random_resized_crops(batch, crop_seed, view.image_shape)
        batch = augment.augment_batch(_fit(batch, view.image_shape), shift_seed, augmentation)
        batch = batch[rows_of_batch]  # not before: the random numbers are drawn for the whole batch
        return step, augment.normalize(batch, view.mean, view.std), tf.gather(labels, positions[rows_of_batch])

    return order.map(load, num_parallel_calls=PARALLEL_CALLS)


def _batches_from_files(order, examples, view, augmentation, seed, batch_size, rows_of_batch):
    base = stream_seed(seed, AUGMENT)
    paths, labels = tf.constant(examples.paths[examples.rows]), tf.constant(examples.labels)

    def examples_of(step, positions):
        seeds = tf.random.split(fold(base, step), batch_size)
        seeds, positions = seeds[rows_of_batch], positions[rows_of_batch]
        return tf.data.Dataset.from_tensor_slices((tf.fill(tf.shape(positions), step), seeds, positions))

    def load(step, example_seed, position):
        crop_seed, shift_seed = tf.unstack(tf.random.split(example_seed, 2))
        image = decode(tf.io.read_file(paths[position]), view.image_shape[2])
        if augmentation.resized_crop:
            image = augment.random_resized_crop(image, crop_seed, view.image_shape)[None]
        else:
            image = augment.evaluation_view(image, view.image_shape, view.resize)[None]
        image = augment.augment_batch(image, shift_seed, augmentation)[0]
        return step, augment.normalize(image, view.mean, view.std), labels[position]

    stream = order.flat_map(examples_of).map(load, num_parallel_calls=PARALLEL_CALLS)
    stream = stream.batch(rows_of_batch.stop - rows_of_batch.start, drop_remainder=True)
    return stream.map(lambda steps, images, labels: (steps[0], images, labels))


def _in_order_from_memory(examples, view, batch_size):
    images, rows, labels = examples.images, tf.constant(examples.rows), tf.constant(examples.labels)

    def load(step):
        batch_rows = rows[step * batch_size : (step + 1) * batch_size]
        batch = _fit(tf.gather(images, batch_rows), view.image_shape)
        return (
            augment.normalize(batch, view.mean, view.std),
            labels[step * batch_size : (step + 1) * batch_size],
        )

    steps = -(-len(examples) // batch_size)
    return tf.data.Dataset.range(steps).map(load, num_parallel_calls=PARALLEL_CALLS)


def _in_order_from_files(examples, view, batch_size):
    def load(path, label):
        image = decode(tf.io.read_file(path), view.image_shape[2])
        image = augment.evaluation_view(image, view.image_shape, view.resize)
        return augment.normalize(image, view.mean, view.std), label

    stream = tf.data.Dataset.from_tensor_slices((tf.constant(examples.paths[examples.rows]), examples.labels))
    return stream.map(load, num_parallel_calls=PARALLEL_CALLS).batch(batch_size)


def _fit(batch, image_shape):
    """Scale a stored batch that was too large to be kept at `image_shape`."""
    if tuple(batch.shape[1:3]) == tuple(image_shape[:2]):
        return batch
    return augment.to_uint8(augment.resize(batch, *image_shape[:2]))


def decode(data, channels):
    """JPEG, PNG, GIF (first frame), BMP or WebP bytes to uint8 `(h, w, channels)`."""
    image = tf.io.decode_image(data, channels=channels, expand_animations=False)
    image.set_shape((None, None, channels))
    return image


def stream_seed(seed, purpose):
    """A `(2,)` seed for one purpose, from the user's integer."""
    return tf.random.fold_in(tf.constant([seed, 0x5EED], tf.int64), purpose)


def fold(seed, number):
    """The seed of element `number`."""
    return tf.random.fold_in(seed, number)


def stream_options():
    """Deterministic, no autotuner, each worker of several takes its share of every global batch."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options
