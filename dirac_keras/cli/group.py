"""The group `dirac-keras`, which imports a command when it is run and keeps what an error message needs."""

import dataclasses
import importlib

import rich_click as click

from dirac_keras.errors import MissingExtra
from dirac_keras.files.stderr import quiet_stderr


@dataclasses.dataclass
class Invocation:
    """What is known of one call of the program.

    Attributes:
        command: `click.Command` that runs, None before it is found.
        debug: bool, whether an error shows its traceback.
    """

    command: click.Command | None = None
    debug: bool = False


def debug_option(hidden=False):
    """`--debug`, as an option of the group or, hidden, of one of its commands."""

    def remember(context, option, value):
        if value:
            context.find_object(Invocation).debug = True

    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        hidden=hidden,
        callback=remember,
        help="Show the traceback of an error.",
    )


class LazyGroup(click.RichGroup):
    """A group whose commands are imported when they run: Keras and TensorFlow take seconds, `--help` needs neither.

    Args:
        where: dict, name of a command -> (its module, its function, the first sentence of its help text).
        params, options: as `click.Group`; its context's object must be an `Invocation`.
    """

    def __init__(self, *args, where, params=None, **options):
        super().__init__(*args, params=[*(params or ()), debug_option()], **options)
        self.where = where

    def list_commands(self, context):
        return list(self.where)

    def get_command(self, context, name):
        """A command's name and help line, for lists of commands."""
        if name not in self.where:
            return None
        return click.RichCommand(name, help=self.where[name][2])

    def resolve_command(self, context, arguments):
        """The command that the arguments call, imported."""
        name, command, rest = super().resolve_command(context, arguments)
        if command is not None:
            command = self.load(name)
            context.find_object(Invocation).command = command
        return name, command, rest

    def load(self, name):
        """The command itself."""
        _import_keras()
        module, function, _ = self.where[name]
        command = getattr(importlib.import_module(module), function)
        if not any(option.name == "debug" for option in command.params):
            command.params.append(debug_option(hidden=True))
        return command


def _import_keras():
    """Import Keras with its backend; TensorFlow's notices at that, which are no errors, are not shown."""
    try:
        with quiet_stderr():
            import keras  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"Keras cannot import {error.name}, which is not installed. Set KERAS_BACKEND to a backend that is "
            "installed (tensorflow or jax), or install tensorflow."
        ) from error
