"""Errors that a user can mend. Whatever else is raised is a fault of the software.

A message names the argument of the function, what it must be, the value received and the way out. An argument in
backquotes, as in "give another `workdir`, or `overwrite=True`", is spelled as an option by the command line.
"""

import contextlib
import difflib
import re


class UserError(ValueError):
    """An argument, a file or an environment that does not fit."""


class RunError(RuntimeError):
    """Something that was asked for correctly went wrong while it ran, such as a loss that diverged."""


class MissingExtra(ImportError):
    """A package that not every installation has; the message has the line that installs it."""


def missing_extra(purpose, package, extra):
    """A `MissingExtra`: what needs the package, and how to install it.

    Args:
        purpose: text, the subject of the sentence, such as `"tune"`.
        package: name of what is absent.
        extra: name of the extra in `setup.cfg` that brings it.
    """
    return MissingExtra(f"{purpose} needs {package}, which is not installed: pip install 'dirac_keras[{extra}]'")


def did_you_mean(name, known, most=3):
    """A sentence with the names that are like one that is not known; empty if none is, or it is no text."""
    close = difflib.get_close_matches(name, known, n=most, cutoff=0.5) if isinstance(name, str) else []
    return f"Did you mean {' or '.join(close)}?" if close else ""


def check_choice(name, value, choices):
    """Raise UserError unless `value` is one of the texts `choices`, with the nearest of them."""
    if not isinstance(value, str) or value not in choices:
        message = f"{name} must be one of {', '.join(choices)}. Received {name}={value!r}."
        raise UserError(f"{message} {did_you_mean(value, choices)}".rstrip())


@contextlib.contextmanager
def renaming(**names):
    """Within, errors name the arguments of an inner function as an outer one, or a command, does.

    Args:
        names: the inner argument = the outer one: `renaming(path="output")` makes `path: x exists; give another
            `path`` of a function's message the same of `output`. In backquotes it becomes an option where it leads.
    """
    try:
        yield
    except UserError as error:
        message = str(error)
        for name, ours in names.items():
            message = re.sub(rf"^{name}(?=[: ])", ours, message).replace(f"`{name}`", f"`{ours.strip('`')}`")
        if type(error) is not UserError or message == str(error):
            raise
        raise UserError(message) from error
