"""Names of classes that look like one: they are used as they stand, and said."""

from __future__ import annotations

import logging

from pipelines.printable import printable
from pipelines.readers.raw import some_of

logger = logging.getLogger(__name__)
SHOWN = 5


def tell_alike(source: str, names: tuple[str, ...]) -> None:
    """Log the names of one data set that differ in capitals or spaces alone."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(" ".join(name.casefold().split()), []).append(name)
    pairs = [" and ".join(map(printable, group)) for group in alike.values() if len(group) > 1]
    if pairs:
        logger.warning(
            "%s: %s are different ones, and differ in capitals or spaces alone",
            printable(source),
            some_of(pairs, SHOWN),
        )
