"""Where the batches of a chunk come from: data that lie on the device, or batches that the host prepares (JAX).

A feed has `constants`, arrays that stay on the device; `take(step, count)`, the arrays of so many steps, padded to
`capacity` of them; and `batch(constants, item)`, which is part of the compiled step.
"""

import collections
import time

import numpy as np

from dirac_keras.training.chunks import pixels

STREAM_BYTES = 2**26  # of batches that a chunk takes to the device together, unless the user asks for more steps


class StoredFeed:
    """Batches cut on the device out of data that lie there, from the draws of each step.

    Args:
        splits: with `stored`, `draws`, `pixel_table`, `augmentation` and `spec`.
        capacity: int, steps that a chunk has room for.
        place: `Placement`.
    """

    def __init__(self, splits, capacity, place):
        self.capacity = capacity
        self.place = place
        self._draws = splits.draws
        self._size = tuple(splits.spec.image_shape[:2])
        stored, padding = splits.stored("train"), splits.augmentation.padding
        self._has_padding, self._has_flip = bool(padding), splits.augmentation.flip
        self.constants = tuple(
            on_device(place, array)
            for array in (
                pixels.pad(np.asarray(stored.images), padding, splits.augmentation.mode),
                np.asarray(stored.rows, "int32"),
                np.asarray(stored.labels, "int32"),
                splits.pixel_table(),
            )
        )
        self._queue = _Queue(self._draws_from, self._stacked)

    def begin(self, step):
        """Be ready for the steps from one on."""
        self._queue.begin(step)

    def prepare(self, step, count):
        """Make ready, while the device computes, what `take` will probably be asked for."""
        self._queue.prepare(step, count)

    def take(self, step, count):
        """The draws of so many steps."""
        return self._queue.take(step, count)

    def batch(self, constants, item):
        """`(images, labels)` of a step."""
        images, rows, labels, table = constants
        positions = item["positions"]
        chosen = rows[positions]
        if self._has_padding:
            batch = pixels.windows(images, chosen, item["rows"], item["columns"], self._size)
        else:
            batch = images[chosen]
        if self._has_flip:
            batch = pixels.mirror(batch, item["flips"])
        return pixels.look_up(batch, table), labels[positions]

    def _draws_from(self, step):
        while True:
            draws = self._draws(step)
            item = {"positions": np.asarray(draws.positions, "int32")}
            if self._has_padding:
                item |= {"rows": draws.rows, "columns": draws.columns}
            if self._has_flip:
                item["flips"] = draws.flips
            yield item
            step += 1

    def _stacked(self, items):
        return {
            name: on_device(self.place, _padded_stack([item[name] for item in items], self.capacity), axis=1)
            for name in items[0]
        }


class StreamFeed:
    """Batches of a stream, so many on their way to the device together.

    Args:
        stream: function `start_step -> iterable of (images, labels)` without end.
        capacity: int, steps that a chunk has room for.
        place: `Placement`.
    """

    constants = ()

    def __init__(self, stream, capacity, place):
        self.capacity = capacity
        self.place = place
        self._queue = _Queue(lambda step: iter(stream(step)), self._stacked)

    def begin(self, step):
        """Be ready for the steps from one on."""
        self._queue.begin(step)

    def prepare(self, step, count):
        """Make ready, while the device computes, what `take` will probably be asked for."""
        self._queue.prepare(step, count)

    def take(self, step, count):
        """The batches of so many steps."""
        return self._queue.take(step, count)

    def batch(self, constants, item):
        """`(images, labels)` of a step."""
        return item

    def _stacked(self, items):
        return tuple(
            on_device(self.place, _padded_stack([np.asarray(part) for part in parts], self.capacity), axis=1)
            for parts in zip(*items, strict=True)
        )


class _Queue:
    """What the host has ready of the coming steps.

    Args:
        source: function `step -> iterator`, an item a step from there on.
        stack: function `items -> arrays` on the device.
    """

    def __init__(self, source, stack):
        self._source, self._stack = source, stack
        self._step = None  # of the first item

    def begin(self, step):
        if step == self._step:
            return
        self._step = step
        self._iterator = self._source(step)
        self._items = collections.deque()
        self._ready = None  # (count, arrays) of the first items

    def prepare(self, step, count):
        assert step == self._step
        if not count:
            return
        self._fill(count)
        self._ready = count, self._stack([self._items[index] for index in range(count)])

    def take(self, step, count):
        assert step == self._step
        if self._ready is None or self._ready[0] < count:
            self.prepare(step, count)
        arrays = self._ready[1]  # of more steps, perhaps: the program is told how many count
        for _ in range(count):
            self._items.popleft()
        self._step, self._ready = step + count, None
        return arrays

    def _fill(self, count):
        while len(self._items) < count:
            self._items.append(next(self._iterator))


def on_device(place, array, axis=None):
    """An array of the host where a `Placement` computes; of several devices each has its part of the batch `axis`."""
    import jax

    shared = place.share(array, axis)
    return jax.device_put(shared) if isinstance(shared, np.ndarray) else shared


def _padded_stack(arrays, capacity):
    """Arrays as one of `capacity` of them; zeros behind."""
    stacked = np.zeros((capacity, *arrays[0].shape), arrays[0].dtype)
    np.stack(arrays, out=stacked[: len(arrays)])
    return stacked


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
