"""The process around a command: its standard streams, and the signals that end it. Imports nothing that takes time."""

import contextlib
import errno
import os
import signal
import sys
import threading

_STREAMS = ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w"))


class Terminated(BaseException):
    """SIGTERM, as an exception: files that are half written are removed on the way out."""


def standing_streams():
    """See to it that there are standard streams, and that they take any text.

    One that was closed leads nowhere: else the next file to be opened would take its place. A character that the
    terminal's encoding has not is printed as an escape.
    """
    for number, name, mode in _STREAMS:
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                os.fstat(number)
                continue  # the descriptor is open, Python was told not to use it
            with contextlib.suppress(OSError):
                if os.open(os.devnull, os.O_RDWR) == number:
                    setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def taking_signals():
    """Within, SIGTERM raises `Terminated`, and either signal ends the process with one line wherever it comes."""
    before = None
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except KeyboardInterrupt:  # before there is anything to say more: while the program is imported
        _end("interrupted.", 130)
    except Terminated:
        _end("terminated.", 143)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def flush_output():
    """Bring what was printed out. Raises: OSError: if it cannot be."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def drop_output():
    """Let standard output lead nowhere: whoever read it is gone, and Python would fail again as it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        target = os.open(os.devnull, os.O_WRONLY)
        os.dup2(target, sys.stdout.fileno())
        os.close(target)


def is_closed_output(error):
    """Whether an error says that nobody reads standard output any more."""
    return isinstance(error, BrokenPipeError) or (isinstance(error, OSError) and error.errno == errno.EPIPE)


def _terminate(number, frame):
    raise Terminated


def _end(line, status):
    with contextlib.suppress(OSError, AttributeError, ValueError):
        print(f"Error: {line}", file=sys.stderr)
    sys.exit(status)
