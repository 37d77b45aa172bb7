"""How the commands speak: lines, tables and files."""

import json
import logging
import sys

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dirac_keras.cli.speech.spelling import spell_options
from dirac_keras.files.atomic import write_text

# A file or a pipe has no width; 80 columns would break lines that people search.
WIDTH = None if sys.stdout.isatty() else 160


class _Console(Console):
    """Rich's, which would end the process without a word where nobody reads any more."""

    def on_broken_pipe(self):
        raise


console = _Console(width=WIDTH)
stderr = Console(stderr=True, width=WIDTH)


TAKEN = "\n\t\u200c\u200d"


def printable(text):
    """A text that leaves the terminal as it is: names out of files may hold escape sequences, or turn text around.

    Line ends, tabs and the joiners in Persian, Indian scripts and emoji stay; other characters that are not printable,
    and bytes that are no UTF-8, become `\\x1b`.
    """
    return "".join(c if c.isprintable() or c in TAKEN else _escaped(c) for c in str(text))


def _escaped(character):
    if "\udc80" <= character <= "\udcff":  # a byte of a file name that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def say(text):
    """Print a line as it is: paths and class names are no markup, and a path is not broken."""
    console.print(printable(text), highlight=False, markup=False, soft_wrap=True)


class OptionFormatter(logging.Formatter):
    """Log lines whose arguments in backquotes are spelled as the command's options.

    Args:
        invocation: `Invocation`; its command is known when a line is logged.
    """

    def __init__(self, invocation):
        super().__init__("%(message)s")
        self.invocation = invocation

    def format(self, record):
        return printable(spell_options(super().format(record), self.invocation.command))


def leave_out(message):
    """Print why one of several things is passed over, and go on: not an error, of which a command has one, its last."""
    stderr.print(Text.assemble(("Left out:", "bold yellow"), " ", printable(message)), soft_wrap=True)


def fail(message, code):
    """Print what went wrong and end the process with the exit status `code`."""
    stderr.print(Text.assemble(("Error:", "bold red"), " ", printable(message)), soft_wrap=True)
    sys.exit(code)


def print_rows(title, rows):
    """A table of dicts, a line each; numbers to the right."""
    table = Table(title=Text(printable(title)), header_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1))
    for number, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(" ".join(printable(cell).splitlines())) for cell in row.values()))
    console.print(table)


def write_json(path, record):
    """Write a dict to a file, indented."""
    write_text(path, json.dumps(record, indent=2) + "\n")
