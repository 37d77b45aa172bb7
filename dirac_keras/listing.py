"""Names, and the reasons of many of them, in one sentence: some of them, and how many there are besides."""

import itertools
import re
import unicodedata

SHOWN = 3  # names that a sentence gives
KINDS = 6  # reasons
_PARTICULARS = re.compile(r"'[^']*'|\d+(?:[.,]\d+)*")  # names and numbers: reasons that differ in these are of one kind


def listed(names, most=SHOWN, between=", "):
    """`a, b, c and 37 more`.

    Args:
        names: collection of texts, or of what has one. Line ends in them become spaces.
        most: int, how many are given.
        between: what stands between two of them; `"; "` of those that have commas.
    """
    names = [" ".join(str(name).splitlines()) for name in names]
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def quoted(names, most=SHOWN):
    """`'a', 'b', 'c' and 37 more`."""
    return listed([f"'{name}'" for name in names], most)


def find_name(name, names):
    """The position of a name that a user gives among those of some data; None if it is none of them.

    As it is written, else the only one that is the same in another form of Unicode: some systems write an accented
    letter as two characters, and readers of folders make it one.

    Args:
        name: str.
        names: list of str, all different.
    """
    if name in names:
        return names.index(name)
    wanted = unicodedata.normalize("NFC", name)
    alike = [place for place, known in enumerate(names) if unicodedata.normalize("NFC", known) == wanted]
    return alike[0] if len(alike) == 1 else None


def apart(there, here):
    """How two lists of names differ, by the first that do: `there a, b and c, here x, y and z`, or by their order."""
    pairs = [pair for pair in itertools.zip_longest(there, here) if pair[0] != pair[1]]
    own, given = (listed([name for name in side if name is not None]) for side in zip(*pairs, strict=True))
    order = "in another order, " if sorted(there) == sorted(here) else ""
    return f"{order}there {own or 'no more'}, here {given or 'no more'}"


def by_reason(reasons, most=SHOWN, kinds=KINDS):
    """Many names with a reason each in one sentence: `'a', 'b', 'c' and 37 more: it is shared; 'd': it has strides`.

    Reasons that differ in quoted names and in numbers alone are of one kind, told once: `'a': 'conv1' has strides;
    likewise 'b' and 'c'`, as each has another layer in its way. Of more kinds than `kinds` the rarest are counted.

    Args:
        reasons: dict, or pairs, of name -> reason.
        most: int, names given for each reason.
        kinds: int, reasons given.
    """
    found = kinds_of(reasons.items() if isinstance(reasons, dict) else reasons)
    frequent = sorted(range(len(found)), key=lambda place: -len(found[place]))[:kinds]
    said = [_of_kind(found[place], most) for place in sorted(frequent)]
    if count := len(found) - len(frequent):
        rest = sum(len(pairs) for place, pairs in enumerate(found) if place not in frequent)
        said.append(f"and {rest:,} more for {count} other reason{'s' if count > 1 else ''}")
    return "; ".join(said)


def kinds_of(pairs):
    """Lists of the pairs `(name, reason)` whose reasons are of one kind, in the order of their first."""
    found = {}
    for name, reason in pairs:
        found.setdefault(_PARTICULARS.sub("'", reason), []).append((name, reason))
    return list(found.values())


def _of_kind(pairs, most):
    reason = pairs[0][1]
    same = [name for name, other in pairs if other == reason]
    others = [name for name, other in pairs if other != reason]
    text = f"{quoted(same, most)}: {reason}"
    return f"{text}; likewise {quoted(others, most)}" if others else text
