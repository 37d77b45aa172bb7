"""The group `dirac-keras`, which imports a command when it is run and keeps what an error message needs."""

import dataclasses
import importlib
import importlib.util
import math
import os
import sys

import rich_click as click

from dirac_keras.cli.speech.json_option import separate_flag
from dirac_keras.errors import MissingExtra
from dirac_keras.files.stderr import QuietImport, quiet_stderr

LARGEST = 2**53  # up to which float64 has every whole number


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
        light: names of commands that need no Keras; their modules import none.
        params, options: as `click.Group`; its context's object must be an `Invocation`.
    """

    def __init__(self, *args, where, light=(), params=None, **options):
        super().__init__(*args, params=[*(params or ()), debug_option()], **options)
        self.where = where
        self.light = light

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
            rest = separate_flag(rest, command)
        return name, command, rest

    def load(self, name):
        """The command itself."""
        if name not in self.light:
            _import_keras()
        module, function, _ = self.where[name]
        command = getattr(importlib.import_module(module), function)
        if not any(option.name == "debug" for option in command.params):
            command.params.append(debug_option(hidden=True))
            bound_numbers(command)
        return command


class FiniteRange(click.FloatRange):
    """A range of numbers that NaN, which is below no bound and above none, is not in; nor is infinity."""

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


class _Bounded:
    """Beside a type of whole numbers: none beyond `LARGEST`. A bound that no one meets is not in the help text."""

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        if abs(number) > LARGEST:
            self.fail(f"whole numbers end at {LARGEST:,} here.", param, ctx)
        return number


class BoundedInt(_Bounded, click.types.IntParamType):
    """A whole number."""


class BoundedRange(_Bounded, click.IntRange):
    """A range of whole numbers without an upper end."""


def bound_numbers(command):
    """Give the options of whole numbers of a command an upper bound where they have none: see `LARGEST`.

    Beyond it no count means anything, and every library fails in its own way. Ranges of other numbers become finite.
    """
    for option in command.params:
        kind = option.type
        if kind is click.INT:
            option.type = BoundedInt()
        elif isinstance(kind, click.IntRange) and kind.max is None:
            option.type = BoundedRange(kind.min, None, kind.min_open)
        elif type(kind) is click.FloatRange:
            option.type = FiniteRange(kind.min, kind.max, kind.min_open, kind.max_open, kind.clamp)


def _import_keras():
    """Import Keras with its backend; TensorFlow's notices, at that and later, are no errors and not shown."""
    if not any(isinstance(each, QuietImport) for each in sys.meta_path):
        sys.meta_path.insert(0, QuietImport("tensorflow"))
    name = os.environ.get("KERAS_BACKEND") or "the one that is set in keras.json"
    found = [each for each in ("tensorflow", "jax") if importlib.util.find_spec(each) is not None]
    set_it = f"Set KERAS_BACKEND to a backend that is installed ({' or '.join(found)}), or i" if found else "I"
    way_out = f"{set_it}nstall tensorflow: pip install tensorflow."
    try:
        with quiet_stderr():
            import keras  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(f"Keras cannot import {error.name}, which is not installed. {way_out}") from error
    except (ImportError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise MissingExtra(f"Keras cannot be imported with its backend, {name}: {reason}. {way_out}") from error
