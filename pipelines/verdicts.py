"""What is said of images while each of them is looked at once: progress, and which kinds of files they are."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable

from pipelines.decoding.rule import HEAD_BYTES, USUAL
from pipelines.examples import Examples
from pipelines.printable import counted

logger = logging.getLogger(__name__)

REPORT_SECONDS = 5.0
WRONG_CHECKSUM = "in a record whose checksum is wrong"
Progress = Callable[[int, int], None]


def marked(examples: Examples) -> Examples:
    """Examples in files or in memory, with `only_usual` as the images' first bytes say."""
    return dataclasses.replace(examples, only_usual=all(head.startswith(USUAL) for head in _heads(examples)))


def _heads(examples):
    if examples.encoded is not None:
        yield from (bytes(data[:HEAD_BYTES]) for data in examples.encoded[examples.rows])
        return
    for row in examples.rows:
        try:
            with open(examples.paths[row], "rb", buffering=0) as file:
                yield file.read(HEAD_BYTES)
        except OSError:
            continue  # not decoded in any case


class Reporter:
    """Says how many images are done: to `progress`, or every few seconds to the log."""

    def __init__(self, total: int, done_what: str, progress: Progress | None = None):
        self.total, self.done_what, self.progress = total, done_what, progress
        self.reported = time.perf_counter()

    def __call__(self, done: int) -> None:
        if self.progress is not None:
            self.progress(done, self.total)
        elif time.perf_counter() - self.reported > REPORT_SECONDS:
            self.reported = time.perf_counter()
            logger.info("%s %s of %s", self.done_what, f"{done:,}", counted(self.total, "image"))
