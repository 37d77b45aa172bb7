"""The command `dirac-keras`: parses, then calls the library."""

import importlib
import os
import sys

from dirac_keras.cli.speech.process import standing_streams, taking_signals
from dirac_keras.onednn import prefer_onednn

COMPLETION = "_DIRAC_KERAS_COMPLETE"


def main():
    """Entry point: an expected error is one line on standard error and a status of its own, see `speech/errors.py`."""
    # A notebook leaves its own to what it starts, which need not be installed there; nothing here opens a window.
    os.environ["MPLBACKEND"] = "agg"
    prefer_onednn()
    standing_streams()
    with taking_signals():
        if instruction := os.environ.get(COMPLETION):  # a shell completes, and waits
            sys.exit(importlib.import_module("dirac_keras.cli.shell.completing").complete(instruction))
        importlib.import_module("dirac_keras.cli.program").run()


def __getattr__(name):
    """The group and the table of its commands; imported late, so that an interrupt is one line from the start."""
    if name in ("commands", "COMMANDS"):
        return getattr(importlib.import_module("dirac_keras.cli.program"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
