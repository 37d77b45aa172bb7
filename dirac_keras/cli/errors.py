"""What the program says, and the status it ends with, when something goes wrong.

| status | what happened |
|---|---|
| 1 | an argument, a file or an environment does not fit, or the run failed: one line says what and how to mend it |
| 2 | the command line itself is wrong: an unknown option, a word where a number belongs |
| 70 | a fault of the software: one line names the exception and the log file that has the traceback |
| 130, 143 | interrupted by Ctrl-C, by SIGTERM |
"""

import datetime
import errno
import os
import pathlib
import re
import shlex
import sys
import tempfile
import traceback

import rich_click as click

from dirac_keras.cli.output import fail
from dirac_keras.cli.spelling import spell_options
from dirac_keras.errors import MissingExtra, RunError, UserError
from dirac_keras.version import __version__

FAULT = 70  # EX_SOFTWARE of sysexits.h
_OURS = ("dirac_keras", "pipelines", "tuning")
# The disk is full, or the user's share of it: such an error often carries no file name.
_DISK_IS_FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT") if hasattr(errno, name)}
# Option that there was -> the one that took its place.
RENAMED_OPTIONS = {"--kind": "--layout", "--variant": "--layout"}


def end_with(error, invocation):
    """Print an exception in one line and end the process.

    Args:
        error: exception that a command has raised.
        invocation: `Invocation`. With `debug`, the traceback is printed instead, and the status is the same.
    """
    message = explain(error)
    if message is not None:
        message = spell_options(message, invocation.command)
    status = FAULT if message is None else 1
    if invocation.debug:
        traceback.print_exception(error)
        sys.exit(status)
    fail(message if message is not None else describe_fault(error), status)


def explain(error):
    """One line for an error that is the user's or the run's; None for a fault of the software.

    An error that a framework has raised from one of ours counts as ours.
    """
    while error is not None:
        if line := explain_pipeline(error) or explain_memory(error):
            return line
        if is_of_an_absent_package(error):
            return f"this command needs the package {error.name}, which is not installed: pip install dirac_keras."
        if is_expected(error):
            return " ".join(str(error).split())
        error = error.__cause__
    return None


def is_expected(error):
    """Whether an error says something that its reader can act on."""
    if isinstance(error, OSError):
        return error.filename is not None or error.errno in _DISK_IS_FULL
    if isinstance(error, ImportError):  # one of an import statement has the module's name; without, it is a sentence
        return isinstance(error, MissingExtra) or error.name is None
    # `pipelines` imports nothing of ours. Where it is not imported, no error is its.
    data_error = getattr(sys.modules.get("pipelines.examples"), "DataError", UserError)
    return isinstance(error, (UserError, RunError, data_error))


def is_of_an_absent_package(error):
    """Whether an import statement has not found a package of others."""
    return isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] not in _OURS


def explain_pipeline(error):
    """One line for what TensorFlow's input pipeline says of an image's bytes or of the data service; else None.

    TensorFlow gives an exception of Python code in a pipeline as text within one of its own.
    """
    if not type(error).__module__.startswith("tensorflow."):
        return None
    text = str(error).strip()
    if service := re.search(r"data_service: [^\n]+", text):
        return service[0]
    if type(error).__name__ == "InvalidArgumentError" and re.search(r"JPEG|PNG|image (file|data)", text):
        first_line = text.splitlines()[0][:300]
        return f"an image cannot be decoded, though it begins and ends as one: {first_line}. Repair or remove it."
    return None


def explain_memory(error):
    """One line where the memory of the machine or of a device did not suffice; else None."""
    kind, text = type(error).__name__, str(error).strip()
    if isinstance(error, MemoryError) or kind == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in text:
        first_line = (text.splitlines() or [kind])[0][:300]
        return f"out of memory: {first_line}. Lower `batch_size`, or use a smaller network."
    return None


def describe_fault(error):
    """One line for an exception that nobody expected; its traceback goes to a file that the line names."""
    text = " ".join(str(error).split())[:300]
    what = f"this is a fault of dirac-keras, not yours: {type(error).__name__}{f': {text}' if text else ''}"
    try:
        path = write_log(error)
    except OSError as unwritten:
        return f"{what}. Its traceback could not be written ({unwritten}); add --debug to see it."
    return f"{what}. Its traceback is in {path}; please report it."


def write_log(error):
    """Write the traceback of an exception, with the command and the version, to a new file for temporary files.

    Returns: `pathlib.Path`, `dirac-keras-error-<date-time>-<process>.log` in the system's temporary folder.
    Raises: OSError: if it cannot be written.
    """
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    path = pathlib.Path(tempfile.gettempdir()) / f"dirac-keras-error-{now}-{os.getpid()}.log"
    lines = [
        f"dirac_keras {__version__}, Python {sys.version.split()[0]}\n",
        f"{shlex.join(sys.argv)}\n\n",
        *traceback.format_exception(error),
    ]
    with open(path, "x", encoding="utf-8", errors="backslashreplace") as file:  # never through a link laid there
        file.writelines(lines)
    return path


def explain_usage(error):
    """A click error whose message names the new option, where one of another name was given."""
    renamed = RENAMED_OPTIONS.get(getattr(error, "option_name", None))
    if not isinstance(error, click.NoSuchOption) or renamed is None:
        return error
    known = {spelling for option in error.ctx.command.params for spelling in option.opts} if error.ctx else set()
    if renamed not in known:
        return error
    return click.UsageError(f"{error.option_name} is called {renamed} now.", error.ctx)
