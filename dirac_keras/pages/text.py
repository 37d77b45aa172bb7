"""Text as HTML that is nothing but text."""

import html
import re

# No character of an HTML document: what a browser would drop or complain of.
_NO_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def escape(value):
    """The text of a value for HTML: markup in it is shown, quotes may stand in attributes.

    Args:
        value: anything that has a text. Control characters and the halves of broken file names become `U+FFFD`.
    """
    return html.escape(_NO_CHARACTERS.sub("\ufffd", str(value)))


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
