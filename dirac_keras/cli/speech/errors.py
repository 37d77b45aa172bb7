"""What the program says, and the status it ends with, when something goes wrong.

| status | what happened |
|---|---|
| 1 | an argument, a file or an environment does not fit, or the run failed: one line says what and how to mend it |
| 2 | the command line itself is wrong: an unknown option, a word where a number belongs |
| 70 | a fault of the software: one line names the exception and the log file that has the traceback |
| 75 | `reproduce --budget` stopped with its state saved and runs left: the same command continues |
| 130, 143 | interrupted by Ctrl-C, by SIGTERM |
| 141 | whoever read the standard output has closed it, as `head` does |
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

from dirac_keras.cli.speech.output import fail
from dirac_keras.cli.speech.process import is_closed_output
from dirac_keras.cli.speech.spelling import spell_options
from dirac_keras.errors import MissingExtra, RunError, UserError
from dirac_keras.failures import CHANNELS_FIRST, is_of_channels_first, is_of_framework, is_out_of_memory, text_of
from dirac_keras.version import __version__

FAULT = 70  # EX_SOFTWARE of sysexits.h
_OURS = ("dirac_keras", "pipelines", "tuning")
OUTPUT_CLOSED = 141  # 128 + SIGPIPE
# What a system refuses for reasons of its own: such an error is no fault of the software, even without a file name.
_OF_THE_SYSTEM = (
    *("ENOSPC", "EDQUOT", "EROFS", "EIO", "EFBIG", "ENOENT", "EACCES", "EPERM", "ENOMEM", "EMFILE", "ENFILE", "ENXIO"),
    *("ENODEV", "EBUSY", "ETXTBSY", "ESTALE", "ENAMETOOLONG", "ELOOP", "EPIPE", "ENOTCONN", "ECONNRESET", "EAGAIN"),
    *("ECONNREFUSED", "ECONNABORTED", "EHOSTUNREACH", "ENETUNREACH", "ENETDOWN", "ETIMEDOUT", "EADDRINUSE"),
    *("EADDRNOTAVAIL", "ENOLCK", "EREMOTEIO", "EISDIR", "ENOTDIR", "EEXIST", "ENOTEMPTY", "EXDEV"),
)
SYSTEM_ERRORS = {getattr(errno, name) for name in _OF_THE_SYSTEM if hasattr(errno, name)}
_REASONS = {os.strerror(number): number for number in SYSTEM_ERRORS}
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
    status = FAULT if message is None else OUTPUT_CLOSED if is_of_standard_output(error) else 1
    if invocation.debug:
        traceback.print_exception(error)
        sys.exit(status)
    fail(message if message is not None else describe_fault(error), status)


def is_of_standard_output(error):
    """Whether an error, or what it was raised from, says that nobody reads standard output any more."""
    return any(is_closed_output(one) and one.filename is None for one in _chain(error))


def _chain(error):
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__
    return seen


def explain(error):
    """One line for an error that is the user's or the run's; None for a fault of the software.

    An error that a framework has raised from one of ours counts as ours.
    """
    for one in _chain(error):
        if line := explain_pipeline(one) or explain_system(one) or explain_memory(one) or explain_home(one):
            return line
        if is_of_channels_first(one):
            return f"{CHANNELS_FIRST}."
        if is_of_an_absent_package(one):
            package = one.name.split(".")[0]
            # An installation on JAX has not got it; anything else that is absent came with ours.
            install = package if package == "tensorflow" else "dirac_keras"
            return f"this command needs the package {one.name}, which is not installed: pip install {install}."
        if is_expected(one):
            return " ".join(text_of(one).split())
    return None


def is_expected(error):
    """Whether an error says something that its reader can act on."""
    if isinstance(error, OSError):
        return error.filename is not None
    if isinstance(error, ImportError):  # one of an import statement has the module's name; without, it is a sentence
        return isinstance(error, MissingExtra) or error.name is None
    # `pipelines` imports nothing of ours. Where it is not imported, no error is its.
    data_error = getattr(sys.modules.get("pipelines.examples"), "DataError", UserError)
    return isinstance(error, (UserError, RunError, data_error))


def explain_system(error):
    """One line for what the system has refused, also where a library has made a text of it; else None.

    TensorFlow ends such a text with the system's words, HDF5 names the number.
    """
    if isinstance(error, (UserError, RunError)):
        return None  # has its own words
    if is_closed_output(error) and error.filename is None:
        return "standard output was closed by whoever read it."
    text = " ".join(text_of(error).split())
    if isinstance(error, OSError):
        if error.errno == errno.ENOENT and error.filename is None and not _has_folder():
            return "the current directory does not exist any more. Change to another one."
        if error.errno in SYSTEM_ERRORS and error.filename is None:
            return f"the system refused: {text or os.strerror(error.errno)}."
        number = re.search(r"errno = (\d+)", text) if error.errno is None else None
        if number and int(number[1]) in SYSTEM_ERRORS:
            name = re.search(r"name = '([^']*)'", text)
            return f"{name[1] + ': ' if name else ''}{os.strerror(int(number[1]))}."
    elif is_of_framework(error):
        for reason in _REASONS:
            if re.search(rf"[;:] {re.escape(reason)}(?=$|[\s.\[])", text_of(error).split("\n")[0]):
                return f"the system refused: {text.split(' [Op:')[0][:300]}."
    return None


def explain_home(error):
    """One line where there is no home directory; else None."""
    if isinstance(error, RuntimeError) and "home directory" in text_of(error):
        return f"{text_of(error).rstrip('.')}. Set HOME, or give the paths of all folders."
    return None


def _has_folder():
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def is_of_an_absent_package(error):
    """Whether an import statement has not found a package of others."""
    return isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] not in _OURS


def explain_pipeline(error):
    """One line for what TensorFlow's input pipeline says of an image, a record or the data service; else None.

    TensorFlow gives an exception of Python code in a pipeline as text within one of its own.
    """
    if not type(error).__module__.startswith("tensorflow."):
        return None
    text = str(error).strip()
    # An assertion's message is in brackets, its quotation marks escaped.
    if said := re.search(r"(data_service|data_record): [^\n]+?(?=\]?(\n|$))", text):
        return said[0].replace('\\"', '"')
    if said := re.search(r"assertion failed: \[the image is ([^]]+)\]", text):
        return f"an image is {said[1]}. Repair or remove it."
    if type(error).__name__ == "InvalidArgumentError" and re.search(r"JPEG|PNG|image (file|data)", text):
        first_line = text.splitlines()[0][:300]
        return f"an image cannot be decoded, though it begins and ends as one: {first_line}. Repair or remove it."
    return None


def explain_memory(error):
    """One line where the memory of the machine or of a device did not suffice; else None."""
    if is_out_of_memory(error):
        first_line = (text_of(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")
        return f"out of memory: {first_line}. Lower `batch_size`, or use a smaller network."
    return None


def describe_fault(error):
    """One line for an exception that nobody expected; its traceback goes to a file that the line names."""
    text = " ".join(text_of(error).split())[:300]
    what = f"this is a fault of dirac-keras, not yours: {type(error).__name__}{f': {text}' if text else ''}"
    try:
        path = write_log(error)
    except Exception as unwritten:  # what is said of a fault must not fail itself
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
