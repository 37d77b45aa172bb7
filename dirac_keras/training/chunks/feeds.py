"""Where the batches of a chunk come from: data that lie on the device, or batches that the host prepares (JAX).

A feed has `constants`, arrays that stay on the device; `take(step, count)`, what the program is given for so many
steps, padded to `capacity` of them; and `batch(constants, item)`, part of the compiled step, which makes the batch of
one of them.
"""

import collections
import time

import numpy as np

from dirac_keras.training.chunks import pixels

MIXED_PARTS = 256  # of the step between two levels of a pixel: the shares of mixed images are multiples of 1/256
STREAM_BYTES = 2**26  # of batches that a chunk takes to the device together, unless the user asks for more steps


class Feed:
    """What all feeds have in common: the host's part of the coming steps is made while the device computes.

    Args:
        capacity: int, steps that a chunk has room for.
        place: `Placement`.
    """

    constants = ()
    is_part = False  # whether each of several workers has its own rows of a batch alone

    def __init__(self, capacity, place):
        self.capacity = capacity
        self.place = place
        self._step = None  # of the first item

    def items(self, step):
        """Iterator, endless: of each step from one on, what its batch is made of; a tuple or dict of NumPy arrays."""
        raise NotImplementedError

    def batch(self, constants, item):
        """`(images, labels)` of a step."""
        return item

    def begin(self, step):
        """Be ready for the steps from one on."""
        if step != self._step:
            self._step = step
            self._iterator = self.items(step)
            self._items = collections.deque()
            self._ready = None  # (count, arrays) of the first items

    def prepare(self, count):
        """Make ready what `take` will probably be asked for."""
        if count:
            while len(self._items) < count:
                self._items.append(next(self._iterator))
            self._ready = count, self._stacked([self._items[index] for index in range(count)])

    def take(self, count):
        """The arrays of the next `count` steps, and perhaps of more: the program is told how many count."""
        if self._ready is None or self._ready[0] < count:
            self.prepare(count)
        arrays = self._ready[1]
        for _ in range(count):
            self._items.popleft()
        self._step, self._ready = self._step + count, None
        return arrays

    def _stacked(self, items):
        import jax

        def stack(*arrays):
            stacked = np.zeros((self.capacity, *arrays[0].shape), arrays[0].dtype)
            np.stack(arrays, out=stacked[: len(arrays)])
            return on_device(self.place, stacked, axis=1, is_part=self.is_part)

        return jax.tree.map(stack, *items)


class StoredFeed(Feed):
    """Batches cut on the device out of data that lie there, from the draws of each step.

    Args:
        splits: with `stored`, `draws`, `pixel_table`, `augmentation`, `stage` and `spec`.
        capacity: int, steps that a chunk has room for.
        place: `Placement`.
    """

    def __init__(self, splits, capacity, place):
        super().__init__(capacity, place)
        self.constants = tuple(on_device(place, array) for array in stored_arrays(splits))
        self._cut = Cut.of(splits)
        self._splits = splits

    def items(self, step):
        return self._cut.items(self._splits, step)

    def batch(self, constants, item):
        import jax

        images, labels = self._cut.batch(constants, item)
        layout = self.place.layout(images.ndim)
        if layout is not None:  # each device cuts its part of the batch out of its own copy of the data
            images = jax.lax.with_sharding_constraint(images, layout)
        return images, labels


def stored_arrays(splits):
    """What lies on the device, as NumPy arrays: images with their border, rows, labels, and the table of pixels."""
    stored, augmentation = splits.stored("train"), splits.augmentation
    return (
        pixels.pad(np.asarray(stored.images), augmentation.padding, augmentation.mode),
        np.asarray(stored.rows, "int32"),
        np.asarray(stored.labels),
        np.asarray(splits.pixel_table(MIXED_PARTS if augmentation.mixes else 1), "float32"),
    )


class Cut:
    """How a batch is cut out of stored images.

    Args:
        size: `(height, width)` of an image.
        has_padding, has_flip: bool, whether images are shifted, and mirrored.
        num_classes: int, of the labels.
        fill: levels of what is erased; None where nothing is.
        mixes: bool, whether images are mixed with the next ones of the batch.
    """

    def __init__(self, size, has_padding, has_flip, num_classes, fill=None, mixes=False):
        self.size = size
        self.has_padding = has_padding
        self.has_flip = has_flip
        self.num_classes = num_classes
        self.fill = fill
        self.mixes = mixes

    @classmethod
    def of(cls, splits):
        """The one of some `splits`."""
        augmentation, spec = splits.augmentation, splits.spec
        fill = splits.stage.fill if augmentation.erasing else None
        is_moved = augmentation.padding > 0, augmentation.flip
        return cls(tuple(spec.image_shape[:2]), *is_moved, spec.num_classes, fill, augmentation.mixes)

    def items(self, splits, step):
        """Of each step from one on, the draws that count, as a dict."""
        while True:
            drawn = splits.draws(step)
            item = {"positions": np.asarray(drawn.positions, "int32")}
            if self.has_padding:
                item |= {"rows": drawn.rows, "columns": drawn.columns}
            if self.has_flip:
                item["flips"] = drawn.flips
            if self.fill is not None:
                item["erased"] = splits.stage.erased(step)
            if self.mixes:
                item |= splits.stage.mixture(step)._asdict()
            yield item
            step += 1

    def batch(self, constants, item):
        """`(images, labels)`, from `stored_arrays` and the draws of a step."""
        images, rows, labels, table = constants
        positions = item["positions"]
        if self.has_padding:
            batch = pixels.windows(images, rows[positions], item["rows"], item["columns"], self.size)
        else:
            batch = images[rows[positions]]
        if self.has_flip:
            batch = pixels.mirror(batch, item["flips"])
        if self.fill is not None:
            batch = pixels.erase(batch, item["erased"], self.fill)
        batch_labels = labels[positions]
        if self.mixes:
            mixture = item["shares"], item["boxes"]
            batch = pixels.mix(batch, *mixture)
            batch_labels = pixels.mix_labels(batch_labels, item["label_shares"], self.num_classes)
        return pixels.look_up(batch, table), batch_labels


class StreamFeed(Feed):
    """Batches of a stream, so many on their way to the device together.

    Args:
        stream: function `start_step -> iterable of (images, labels)` without end.
        capacity: int, steps that a chunk has room for.
        place: `Placement`.
    """

    is_part = True

    def __init__(self, stream, capacity, place):
        super().__init__(capacity, place)
        self._stream = stream

    def items(self, step):
        for batch in self._stream(step):
            yield tuple(map(np.asarray, batch))


def on_device(place, array, axis=None, is_part=False):
    """An array of the host where a `Placement` computes: `Placement.share`, and on one device its memory."""
    import jax

    shared = place.share(array, axis, is_part)
    return jax.device_put(shared) if isinstance(shared, np.ndarray) else shared


class Waiting:
    """How long the device had nothing to do because the host was not ready.

    Attributes:
        seconds: float, so far.
    """

    def __init__(self):
        self.seconds = 0.0

    def add(self, done, ready):
        """Of a chunk: when the device was done with it, and when the next one was ready; seconds of one clock."""
        self.seconds += max(0.0, ready - done)


def clock():
    """Seconds, of the clock that `Waiting` takes."""
    return time.perf_counter()
