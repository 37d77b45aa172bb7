"""TensorFlow's first words, kept from who reads standard error."""

import contextlib
import os
import sys
import tempfile


@contextlib.contextmanager
def quiet_stderr(show=True):
    """Hold standard error back, the C++ side's too; with `show`, it is shown if the body raises.

    TensorFlow 2.21 writes notices (oneDNN, CUDA) while it is imported, whatever TF_CPP_MIN_LOG_LEVEL says.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        held = _held()
    except OSError:  # nowhere to hold it back: better shown than no command
        yield
        return
    with held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException as error:
            os.dup2(stderr, 2)
            held.seek(0)
            if show and isinstance(error, Exception):  # no interrupt
                os.write(2, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _held():
    """A file for a while: in memory where the system can, as a folder for temporary files may not be writable."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("stderr"), "w+b")
    return tempfile.TemporaryFile()
