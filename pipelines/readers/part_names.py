"""Which part of a data set a folder holds, by its name: people write `Train`, `training_set`, `val2017` or `dev`."""

from __future__ import annotations

import re

PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev", "development", "eval", "evaluation"),
    "test": ("test", "testing"),
}
PART_OF = {word: part for part, words in PARTS.items() for word in words}
FILLERS = frozenset({"set", "data", "dataset", "split", "image", "images", "img", "imgs"})


def part_of(name: str) -> str | None:
    """ "train", "validation" or "test"; None for any other name.

    Capitals do not count, nor do words such as `set` or `images` beside the part's, or a year behind it.
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s_.\-]+", " ", name).casefold()
    words = [word for word in re.sub(r"(19|20)\d\d$", "", words.strip()).split() if word not in FILLERS]
    return PART_OF.get(re.sub(r"(set|data|images)$", "", words[0])) if len(words) == 1 else None


def describe_names() -> str:
    """The names of the parts, for a message."""
    return "; ".join(f"{part}: {', '.join(words)}" for part, words in PARTS.items())
