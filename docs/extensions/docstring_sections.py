"""A griffe extension: our docstring sections, as the API reference's reader of Google style expects them.

The package writes `Returns: a model.` on one line, and `width, height: pixels` for two arguments of one meaning, where
Google style has a heading with an indented block and one entry a name. The docstrings stay as they are.
"""

import itertools
import re
import textwrap

import griffe

# Become paragraphs with a bold heading; in a section of its own, what is returned would be set as a type, as code.
PARAGRAPHS = ("Returns", "Yields", "Source", "Input shape", "Weights", "Call")
ONE_LINE = re.compile(rf"^({'|'.join(('Raises', *PARAGRAPHS))}): +(\S.*)$")
BLOCK = re.compile(r"^(Args|Attributes):$")
NAMES = re.compile(r"^(\w+(?:,\s+\w+)*): (.*)$", re.DOTALL)
EXCEPTION = re.compile(r"(?:^|(?<=[.;] ))(?=[A-Z]\w+: )")  # "ValueError: if a. TypeError: if b." parts before each


class DocstringSections(griffe.Extension):
    """Rewrites the docstrings of a package before they are parsed."""

    def on_package(self, *, pkg, **kwargs):
        for thing in _objects(pkg):
            if thing.docstring:
                thing.docstring.value = rewrite(thing.docstring.value, _takes_more(thing))


def _objects(thing):
    yield thing
    for member in thing.members.values():
        if not member.is_alias:
            yield from _objects(member)


def _takes_more(thing):
    """Names in the signature if it ends in `**kwargs`, which pass other arguments on; else None."""
    parameters = getattr(thing, "parameters", None) or []
    if any(parameter.kind is griffe.ParameterKind.var_keyword for parameter in parameters):
        return {parameter.name for parameter in parameters}
    return None


def rewrite(docstring, signature=None):
    """The docstring in Google style.

    Args:
        docstring: str, dedented.
        signature: set of the argument names that the signature spells out, where it takes others too.
    Returns: str.
    """
    lines, result = docstring.splitlines(), []
    while lines:
        line = lines.pop(0)
        if match := ONE_LINE.match(line):
            text = " ".join([match[2], *(more.strip() for more in _indented(lines))])
            result += ["", *_section(match[1], text), ""]
        elif match := BLOCK.match(line):
            result += ["", *_entries(match[1], _indented(lines), signature), ""]
        elif line == "Example:":
            code = list(itertools.takewhile(str.strip, lines))
            del lines[: len(code)]
            result += ["", "Examples:", *textwrap.indent(textwrap.dedent("\n".join(code)), "    ").splitlines(), ""]
        else:
            result.append(line)
    return "\n".join(result)


def _indented(lines):
    """Take the indented lines, and blank ones between them, from the front."""
    taken = []
    while lines and (lines[0].startswith(" ") or (not lines[0] and len(lines) > 1 and lines[1].startswith(" "))):
        taken.append(lines.pop(0))
    return taken


def _section(name, text):
    if name in PARAGRAPHS:
        return [f"**{name}:** {text}"]
    items = [item.strip() for item in EXCEPTION.split(text) if item.strip()] if name == "Raises" else [text]
    return [f"{name}:", *textwrap.indent("\n".join(items), "    ").splitlines()]


def _entries(name, lines, signature):
    entries, others = [], []
    for item in re.split(r"\n(?=\S)", textwrap.dedent("\n".join(lines))):
        names = NAMES.match(item)
        for one, text in [(part, names[2]) for part in re.split(r",\s+", names[1])] if names else [(None, item)]:
            unknown = signature is not None and name == "Args" and one not in signature
            (others if unknown else entries).append(f"{one}: {text}" if one else text)
    blocks = [(f"{name}:", entries), ("Keyword Args:", others)]
    return [line for title, items in blocks if items for line in (title, *_indent(items), "")]


def _indent(items):
    return textwrap.indent("\n".join(items), "    ").splitlines()
