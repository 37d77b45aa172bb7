"""TensorFlow's first words, kept from who reads standard error."""

import contextlib
import importlib.abc
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


class QuietImport(importlib.abc.MetaPathFinder):
    """In `sys.meta_path`: a package is imported within `quiet_stderr`, whoever imports it, and when.

    Keras on JAX imports TensorFlow, where it is installed, to set its seed too.

    Args:
        name: of the package.
    """

    def __init__(self, name):
        self.name = name

    def find_spec(self, name, path=None, target=None):
        """What the other finders find, to be executed quietly; None of other names."""
        if name != self.name:
            return None
        others = (each for each in sys.meta_path if each is not self)
        spec = next((found for each in others if (found := each.find_spec(name, path, target)) is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_quietly(module):
                with quiet_stderr():
                    execute(module)

            spec.loader.exec_module = execute_quietly
        return spec


def _held():
    """A file for a while: in memory where the system can, as a folder for temporary files may not be writable."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("stderr"), "w+b")
    return tempfile.TemporaryFile()
