"""`--json`: what a command reports, as JSON alone on standard output, or in a file."""

import contextlib
import functools
import json
import math
import os
import pathlib

import rich_click as click

from dirac_keras.cli.speech.output import console, say, write_json
from dirac_keras.errors import UserError
from dirac_keras.files.places import check_place

FLAG = "--json"
STANDARD_OUTPUT = "-"
SUFFIX = ".json"


class _Target(click.ParamType):
    name = "file"

    def convert(self, value, param, ctx):
        if value != STANDARD_OUTPUT and not value.endswith(SUFFIX):
            self.fail(f"takes a file that ends in {SUFFIX}, or nothing for standard output; received {value!r}",
                      param, ctx)  # fmt: skip
        return value


def json_option(help):
    """A decorator: `--json [FILE.json]`, which the command takes as `as_json`: None, `"-"` or a path.

    A file that exists is refused before the command begins, unless it has an option `--overwrite` that was given. With
    `"-"` whatever else the command says goes to standard error; a table that says the same is better left out
    (`is_quiet`).

    Args:
        help: sentence of the help text, such as `"Print JSON instead of the table."`.
    """

    def add(command):
        @functools.wraps(command)
        def with_json(*arguments, as_json, **values):
            if as_json not in (None, STANDARD_OUTPUT):
                _refuse(as_json, values.get("overwrite", False))
            with _words_on_stderr() if is_quiet(as_json) else contextlib.nullcontext():
                return command(*arguments, as_json=as_json, **values)

        return click.option(
            FLAG, "as_json", type=_Target(), is_flag=False, flag_value=STANDARD_OUTPUT, metavar="[FILE.json]",
            help=f"{help} With a file, write it there.",
        )(with_json)  # fmt: skip

    return add


def is_quiet(as_json):
    """Whether standard output is for the JSON alone."""
    return as_json == STANDARD_OUTPUT


def emit(as_json, record):
    """Print or write what a command reports, if it was asked for.

    Args:
        as_json: what `json_option` gave.
        record: JSON-safe dict or list. A number that is NaN or infinite, which JSON has not, becomes null.
    """
    if as_json is None:
        return
    record = without_nonfinite(record)
    if is_quiet(as_json):
        click.echo(json.dumps(record))
        return
    write_json(pathlib.Path(as_json), record)
    say(f"written: {as_json}")


def without_nonfinite(value):
    """A JSON-safe value with None for numbers that are NaN or infinite."""
    if isinstance(value, dict):
        return {name: without_nonfinite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nonfinite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def separate_flag(arguments, command):
    """The arguments of a command in which a `--json` without a file takes no positional argument for one.

    Args:
        arguments: list of str.
        command: `click.Command`.
    """
    if not any(FLAG in option.opts and not option.is_flag for option in getattr(command, "params", ())):
        return arguments
    separated = []
    for number, word in enumerate(arguments):
        if word == "--":
            return separated + arguments[number:]
        following = arguments[number + 1] if number + 1 < len(arguments) else ""
        takes_file = following == STANDARD_OUTPUT or following.endswith(SUFFIX)
        separated.append(f"{FLAG}={STANDARD_OUTPUT}" if word == FLAG and not takes_file else word)
    return separated


@contextlib.contextmanager
def _words_on_stderr():
    before, console.stderr = console.stderr, True
    try:
        yield
    finally:
        console.stderr = before


def _refuse(path, overwrite):
    check_place(path, "`as_json`")
    if os.path.lexists(path) and not overwrite:
        context = click.get_current_context(silent=True)
        can_replace = context is not None and any(option.name == "overwrite" for option in context.command.params)
        or_replace = ", or `overwrite=True` to replace it" if can_replace else ""
        raise UserError(f"`as_json`: {path} exists. Give another file{or_replace}.")
