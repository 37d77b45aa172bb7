"""Names that look like one: they are used as they stand, and said, or named beside each other in an error."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from pipelines.printable import printable, some_of

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


def beside_alike(names: Sequence[str], known: Iterable[str], where: str) -> list[str]:
    """Names that are not among the known ones, each with the one that differs in capitals alone, for an error."""
    alike = {name.casefold(): printable(name) for name in known}
    return [
        printable(name) + (f" ({where}: {alike[name.casefold()]})" if name.casefold() in alike else "")
        for name in names
    ]
