"""What in the names of classes and labels looks like a mistake: it is used as it stands, and said."""

from __future__ import annotations

import logging

from pipelines.printable import printable
from pipelines.readers.raw import some_of
from pipelines.readers.tables.columns import MISSING

logger = logging.getLogger(__name__)
SHOWN = 5


def tell_doubts(source: str, names: tuple[str, ...]) -> None:
    """Log the names that differ in capitals or spaces alone, that are words for nothing, or that join others."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(" ".join(name.casefold().split()), []).append(name)
    pairs = [" and ".join(map(printable, group)) for group in alike.values() if len(group) > 1]
    missing = [printable(name) for name in names if name.casefold() in MISSING]
    known = set(names)
    joined = [printable(name) for name in names if "," in name and known & {part.strip() for part in name.split(",")}]
    for found, what in (
        (pairs, "are different ones, and differ in capitals or spaces alone"),
        (missing, "are taken as names: leave the cells of rows without a label empty"),
        (joined, "are names with a comma, not several labels: those are separated by | or ;"),
    ):
        if found:
            logger.warning("%s: %s %s", printable(source), some_of(found, SHOWN), what)
