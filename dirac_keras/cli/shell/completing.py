"""What a shell is told when it completes: from a table, since the commands themselves import Keras for seconds."""

import os
import pathlib

import click
from click.shell_completion import CompletionItem, shell_complete

from dirac_keras.cli.shell.completion_table import COMMANDS, DATA

PROGRAM = "dirac-keras"
VARIABLE = "_DIRAC_KERAS_COMPLETE"  # what click's scripts set
DEPTH, MOST = 3, 50  # of folders that are searched for runs, and of runs that are offered
DEFAULT = "list"  # of `runs`


class _Words(click.ParamType):
    """Words to choose from; behind a comma or a plus sign the next of several."""

    name = "words"

    def __init__(self, words):
        self.words = words

    def shell_complete(self, context, parameter, incomplete):
        cut = max(incomplete.rfind(","), incomplete.rfind("+")) + 1
        before, begun = incomplete[:cut], incomplete[cut:]
        return [CompletionItem(before + word) for word in self.words if word.startswith(begun)]


class _Path(click.ParamType):
    """A file or a folder, which the shell completes itself."""

    name = "path"

    def __init__(self, kind):
        self.kind = kind

    def shell_complete(self, context, parameter, incomplete):
        return [CompletionItem(incomplete, type=self.kind)]


class _Run(click.ParamType):
    """The folder of a run below what is typed; else any file."""

    name = "run"

    def shell_complete(self, context, parameter, incomplete):
        found = find_runs(incomplete)
        return [CompletionItem(path) for path in found] or [CompletionItem(incomplete, type="file")]


def find_runs(begun):
    """Paths of folders with a `config.json` and a `metrics.csv` whose path begins so, as it was typed.

    Args:
        begun: str, the beginning of a path.
    """
    top = pathlib.Path(begun).parent if begun and not begun.endswith(os.sep) else pathlib.Path(begun or ".")
    found = []
    depth = len(top.parts)
    for where, folders, names in os.walk(top):
        if {"config.json", "metrics.csv"} <= set(names):
            path = os.path.normpath(where)
            if path.startswith(begun.removeprefix(f".{os.sep}")) and path != ".":
                found.append(path)
            folders.clear()
        if len(pathlib.Path(where).parts) - depth >= DEPTH or len(found) >= MOST:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    return sorted(found)


class _Group(click.Group):
    """A group that may have a command that needs no name."""

    def parse_args(self, context, arguments):
        if DEFAULT in self.commands and arguments and arguments[0] not in self.commands:
            arguments = [DEFAULT, *arguments]
        return super().parse_args(context, arguments)

    def shell_complete(self, context, incomplete):
        items = super().shell_complete(context, incomplete)
        if DEFAULT in self.commands:
            command = self.commands[DEFAULT]
            inner = click.Context(command, parent=context, info_name=DEFAULT, resilient_parsing=True)
            items += command.shell_complete(inner, incomplete)
            items += [] if items else [CompletionItem(incomplete, type="dir")]
        return items


def _type(kind):
    if isinstance(kind, list):
        return _Words(kind)
    if kind == "data":
        return _Words(DATA)
    return {"run": _Run(), "dir": _Path("dir"), "file": _Path("file")}.get(kind, click.STRING)


def _command(name, entry):
    if "commands" in entry:
        inner = {one: _command(one, value) for one, value in entry["commands"].items()}
        return _Group(name, commands=inner, help=entry["help"])
    parameters = [
        click.Argument([argument], type=_type(kind), nargs=nargs, required=False)
        for argument, kind, nargs in entry["arguments"]
    ]
    for flags, kind, text in entry["options"]:
        if kind == "flag":
            parameters.append(click.Option(["/".join(flags)], is_flag=True, help=text))
        else:
            parameters.append(click.Option(flags, type=_type(kind), help=text, multiple=True))
    return click.Command(name, params=parameters, help=entry["help"])


def build_group():
    """The program as a `click.Group` that runs nothing."""
    return _Group(PROGRAM, commands={name: _command(name, entry) for name, entry in COMMANDS.items()})


def complete(instruction):
    """Answer a shell. Args: str, what `VARIABLE` holds. Returns: the exit status."""
    return shell_complete(build_group(), {}, PROGRAM, VARIABLE, instruction)
