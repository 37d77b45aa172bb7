"""The entry point, called in this process."""

import sys

from dirac_keras import cli


def status_of(arguments, monkeypatch):
    """The exit status of `dirac-keras ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["dirac-keras", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return end.code or 0
    return 0
