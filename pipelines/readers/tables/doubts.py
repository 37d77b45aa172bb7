"""What in the names of classes and labels looks like a mistake: it is used as it stands, and said."""

from __future__ import annotations

import logging

from pipelines.printable import printable, some_of
from pipelines.readers.alike import tell_alike
from pipelines.readers.tables.columns import MISSING

logger = logging.getLogger(__name__)
SHOWN = 5


def tell_doubts(source: str, names: tuple[str, ...]) -> None:
    """Log the names that differ in capitals or spaces alone, that are words for nothing, or that join others."""
    tell_alike(source, names)
    missing = [printable(name) for name in names if name.casefold() in MISSING]
    known = set(names)
    joined = [printable(name) for name in names if "," in name and known & {part.strip() for part in name.split(",")}]
    for found, what in (
        (missing, "are taken as names: leave the cells of rows without a label empty"),
        (joined, "are names with a comma, not several labels: those are separated by | or ;"),
    ):
        if found:
            logger.warning("%s: %s %s", printable(source), some_of(found, SHOWN), what)
