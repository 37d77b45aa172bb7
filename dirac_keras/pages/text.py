"""Text as HTML that is nothing but text."""

import html
import re
from unicodedata import bidirectional

LEFT_TO_RIGHT = "\u200e"
RIGHT_TO_LEFT = ("R", "AL", "RLE", "RLO", "RLI")
# No character of an HTML document: what a browser would drop or complain of.
_NO_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def escape(value):
    """The text of a value for HTML: markup in it is shown, quotes may stand in attributes.

    Args:
        value: anything that has a text. Control characters and the halves of broken file names become `U+FFFD`.
    """
    return html.escape(_NO_CHARACTERS.sub("\ufffd", str(value)))


def isolated(value):
    """The texts in a record, those with letters that run from right to left kept apart from the text around them.

    A sentence puts a name between words of its own: without the two marks (Unicode's FSI and PDI) a bracket, a number
    or a second such name beside it would change its place. They are for pages; a terminal would show them.

    Args:
        value: a text, or lists, tuples and dicts of anything with texts.

    Returns: the same with other texts; what is no text stays.
    """
    if isinstance(value, str):
        if not any(bidirectional(one) in RIGHT_TO_LEFT for one in value):
            return value
        # Left-to-right marks beside the slashes: the folders of a path stay in their order.
        return f"\u2068{value.replace('/', LEFT_TO_RIGHT + '/' + LEFT_TO_RIGHT)}\u2069"
    if isinstance(value, dict):
        return {isolated(key): isolated(one) for key, one in value.items()}
    return type(value)(map(isolated, value)) if type(value) in (list, tuple) else value


def in_place(name):
    """A name in a picture's text, which runs from left to right: what stands beside it stays on its side.

    Args:
        name: str. One with letters that run from right to left is put between left-to-right marks, for which every
            font has room; matplotlib from 3.11 on orders letters as Unicode says.
    """
    is_turned = any(bidirectional(one) in RIGHT_TO_LEFT for one in name)
    return f"{LEFT_TO_RIGHT}{name}{LEFT_TO_RIGHT}" if is_turned else name


def shortened(name, most=24):
    """A name of at most `most` letters: of a longer one both ends, as names of one kind often end differently."""
    if len(name) <= most:
        return name
    end = (most - 1) // 3
    return f"{name[: most - 1 - end].rstrip()}\N{HORIZONTAL ELLIPSIS}{name[-end:].lstrip()}"


def paragraphs(text):
    """Lines of text as paragraphs of HTML; empty lines are left out."""
    return "".join(f"<p>{escape(line)}</p>\n" for line in str(text).splitlines() if line.strip())


def slug(text, taken):
    """An id for a heading: small letters, digits and hyphens, none of those that are taken."""
    base = re.sub(r"[^a-z0-9]+", "-", str(text).lower()).strip("-") or "part"
    found, count = base, 1
    while found in taken:
        count += 1
        found = f"{base}-{count}"
    return found
