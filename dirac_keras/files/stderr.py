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
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(stderr, 2)
            held.seek(0)
            if show:
                os.write(2, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
