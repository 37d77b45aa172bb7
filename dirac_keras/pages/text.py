"""Text as HTML that is nothing but text."""

import html
import itertools
import re
from unicodedata import bidirectional, category, east_asian_width

LEFT_TO_RIGHT = "\u200e"
JOINER, JOINERS = "\u200d", "\u200c\u200d"
MARKS = 2  # of a letter in a picture
LABEL = 60  # letters of a label in a legend
RIGHT_TO_LEFT = ("R", "AL", "RLE", "RLO", "RLI")
# No character of an HTML document: what a browser would drop or complain of.
_NO_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_SMALL_NUMBER = re.compile(r"(?<![\w.,])[-+]?\d[\d,]*(?:\.\d+)?e-\d+(?!\w)")


def escape(value):
    """The text of a value for HTML: markup in it is shown, quotes may stand in attributes.

    Args:
        value: anything that has a text. Control characters and the halves of broken file names become `U+FFFD`.
    """
    return html.escape(_NO_CHARACTERS.sub("\ufffd", str(value)))


def running(value):
    """The text of a value for HTML between tags, `escape`d, where a line does not end within `1.2e-30`.

    Browsers break a line behind a hyphen that has a letter before it.
    """
    return _SMALL_NUMBER.sub(r'<span class="whole">\g<0></span>', escape(value))


def isolated(value):
    """The texts in a record, each in one line, those that run from right to left kept apart from the text around them.

    A sentence puts a name between words of its own: without the two marks (Unicode's FSI and PDI) a bracket, a number
    or a second such name beside it would change its place. They are for pages; a terminal would show them. Of a name
    that is nothing but blanks, quotes say that it is there.

    Args:
        value: a text, or lists, tuples and dicts of anything with texts.

    Returns: the same with other texts; what is no text stays.
    """
    if isinstance(value, str):
        value = " ".join(value.split()) or (value and "' '")
        if not any(bidirectional(one) in RIGHT_TO_LEFT for one in value):
            return value
        # Left-to-right marks beside the slashes: the folders of a path stay in their order.
        return f"\u2068{value.replace('/', LEFT_TO_RIGHT + '/' + LEFT_TO_RIGHT)}\u2069"
    if isinstance(value, dict):
        return {isolated(key): isolated(one) for key, one in value.items()}
    return type(value)(map(isolated, value)) if type(value) in (list, tuple) else value


def drawable(name):
    """A name as a picture can have it: in one line, without control characters, a letter with two marks at most.

    Marks that no name needs would tower over the picture and make it as high as they are.
    """
    found = []
    for letter in letters(" ".join(str(name).split())):
        marks = [k for k, one in enumerate(letter) if category(one) in ("Mn", "Me") and not "\ufe00" <= one <= "\ufe0f"]
        found.append("".join(one for k, one in enumerate(letter) if k not in marks[MARKS:]))
    return "".join(one if one.isprintable() or one in JOINERS else "\ufffd" for one in "".join(found))


def in_place(name):
    """A name in a picture's text, which runs from left to right: what stands beside it stays on its side.

    Args:
        name: str. One with letters that run from right to left is put between left-to-right marks, for which every
            font has room; matplotlib from 3.11 on orders letters as Unicode says.
    """
    is_turned = any(bidirectional(one) in RIGHT_TO_LEFT for one in name)
    return f"{LEFT_TO_RIGHT}{name}{LEFT_TO_RIGHT}" if is_turned else name


def letters(text):
    """A text as the letters that its reader sees: each with its marks; an emoji of joined parts, or a flag, is one."""
    found = []
    for one in text:
        if found and (_extends(one) or found[-1].endswith(JOINER) or (_is_flag_half(one) and _is_flag_half(found[-1]))):
            found[-1] += one
        else:
            found.append(one)
    return found


def in_legend(name):
    """A name as the label of a line: whatever it holds, the legend has it, on its side, no wider than a picture."""
    name = in_place(shortened(drawable(name), LABEL))
    return f"{LEFT_TO_RIGHT}{name}" if name.startswith("_") else name  # which matplotlib leaves out of legends


def columns(text):
    """How wide a text is: its letters, those of Chinese, Japanese and Korean, and emoji, counted twice."""
    return sum(map(_columns_of, letters(text)))


def shortened(name, most=24):
    """A name at most `most` letters wide: of a longer one both ends, as names of one kind often end differently."""
    if columns(name) <= most:
        return name
    end = (most - 1) // 3
    head = _first(letters(name), most - 1 - end)
    tail = _first(letters(name)[::-1], end)[::-1]
    return f"{''.join(head).rstrip()}\N{HORIZONTAL ELLIPSIS}{''.join(tail).lstrip()}"


def _first(parts, most):
    """The first letters that are so wide together."""
    widths = itertools.accumulate(map(_columns_of, parts))
    return [part for part, width in zip(parts, widths, strict=True) if width <= most]


def _columns_of(letter):
    return 2 if any(east_asian_width(one) in "WF" for one in letter) else 1


def _extends(one):
    """Whether a character belongs to the letter before it: marks, joiners, skin tones, later parts of Hangul."""
    return (
        category(one) in ("Mn", "Me", "Mc", "Cf") or "\U0001f3fb" <= one <= "\U0001f3ff" or "\u1160" <= one <= "\u11ff"
    )


def _is_flag_half(text):
    return len(text) == 1 and "\U0001f1e6" <= text <= "\U0001f1ff"


def paragraphs(text):
    """Lines of text as paragraphs of HTML; empty lines are left out."""
    return "".join(f"<p>{running(line)}</p>\n" for line in str(text).splitlines() if line.strip())


def slug(text, taken):
    """An id for a heading: small letters, digits and hyphens, none of those that are taken."""
    base = re.sub(r"[^a-z0-9]+", "-", str(text).lower()).strip("-") or "part"
    found, count = base, 1
    while found in taken:
        count += 1
        found = f"{base}-{count}"
    return found
