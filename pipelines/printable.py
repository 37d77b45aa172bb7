"""Names of files and folders, and counts, as text that a terminal, a table and a JSON file can take."""

from unicodedata import category, east_asian_width

JOINERS = "\u200c\u200d"  # zero width, non-joiner and joiner


def printable(name) -> str:
    r"""A name with whatever is not printable as a backslash escape: `a\x1b[31m.png`, `caf\xe9.png`.

    Escape sequences that colour or clear a terminal, line ends, marks that reverse the direction of writing, and bytes
    that are no UTF-8, which Python keeps as lone surrogates. The joiners between letters of Persian and Indian scripts
    and the parts of an emoji stay: they are part of the spelling.
    """
    return "".join(one if one.isprintable() or one in JOINERS else _escape(one) for one in str(name))


def some_of(names: list[str], count: int = 10) -> str:
    """The first of many names, in one line."""
    more = f" and {len(names) - count:,} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: marks and joiners none, wide letters two."""
    return sum(0 if category(one) in ("Mn", "Me", "Cf") else 2 if east_asian_width(one) in "WF" else 1 for one in text)


def cut(text: str, most: int) -> str:
    """A text of at most so many columns; a longer one ends in three dots."""
    if columns(text) <= most:
        return text
    widths = (columns(text[: end + 1]) for end in range(len(text)))
    return "".join(one for one, width in zip(text, widths, strict=True) if width <= most - 3) + "..."


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 image`, `2,000 images`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # PEP 383: byte 0x80 + k
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
