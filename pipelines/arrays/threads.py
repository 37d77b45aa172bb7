"""The threads that prepare batches, and batches that are prepared before they are asked for.

Decoders and NumPy's loops let go of Python's lock, so threads share the work of a few cores, and arrays need not be
copied between processes.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from pipelines.cores import PARALLEL_CALLS

AHEAD = 4  # batches


@functools.cache
def pool() -> ThreadPoolExecutor:
    """This process's threads, made when they are first needed."""
    return ThreadPoolExecutor(PARALLEL_CALLS, thread_name_prefix="pipelines")


if hasattr(os, "register_at_fork"):  # threads stay in the parent
    os.register_at_fork(after_in_child=pool.cache_clear)


class Whole:
    """A batch that one thread prepares."""

    def __init__(self, make: Callable[[], tuple]):
        self.future: Future = pool().submit(make)

    def result(self) -> tuple:
        return self.future.result()

    def cancel(self) -> None:
        self.future.cancel()


class ImageByImage:
    """A batch whose images several threads prepare, each on its own.

    Args:
        shape: `(n, height, width, channels)`.
        make: number of an image -> its pixels.
        labels: of the images.
        finish: `(images, labels)` -> `(images, labels)`, by the thread that has made the last of them; None for none.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        make: Callable[[int], np.ndarray],
        labels: np.ndarray,
        finish: Callable | None = None,
    ):
        self.images, self.labels = np.empty(shape, np.float32), labels
        self._finish, self._left, self._lock = finish, shape[0], threading.Lock()
        self.futures = [pool().submit(self._put, make, k) for k in range(shape[0])]

    def _put(self, make, k):
        self.images[k] = make(k)
        with self._lock:
            self._left -= 1
            is_last = self._left == 0
        if is_last and self._finish is not None:
            self.images, self.labels = self._finish(self.images, self.labels)

    def result(self) -> tuple:
        try:
            for future in self.futures:
                future.result()
        except BaseException:
            self.cancel()
            raise
        return self.images, self.labels

    def cancel(self) -> None:
        for future in self.futures:
            future.cancel()


class Window:
    """Batches by their number; those behind the last that was asked for are prepared already.

    Args:
        start: number -> a batch in preparation, with `result` and `cancel`.
        count: how many there are; None for no end.
        ahead: how many are prepared beyond the one that is asked for.
    """

    def __init__(self, start: Callable, count: int | None = None, ahead: int = AHEAD):
        self.start, self.count, self.ahead = start, count, ahead
        self.waiting: dict = {}

    def get(self, number: int) -> tuple:
        """Batch `number`. In any order; in sequence it is there at once."""
        end = number + self.ahead + 1
        end = end if self.count is None else min(end, self.count)
        for other in [other for other in self.waiting if not number <= other < end]:
            self.waiting.pop(other).cancel()
        for other in range(number, end):
            if other not in self.waiting:
                self.waiting[other] = self.start(other)
        return self.waiting.pop(number).result()

    def close(self) -> None:
        """Give up what is not asked for any more."""
        for batch in self.waiting.values():
            batch.cancel()
        self.waiting.clear()
